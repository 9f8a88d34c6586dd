"""Which prediction belongs to which reference: by the names of their files (floor 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medquanbench.dataset import Dataset, open_dataset
from medquanbench.layouts import CASE, STRUCTURE
from medquanbench.values import Case, RequestError

_NIFTI = re.compile(r"(?P<stem>[^.].*?)\.nii(\.gz)?", re.IGNORECASE)
_CHANNEL = "_0000"  # nnU-Net's first channel: some name predictions after their image


@dataclass(frozen=True)
class Scorable:
    """A case with a reference: ``reference`` holds its files (no image), ``prediction`` is None where none is there."""

    name: str
    reference: Case
    prediction: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The reference's files, then the prediction where there is one."""
        return self.reference.files if self.prediction is None else (*self.reference.files, self.prediction)


@dataclass(frozen=True)
class Pairing:
    """What is scored.

    Attributes:
        cases: in the order of their names.
        extra: predictions without a reference; they are not scored.
        left_out: cases with a reference that the split does not name.
        unknown: cases that the split names and that have no reference; they are not scored either.
    """

    cases: tuple[Scorable, ...]
    extra: tuple[Path, ...]
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases without a prediction."""
        return tuple(case.name for case in self.cases if case.prediction is None)


def references(ref: str, card: Dataset, folder: Path) -> tuple[Dataset, dict[str, Case]]:
    """The references in a folder: a dataset's, in one of its layouts, or else label maps.

    Args:
        ref: the card's name or path, as it was asked for; ``card``: the same, opened alone.

    Returns:
        the dataset (its layout may change what files hold), and each case's files, without images.

    Raises:
        RequestError: the folder is none, or holds neither; a file is there twice.
    """
    files = _nifti_files(folder)
    if card.phantom is None:
        dataset = open_dataset(ref, root=folder)
        found = {case.name: Case(case.name, (), case.target, case.masks) for case in dataset.census().cases}
        if found:
            return dataset, found
    if not files:
        layouts = f", and no case of {card.name} in one of its layouts" * (card.phantom is None)
        raise RequestError(f"{folder} holds no label maps (.nii, .nii.gz){layouts}")
    named = _named(files, _patterns(card, images=False), _case_names(card))
    return card, {name: Case(name, (), file) for name, file in named.items()}


def pair(card: Dataset, cases: Mapping[str, Case], reference: Path, prediction: Path, split: str | None) -> Pairing:
    """Find the prediction of every case that is asked for.

    Names are equal but for ``.nii`` and ``.nii.gz``; where a layout of the card has other names (``img0001``,
    ``label0001``), those of one case belong together; ``_0000`` at the end of a prediction's name counts for nothing.

    Raises:
        RequestError: no prediction has a reference, a prediction is there twice, or the split is none of the card's.
    """
    files = _nifti_files(prediction)
    if not files:
        raise RequestError(f"{prediction} holds no label maps (.nii, .nii.gz)")
    named = _named(files, _patterns(card, images=True), {*_case_names(card), *cases})
    wanted = tuple(cases) if split is None else card.names(split)
    chosen = sorted(name for name in wanted if name in cases)
    if not any(name in named for name in chosen):
        raise RequestError(
            f"no prediction in {prediction} has the name of a reference in {reference}: there is {_first(named)} and "
            f"{_first(chosen)}; they must be equal but for .nii or .nii.gz"
        )
    return Pairing(
        tuple(Scorable(name, cases[name], named.get(name)) for name in chosen),
        tuple(file for name, file in sorted(named.items()) if name not in cases),
        tuple(sorted(set(cases) - set(chosen))),
        tuple(name for name in wanted if name not in cases),
    )


def _nifti_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder" if folder.exists() else f"there is no folder {folder}")
    return sorted(file for file in folder.iterdir() if _NIFTI.fullmatch(file.name) and not file.is_dir())


def _named(files: Iterable[Path], patterns: Sequence[re.Pattern[str]], known: set[str]) -> dict[str, Path]:
    """The files by the name of their case."""
    named: dict[str, Path] = {}
    for file in files:
        name = _case_of(_NIFTI.fullmatch(file.name)["stem"], patterns, known)
        if name in named:
            raise RequestError(f"{named[name]} and {file.name} are both of case {name}; one of them must go")
        named[name] = file
    return named


def _case_of(stem: str, patterns: Sequence[re.Pattern[str]], known: set[str]) -> str:
    bare = stem.removesuffix(_CHANNEL)
    if stem in known or bare in known:
        return stem if stem in known else bare
    matched = (match["case"] for text in (stem, bare) for p in patterns if (match := p.fullmatch(text)))
    return next((case for case in matched if case in known), stem)


def _patterns(card: Dataset, *, images: bool) -> list[re.Pattern[str]]:
    """How the card's layouts name the files of a case: labels, and images where asked for."""
    places = [place for layout in card.layouts for place in layout.places]
    texts = [place.label for place in places] + [place.image for place in places if images]
    stems = (_NIFTI.fullmatch(PurePosixPath(text).name) for text in texts if STRUCTURE not in text)
    named = [found["stem"] for found in stems if found and found["stem"].count(CASE) == 1]
    return [re.compile(re.escape(stem).replace(re.escape(CASE), "(?P<case>.+)")) for stem in dict.fromkeys(named)]


def _case_names(card: Dataset) -> set[str]:
    return {name for _, names in card.split for name in names}


def _first(names: Iterable[str]) -> str:
    names = sorted(names) or ["none"]
    return ", ".join(names[:3]) + (f", ... ({len(names)})" if len(names) > 3 else "")
