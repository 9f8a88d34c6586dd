"""Whether a dataset card holds what it must, each of the right kind (floor 2)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from medquanbench.values import RequestError, not_found

_FILE_NAME = re.compile(r"[\w-][\w.-]*")
_MAX_LABEL = 65535  # a label map holds 16 bits
_MAX_SEED = 2**32 - 1


def check_card(card: dict[str, Any], file: Path) -> None:
    """Look at all that a card says, before anything is made of it.

    Raises:
        RequestError: something is missing, of a wrong kind, there twice, or leads out of the data root.
    """
    where = f"the dataset card {file}"
    lacking = [key for key in ("name", *_NEEDED) if key not in card]
    if lacking:
        raise RequestError(f"{where} has no {', '.join(map(repr, lacking))}")
    for key, (check, kind) in (_NEEDED | _OPTIONAL).items():
        if key in card and not check(card[key]):
            raise RequestError(f"{where}: '{key}' must be {kind}")
    if not _is_text(card["name"]) or not _FILE_NAME.fullmatch(card["name"]):
        raise RequestError(f"{where}: 'name' must be a name for files, of letters, digits, _ - and .")
    _check_labels(card["label"], where)
    if "layout" in card:
        _check_layout(card["layout"], where)
    for pair in card.get("pairs", ()):
        _check_keys(pair, {"case": _TEXT, "image": _TEXT, "label": _TEXT}, f"{where}, pairs")
    if "phantom" in card:
        _check_phantom(card, where)
    _check_names(card, file)
    _check_pairs(card, file)
    _check_label_map(card, file)


def leaves_root(path: str) -> bool:
    """True for a path that is absolute or climbs out of the folder that it is relative to."""
    return PurePosixPath(path).is_absolute() or ".." in re.split(r"[/\\]", path)


def _check_labels(rows: Sequence[dict], where: str) -> None:
    kinds = {
        "index": (lambda v: _is_whole(v) and 1 <= v <= _MAX_LABEL, f"a whole number from 1 to {_MAX_LABEL}"),
        "name": _TEXT,
        "tolerance_mm": (_is_length, "a number above 0"),
    }
    for number, row in enumerate(rows, 1):
        _check_keys(row, kinds, f"{where}, label {number}")
    for key in ("index", "name"):
        values = [row[key] for row in rows]
        double = next((value for value in values if values.count(value) > 1), None)
        if double is not None:
            raise RequestError(f"{where}: two labels have the {key} '{double}'")


def _check_layout(layout: dict, where: str) -> None:
    _check_keys(layout, {"image": _TEXT, "label": _TEXT}, f"{where}, layout")
    for key in ("image", "label"):
        if leaves_root(layout[key]):
            raise RequestError(f"{where}, layout: '{layout[key]}' leaves the data root")
        if layout[key].count("{case}") < 1 or re.search("[{}]", layout[key].replace("{case}", "")):
            raise RequestError(
                f"{where}, layout: '{layout[key]}' needs {{case}} in it, and no other brackets of that kind"
            )
    if layout["image"] == layout["label"]:
        raise RequestError(f"{where}, layout: image and label are the same file, '{layout['image']}'")


def _check_phantom(card: dict, where: str) -> None:
    from medquanbench.phantoms import PHANTOMS  # loads scipy, which real data does not need

    if card["phantom"] not in PHANTOMS:
        raise not_found("phantom", card["phantom"], where, list(PHANTOMS))
    seeds = card.get("seed", {})
    lacking = [name for names in card["split"].values() for name in names if name not in seeds]
    if lacking:
        raise RequestError(f"{where}: {len(lacking)} cases of the split have no seed, first '{lacking[0]}'")


def _check_names(card: dict, file: Path) -> None:
    # Case names become file names, of images and of results.
    names = [name for split in card["split"].values() for name in split]
    bad = [name for name in names if not _FILE_NAME.fullmatch(str(name))]
    double = sorted({str(name) for name in names if names.count(name) > 1})
    if bad or double:
        what = f"'{bad[0]}' is no case name (letters, digits, _ - .)" if bad else f"'{double[0]}' is named twice"
        raise RequestError(f"the split of {file}: {what}")


def _check_pairs(card: dict, file: Path) -> None:
    if "pairs" not in card:
        return
    if "layout" in card or "phantom" in card:
        raise RequestError(f"the dataset card {file} has pairs and a layout or phantom; it can have one of them")
    for pair in card["pairs"]:
        for path in (pair["image"], pair["label"]):
            if leaves_root(path):
                raise RequestError(f"the pairs of {file}: '{path}' leaves the data root")
    cases = [pair["case"] for pair in card["pairs"]]
    double = sorted({case for case in cases if cases.count(case) > 1})
    lacking = [name for names in card["split"].values() for name in names if name not in cases]
    if double or lacking:
        what = f"'{double[0]}' is there twice" if double else f"the split names '{lacking[0]}', which has no files"
        raise RequestError(f"the pairs of {file}: {what}")


def _check_label_map(card: dict, file: Path) -> None:
    structures = [row["name"] for row in card["label"]]
    for name in card.get("label_map", {}):
        if name not in structures:
            where = f"the labels of {file}, from which its label_map maps"
            raise not_found("structure", name, where, structures, near=True)


def _check_keys(row: dict, kinds: dict[str, tuple[Callable[[Any], bool], str]], where: str) -> None:
    for key, (check, kind) in kinds.items():
        if key not in row:
            raise RequestError(f"{where} has no '{key}'")
        if not check(row[key]):
            raise RequestError(f"{where}: '{key}' must be {kind}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_length(value: object) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value) and value > 0


def _is_list(value: object, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(check, value))


def _is_table(value: object, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(check, value.values()))


def _is_rows(value: object) -> bool:
    return _is_list(value, lambda row: isinstance(row, dict)) and value != []


_TEXT = (_is_text, "a text")
_MAY_BE_EMPTY = (lambda value: isinstance(value, str), "a text")
_NEEDED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "version": (_is_whole, "a whole number"),
    "title": _TEXT,
    "task": _TEXT,
    "modality": _TEXT,
    "source": _TEXT,
    "licence": _TEXT,
    "tolerance_source": _TEXT,
    "split": (
        lambda value: _is_table(value, lambda names: _is_list(names, _is_text)) and value != {},
        'a table of lists of case names, like test = ["a", "b"]',
    ),
    "label": (_is_rows, "a list of tables, [[label]]"),
}
_OPTIONAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "citation": _MAY_BE_EMPTY,
    "description": _MAY_BE_EMPTY,
    "reference": _MAY_BE_EMPTY,
    "phantom": _TEXT,
    "layout": (lambda value: isinstance(value, dict), "a table"),
    "pairs": (_is_rows, "a list of tables, [[pairs]]"),
    "label_map": (lambda value: _is_table(value, _is_text), "a table of texts"),
    "seed": (
        lambda value: _is_table(value, lambda seed: _is_whole(seed) and 0 <= seed <= _MAX_SEED),
        f"a table of whole numbers from 0 to {_MAX_SEED}",
    ),
}
