"""One slice of one case for the report's picture: chosen from the reference, cut alike from every answer (floor 2)."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel
import numpy as np

from medquanbench.dataset import Dataset
from medquanbench.images import LabelMap, read_image
from medquanbench.reference import read_reference
from medquanbench.tasks import Targets
from medquanbench.values import Case


@dataclass(frozen=True)
class Frame:
    """An axial slice as radiologists look at it: rows from anterior to posterior, the patient's right on the left.

    Attributes:
        index, depth: number of the slice from the feet up, and how many there are.
        image: grey values 0..1 (rows, columns); the structures' middle 99 % fill the middle two thirds of the range.
    """

    case: str
    index: int
    depth: int
    image: np.ndarray
    pixel_mm: tuple[float, float]
    reference: np.ndarray


def frame(case: Case, dataset: Dataset, targets: Targets) -> Frame:
    """The slice that shows the most structures, among these the one with the most voxels of them."""
    reference, image = targets.renumber(read_reference(case, dataset)), read_image(case.inputs[0])
    labels = _canonical(reference.labels, reference.grid.affine)
    shown = [(len(np.unique(labels[..., k])), int((labels[..., k] > 0).sum())) for k in range(labels.shape[2])]
    index = max(range(len(shown)), key=shown.__getitem__)
    grey = _canonical(image.values, image.grid.affine)[..., index]
    around = grey[labels[..., index] > 0] if shown[index][1] else grey
    low, high = np.percentile(around, (0.5, 99.5))
    reach = max(float(high - low), 1e-6)
    stretched = np.clip((grey - (low - 0.25 * reach)) / (1.5 * reach), 0, 1)
    turned = nibabel.orientations.io_orientation(reference.grid.affine)[:, 0].astype(int)
    spacing = [reference.grid.spacing_mm[list(turned).index(axis)] for axis in range(3)]
    return Frame(
        case.name,
        index,
        labels.shape[2],
        _upright(stretched).astype(np.float32),
        (spacing[1], spacing[0]),
        _upright(labels[..., index]),
    )


def cut(answer: LabelMap, at: Frame) -> np.ndarray:
    """The same slice of an answer that lies on the same grid as the reference."""
    return _upright(_canonical(answer.labels, answer.grid.affine)[..., at.index])


def _canonical(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return nibabel.orientations.apply_orientation(array, nibabel.orientations.io_orientation(affine))


def _upright(slice_: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(slice_[::-1, ::-1].T)
