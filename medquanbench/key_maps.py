"""Key maps: which tensors of a checkpoint from another version of a library belong to no living parameter (floor 2).

A bundle's config names them, one a version::

    "key_maps": {"monai-0.7": {"drop": ["vit.patch_embedding.cls_token"], "unread": ["vit.blocks.*.norm_cross_attn.*"]}}

``drop``: patterns of keys that the checkpoint has and the network does not need; each must be there. ``unread``:
patterns of the network's own tensors that its forward never reads, which the checkpoint may lack. ``*`` crosses dots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from medquanbench.values import RequestError


@dataclass(frozen=True)
class KeyMap:
    """One version's keys: what to drop from the checkpoint, and what of the network it may lack."""

    name: str
    drop: tuple[str, ...]
    unread: tuple[str, ...]

    def suits(self, keys: Iterable[str]) -> bool:
        """True where every pattern of ``drop`` finds a key."""
        keys = tuple(keys)
        return all(any(fnmatchcase(key, pattern) for key in keys) for pattern in self.drop)

    def drops(self, key: str) -> bool:
        """True for a key of the checkpoint that is left out."""
        return _matches(key, self.drop)

    def leaves(self, key: str) -> bool:
        """True for a key of the network that may keep what it was built with."""
        return _matches(key, self.unread)


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def read_key_maps(table: Mapping[str, Mapping[str, Sequence[str]]] | None) -> tuple[KeyMap, ...]:
    """The key maps of a config's ``key_maps``; none where there is no such entry.

    Raises:
        RequestError: the entry is not of the form above.
    """
    try:
        maps = (
            tuple(KeyMap(name, tuple(m.get("drop", ())), tuple(m.get("unread", ()))) for name, m in table.items())
            if table
            else ()
        )
    except (AttributeError, TypeError):
        maps = None
    if maps is None or not all(isinstance(p, str) for m in maps for p in m.drop + m.unread):
        raise RequestError(
            'key_maps in the bundle\'s config: {"NAME": {"drop": [patterns], "unread": [patterns]}} is needed'
        )
    return maps
