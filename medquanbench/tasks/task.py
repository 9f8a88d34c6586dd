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
class Task:
    """A task as the run needs it.

    Attributes:
        metrics: columns of results, names of ``medquanbench.metrics.METRICS``.
        primary: the metric that differences, intervals and verdicts are about.
        margin: (weight bits, activation bits) -> non-inferiority margin where the user gives none.
        targets: (bundle, dataset) -> what is scored; raises RequestError where they do not match.
        headers: (case) -> what the headers of its files tell against it, a sentence each; quick, no voxel is read.
        voxels: (case, dataset) -> what the voxels tell against it, a sentence each.
        answer: (network, bundle, case, device) -> what the network says of the case, on the image's own grid.
        measure: (answer, case, dataset, targets) -> its scores.
        save: (answer, file without suffix): keep the answer, and say in which file.
    """

    name: str
    metrics: tuple[str, ...]
    primary: str
    margin: Callable[[int, int], float]
    targets: Callable[[Bundle, Dataset], Targets]
    headers: Callable[[Case], tuple[str, ...]]
    voxels: Callable[[Case, Dataset], tuple[str, ...]]
    answer: Callable[[Callable, Bundle, Case, str], Any]
    measure: Callable[[Any, Case, Dataset, Targets], Measurement]
    save: Callable[[Any, Path], Path]
