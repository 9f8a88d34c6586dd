"""The splits of a dataset card: lists and ranges of case names, in parts (floor 2).

``[split]`` is the card's own, its parts ``test``, ``train``, ... A published split with a name of its own is a table in
it, ``[split.transunet]``; its parts are then called ``transunet-test``, ... A part is a list of case names, a range
``{ first = "s0001", last = "s0099" }``, or a list of both.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

from medquanbench.dataset_checks import FILE_NAME, first_double, is_list, is_table, is_text
from medquanbench.values import RequestError

_CALIBRATION, _TEST = "calibration", "test"
_LONGEST_RANGE = 100_000


def splits_of(card: dict[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(split, case names) of a checked card: its own parts, then those of the splits with names."""
    return tuple((name, tuple(_names(part))) for group in _groups(card["split"]) for name, part in group.items())


def is_split(value: object) -> bool:
    """True for a table of parts, or of tables of parts."""
    return value != {} and is_table(value, lambda part: _is_part(part) or (part != {} and is_table(part, _is_part)))


def check_splits(card: dict[str, Any], file: Path) -> None:
    """See that names are names, and that no case stands where it must not.

    A case stands once in a split; only ``calibration`` may take cases from others than ``test``.

    Raises:
        RequestError: one does not.
    """
    where = f"the split of {file}"
    groups = _groups(card["split"])
    parts = [name for group in groups for name in group]
    bad = next((name for name in parts if not FILE_NAME.fullmatch(name)), first_double(parts))
    if bad is not None:
        raise RequestError(
            f"{where}: '{bad}' cannot be the name of a split (letters, digits, _ - .), or is there twice"
        )
    for range_ in (item for group in groups for part in group.values() for item in _ranges(part)):
        if _ends(range_) is None:
            told = f"from '{range_['first']}' to '{range_['last']}'"
            raise RequestError(f"{where}: no range leads {told}; names need one stem and as many digits at their end")
    for group in groups:
        _check_group({name: _names(part) for name, part in group.items()}, where)


def _check_group(group: dict[str, list[str]], where: str) -> None:
    for name in itertools.chain(*group.values()):
        if not FILE_NAME.fullmatch(name):
            raise RequestError(f"{where}: '{name}' is no case name (letters, digits, _ - .)")
    own = {name: names for name, names in group.items() if not _is(name, _CALIBRATION)}
    tests = {name: names for name, names in group.items() if _is(name, _TEST)}
    for name in set(group) - set(own):
        _check_once(list(itertools.chain(group[name], *tests.values())), where)
    _check_once(list(itertools.chain(*own.values())), where)


def _check_once(names: list[str], where: str) -> None:
    double = first_double(names)
    if double is not None:
        raise RequestError(f"{where}: '{double}' is named twice")


def _is(name: str, part: str) -> bool:
    return name == part or name.endswith(f"-{part}")


def _groups(split: dict[str, Any]) -> list[dict[str, Any]]:
    """The card's own parts, then those of each split with a name; with the names by which they are asked for."""
    own = {name: part for name, part in split.items() if _is_part(part)}
    named = [
        {f"{name}-{part}": names for part, names in parts.items()} for name, parts in split.items() if name not in own
    ]
    return [own, *named]


def _is_part(value: object) -> bool:
    return _is_range(value) or is_list(value, lambda item: is_text(item) or _is_range(item))


def _is_range(value: object) -> bool:
    return is_table(value, is_text) and set(value) == {"first", "last"}


def _ranges(part: list | dict) -> list[dict[str, str]]:
    return [part] if isinstance(part, dict) else [item for item in part if isinstance(item, dict)]


def _names(part: list | dict) -> list[str]:
    items = [part] if isinstance(part, dict) else part
    return [name for item in items for name in (_spelled(item) if isinstance(item, dict) else [item])]


def _spelled(range_: dict[str, str]) -> list[str]:
    stem, low, high = _ends(range_)
    return [f"{stem}{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]


def _ends(range_: dict[str, str]) -> tuple[str, str, str] | None:
    """Stem, first and last number as they are written; None where the ends do not belong together."""
    one, other = (re.fullmatch(r"(.*?)([0-9]+)", range_[end]) for end in ("first", "last"))
    if not one or not other or one[1] != other[1] or len(one[2]) != len(other[2]):
        return None
    return (one[1], one[2], other[2]) if 0 <= int(other[2]) - int(one[2]) < _LONGEST_RANGE else None
