"""``data list`` and ``data info``: what the cards say (floor 5)."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from medquanbench import shelf
from medquanbench.data.text_table import table
from medquanbench.dataset import Dataset, open_card
from medquanbench.doorway import Parser
from medquanbench.progress import Progress

_WIDTH = 110
_N_CASES = 6  # of a split, so many are named


def list_datasets(argv: Sequence[str], progress: Progress) -> int:
    """Print a table of the datasets on the shelf."""
    p = Parser(prog="python -m medquanbench.data list", allow_abbrev=False, description="The datasets on the shelf.")
    p.parse_args(argv)
    cards = [open_card(name) for name in shelf.names(shelf.DATASETS, ".toml")]
    rows = [("name", "modality", "structures", "cases", "images", "licence", "title"), *map(_row, cards)]
    print("\n".join(table(rows)))
    print("\npython -m medquanbench.data info NAME tells all about one of them")
    return 0


def _row(card: Dataset) -> tuple[str, ...]:
    cases = ", ".join(f"{name} {len(names)}" for name, names in card.split if not _is_part(name))
    licence = textwrap.shorten(card.licence, 32, placeholder=" ...")
    return card.name, card.modality, str(len(card.labels)), cases or "-", _origin(card), licence, card.title


def _is_part(split: str) -> bool:
    return "-" in split  # of a split with a name of its own; `info` tells them


def _origin(card: Dataset) -> str:
    if card.phantom is not None:
        return "phantom, made here"
    return "real, fetch" if card.access.downloads else "real, by hand"


def show_info(argv: Sequence[str], progress: Progress) -> int:
    """Print everything that a card says."""
    p = Parser(
        prog="python -m medquanbench.data info", allow_abbrev=False, description="Everything that a dataset card says."
    )
    p.add_argument("name", metavar="NAME|PATH", help="a dataset on the shelf, or a card")
    print("\n".join(_info(open_card(p.parse_args(argv).name))))
    return 0


def _info(card: Dataset) -> Iterator[str]:
    yield f"{card.name}, version {card.version}: {card.title}"
    yield f"{card.modality}, {card.task}, {len(card.labels)} structures; {_origin(card)}"
    yield from _section("what it is", card.description)
    yield from _section("reference", card.reference)
    yield from _section("licence", card.licence)
    yield from _section("source", card.source)
    yield from _section("citation", card.citation)
    yield from _section("how to get it", card.access.steps or _steps(card))
    for download in card.access.downloads:
        place = download.url or f"Zenodo record {download.zenodo}"
        size = f", {download.bytes / 1e6:,.1f} MB" if download.bytes else ""
        yield f"  {download.file}{size}, from {place}"
    yield from _layouts(card)
    yield from _splits(card)
    yield from _section("NSD tolerance", card.tolerance_source)
    yield from _labels(card)


def _section(title: str, text: str) -> Iterator[str]:
    if not text.strip():
        return
    yield ""
    yield f"{title}:"
    for line in _lines(text):
        yield from textwrap.wrap(line, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _lines(text: str) -> list[str]:
    """Steps and lists keep their lines, with those that are set in as parts of them; running text is one line."""
    lines = text.strip().splitlines()
    if not any(line[:1] in "-*" or line[:1].isdigit() for line in lines if line):
        return [" ".join(" ".join(lines).split())]
    joined: list[str] = []
    for line in lines:
        if joined and line.startswith(" "):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line.strip())
    return joined


def _steps(card: Dataset) -> str:
    return "nothing to get: it is made on this machine" if card.phantom is not None else ""


def _layouts(card: Dataset) -> Iterator[str]:
    if card.phantom is not None:
        return
    yield ""
    yield "layouts (below --data-root; the one in which most cases are found counts):"
    for layout in card.layouts:
        folders = " or ".join(layout.below)
        yield f"  {layout.name}, in {folders}"
        yield from (f"    {place.image}   {place.label}" for place in layout.places)
    yield "  nnU-Net raw (imagesTr, labelsTr, dataset.json), MONAI datalist (.json)"


def _splits(card: Dataset) -> Iterator[str]:
    yield ""
    yield "splits:"
    rows = [(f"  {name}", str(len(names)), _named(names)) for name, names in card.split]
    yield from table(rows)
    scans = Counter(patient for _, patient in card.patients)
    several = [patient for patient, n in scans.items() if n > 1]
    if several:
        yield f"  {sum(scans[patient] for patient in several)} cases are of {len(several)} patients with several scans"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _N_CASES else f"{names[0]}, {names[1]}, ... {names[-1]}"


def _labels(card: Dataset) -> Iterator[str]:
    yield ""
    yield "labels (index in label maps; value in the dataset's files, where it is another; NSD tolerance):"
    stored = any(label.stored != label.index for label in card.labels)
    rows = []
    for label in card.labels:
        in_files = (f"file {label.stored}",) if stored else ()
        row = (f"  {label.index}", *in_files, label.name, f"{label.tolerance_mm:g} mm", label.tolerance_source)
        rows.append(row)
    yield from table(rows)
    if card.background:
        yield f"  values that count as background: {', '.join(map(str, card.background))}"
