"""The kinds of values that a dataset card may hold (floor 2)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from medquanbench.values import RequestError, not_found

Kind = tuple[Callable[[Any], bool], str]
"""Whether a value is of a kind, and the kind in words."""

FILE_NAME = re.compile(r"[\w-][\w.-]*")
MAX_LABEL = 65535  # a label map holds 16 bits


def check_keys(row: dict, needed: Mapping[str, Kind], optional: Mapping[str, Kind], where: str) -> None:
    """See that a table has all that it needs, each of its kind, and nothing that nobody reads.

    Raises:
        RequestError: it has not.
    """
    for key, (check, kind) in (needed | optional).items():
        if key not in row and key in needed:
            raise RequestError(f"{where} has no '{key}'")
        if key in row and not check(row[key]):
            raise RequestError(f"{where}: '{key}' must be {kind}")
    check_known(row, needed.keys() | optional.keys(), where)


def check_known(row: dict, known: Collection[str], where: str) -> None:
    """See that a table has no key that nobody reads: it would be a misspelt one, or one that slid into another table.

    Raises:
        RequestError: it has one.
    """
    for key in row:
        if key not in known:
            raise not_found("key", key, f"what {where} may have", sorted(known), near=True)


def leaves_root(path: str) -> bool:
    """True for a path that is absolute or climbs out of the folder that it is relative to."""
    return PurePosixPath(path).is_absolute() or ".." in re.split(r"[/\\]", path)


def first_double(values: list) -> Any:
    """The first value that stands there twice; None where none does."""
    seen: set = set()
    return next((value for value in values if value in seen or seen.add(value)), None)


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_label(value: object) -> bool:
    return is_whole(value) and 1 <= value <= MAX_LABEL


def is_length(value: object) -> bool:
    return (is_whole(value) or isinstance(value, float)) and math.isfinite(value) and value > 0


def is_list(value: object, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(check, value))


def is_table(value: object, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(check, value.values()))


def is_rows(value: object) -> bool:
    return is_list(value, lambda row: isinstance(row, dict)) and value != []


TEXT: Kind = (is_text, "a text")
MAY_BE_EMPTY: Kind = (lambda value: isinstance(value, str), "a text")
LABEL: Kind = (is_label, f"a whole number from 1 to {MAX_LABEL}")


def matching(pattern: str, words: str) -> Kind:
    """The kind of a text that a regular expression matches as a whole."""
    return (lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, words)
