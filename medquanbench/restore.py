"""How an answer returns to the image's own grid. One function and one line of the table for each way (floor 2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medquanbench.images import Grid


def restore_labels(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Carry a label map to another grid, each target voxel taking the nearest source voxel's label; outside is 0.

    Exact for grids whose axes are parallel up to order and sign (what reorienting and resampling make): there a voxel's
    position along one axis does not depend on the others, and three index arrays do it.

    Raises:
        ValueError: the grids are oblique to each other.
    """
    step = np.linalg.inv(source.affine) @ target.affine
    linear = step[:3, :3]
    axis_of = np.abs(linear).argmax(axis=1)  # source axis -> target axis
    main = np.zeros_like(linear)
    main[range(3), axis_of] = linear[range(3), axis_of]
    if sorted(axis_of) != [0, 1, 2] or np.abs(linear - main).max() * max(target.shape) > 0.01:
        raise ValueError("the grids are oblique to each other: axes must be parallel up to order and sign")
    padded = np.pad(labels, 1)  # an index outside lands on the border of zeros
    picks = [np.empty(0, np.int64)] * 3
    for axis, along in enumerate(axis_of):
        position = np.rint(linear[axis, along] * np.arange(target.shape[along]) + step[axis, 3])
        picks[along] = np.clip(position, -1, source.shape[axis]).astype(np.int64) + 1
    return padded.transpose(np.argsort(axis_of))[np.ix_(*picks)]


RESTORES: dict[str, Callable[[np.ndarray, Grid, Grid], np.ndarray]] = {"labels-nearest": restore_labels}
"""What a config may name as ``restore``: (labels on the network's grid, that grid, the image's grid) -> labels."""
