"""Layouts: where the files of a dataset's cases lie below a data root (floor 2; the search: layout_search.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medquanbench.dataset_checks import TEXT, check_keys, first_double, is_list, is_rows, is_text, leaves_root
from medquanbench.values import RequestError

CASE, STRUCTURE = "{case}", "{structure}"
_ROOT = "."


@dataclass(frozen=True)
class Pair:
    """The files of one case, relative to the data root; a label with ``{structure}`` stands for a mask of each."""

    case: str
    image: str
    label: str


@dataclass(frozen=True)
class Place:
    """Patterns of a case's files, relative to a folder: ``{case}`` is its name, ``{structure}`` that of a mask."""

    image: str
    label: str


@dataclass(frozen=True)
class Layout:
    """A layout that a card declares.

    Attributes:
        below: folders below the data root in which it is sought, in this order; ``.`` is the data root.
        places: where a case can lie; the first at which it has an image counts.
    """

    name: str
    below: tuple[str, ...]
    places: tuple[Place, ...]

    def pair(self, case: str, below: str, place: Place) -> Pair:
        """The files of a case at one of the places."""
        return Pair(case, _joined(below, place.image, case), _joined(below, place.label, case))

    def expected(self, case: str) -> Pair:
        """Where the files of a case should be, where none is there: at the first place."""
        return self.pair(case, self.below[0], self.places[0])


@dataclass(frozen=True)
class Wanted:
    """What is sought: all cases of a card, and its labels as (name, index, stored value)."""

    cases: tuple[str, ...]
    labels: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Found:
    """One layout, and what is there of it.

    Attributes:
        sought: where it was sought, as a pattern.
        pairs: the cases of the card that it names; a layout of the card names all, and where they are or should be.
        n_cases: cases that have an image and a label (or a folder of masks); ``n_images``: that have an image.
        globs: patterns of all files of a layout of the card, relative to the data root.
        strays: files that a list names and that belong to no case of the card.
        by_index: the label files hold the card's indices, not its stored values.
        problem: why it cannot be used; empty where it can.
    """

    layout: str
    sought: str
    pairs: tuple[Pair, ...] = ()
    n_cases: int = 0
    n_images: int = 0
    globs: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    by_index: bool = False
    problem: str = ""

    def counted(self, root: Path) -> Found:
        """The same with its files counted on disk."""
        images = [pair for pair in self.pairs if (root / pair.image).is_file()]
        return replace(self, n_cases=sum(_has_label(root, pair.label) for pair in images), n_images=len(images))


def layouts_of(card: dict[str, Any]) -> tuple[Layout, ...]:
    """The layouts of a checked card: ``[layout]`` or ``[[layout]]``; the Decathlon's folders where it names none."""
    given = card.get("layout", {"image": f"imagesTr/{CASE}.nii.gz", "label": f"labelsTr/{CASE}.nii.gz"})
    rows = given if isinstance(given, list) else [given]
    return tuple(
        Layout(
            row.get("name", "the card's layout"),
            tuple(row.get("below", (_ROOT,))),
            tuple(map(Place, _patterns(row["image"]), _patterns(row["label"]))),
        )
        for row in rows
    )


def is_layout(value: object) -> bool:
    """True for a table, or a list of tables."""
    return isinstance(value, dict) or is_rows(value)


def check_layouts(card: dict[str, Any], where: str) -> None:
    """See that every pattern of a card's layouts stays in the data root and tells cases, images and masks apart.

    Raises:
        RequestError: one does not.
    """
    several = isinstance(card["layout"], list)
    rows = card["layout"] if several else [card["layout"]]
    for number, row in enumerate(rows, 1):
        here = f"{where}, layout" + f" {number}" * several
        check_keys(row, _NEEDED | ({"name": TEXT} if several else {}), _OPTIONAL, here)
        images, labels = _patterns(row["image"]), _patterns(row["label"])
        if len(images) != len(labels):
            raise RequestError(f"{here}: {len(images)} patterns for images, and {len(labels)} for labels")
        for image, label in zip(images, labels):
            _check_pattern(image, image.replace(CASE, ""), here)
            name = PurePosixPath(label).name
            _check_pattern(label, label.removesuffix(name).replace(CASE, "") + _bare(name), here)
            if image == label:
                raise RequestError(f"{here}: image and label are the same file, '{image}'")
            if STRUCTURE in label:
                _check_structures(card, here)
        for folder in row.get("below", ()):
            if leaves_root(folder) or re.search("[{}]", folder):
                raise RequestError(f"{here}: '{folder}' is no folder below the data root")
    double = first_double([row.get("name") for row in rows])
    if double is not None:
        raise RequestError(f"{where}: two layouts have the name '{double}'")


def _bare(name: str) -> str:
    return name.replace(CASE, "").replace(STRUCTURE, "", 1)


def _check_pattern(pattern: str, rest: str, where: str) -> None:
    if leaves_root(pattern):
        raise RequestError(f"{where}: '{pattern}' leaves the data root")
    if CASE not in pattern or re.search("[{}]", rest):
        raise RequestError(f"{where}: '{pattern}' needs {{case}} in it, and no other brackets of that kind")


def _check_structures(card: dict[str, Any], where: str) -> None:
    bad = next((row["name"] for row in card["label"] if re.search(r"[/\\]|^\.", row["name"])), None)
    if bad is not None:
        raise RequestError(f"{where}: it has a file for each structure, and '{bad}' cannot be the name of a file")


def _patterns(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _joined(below: str, pattern: str, case: str) -> str:
    path = pattern.replace(CASE, case)
    return path if below == _ROOT else f"{below}/{path}"


def _has_label(root: Path, label: str) -> bool:
    return (root / label).parent.is_dir() if STRUCTURE in label else (root / label).is_file()


_PATTERNS = (
    lambda value: is_text(value) or (is_list(value, is_text) and value != []),
    "a text, or a list of texts",
)
_NEEDED = {"image": _PATTERNS, "label": _PATTERNS}
_OPTIONAL = {"name": TEXT, "below": (lambda value: is_list(value, is_text) and value != [], "a list of folders")}
