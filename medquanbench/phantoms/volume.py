"""What a phantom generator hands back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Phantom:
    """A volume with its labels.

    image: int16 (x, y, z), Hounsfield units of a CT, arbitrary units of an MR. label: uint8 (x, y, z), 0 is background.
    affine: float64 (4, 4), voxel index to RAS+ world millimetres (x to the patient's right, y to the front, z to the
    head); axis-aligned, an axis may be flipped.
    """

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along the array axes, in millimetres."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)
