"""Networks, or parts of networks, that no package ships; one file each. Floor 1: imports nothing of this package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"PatchMergingBefore15": "medquanbench.networks.patch_merging"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazily: patch merging needs MONAI, which takes seconds to import and which the other networks do without.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_HOMES[name]), name)
