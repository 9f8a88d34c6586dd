"""How far a network's probabilities can be believed: calibration error and Brier score, gathered block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .encoding import label_codes
from .label_maps import as_label_map, as_labels, as_spacing

N_BINS = 15
"""Equal-width confidence bins, as Guo et al., On Calibration of Modern Neural Networks (ICML 2017)."""
MARGIN_MM = 10.0
"""How far a structure's bounding box is widened. The idea of the box is of Mehrtash et al., Confidence Calibration and
Predictive Uncertainty Estimation for Deep Medical Image Segmentation (IEEE TMI 2020); the width is ours."""
_EDGE_MM = 1e-6  # a spacing computed from an affine may miss the number that was meant
_WHERE = (
    f"over the voxels of the network's grid inside the bounding box of the reference's structure, widened by "
    f"{MARGIN_MM:g} mm on every side; probability: softmax of the blended logits, added up where several outputs make "
    "one structure; empty where the reference lacks the structure"
)
ECE_DEFINITION = (
    f"Expected calibration error of one structure against the rest: sum over {N_BINS} equal-width bins of the bin's "
    f"share of voxels times |mean probability - frequency of the structure|, {_WHERE}."
)
BRIER_DEFINITION = f"Brier score of one structure against the rest: mean (probability - indicator)^2, {_WHERE}."

Slices = tuple[slice, ...]


class Calibration:
    """Class-wise expected calibration error and Brier score of a case, without its probabilities ever being whole.

    Per structure, one against the rest, with n voxels in its widened box, p the probability of the structure and y 1
    where the reference holds it, else 0:

    - ECE = sum over bins b of n_b / n * |mean_b(p) - mean_b(y)| (Guo et al. 2017, Eq. 3; per class: Kull et al. 2019).
      Bin b of 15 holds ((b - 1) / 15, b / 15], the first one 0 too.
    - Brier score = mean (p - y)^2 (Brier 1950).

    The box bounds both to the structure's surroundings: far background, certain and right, would drown everything.
    """

    def __init__(
        self,
        reference: ArrayLike,
        labels: Sequence[int],
        spacing_mm: Sequence[float],
        outputs: Sequence[Sequence[int]] | None = None,
        margin_mm: float = MARGIN_MM,
    ) -> None:
        """Find the boxes.

        Args:
            reference: integer label map (x, y, z) on the network's grid.
            labels: label values of the structures, each once; scores follow their order.
            spacing_mm: voxel edge lengths of that grid, in axis order.
            outputs: for each label the rows of a block whose probabilities add up to its own; None: one row a label, in
                their order.
            margin_mm: how far boxes are widened on every side; a voxel belongs where its centre does.

        Raises:
            ValueError: a label stands twice, outputs are not one entry a label, or the reference, spacing or margin is
                none.
        """
        from scipy import ndimage

        reference, labels = as_label_map(reference, "reference"), as_labels(labels)
        if len(set(labels)) < len(labels):
            raise ValueError(f"labels are {labels}; each must stand once")
        self._outputs = [[row] for row in range(len(labels))] if outputs is None else [list(rows) for rows in outputs]
        if len(self._outputs) != len(labels):
            raise ValueError(f"outputs has {len(self._outputs)} entries; one for each of the {len(labels)} labels is "
                             "expected")  # fmt: skip
        if not margin_mm >= 0:
            raise ValueError(f"margin_mm is {margin_mm}; a number of at least 0 is expected")
        spacing = as_spacing(spacing_mm, reference.ndim)
        sought = sorted(labels)
        self._codes = label_codes(reference, sought)
        self._code_of = [sought.index(label) + 1 for label in labels]
        found = ndimage.find_objects(self._codes, max_label=len(labels))
        reach = [int((margin_mm + _EDGE_MM) / edge) for edge in spacing]
        self._boxes = [_widened(found[code - 1], reach, reference.shape) for code in self._code_of]
        # Last axis: number of bins, and one more for a probability of exactly 0, which belongs to the first.
        self._counts = np.zeros((len(labels), 2, N_BINS + 1), np.int64)
        self._confidence = np.zeros((len(labels), N_BINS + 1))
        self._squares = np.zeros(len(labels))

    def within(self, first_index: Sequence[int], shape: Sequence[int]) -> Slices | None:
        """The part of a block that some box reaches into, as slices of the block; None where there is none."""
        block = tuple(slice(first, first + size) for first, size in zip(first_index, shape, strict=True))
        parts = [part for box in self._boxes if box is not None and (part := _common(box, block)) is not None]
        if not parts:
            return None
        return tuple(
            slice(min(part[axis].start for part in parts) - first, max(part[axis].stop for part in parts) - first)
            for axis, first in enumerate(first_index)
        )

    def add(self, first_index: Sequence[int], probabilities: NDArray) -> None:
        """Count a block; every voxel that a box holds must come exactly once.

        Args:
            first_index: where the block begins in the reference.
            probabilities: (outputs, x, y, z), floats from 0 to 1.
        """
        shape = probabilities.shape[1:]
        block = tuple(slice(first, first + size) for first, size in zip(first_index, shape, strict=True))
        for place, box in enumerate(self._boxes):
            part = _common(box, block) if box is not None else None
            if part is not None:
                inside = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, block))
                probability = np.zeros(self._codes[part].shape)
                for output in self._outputs[place]:
                    probability += probabilities[output][inside]
                self._count(place, probability.ravel(), (self._codes[part] == self._code_of[place]).ravel())

    def _count(self, place: int, p: NDArray[np.float64], y: NDArray[np.bool_]) -> None:
        np.minimum(p, 1, out=p)  # a sum of rounded probabilities may exceed 1
        bins = np.ceil(p * N_BINS).astype(np.intp)
        self._confidence[place] += np.bincount(bins, weights=p, minlength=N_BINS + 1)
        self._counts[place, 0] += np.bincount(bins, minlength=N_BINS + 1)
        self._counts[place, 1] += np.bincount(bins[y], minlength=N_BINS + 1)
        p -= y
        p *= p
        self._squares[place] += p.sum()

    def scores(self) -> tuple[tuple[float | None, float | None], ...]:
        """(ECE, Brier score) of each label, in order; both None where the reference lacks the label."""
        return tuple(self._scores(place) if box is not None else (None, None) for place, box in enumerate(self._boxes))

    def _scores(self, place: int) -> tuple[float, float]:
        n, n_true = self._counts[place]
        gap = self._confidence[place] - n_true
        gap[1] += gap[0]
        return float(np.abs(gap[1:]).sum() / n.sum()), float(self._squares[place] / n.sum())


def _widened(box: Slices | None, reach: Sequence[int], shape: Sequence[int]) -> Slices | None:
    if box is None:
        return None
    return tuple(slice(max(s.start - r, 0), min(s.stop + r, size)) for s, r, size in zip(box, reach, shape))


def _common(one: Slices, other: Slices) -> Slices | None:
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other))
    return both if all(s.start < s.stop for s in both) else None
