"""``data prepare``: write a dataset as nnU-Net or MONAI want it, references as one label map each (floor 5)."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from medquanbench.data.workers import check_jobs, each
from medquanbench.data.written_layouts import ENDING, LAYOUTS, Target, Written, role_of
from medquanbench.dataset import Dataset, open_dataset
from medquanbench.doorway import Parser, whole_number
from medquanbench.files import clear_temporaries, is_whole_gzip, write_whole
from medquanbench.images import check_whole, grid_difference, grid_of, write_nifti
from medquanbench.progress import Progress
from medquanbench.reference import read_reference
from medquanbench.values import Case, RequestError, not_found


def prepare(argv: Sequence[str], progress: Progress) -> int:
    """Write images, label maps and their list into a folder; what is there whole is kept. Returns 0."""
    args = _parser().parse_args(argv)
    jobs = check_jobs(args.jobs)
    if args.layout not in LAYOUTS:
        raise not_found("layout", args.layout, "data prepare", list(LAYOUTS))
    dataset = open_dataset(args.name, root=args.data_root)
    out = Path(args.out).expanduser()
    if out.resolve().is_relative_to(dataset.root):
        raise RequestError(f"--out {args.out} lies in the data root {dataset.root}, which is not written to")
    parts = _parts(dataset, args.split)
    n_new = write(dataset, parts, LAYOUTS[args.layout], out, args.link, jobs, progress)
    n_all = len({case for part in parts for case in dataset.names(part)})
    told = ", ".join(f"{part} {len(dataset.names(part))}" for part in parts)
    print(f"{dataset.name}: {n_all} cases ({told}) in {out}, {n_all - n_new} of them were there")
    note = _gap_note(dataset, LAYOUTS[args.layout])
    if note:
        print(note)
    return 0


def _gap_note(dataset: Dataset, layout: Written) -> str:
    """What to say of label indices with gaps; empty where there are none, or none that matters."""
    index = sorted(label.index for label in dataset.labels)
    gap = next((pair for pair in pairwise([0, *index]) if pair[1] != pair[0] + 1), None)
    if not layout.refuses_gaps or gap is None:
        return ""
    where = f"after {gap[0]} comes {gap[1]}"
    return f"note: {layout.refuses_gaps} takes no label indices with gaps, and these have some ({where}): renumber them"


def _parser() -> Parser:
    p = Parser(
        prog="python -m medquanbench.data prepare",
        allow_abbrev=False,
        description="Write a dataset in another layout, the references as one label map a case in the card's indices. "
        "The same command again goes on where it stopped.",
    )
    p.add_argument("name", metavar="NAME|PATH", help="a dataset on the shelf, or a card")
    p.add_argument("--data-root", metavar="DIR", help="folder of the dataset's files")
    p.add_argument("--out", required=True, metavar="DIR", help="where to write; not in the data root")
    p.add_argument("--layout", default="nnunet", metavar="NAME", help=f"{' or '.join(LAYOUTS)} (default: nnunet)")
    p.add_argument("--split", nargs="+", metavar="NAME", help="these splits (default: the card's own)")
    p.add_argument("--jobs", type=whole_number, metavar="N", help="processes (default: one a core)")
    p.add_argument("--link", action="store_true", help="link to the images, where they are compressed; no copies")
    return p


def _parts(dataset: Dataset, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The splits to write: those asked for, else those of the card that have no name of their own."""
    everything = [name for name, _ in dataset.split]
    parts = tuple(dict.fromkeys(asked or [name for name in everything if "-" not in name] or everything))
    return parts


def _roles(dataset: Dataset, parts: Sequence[str]) -> dict[str, str]:
    """case -> what it is for. A case for calibration may be one of another split, too: it is that split's.

    Raises:
        RequestError: a case is for two things.
    """
    part_of: dict[str, str] = {}
    for part in sorted(parts, key=lambda part: part.rpartition("-")[2] == "calibration"):
        for case in dataset.names(part):
            before = part_of.setdefault(case, part)
            if role_of(before) != role_of(part) and part.rpartition("-")[2] != "calibration":
                raise RequestError(f"case {case} is in two of the splits asked for, {before} and {part}")
    return {case: role_of(part) for case, part in part_of.items()}


def write(
    dataset: Dataset, parts: Sequence[str], layout: Written, out: Path, link: bool, jobs: int, progress: Progress
) -> int:
    """Write the cases of some splits and the documents of a layout; how many cases were not there yet.

    The result opens with ``open_dataset(card, root=out)`` and has the same images and label maps.

    Raises:
        RequestError: files are missing or cannot be used, an image and its reference lie on different grids, the folder
            cannot be written, or holds another dataset.
    """
    roles = _roles(dataset, parts)
    cases = {case.name: case for part in parts for case in dataset.cases(part, progress=progress.say)}
    targets = tuple(layout.place(name, roles[name]) for name in cases)
    documents = layout.documents(dataset, targets)
    _check_folder(out, documents)
    for name, text in documents.items():  # first: they say whose the folder is
        write_whole(out / name, text.encode())
    for folder in {(out / file).parent for target in targets for file in (target.image, target.label)}:
        clear_temporaries(folder)
    work = partial(_write_case, dataset=dataset, out=out, link=link)
    return sum(each(work, list(zip(cases.values(), targets)), jobs, progress, "writing case"))


def _check_folder(out: Path, documents: dict[str, str]) -> None:
    for name, text in documents.items():
        if (out / name).is_file() and (out / name).read_text() != text:
            raise RequestError(f"{out} holds another dataset, or other splits of it: {name} differs; take a new folder")


def _write_case(what: tuple[Case, Target], dataset: Dataset, out: Path, link: bool) -> bool:
    """Write what is not there of a case; True where anything was not."""
    case, target = what
    new_label = not is_whole_gzip(out / target.label)
    if new_label:
        reference = read_reference(case, dataset)
        differs = grid_difference(grid_of(case.inputs[0]), reference.grid)
        if differs:
            raise RequestError(f"{case.inputs[0]} and {case.target} lie on different grids: {differs}")
        small = max(label.index for label in dataset.labels) <= np.iinfo(np.uint8).max
        labels = reference.labels.astype(np.uint8) if small else reference.labels
        write_nifti(labels, reference.grid.affine, out / target.label)
    new_image = not _is_there(case.inputs[0], out / target.image, link)
    if new_image:
        _write_image(case.inputs[0], out / target.image, link)
    return new_label or new_image


def _is_there(source: Path, file: Path, link: bool) -> bool:
    if not source.name.endswith(ENDING):
        return is_whole_gzip(file)
    if link:
        return file.is_symlink() and file.resolve() == source.resolve()
    # Written whole or not at all: of the same size it is the same.
    return file.is_file() and not file.is_symlink() and file.stat().st_size == source.stat().st_size


def _write_image(source: Path, file: Path, link: bool) -> None:
    check_whole(source)
    if not source.name.endswith(ENDING):
        write_whole(file, gzip.compress(source.read_bytes(), mtime=0))
    elif link:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(source.resolve())
        os.replace(temporary, file)
    else:
        write_whole(file, source.read_bytes())
