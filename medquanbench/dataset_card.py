"""Whether a dataset card holds what it must, each of the right kind (floor 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medquanbench.dataset_checks import (
    FILE_NAME,
    LABEL,
    MAY_BE_EMPTY,
    TEXT,
    Kind,
    check_keys,
    check_known,
    first_double,
    is_label,
    is_length,
    is_list,
    is_rows,
    is_table,
    is_text,
    is_whole,
    leaves_root,
    matching,
)
from medquanbench.dataset_splits import check_splits, is_split, splits_of
from medquanbench.layouts import check_layouts, is_layout
from medquanbench.values import RequestError, not_found

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
    if not is_text(card["name"]) or not FILE_NAME.fullmatch(card["name"]):
        raise RequestError(f"{where}: 'name' must be a name for files, of letters, digits, _ - and .")
    check_known(card, {"name", *_NEEDED, *_OPTIONAL}, where)
    _check_labels(card["label"], where)
    _check_background(card, where)
    if "layout" in card:
        check_layouts(card, where)
    for pair in card.get("pairs", ()):
        check_keys(pair, {"case": TEXT, "image": TEXT, "label": TEXT}, {}, f"{where}, pairs")
    check_splits(card, file)
    if "phantom" in card:
        _check_phantom(card, where)
    _check_pairs(card, file)
    _check_label_map(card, file)
    _check_patients(card, where)
    _check_access(card, where)


def _named(card: dict) -> dict[str, None]:
    """Every case that a split names, once."""
    return dict.fromkeys(name for _, names in splits_of(card) for name in names)


def _check_labels(rows: Sequence[dict], where: str) -> None:
    needed = {"index": LABEL, "name": TEXT, "tolerance_mm": (is_length, "a number above 0")}
    for number, row in enumerate(rows, 1):
        check_keys(row, needed, {"stored": LABEL, "tolerance_source": TEXT}, f"{where}, label {number}")
    for key, values in (
        ("index", [row["index"] for row in rows]),
        ("name", [row["name"] for row in rows]),
        ("stored value", [row.get("stored", row["index"]) for row in rows]),
    ):
        double = first_double(values)
        if double is not None:
            raise RequestError(f"{where}: two labels have the {key} '{double}'")


def _check_background(card: dict, where: str) -> None:
    values = card.get("background", [])
    double = first_double(values)
    if double is not None:
        raise RequestError(f"{where}: 'background' holds {double} twice")
    for row in card["label"]:
        if row.get("stored", row["index"]) in values:
            stored = row.get("stored", row["index"])
            raise RequestError(f"{where}: 'background' holds {stored}, the value of '{row['name']}'")


def _check_phantom(card: dict, where: str) -> None:
    from medquanbench.phantoms import PHANTOMS  # loads scipy, which real data does not need

    if card["phantom"] not in PHANTOMS:
        raise not_found("phantom", card["phantom"], where, list(PHANTOMS))
    lacking = [name for name in _named(card) if name not in card.get("seed", {})]
    if lacking:
        raise RequestError(f"{where}: {len(lacking)} cases of the split have no seed, first '{lacking[0]}'")


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
    double, lacking = first_double(cases), next((name for name in _named(card) if name not in cases), None)
    if double is not None or lacking is not None:
        what = f"the split names '{lacking}', which has no files" if double is None else f"'{double}' is there twice"
        raise RequestError(f"the pairs of {file}: {what}")


def _check_label_map(card: dict, file: Path) -> None:
    structures = [row["name"] for row in card["label"]]
    for name in card.get("label_map", {}):
        if name not in structures:
            where = f"the labels of {file}, from which its label_map maps"
            raise not_found("structure", name, where, structures, near=True)


def _check_patients(card: dict, where: str) -> None:
    named = _named(card) if "patient" in card else {}
    for case in card.get("patient", {}):
        if case not in named:
            raise RequestError(f"{where}: 'patient' names '{case}', which is in no split")


def _check_access(card: dict, where: str) -> None:
    if "access" in card:
        check_keys(card["access"], {"steps": TEXT}, {}, f"{where}, access")
    for number, row in enumerate(card.get("download", ()), 1):
        here = f"{where}, download {number}"
        check_keys(row, {"file": _DOWNLOAD_FILE}, _DOWNLOAD, here)
        if ("url" in row) == ("zenodo" in row):
            raise RequestError(f"{here} must have one of 'url' and 'zenodo'")


_DOWNLOAD_FILE = matching(FILE_NAME.pattern, "a name for files, of letters, digits, _ - and .")
_DOWNLOAD: dict[str, Kind] = {
    "url": matching(r"https?://\S+", "a text that begins with https:// or http://"),
    "zenodo": matching(r"[0-9]+", "the number of a Zenodo record, as a text"),
    "bytes": (lambda value: is_whole(value) and value > 0, "a whole number above 0"),
    "md5": matching("[0-9a-f]{32}", "32 hexadecimal digits"),
    "sha256": matching("[0-9a-f]{64}", "64 hexadecimal digits"),
}
_NEEDED: dict[str, Kind] = {
    "version": (is_whole, "a whole number"),
    "title": TEXT,
    "task": TEXT,
    "modality": TEXT,
    "source": TEXT,
    "licence": TEXT,
    "tolerance_source": TEXT,
    "split": (is_split, 'a table of lists of case names, like test = ["a", "b"]'),
    "label": (is_rows, "a list of tables, [[label]]"),
}
_OPTIONAL: dict[str, Kind] = {
    "citation": MAY_BE_EMPTY,
    "description": MAY_BE_EMPTY,
    "reference": MAY_BE_EMPTY,
    "phantom": TEXT,
    "background": (lambda value: is_list(value, is_label), "a list of whole numbers above 0"),
    "layout": (is_layout, "a table, or a list of tables, [[layout]]"),
    "pairs": (is_rows, "a list of tables, [[pairs]]"),
    "label_map": (lambda value: is_table(value, is_text), "a table of texts"),
    "patient": (lambda value: is_table(value, is_text), "a table of texts"),
    "access": (lambda value: isinstance(value, dict), "a table"),
    "download": (is_rows, "a list of tables, [[download]]"),
    "seed": (
        lambda value: is_table(value, lambda seed: is_whole(seed) and 0 <= seed <= _MAX_SEED),
        f"a table of whole numbers from 0 to {_MAX_SEED}",
    ),
    "sha256": (lambda value: isinstance(value, dict), "a table"),
}
