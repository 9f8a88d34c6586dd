"""Open a dataset card (TOML) and find its cases on disk; phantoms are made on the way (floor 2)."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medquanbench import shelf
from medquanbench.dataset_card import check_card
from medquanbench.dataset_splits import splits_of
from medquanbench.dataset_values import Access, Census, Download, Label, Missing, access_of, labels_of
from medquanbench.files import is_whole_gzip, obstacle
from medquanbench.layout_search import find
from medquanbench.layouts import STRUCTURE, Found, Layout, Pair, Wanted, layouts_of
from medquanbench.values import Case, RequestError, not_found

__all__ = ["Access", "Census", "Dataset", "Download", "Label", "Layout", "Missing", "Pair", "open_card", "open_dataset"]


@dataclass(frozen=True)
class Dataset:
    """A dataset card with the place where its files are.

    Attributes:
        reference: what the reference is where no expert drew it, as a phrase; empty else.
        background: values in label files that count as background, beside 0.
        label_map: (structure, output of a network) by name, for networks with other labels than these; empty: none.
        split: split name -> case names. A case that no split names is ``unused``. The parts of a published split with a
            name of its own are ``name-part``; they may name cases that other splits name, too.
        patients: (case, patient) for cases whose patient has another name than they have.
        layouts: where the card says that files are.
        found: the layout found on disk, with the place of the files of every case.
        sought: each layout that was sought on disk, and what was found of it, in words.
        phantom: name and version of the generator, or None for real data.
        root: folder that holds the files; for a phantom its cache folder; None for a card that was opened alone.
        card_sha256: checksum of the card's bytes.
    """

    name: str
    version: int
    title: str
    task: str
    modality: str
    description: str
    licence: str
    source: str
    citation: str
    access: Access
    tolerance_source: str
    reference: str
    labels: tuple[Label, ...]
    background: tuple[int, ...]
    label_map: tuple[tuple[str, str], ...]
    split: tuple[tuple[str, tuple[str, ...]], ...]
    patients: tuple[tuple[str, str], ...]
    layouts: tuple[Layout, ...]
    found: Found
    sought: tuple[str, ...]
    phantom: str | None
    seeds: tuple[tuple[str, int], ...]
    root: Path | None
    card_sha256: str

    @property
    def layout(self) -> str:
        """The name of the layout found on disk; empty where none is."""
        return self.found.layout

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Where the files of every case are or should be."""
        return self.found.pairs

    def split_of(self, case: str) -> str:
        """The first split that names a case; ``unused`` where none does."""
        return next((split for split, names in self.split if case in names), "unused")

    def patient_of(self, case: str) -> str:
        """The patient of a case: two scans of one patient are no two patients."""
        return dict(self.patients).get(case, case)

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
        return self.named_cases(self.names(split)[:count], f"split '{split}'", progress)

    def named_cases(
        self, names: Iterable[str], what: str, progress: Callable[[str], None] | None = None
    ) -> tuple[Case, ...]:
        """As ``cases``, by their names; ``what`` says in messages which cases they are.

        Raises:
            RequestError: as ``cases``.
        """
        cases = self._cases(names)
        if self.phantom is not None:
            self._make(cases, progress or (lambda text: None))
        files = list(dict.fromkeys(file for case in cases for file in case.files))
        told = [f"{file} {hidden}" for file in files if (hidden := obstacle(file))]
        if told and not self.layout:
            raise RequestError(
                f"{self.name}: no case is found in {self.root}; sought: {'; '.join(self.sought)}; there is: "
                f"{_listing(self.root)}; source of the images: {self.source}"
            )
        if told:
            raise RequestError(
                f"{self.name}: {len(told)} of the {len(files)} files of {what} cannot be opened, first "
                f"{', '.join(told[:3])}; source of the images: {self.source}"
            )
        return cases

    def census(self) -> Census:
        """Look which files of all splits are there, which are not, and which belong to no case.

        Raises:
            RequestError: the card was opened alone.
        """
        everyone = self._cases(dict.fromkeys(name for _, names in self.split for name in names))
        split_of = {name: split for split, names in reversed(self.split) for name in names}
        absent = {case.name: _absent(case) for case in everyone}
        missing = tuple(Missing(split_of[name], name, file) for name, files in absent.items() for file in files)
        there = tuple(case for case in everyone if not absent[case.name])
        known = {file for case in everyone for file in case.files}
        fitting = {file for glob in self.found.globs for file in self.root.glob(glob)} - known
        extra = {file for file in fitting if file.is_file()}
        strays = {self.root / path for path in self.found.strays}
        return Census(self.layout, there, missing, tuple(sorted(extra | strays)))

    def _cases(self, names: Iterable[str]) -> tuple[Case, ...]:
        if self.root is None:
            raise _needs_root(self.name, self.pairs[0].image, self.source)
        pairs = {pair.case: pair for pair in self.pairs}
        return tuple(self._case(pairs[name]) for name in names)

    def _case(self, pair: Pair) -> Case:
        image = (self.root / pair.image,)
        if STRUCTURE not in pair.label:
            return Case(pair.case, image, self.root / pair.label)
        masks = tuple((label.index, self.root / pair.label.replace(STRUCTURE, label.name)) for label in self.labels)
        return Case(pair.case, image, masks[0][1].parent, masks)

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


def open_card(ref: str | Path) -> Dataset:
    """Open a dataset card alone, for what it says; the result has no root, and no cases on disk.

    Raises:
        RequestError: no such card, or a card that is not complete.
    """
    card, card_sha256 = _parse(ref)
    return _dataset(card, card_sha256)


def open_dataset(ref: str | Path, *, root: str | Path | None = None) -> Dataset:
    """Open a dataset by its name on the shelf or by the path of a card.

    Args:
        ref: a name such as ``msd-hippocampus``, or a path to a TOML card.
        root: folder of the images in one of the card's layouts, as nnU-Net raw or with a MONAI datalist, or such a
            datalist (``.json``); needed for real data, refused for phantoms.

    Raises:
        RequestError: no such card, a card that is not complete, no root, a root that is no folder, a list of files
            that numbers its labels otherwise than the card or cannot be used.
    """
    card, card_sha256 = _parse(ref)
    alone = _dataset(card, card_sha256)
    if "phantom" in card:
        if root is not None:
            raise RequestError(f"{alone.name} is a phantom and makes its own images; it takes no data root")
        found = replace(alone.found, layout=alone.layouts[0].name)
        return replace(alone, root=shelf.cache() / card["phantom"].replace("/", "-"), found=found)
    if root is None:
        raise _needs_root(alone.name, alone.pairs[0].image, alone.source)
    return _on_disk(alone, "pairs" in card, Path(root).expanduser(), root)


def _on_disk(alone: Dataset, by_pairs: bool, place: Path, asked: str | Path) -> Dataset:
    listing = place.suffix == ".json" and place.is_file()
    if not place.is_dir() and not listing:
        raise RequestError(f"the data root '{asked}' of {alone.name} is no folder")
    place = place.resolve()
    folder = place.parent if listing else place
    if by_pairs:
        return replace(alone, root=folder)
    wanted = Wanted(tuple(pair.case for pair in alone.pairs), tuple((x.name, x.index, x.stored) for x in alone.labels))
    tried = find(folder, place if listing else None, alone.layouts, wanted)
    best = max(tried, key=lambda found: (found.n_cases, found.n_images, bool(found.problem)))
    told = replace(
        alone, root=folder, sought=tuple(f"{found.layout} ({found.sought}): {_of(found)}" for found in tried)
    )
    if best.problem and (best.n_images or listing):
        raise RequestError(f"{alone.name} as {best.layout} in {folder} cannot be used: {best.problem}")
    if not best.n_images and not listing:
        return told
    if best.by_index:
        return replace(told, found=best, labels=tuple(replace(x, stored=x.index) for x in told.labels), background=())
    return replace(told, found=best)


def _absent(case: Case) -> list[Path]:
    """The files of a case that are not there; one line for all masks where not even their folder is."""
    files = (*case.inputs, case.target) if case.masks and not case.target.is_dir() else case.files
    return [file for file in dict.fromkeys(files) if not file.is_file()]


def _of(found: Found) -> str:
    return found.problem or f"{found.n_cases} cases"


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:8]) + ", ..." * (len(names) > 8)) or "nothing"


def _needs_root(name: str, first_image: str, source: str) -> RequestError:
    return RequestError(
        f"{name} needs --data-root (root=...): the folder that holds {first_image}; the images come from {source}"
    )


def _parse(ref: str | Path) -> tuple[dict[str, Any], str]:
    file = shelf.find(shelf.DATASETS, "dataset", ref, ".toml")
    hidden = obstacle(file)
    if hidden:
        raise RequestError(f"the dataset card {file} {hidden}")
    raw = file.read_bytes()
    try:
        card = tomllib.loads(raw.decode())
        check_card(card, file)
        return card, hashlib.sha256(raw).hexdigest()
    except UnicodeDecodeError:
        raise RequestError(f"{file} is no dataset card: it is no text") from None
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{file} is no dataset card: it is no TOML ({error})") from error


def _dataset(card: dict[str, Any], card_sha256: str) -> Dataset:
    """A checked card as a Dataset without a root, its files where its first layout has them."""
    split, layouts = splits_of(card), layouts_of(card)
    names = dict.fromkeys(name for _, names in split for name in names)
    pairs = tuple(Pair(row["case"], row["image"], row["label"]) for row in card.get("pairs", ()))
    return Dataset(
        name=card["name"],
        version=card["version"],
        title=card["title"],
        task=card["task"],
        modality=card["modality"],
        description=" ".join(card.get("description", "").split()),
        licence=card["licence"],
        source=card["source"],
        citation=card.get("citation", "").strip(),
        access=access_of(card),
        tolerance_source=" ".join(card["tolerance_source"].split()),
        reference=" ".join(card.get("reference", "").split()),
        labels=labels_of(card),
        background=tuple(card.get("background", ())),
        label_map=tuple(card.get("label_map", {}).items()),
        split=split,
        patients=tuple(card.get("patient", {}).items()),
        layouts=layouts,
        found=Found("pairs" if pairs else "", "", pairs or tuple(layouts[0].expected(name) for name in names)),
        sought=(),
        phantom=card.get("phantom"),
        seeds=tuple(card.get("seed", {}).items()),
        root=None,
        card_sha256=card_sha256,
    )
