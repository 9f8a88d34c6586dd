"""Heads of `wholebrain-phantom/1`, made once for all tests of a process."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from medquanbench.phantoms import PHANTOMS, Phantom

SHELF = Path(__file__).parents[2] / "datasets"
CARD = tomllib.loads((SHELF / "wholebrain-phantom.toml").read_text(encoding="utf-8"))
TABLE = tomllib.loads((SHELF / "wholebrain.toml").read_text(encoding="utf-8"))
LABELS = {entry["name"]: entry["index"] for entry in CARD["label"]}
PARTS = ("train", "calibration", "test")
SEEDS = (1, 2001, 2049, 2057, 2**31)
PAIRS = sorted(name.removeprefix("Right-") for name in LABELS if name.startswith("Right-"))
CORTEX = tuple(index for index in LABELS.values() if index >= 35)
WHITE = (LABELS["Right-Cerebral-White-Matter"], LABELS["Left-Cerebral-White-Matter"])


@cache
def volume(seed: int) -> Phantom:
    return PHANTOMS[CARD["phantom"]](seed)
