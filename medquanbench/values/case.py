"""Case: one subject of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One subject: its image files in channel order, and its reference.

    Attributes:
        target: the reference's label map; the folder of the masks where there are masks; None where there is none.
        masks: (label index, binary mask file) in painting order, later over earlier; empty: ``target`` is a label map.
    """

    name: str
    inputs: tuple[Path, ...]
    target: Path | None
    masks: tuple[tuple[int, Path], ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files: images, then the reference: its masks, or its label map, where there is one."""
        if self.masks:
            return (*self.inputs, *(file for _, file in self.masks))
        return self.inputs if self.target is None else (*self.inputs, self.target)
