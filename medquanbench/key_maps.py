"""Key maps: which tensors of a checkpoint from another version of a library belong to no living parameter (floor 2).

A bundle's config names them, one a version::

    "key_maps": {"monai-0.7": {"drop": ["vit.patch_embedding.cls_token"], "unread": ["vit.blocks.*.norm_cross_attn.*"]}}

``drop``: patterns of keys that the checkpoint has and the network does not need; each must be there. ``unread``:
patterns of the network's own tensors that its forward never reads, which the checkpoint may lack. ``*`` crosses dots.
``rename``: beginnings of keys and what stands in their place in the network, before the others look at them; each must
be there, too. ``config``: what that version's weights need otherwise in the bundle's config, by MONAI's ids
(``"network_def#conv_norm_eps": 1e-5``): keys and shapes do not tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from medquanbench.values import RequestError


@dataclass(frozen=True)
class KeyMap:
    """One version's keys: what to drop from the checkpoint, what of the network it may lack, what has another name.

    Attributes:
        config: ids of the bundle's config and the values that they have for weights of that version.
    """

    name: str
    drop: tuple[str, ...]
    unread: tuple[str, ...]
    rename: tuple[tuple[str, str], ...] = ()
    config: tuple[tuple[str, Any], ...] = ()

    def suits(self, keys: Iterable[str]) -> bool:
        """True where every pattern of ``drop`` and every beginning of ``rename`` finds a key, and no two become one."""
        keys = tuple(keys)
        named = [self.renamed(key) for key in keys]
        begins = all(any(key.startswith(old) for key in keys) for old, _ in self.rename)
        return (
            begins
            and len(set(named)) == len(keys)
            and all(any(fnmatchcase(key, pattern) for key in named) for pattern in self.drop)
        )

    def renamed(self, key: str) -> str:
        """The network's name for a key of the checkpoint."""
        return next((new + key.removeprefix(old) for old, new in self.rename if key.startswith(old)), key)

    def drops(self, key: str) -> bool:
        """True for a key of the checkpoint that is left out."""
        return _matches(key, self.drop)

    def leaves(self, key: str) -> bool:
        """True for a key of the network that may keep what it was built with."""
        return _matches(key, self.unread)


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def read_key_maps(table: Mapping[str, Mapping[str, Any]] | None) -> tuple[KeyMap, ...]:
    """The key maps of a config's ``key_maps``; none where there is no such entry.

    Raises:
        RequestError: the entry is not of the form above.
    """
    try:
        maps = tuple(_read(name, entry) for name, entry in (table or {}).items())
    except (AttributeError, TypeError):
        maps = None
    if maps is None or not all(
        isinstance(text, str) for m in maps for text in (*m.drop, *m.unread, *sum(m.rename, ()), *dict(m.config))
    ):
        form = '{"NAME": {"drop": [patterns], "unread": [patterns], "rename": {"old": "new"}, "config": {"id": value}}}'
        raise RequestError(f"key_maps in the bundle's config: {form} is needed")
    return maps


def _read(name: str, entry: Mapping[str, Any]) -> KeyMap:
    unknown = set(entry) - {"drop", "unread", "rename", "config"}
    if unknown:
        raise TypeError(f"unknown keys {unknown}")
    rename = tuple(entry.get("rename", {}).items())
    config = tuple((entry.get("config") or {}).items())  # None: MONAI's command line took it away
    return KeyMap(name, tuple(entry.get("drop", ())), tuple(entry.get("unread", ())), rename, config)
