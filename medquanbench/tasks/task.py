"""What a task is: all that the rest of the house must not know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.tasks.targets import Targets
from medquanbench.values import Case, Target


@dataclass(frozen=True)
class Measurement:
    """Scores of one case: a Target a structure, and the spacing at which they were measured."""

    spacing_mm: tuple[float, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Detail:
    """What is measured beside the metrics: its column in cases.csv, and its meaning as a sentence."""

    name: str
    definition: str


@dataclass(frozen=True)
class Truth:
    """What is right for a case: its reference, in the numbers of the targets."""

    reference: Any
    targets: Targets


@dataclass(frozen=True)
class Answer:
    """What a network says of a case: on the image's own grid, and how far its probabilities can be believed.

    ``calibration``: for each target the values that only the probabilities tell; None where no truth was at hand.
    """

    output: Any
    calibration: tuple[tuple[float | None, ...], ...] | None


@dataclass(frozen=True)
class Task:
    """A task as the run needs it.

    Attributes:
        metrics: columns of results, names of ``medquanbench.metrics.METRICS``.
        details: columns of cases beside the metrics, a value a target; the last ones are an Answer's calibration.
        case_details: columns of cases, a value a case: how far an answer agrees with the float network's.
        primary: the metric that differences, intervals and verdicts are about.
        margin: (weight bits, activation bits) -> non-inferiority margin where the user gives none.
        targets: (bundle, dataset) -> what is scored; raises RequestError where they do not match.
        headers: (case) -> what the headers of its files tell against it, a sentence each; quick, no voxel is read.
        voxels: (case, dataset) -> what the voxels tell against it, a sentence each.
        truth: (case, dataset, targets) -> what is right for the case.
        answer: (network, bundle, case, device, truth) -> what the network says of the case.
        measure: (answer, truth) -> its scores and details.
        pack: (output) -> the same, small, as bytes.
        agreement: (output, the float network's packed output) -> the case details.
        save: (output, file without suffix): keep the output, and say in which file.
    """

    name: str
    metrics: tuple[str, ...]
    details: tuple[Detail, ...]
    case_details: tuple[Detail, ...]
    primary: str
    margin: Callable[[int, int], float]
    targets: Callable[[Bundle, Dataset], Targets]
    headers: Callable[[Case], tuple[str, ...]]
    voxels: Callable[[Case, Dataset], tuple[str, ...]]
    truth: Callable[[Case, Dataset, Targets], Truth]
    answer: Callable[[Callable, Bundle, Case, str, Truth], Answer]
    measure: Callable[[Answer, Truth], Measurement]
    pack: Callable[[Any], bytes]
    agreement: Callable[[Any, bytes], tuple[float | None, ...]]
    save: Callable[[Any, Path], Path]
