"""Segmentation of volumes: the answer is a label map on the image's own grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.images import LabelMap, check_whole, grid_difference, grid_of, read_image, read_labels, write_nifti
from medquanbench.infer import predict, preprocess
from medquanbench.metrics import METRICS, Comparison, volumes
from medquanbench.restore import RESTORES
from medquanbench.stats import default_margin
from medquanbench.tasks.targets import Targets, match
from medquanbench.tasks.task import Measurement, Task
from medquanbench.values import Case, Presence, RequestError, Target

_METRICS = ("dsc", "nsd")
_PRESENCE = {  # (reference holds it, prediction holds it)
    (True, True): Presence.BOTH,
    (False, False): Presence.NEITHER,
    (False, True): Presence.HALLUCINATED,
    (True, False): Presence.LOST,
}


def headers(case: Case) -> tuple[str, ...]:
    """What the headers of a case's files tell against it: unusable files, or files on different grids."""
    problems = tuple(filter(None, (_problem(grid_of, file) for file in case.files)))
    return problems or tuple(filter(None, (_other_grid(case.inputs[0], file) for file in case.files[1:])))


def voxels(case: Case, dataset: Dataset) -> tuple[str, ...]:
    """What the voxels of a case tell against it: cut off files, NaN, values that are no label of the card."""
    damaged = tuple(filter(None, (_problem(check_whole, file) for file in case.files)))
    if damaged:
        return damaged
    problems = (*(_problem(read_image, file) for file in case.inputs), _problem(_reference, case, dataset))
    return tuple(filter(None, problems))


def _problem(look: Callable[..., Any], *what: object) -> str:
    try:
        look(*what)
    except RequestError as error:
        return str(error)
    return ""


def _other_grid(image: Path, other: Path) -> str:
    differs = grid_difference(grid_of(image), grid_of(other))
    return f"{image} and {other} lie on different grids: {differs}" if differs else ""


def _reference(case: Case, dataset: Dataset) -> LabelMap:
    reference = read_labels(case.target)
    present = np.zeros(2**16, bool)
    for slab in reference.labels:  # numpy makes 8 bytes of each index: not of the whole volume at once
        present[slab] = True
    unknown = sorted(set(np.flatnonzero(present).tolist()) - {0, *(label.index for label in dataset.labels)})
    if unknown:
        told = ", ".join(map(str, unknown[:5])) + ", ..." * (len(unknown) > 5)
        raise RequestError(f"{case.target} holds the values {told}, which the card of {dataset.name} does not know")
    return reference


def answer(network: Callable, bundle: Bundle, case: Case, device: str) -> LabelMap:
    """Preprocess, slide the window, take the largest logit, carry the labels back to the image's own grid."""
    volume = preprocess(bundle.preprocessing(), case.inputs[0])
    labels = predict(network, volume, bundle.window, device)
    grid = grid_of(case.inputs[0])
    return LabelMap(RESTORES[bundle.restore](labels, volume.grid, grid), grid)


def measure(predicted: LabelMap, case: Case, dataset: Dataset, targets: Targets) -> Measurement:
    """DSC and NSD of every target on the reference's own grid and spacing.

    Raises:
        RequestError: the reference lies on another grid than the image, or holds labels that the card does not know.
    """
    reference = _reference(case, dataset)
    differs = grid_difference(predicted.grid, reference.grid)
    if differs:
        raise RequestError(f"{case.inputs[0]} and {case.target} lie on different grids: {differs}")
    reference, spacing = targets.renumber(reference), reference.grid.spacing_mm
    known, tolerances = zip(*((label.index, label.tolerance_mm) for label in targets.labels))
    comparison = Comparison(reference.labels, predicted.labels, known, spacing, tolerances)
    scores = np.stack([METRICS[name].measure(comparison) for name in _METRICS], axis=1)
    sizes = zip(volumes(reference.labels, known).tolist(), volumes(predicted.labels, known).tolist())
    scored = tuple(
        Target(label.index, label.name, _PRESENCE[n_ref > 0, n_pred > 0], n_ref, n_pred, tuple(map(_counted, row)))
        for label, (n_ref, n_pred), row in zip(targets.labels, sizes, scores.tolist())
    )
    return Measurement(spacing, scored)


def _counted(value: float) -> float | None:
    return None if math.isnan(value) else value


def save(predicted: LabelMap, file: Path) -> Path:
    """A compressed NIfTI label map with the image's affine; returns its file."""
    whole_name = file.with_name(f"{file.name}.nii.gz")
    write_nifti(predicted.labels, predicted.grid.affine, whole_name)
    return whole_name


SEGMENTATION = Task("segmentation", _METRICS, "dsc", default_margin, match, headers, voxels, answer, measure, save)
