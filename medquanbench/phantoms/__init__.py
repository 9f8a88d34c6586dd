"""Procedural volumes with known labels: what the benchmark runs on where no patient data is at hand.

A phantom is named `<what it stands for>-phantom/<version>`. What a version makes from a seed never changes: a generator
that draws otherwise is a new version beside the old one.
"""

from __future__ import annotations

from collections.abc import Callable

from medquanbench.phantoms.btcv import btcv_phantom
from medquanbench.phantoms.volume import Phantom
from medquanbench.phantoms.wholebrain import wholebrain_phantom

PHANTOMS: dict[str, Callable[[int], Phantom]] = {
    "btcv-phantom/1": btcv_phantom,
    "wholebrain-phantom/1": wholebrain_phantom,
}

__all__ = ["PHANTOMS", "Phantom"]
