"""What a quantized run's scores say beside FP32's: overall, label by label, and in the tails."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """One metric of a run beside FP32, over cases in which both have a score. FP32's own has neither interval nor p.

    Attributes:
        n_cases: pairs of scores; n_patients: whom they belong to.
        mean, reference_mean: over these cases.
        difference: mean over patients of quantized - FP32; ci_low, ci_high: its 95 % interval.
        p_value: one-sided p of non-inferiority at the margin; p_holm: adjusted over the family.
        p_wilcoxon: two-sided p that anything changed; ni_bound: every larger margin would pass.
        margin: None for FP32, whose verdict is ``reference``.
    """

    metric: str
    n_cases: int
    n_patients: int
    mean: float | None
    reference_mean: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    p_holm: float | None
    p_wilcoxon: float | None
    ni_bound: float | None
    margin: float | None
    verdict: str


@dataclass(frozen=True)
class LabelJudgement:
    """One label under one configuration. Cases in which one of both runs does not count it are in no pair.

    Attributes:
        hallucinated, lost: cases in which this run does so.
        collapsed: cases in which FP32 finds it and this run does not; None for FP32.
        judgements: one a metric, the primary first.
    """

    label: int
    name: str
    hallucinated: int
    lost: int
    collapsed: int | None
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class EveryLabel:
    """The claim that no label loses more than the margin: the largest p of all labels, at the plain level.

    ``untested``: labels with too few patients; then there is no p, and the verdict is inconclusive.
    """

    metric: str
    p_value: float | None
    untested: tuple[str, ...]
    verdict: str


@dataclass(frozen=True)
class Tails:
    """The worst of one metric: 5th percentile of case differences, the label that lost most, cases that lost much."""

    metric: str
    percentile_5: float | None
    worst_label: str | None
    worst_label_difference: float | None
    cases_lost_much: int


@dataclass(frozen=True)
class Findings:
    """All that is said of one run beside FP32; empty but for ``overall`` and ``labels`` where it is FP32 itself.

    Attributes:
        overall, every_label, tails: one a metric, the primary first.
        collapsed: structures of a case that FP32 finds and this run does not; None for FP32.
    """

    overall: tuple[Judgement, ...]
    labels: tuple[LabelJudgement, ...]
    every_label: tuple[EveryLabel, ...] = ()
    tails: tuple[Tails, ...] = ()
    collapsed: int | None = None

    @property
    def primary(self) -> Judgement:
        """The metric that results.csv and the terminal speak of."""
        return self.overall[0]
