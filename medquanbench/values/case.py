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

    @property
    def files(self) -> tuple[Path, ...]:
        """All files: images, then the reference where there is one."""
        return self.inputs if self.target is None else (*self.inputs, self.target)
