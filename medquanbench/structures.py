"""What structures are called: names of one structure in different label sets, and wholes made of parts (floor 2).

The names stand in a file of the datasets shelf, ``structures/names.toml``, which also says how it is read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from medquanbench import shelf

_SIDES = ("left", "right")
_INITIALS = {"l": "left", "r": "right"}


@dataclass(frozen=True)
class Match:
    """The names that stand for one structure on either side: one on one side at least, its parts on the other."""

    structures: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    """A name as it is read: its words without the side, and the side ("" where it tells none)."""

    words: tuple[str, ...]
    side: str

    @property
    def text(self) -> str:
        return "_".join((*self.words, self.side) if self.side else self.words)


@dataclass(frozen=True)
class _Names:
    """The file's content. ``spelling``: the words of a name -> how the file writes it."""

    spelling: Mapping[tuple[str, ...], str]
    paired: frozenset[tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]
    aliases: Mapping[tuple[str, ...], _Reading]
    unions: Mapping[str, tuple[str, ...]]


def canonical(name: str) -> str | None:
    """The name under which a structure is known here, such as ``kidney_right`` for "Right Kidney"; None: not known."""
    reading, names = _read(name), _names()
    if reading.words not in names.spelling or (reading.side and reading.words not in names.paired):
        return None
    return "_".join(filter(None, (names.spelling[reading.words], reading.side)))


@cache
def key(name: str) -> str:
    """What two names of one structure have in common: the canonical name; for others the words, then the side."""
    return canonical(name) or _read(name).text


def parts(name: str) -> frozenset[str]:
    """The keys of the smallest structures that a name stands for: itself, where it is no union of others."""
    return _parts(key(name))


def matches(structures: Sequence[str], outputs: Sequence[str]) -> tuple[Match, ...]:
    """Which names stand for the same: equal ones, and wholes whose parts are all there on the other side.

    Every name is in at most one match; small structures come before the wholes that hold them. The order is that of
    ``outputs``, by the first of each match.
    """
    found = _equal(structures, outputs)
    free = ({*structures}, {*outputs})
    for match in found:
        _take(match, free)
    both = [(name, 0) for name in structures] + [(name, 1) for name in outputs]
    wholes = (row for row in both if len(parts(row[0])) > 1)
    for whole, side in sorted(wholes, key=lambda row: len(parts(row[0]))):
        made_of = _made_of(whole, (outputs, structures)[side], free[1 - side]) if whole in free[side] else ()
        if made_of:
            found.append(Match(made_of, (whole,)) if side else Match((whole,), made_of))
            _take(found[-1], free)
    return tuple(sorted(found, key=lambda match: outputs.index(match.outputs[0])))


def _take(match: Match, free: tuple[set[str], set[str]]) -> None:
    free[0].difference_update(match.structures)
    free[1].difference_update(match.outputs)


def _made_of(whole: str, others: Sequence[str], free: set[str]) -> tuple[str, ...]:
    """The free names among the others that make up a whole exactly, no part twice; none where they do not."""
    inside = tuple(name for name in others if name in free and parts(name) < parts(whole))
    there = sorted(part for name in inside for part in parts(name))
    return inside if there == sorted(parts(whole)) else ()


def _equal(structures: Sequence[str], outputs: Sequence[str]) -> list[Match]:
    by_key: dict[str, tuple[list[str], list[str]]] = {}
    for side, side_names in enumerate((structures, outputs)):
        for name in side_names:
            by_key.setdefault(key(name), ([], []))[side].append(name)
    return [Match(tuple(ours), tuple(theirs)) for ours, theirs in by_key.values() if ours and theirs]


@cache
def _parts(name: str) -> frozenset[str]:
    names = _names()
    if name in names.unions:
        return frozenset().union(*map(_parts, names.unions[name]))
    return frozenset((name,))


def _read(name: str) -> _Reading:
    names = _names()
    reading = _sided([word for text in re.findall(r"[^\W_]+", name.lower()) for word in names.words.get(text, (text,))])
    known = _known_reading(reading, names)
    if known is None and not reading.side and len(reading.words) > 1:
        known = _by_initial(reading.words, names)
    return known or reading


def _sided(words: Sequence[str]) -> _Reading:
    sides = [word for word in words if word in _SIDES]
    if len(sides) != 1:
        return _Reading(tuple(words), "")  # no side, or two: nothing is guessed
    return _Reading(tuple(word for word in words if word not in _SIDES), sides[0])


def _known_reading(reading: _Reading, names: _Names) -> _Reading | None:
    alias = names.aliases.get(reading.words)
    if alias is None:
        return reading if reading.words in names.spelling else None
    if alias.side and reading.side:
        return None  # "left RK": nothing is guessed
    return _Reading(alias.words, alias.side or reading.side)


def _by_initial(words: tuple[str, ...], names: _Names) -> _Reading | None:
    """``kidney(L)``, ``L Kidney``: an initial is a side where the rest is a structure that each side has."""
    for initial, rest in ((words[-1], words[:-1]), (words[0], words[1:])):
        known = _known_reading(_Reading(rest, ""), names) if initial in _INITIALS else None
        if known is not None and not known.side and known.words in names.paired:
            return _Reading(known.words, _INITIALS[initial])
    return None


@cache
def _names() -> _Names:
    content = tomllib.loads((shelf.shelf(shelf.DATASETS) / "structures" / "names.toml").read_text())
    spoken = {word.lower(): tuple(meaning.lower().split()) for word, meaning in content["words"].items()}

    def plain(name: str) -> list[str]:
        return [word for text in re.findall(r"[^\W_]+", name.lower()) for word in spoken.get(text, (text,))]

    single, paired = ([name for group in content[kind].values() for name in group] for kind in ("single", "paired"))
    both = {name: tuple(f"{name}_{side}" for side in _SIDES) for name in paired}
    return _Names(
        {tuple(plain(name)): name for name in (*single, *paired)},
        frozenset(tuple(plain(name)) for name in paired),
        spoken,
        {tuple(plain(alias)): _sided(plain(name)) for alias, name in content["aliases"].items()},
        both | {whole: tuple(made_of) for whole, made_of in content["unions"].items()},
    )
