"""Segmentation of volumes: the answer is a label map on the image's own grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.images import LabelMap, grid_of, read_labels, same_grid, write_nifti
from medquanbench.infer import predict, preprocess
from medquanbench.metrics import METRICS, Comparison, volumes
from medquanbench.restore import RESTORES
from medquanbench.stats import default_margin
from medquanbench.tasks.task import Measurement, Task
from medquanbench.values import Case, Presence, RequestError, Target

_METRICS = ("dsc", "nsd")
_PRESENCE = {  # (reference holds it, prediction holds it)
    (True, True): Presence.BOTH,
    (False, False): Presence.NEITHER,
    (False, True): Presence.HALLUCINATED,
    (True, False): Presence.LOST,
}


def check(bundle: Bundle, dataset: Dataset) -> None:
    """The bundle's outputs must be the dataset's labels, by name and index.

    Raises:
        RequestError: they are not.
    """
    outputs = dict(enumerate(bundle.labels))
    wanted = {label.index: label.name for label in dataset.labels}
    if {index: name for index, name in outputs.items() if index} != wanted:
        raise RequestError(
            f"the weights '{bundle.weights}' of {bundle.name} answer with {_listed(bundle.labels[1:])}; "
            f"{dataset.name} is labelled with {_listed(list(wanted.values()))}"
        )


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")


def answer(network: Callable, bundle: Bundle, case: Case, device: str) -> LabelMap:
    """Preprocess, slide the window, take the largest logit, carry the labels back to the image's own grid."""
    volume = preprocess(bundle.preprocessing(), case.inputs[0])
    labels = predict(network, volume, bundle.window, device)
    grid = grid_of(case.inputs[0])
    return LabelMap(RESTORES[bundle.restore](labels, volume.grid, grid), grid)


def measure(predicted: LabelMap, case: Case, dataset: Dataset) -> Measurement:
    """DSC and NSD of every label on the reference's own grid and spacing.

    Raises:
        RequestError: the reference lies on another grid than the image, or holds labels that the card does not know.
    """
    reference = read_labels(case.target)
    if not same_grid(reference.grid, predicted.grid):
        raise RequestError(f"{case.target} and {case.inputs[0]} lie on different grids (shape or affine)")
    known = tuple(label.index for label in dataset.labels)
    unknown = sorted(set(np.unique(reference.labels).tolist()) - {0, *known})
    if unknown:
        raise RequestError(
            f"{case.target} holds the values {unknown[:5]}, which the card of {dataset.name} does not know"
        )
    tolerances = tuple(label.tolerance_mm for label in dataset.labels)
    spacing = reference.grid.spacing_mm
    comparison = Comparison(reference.labels, predicted.labels, known, spacing, tolerances)
    scores = np.stack([METRICS[name].measure(comparison) for name in _METRICS], axis=1)
    sizes = zip(volumes(reference.labels, known).tolist(), volumes(predicted.labels, known).tolist())
    targets = tuple(
        Target(label.index, label.name, _PRESENCE[n_ref > 0, n_pred > 0], n_ref, n_pred, tuple(map(_counted, row)))
        for label, (n_ref, n_pred), row in zip(dataset.labels, sizes, scores.tolist())
    )
    return Measurement(spacing, targets)


def _counted(value: float) -> float | None:
    return None if math.isnan(value) else value


def save(predicted: LabelMap, file: Path) -> None:
    """A compressed NIfTI label map with the image's affine."""
    write_nifti(predicted.labels, predicted.grid.affine, file.with_name(f"{file.name}.nii.gz"))


SEGMENTATION = Task("segmentation", _METRICS, "dsc", default_margin, check, answer, measure, save)
