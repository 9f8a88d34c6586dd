"""A case's reference as one label map in the card's indices, however it lies on disk (floor 2)."""

from __future__ import annotations

import numpy as np

from medquanbench.dataset import Dataset, Label
from medquanbench.images import LabelMap, grid_difference, read_labels
from medquanbench.values import Case, RequestError

_N_VALUES = 2**16


def read_reference(case: Case, dataset: Dataset) -> LabelMap:
    """Read the reference of a case: merge masks, turn stored values into label indices and background into 0.

    Masks are painted in the order of the card's labels, later over earlier, as TotalSegmentator's converter does
    (wasserth/TotalSegmentator, resources/convert_dataset_to_nnunet.py).

    Returns:
        labels (x, y, z) as uint16.

    Raises:
        RequestError: the case has no reference; a file is missing or cannot be read, holds values that are no label of
            the card, a mask holds other values than 0 and 1, or the masks lie on different grids.
    """
    if case.target is None:
        raise RequestError(f"case {case.name} of {dataset.name} has no reference")
    return _painted(case, dataset) if case.masks else _renumbered(case, dataset)


def _renumbered(case: Case, dataset: Dataset) -> LabelMap:
    reference = read_labels(case.target)
    present = np.zeros(_N_VALUES, bool)
    for slab in reference.labels:  # numpy makes 8 bytes of each index: not of the whole volume at once
        present[slab] = True
    unknown = set(np.flatnonzero(present).tolist()) - {0, *dataset.background, *(x.stored for x in dataset.labels)}
    if unknown:
        told = ", ".join(map(str, sorted(unknown)[:5])) + ", ..." * (len(unknown) > 5)
        raise RequestError(f"{case.target} holds the values {told}, which the card of {dataset.name} does not know")
    if dataset.background or any(label.stored != label.index for label in dataset.labels):
        index_of = np.zeros(_N_VALUES, np.uint16)
        for label in dataset.labels:
            index_of[label.stored] = label.index
        for slab in reference.labels:
            slab[:] = index_of[slab]
    return reference


def _painted(case: Case, dataset: Dataset) -> LabelMap:
    painted = None
    for index, file in case.masks:
        mask = read_labels(file)
        if mask.labels.max() > 1:
            label = next(label for label in dataset.labels if label.index == index)
            raise RequestError(f"{file} holds the value {mask.labels.max()}; {_what(label)}")
        if painted is None:
            first, painted = file, LabelMap(np.zeros_like(mask.labels), mask.grid)
        differs = grid_difference(painted.grid, mask.grid)
        if differs:
            raise RequestError(f"{first} and {file} lie on different grids: {differs}")
        painted.labels[mask.labels == 1] = index
    return painted


def _what(label: Label) -> str:
    return f"a mask (here of {label.name}) holds 1 where its structure is and 0 elsewhere"
