"""Open a dataset card (TOML) and find its cases on disk; phantoms are made on the way (floor 2)."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medquanbench import shelf
from medquanbench.dataset_card import check_card
from medquanbench.files import is_whole_gzip, obstacle
from medquanbench.values import Case, RequestError, not_found


@dataclass(frozen=True)
class Label:
    """One structure: its index in the label map, its name, its NSD tolerance."""

    index: int
    name: str
    tolerance_mm: float


@dataclass(frozen=True)
class Pair:
    """The files of one case, relative to the data root."""

    case: str
    image: str
    label: str


@dataclass(frozen=True)
class Dataset:
    """A dataset card with the place where its files are.

    Attributes:
        reference: what the reference is where no expert drew it, as a phrase; empty else.
        label_map: (structure, output of a network) by name, for networks with other labels than these; empty: none.
        split: split name -> case names. A case that no split names is ``unused``.
        pairs: the files of every case, where they follow no layout; empty: the layouts say where they are.
        phantom: name and version of the generator, or None for real data.
        root: folder that holds the files; for a phantom its cache folder.
        card_sha256: checksum of the card's bytes.
    """

    name: str
    version: int
    title: str
    task: str
    modality: str
    licence: str
    source: str
    citation: str
    tolerance_source: str
    reference: str
    labels: tuple[Label, ...]
    label_map: tuple[tuple[str, str], ...]
    split: tuple[tuple[str, tuple[str, ...]], ...]
    pairs: tuple[Pair, ...]
    image_layout: str
    label_layout: str
    phantom: str | None
    seeds: tuple[tuple[str, int], ...]
    root: Path
    card_sha256: str

    def split_of(self, case: str) -> str:
        """The split that names a case; ``unused`` where none does."""
        return next((split for split, names in self.split if case in names), "unused")

    def names(self, split: str) -> tuple[str, ...]:
        """Case names of a split, in the card's order.

        Raises:
            RequestError: the card has no such split.
        """
        for known, cases in self.split:
            if known == split:
                return cases
        raise not_found("split", split, f"the card of {self.name}", [known for known, _ in self.split])

    def cases(
        self, split: str, count: int | None = None, progress: Callable[[str], None] | None = None
    ) -> tuple[Case, ...]:
        """The first ``count`` cases of a split (None: all) with their files; a phantom's missing files are made.

        Raises:
            RequestError: files are missing; the message says where they were sought.
        """
        cases = tuple(self._case(name) for name in self.names(split)[:count])
        if self.phantom is not None:
            self._make(cases, progress or (lambda text: None))
        files = [file for case in cases for file in case.files]
        told = [f"{file} {hidden}" for file in files if (hidden := obstacle(file))]
        if told:
            raise RequestError(
                f"{self.name}: {len(told)} of the {len(files)} files of split '{split}' cannot be opened, first "
                f"{', '.join(told[:3])}; source of the images: {self.source}"
            )
        return cases

    def _case(self, name: str) -> Case:
        pair = next((pair for pair in self.pairs if pair.case == name), None)
        if pair is None:
            pair = Pair(name, self.image_layout.format(case=name), self.label_layout.format(case=name))
        return Case(name, (self.root / pair.image,), self.root / pair.label)

    def _make(self, cases: tuple[Case, ...], progress: Callable[[str], None]) -> None:
        from medquanbench.images import write_nifti
        from medquanbench.phantoms import PHANTOMS

        # A file in the cache that a disk has damaged is made again, as one that is missing.
        seeds, wanted = dict(self.seeds), [case for case in cases if not all(map(is_whole_gzip, case.files))]
        for number, case in enumerate(wanted, 1):
            progress(f"making phantom {number}/{len(wanted)}")
            phantom = PHANTOMS[self.phantom](seeds[case.name])
            for array, file in ((phantom.image, case.inputs[0]), (phantom.label, case.target)):
                write_nifti(array, phantom.affine, file)


def open_dataset(ref: str | Path, *, root: str | Path | None = None) -> Dataset:
    """Open a dataset by its name on the shelf or by the path of a card.

    Args:
        ref: a name such as ``msd-hippocampus``, or a path to a TOML card.
        root: folder of the images, as the card's layout names them; needed for real data, refused for phantoms.

    Raises:
        RequestError: no such card, a card that is not complete, no root, a root that is no folder.
    """
    file = shelf.find(shelf.DATASETS, "dataset", ref, ".toml")
    hidden = obstacle(file)
    if hidden:
        raise RequestError(f"the dataset card {file} {hidden}")
    raw = file.read_bytes()
    try:
        card = tomllib.loads(raw.decode())
        check_card(card, file)
        return _read(card, _root(card, root), hashlib.sha256(raw).hexdigest())
    except UnicodeDecodeError:
        raise RequestError(f"{file} is no dataset card: it is no text") from None
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{file} is no dataset card: it is no TOML ({error})") from error


def _root(card: dict, root: str | Path | None) -> Path:
    if "phantom" in card:
        if root is not None:
            raise RequestError(f"{card['name']} is a phantom and makes its own images; it takes no data root")
        return shelf.cache() / card["phantom"].replace("/", "-")
    if root is None:
        raise RequestError(
            f"{card['name']} needs --data-root (root=...): the folder that holds {_first_image(card)}; "
            f"the images come from {card['source']}"
        )
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise RequestError(f"the data root '{root}' of {card['name']} is no folder")
    return folder.resolve()


def _layout(card: dict) -> dict[str, str]:
    return card.get("layout", {"image": "imagesTr/{case}.nii.gz", "label": "labelsTr/{case}.nii.gz"})


def _first_image(card: dict) -> str:
    return card["pairs"][0]["image"] if card.get("pairs") else _layout(card)["image"]


def _read(card: dict, root: Path, card_sha256: str) -> Dataset:
    layout = _layout(card)
    labels = tuple(Label(row["index"], row["name"], float(row["tolerance_mm"])) for row in card["label"])
    return Dataset(
        name=card["name"],
        version=card["version"],
        title=card["title"],
        task=card["task"],
        modality=card["modality"],
        licence=card["licence"],
        source=card["source"],
        citation=card.get("citation", "").strip(),
        tolerance_source=" ".join(card["tolerance_source"].split()),
        reference=" ".join(card.get("reference", "").split()),
        labels=labels,
        label_map=tuple(card.get("label_map", {}).items()),
        split=tuple((name, tuple(card["split"][name])) for name in card["split"]),
        pairs=tuple(Pair(row["case"], row["image"], row["label"]) for row in card.get("pairs", ())),
        image_layout=layout["image"],
        label_layout=layout["label"],
        phantom=card.get("phantom"),
        seeds=tuple(card.get("seed", {}).items()),
        root=root,
        card_sha256=card_sha256,
    )
