"""Run, Record: what was asked of a network, and what came out, case by case."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from medquanbench.values.judgement import Findings, Judgement
from medquanbench.values.receipt import Receipt
from medquanbench.values.recipe import Recipe

SCHEMA = "medquanbench-record/4"


class Presence(StrEnum):
    """Which of reference and prediction hold a structure; decides what an empty mask means."""

    BOTH = "both"
    NEITHER = "both empty: not counted"
    HALLUCINATED = "hallucinated: reference empty, prediction not, scores 0"
    LOST = "lost: prediction empty, scores 0"


@dataclass(frozen=True)
class Target:
    """One structure of one case: voxels in reference and prediction, and a value a metric (None: not counted).

    ``details``: what else was measured of it, in the order of ``Record.details`` (None: nothing to measure).
    """

    label: int
    name: str
    presence: Presence
    reference_voxels: int
    predicted_voxels: int
    scores: tuple[float | None, ...]
    details: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class CaseResult:
    """What came out for one case.

    Attributes:
        image_step: the coarsest step of the quantized image, in network input units.
        details: what was measured of the case as a whole, in the order of ``Record.case_details``.
    """

    case: str
    spacing_mm: tuple[float, ...]
    targets: tuple[Target, ...]
    image_step: float | None
    seconds: float
    details: tuple[float | None, ...] = ()

    def mean(self, metric: int) -> float | None:
        """Mean of a metric over the counted labels; None where none counts."""
        return _mean(t.scores[metric] for t in self.targets)


@dataclass(frozen=True)
class Draw:
    """What a network is calibrated on. Draw 0 takes cases in the card's order, the others at random."""

    number: int
    cases: tuple[str, ...]
    windows_per_case: int


@dataclass(frozen=True)
class Run:
    """One network, one set of cases, one recipe; the key hashes all that the scores depend on.

    ``draw`` is None where nothing is calibrated.
    """

    bundle: str
    variant: str
    weights: str
    dataset: str
    split: str
    phantom: bool
    cases: tuple[str, ...]
    recipe: Recipe
    seed: int
    key: str
    draw: Draw | None = None


@dataclass(frozen=True)
class Record:
    """A run and what came out: scores as case x target x metric, and the receipt.

    ``details`` and ``case_details`` name what was measured beside the metrics: of each target, of each case.
    """

    run: Run
    metrics: tuple[str, ...]
    cases: tuple[CaseResult, ...]
    receipt: Receipt
    details: tuple[str, ...] = ()
    case_details: tuple[str, ...] = ()

    def case_means(self, metric: int) -> tuple[float | None, ...]:
        """Mean over counted labels, a value a case."""
        return tuple(case.mean(metric) for case in self.cases)

    def mean(self, metric: int) -> float | None:
        """Mean over counted labels of a case, then over cases that have any."""
        return _mean(self.case_means(metric))

    def detail_mean(self, name: str) -> float | None:
        """Mean of a detail: of a target's, over a case's targets, then over cases; None where it was never measured."""
        if name in self.case_details:
            position = self.case_details.index(name)
            return _mean(case.details[position] for case in self.cases)
        position = self.details.index(name)
        return _mean(_mean(target.details[position] for target in case.targets) for case in self.cases)

    def label_means(self, metric: int) -> tuple[tuple[str, float | None], ...]:
        """Mean over cases for each label, in label order, not counted cases left out."""
        rows: dict[str, list[float]] = {}
        for target in (t for case in self.cases for t in case.targets):
            rows.setdefault(target.name, [])
            if target.scores[metric] is not None:
                rows[target.name].append(target.scores[metric])
        return tuple((name, math.fsum(v) / len(v) if v else None) for name, v in rows.items())

    def count(self, presence: Presence) -> int:
        """How many targets of all cases are in this state."""
        return sum(target.presence is presence for case in self.cases for target in case.targets)


@dataclass(frozen=True)
class Row:
    """One line of results.csv, unformatted: a record, its means and losses a metric, and what they say beside FP32."""

    record: Record
    means: tuple[float | None, ...]
    drops_pct: tuple[float | None, ...]
    findings: Findings

    @property
    def primary(self) -> Judgement:
        """What the task's primary metric says."""
        return self.findings.primary

    @property
    def verdict(self) -> str:
        """The verdict on the primary metric; ``reference`` for FP32."""
        return self.primary.verdict


@dataclass(frozen=True)
class Fact:
    """A line of "what this is" in a report: a heading and a sentence."""

    name: str
    text: str


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None
