"""What a task is: all that the rest of the house must not know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
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
        check: (bundle, dataset): raises RequestError where their targets do not match.
        answer: (network, bundle, case, device) -> what the network says of the case, on the image's own grid.
        measure: (answer, case, dataset) -> its scores.
        save: (answer, file without suffix): keep the answer.
    """

    name: str
    metrics: tuple[str, ...]
    primary: str
    margin: Callable[[int, int], float]
    check: Callable[[Bundle, Dataset], None]
    answer: Callable[[Callable, Bundle, Case, str], Any]
    measure: Callable[[Any, Case, Dataset], Measurement]
    save: Callable[[Any, Path], None]
