"""Case: one subject of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One subject: its name, its image files in channel order, and its reference (None where there is none)."""

    name: str
    inputs: tuple[Path, ...]
    target: Path | None
