"""Segmentation of volumes: the answer is a label map on the image's own grid."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.images import Grid, LabelMap, check_whole, grid_difference, grid_of, read_image, write_nifti
from medquanbench.metrics import METRICS
from medquanbench.metrics.agreement import FLIP_RATE_BOUNDARY_DEFINITION, FLIP_RATE_DEFINITION, flip_rates
from medquanbench.metrics.calibration import BRIER_DEFINITION, ECE_DEFINITION, Calibration
from medquanbench.reference import read_reference
from medquanbench.restore import restore_labels
from medquanbench.roads import ROADS, Watch
from medquanbench.scores import score
from medquanbench.sliding import Index
from medquanbench.stats import default_margin
from medquanbench.tasks.targets import Targets, match
from medquanbench.tasks.task import Answer, Detail, Measurement, Task, Truth
from medquanbench.values import Case, RequestError

_METRICS = ("dsc", "nsd")
_DETAILS = {"hd95_mm": "hd95", "volume_similarity": "volume_similarity"}
"""Columns that metrics fill beside those of the results: (column, metric)."""
_EMPTY = "What is not counted or infinite is left empty."
_CALIBRATION = (Detail("ece", ECE_DEFINITION), Detail("brier", BRIER_DEFINITION))
_AGREEMENT = (
    Detail("flip_rate", FLIP_RATE_DEFINITION),
    Detail("flip_rate_boundary", FLIP_RATE_BOUNDARY_DEFINITION),
)


def headers(case: Case) -> tuple[str, ...]:
    """What the headers of a case's files tell against it: unusable files, or files on different grids."""
    problems = tuple(filter(None, (_problem(grid_of, file) for file in case.files)))
    return problems or tuple(filter(None, (_other_grid(case.inputs[0], file) for file in case.files[1:])))


def voxels(case: Case, dataset: Dataset) -> tuple[str, ...]:
    """What the voxels of a case tell against it: cut off files, NaN, values that are no label of the card."""
    damaged = tuple(filter(None, (_problem(check_whole, file) for file in case.files)))
    if damaged:
        return damaged
    problems = (*(_problem(read_image, file) for file in case.inputs), _problem(read_reference, case, dataset))
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


def truth_of(case: Case, dataset: Dataset, targets: Targets) -> Truth:
    """The reference of a case in the targets' numbers, on the image's own grid.

    Raises:
        RequestError: it cannot be read, holds labels that the card does not know, or lies on another grid.
    """
    reference = targets.renumber(read_reference(case, dataset))
    differs = grid_difference(grid_of(case.inputs[0]), reference.grid)
    if differs:
        raise RequestError(f"{case.inputs[0]} and {case.target} lie on different grids: {differs}")
    return Truth(reference, targets)


def answer(network: Callable, bundle: Bundle, case: Case, device: str, truth: Truth | None = None) -> Answer:
    """The bundle's own road from the image to labels on its grid.

    On the way the probabilities are compared with the truth, where it is given.

    Raises:
        RequestError: the image cannot be preprocessed, or not so that its answer can be laid over it.
    """
    if truth is None:
        return Answer(ROADS[bundle.restore].answer(network, bundle, case.inputs, device, None), None)
    listening: list[Calibration] = []

    def begin(network_grid: Grid) -> Watch:
        listening.append(_calibration(truth, network_grid))
        return partial(_watch, listening[0])

    output = ROADS[bundle.restore].answer(network, bundle, case.inputs, device, begin)
    return Answer(output, listening[0].scores())


def _calibration(truth: Truth, network_grid: Grid) -> Calibration:
    reference, targets = truth.reference, truth.targets
    # Turned first: where two voxels are equally near, which one is taken must not hang on how the file is turned.
    turn = nibabel.io_orientation(np.linalg.inv(network_grid.affine) @ reference.grid.affine)
    labels = nibabel.orientations.apply_orientation(reference.labels, turn)
    affine = reference.grid.affine @ nibabel.orientations.inv_ornt_aff(turn, reference.labels.shape)
    on_grid = restore_labels(labels, Grid(labels.shape, affine), network_grid)
    numbers = [label.index for label in targets.labels]
    return Calibration(on_grid, numbers, network_grid.spacing_mm, targets.outputs)


def _watch(calibration: Calibration, first_index_xyz: Index, logits: torch.Tensor) -> None:
    part = calibration.within(first_index_xyz, logits.shape[1:])
    if part is not None:
        first = [index + along.start for index, along in zip(first_index_xyz, part)]
        calibration.add(first, torch.softmax(logits[:, *part], dim=0).cpu().numpy())


def measure(answer: Answer, truth: Truth) -> Measurement:
    """Scores and details of every target on the reference's own grid and spacing."""
    predicted = truth.targets.renumber_prediction(answer.output)
    scored = score(truth.reference, predicted, truth.targets, _METRICS, tuple(_DETAILS.values()))
    calibration = answer.calibration or [(None,) * len(_CALIBRATION)] * len(scored)
    targets = (replace(one, details=one.details + told) for one, told in zip(scored, calibration, strict=True))
    return Measurement(truth.reference.grid.spacing_mm, tuple(targets))


def pack(predicted: LabelMap) -> bytes:
    """The labels as compressed .npy bytes, in 8 bits where they fit; the grid is the image's."""
    narrow = predicted.labels.max(initial=0) < 2**8
    buffer = io.BytesIO()
    np.save(buffer, predicted.labels.astype(np.uint8 if narrow else np.uint16))
    return zlib.compress(buffer.getbuffer(), level=1)


def agreement(predicted: LabelMap, float_packed: bytes) -> tuple[float | None, ...]:
    """Label-flip rates of an answer against the float network's packed answer to the same image."""
    float_labels = np.load(io.BytesIO(zlib.decompress(float_packed)), allow_pickle=False)
    return flip_rates(float_labels, predicted.labels, predicted.grid.spacing_mm)


def save(predicted: LabelMap, file: Path) -> Path:
    """A compressed NIfTI label map with the image's affine; returns its file."""
    whole_name = file.with_name(f"{file.name}.nii.gz")
    write_nifti(predicted.labels, predicted.grid.affine, whole_name)
    return whole_name


SEGMENTATION = Task(
    name="segmentation",
    metrics=_METRICS,
    details=(
        *(Detail(column, f"{METRICS[name].definition} {_EMPTY}") for column, name in _DETAILS.items()),
        *_CALIBRATION,
    ),
    case_details=_AGREEMENT,
    primary="dsc",
    margin=default_margin,
    targets=match,
    headers=headers,
    voxels=voxels,
    truth=truth_of,
    answer=answer,
    measure=measure,
    pack=pack,
    agreement=agreement,
    save=save,
)
