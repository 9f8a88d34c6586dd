"""How a label map returns to the image's own grid (floor 2)."""

from __future__ import annotations

import numpy as np

from medquanbench.images import Grid
from medquanbench.values import RequestError

# At the far end of the volume; what rounding an orientation to four digits does to 1000 voxels.
_OBLIQUE_VOXELS = 0.1
# NIfTI keeps affines in single precision: finer positions, in voxels, are noise that changes when a file is turned.
_START_DECIMALS, _POSITION_DECIMALS = 3, 4


def restore_labels(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Carry a label map to another grid, each target voxel taking the nearest source voxel's label; outside is 0.

    Exact for grids whose axes are parallel up to order and sign (what reorienting and resampling make): there a voxel's
    position along one axis does not depend on the others, and three index arrays do it.

    Raises:
        RequestError: the grids are oblique to each other.
    """
    step = np.linalg.inv(source.affine) @ target.affine
    linear = step[:3, :3]
    axis_of = np.abs(linear).argmax(axis=1)  # source axis -> target axis
    main = np.zeros_like(linear)
    main[range(3), axis_of] = linear[range(3), axis_of]
    if sorted(axis_of) != [0, 1, 2] or np.abs(linear - main).max() * max(target.shape) > _OBLIQUE_VOXELS:
        raise RequestError(
            "the preprocessing turns the image so that its axes are oblique to the file's, and the answer cannot be "
            "laid over the image: the axes of both must be parallel"
        )
    padded = np.pad(labels, 1)  # an index outside lands on the border of zeros
    picks = [np.empty(0, np.int64)] * 3
    for axis, along in enumerate(axis_of):
        picks[along] = _nearest(linear[axis, along], step[axis, 3], target.shape[along], source.shape[axis]) + 1
    return padded.transpose(np.argsort(axis_of))[np.ix_(*picks)]


def _nearest(scale: float, offset: float, size: int, source_size: int) -> np.ndarray:
    """Nearest source index of each of ``size`` target indices; -1 or ``source_size`` outside.

    Halfway between two is common (2.5 mm slices read at 5 mm) and goes to the odd index: alternating, so that nothing
    is shifted, and never beyond the end, because MONAI's Spacing rounds its number of voxels in the same way.
    """
    first = offset if scale > 0 else scale * (size - 1) + offset  # counted from the end where the source begins
    position = np.round(abs(scale) * np.arange(size) + np.round(first, _START_DECIMALS), _POSITION_DECIMALS)
    nearest = np.rint(position + 1) - 1
    inside = (position >= -0.5) & (position <= source_size - 0.5)
    nearest = np.where(inside, np.clip(nearest, 0, source_size - 1), np.clip(nearest, -1, source_size))
    return (nearest if scale > 0 else nearest[::-1]).astype(np.int64)
