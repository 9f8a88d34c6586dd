"""From records to rows: every run beside FP32, overall and label by label, in families declared before it (floor 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from medquanbench import stats
from medquanbench.study_plan import Plan
from medquanbench.values import (
    EveryLabel,
    Findings,
    Judgement,
    LabelJudgement,
    Presence,
    Record,
    Row,
    Tails,
    Target,
)

METHOD = (
    "Paired differences, quantized - FP32, are averaged over the scans of a patient; patients are resampled whole, "
    "with all their labels. ci: 95 % interval of the mean difference from a studentized bootstrap. Its lower end, p "
    "and ni_bound also hold for the sample with one more patient who loses as much as the worst (with n < "
    f"{stats.FEW_PATIENTS} patients, {stats.FEW_PATIENTS} / n times as far below the median; at least twice as far if "
    "more than half of the differences are equal). Where all differences "
    "are equal, the interval is 1 - 0.025^(1/n) to both sides, the share of patients that n patients can have missed. "
    "p: one-sided, of non-inferiority at the margin. p_holm: p after Holm over the family, None counting as 1. "
    "p_wilcoxon: Wilcoxon's signed-rank test, two-sided, zeros by Pratt. Every label: the largest p of all labels, "
    "without a correction (intersection-union). A case in which one of both runs does not count a label (reference and "
    "FP32 lack it, the other hallucinates it) is in no pair of that label."
)


@dataclass(frozen=True)
class _Pairs:
    """Scores of both runs, case by case, and whose they are: only where both have one."""

    scores: tuple[float, ...]
    references: tuple[float, ...]
    patients: tuple[str, ...]

    @property
    def differences(self) -> tuple[float, ...]:
        """One a case."""
        return tuple(score - reference for score, reference in zip(self.scores, self.references))


@dataclass(frozen=True)
class _Terms:
    """How pairs are judged: the metric, the margin and the resampling."""

    metric: str
    margin: float
    seed: int
    resamples: int


def judged_rows(
    records: Sequence[Record], plan: Plan, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Row, ...]:
    """The rows of a study.

    Args:
        records: FP32's first, then those of the configurations; all of the same cases and labels.
        progress: called as (comparisons done, comparisons in all): many labels take their time.
    """
    reference, *quantized = records
    metrics = metrics_of(plan)
    overall = [[_overall(record, reference, metric, plan) for metric in metrics] for record in quantized]
    labels = _label_judgements(quantized, reference, plan, progress)
    findings = [_own(reference, plan)]
    for record, judgements, by_label in zip(quantized, _holm_each(overall), labels):
        findings.append(_findings(record, reference, judgements, by_label, plan))
    return tuple(_row(record, reference, found) for record, found in zip(records, findings))


def metrics_of(plan: Plan) -> tuple[str, ...]:
    """The metrics that are judged, the primary first."""
    task = plan.task
    return (task.primary, *(metric for metric in task.metrics if metric != task.primary))


def _row(record: Record, reference: Record, findings: Findings) -> Row:
    means = tuple(record.mean(k) for k in range(len(record.metrics)))
    if record is reference:
        return Row(record, means, (None,) * len(means), findings)
    floats = (reference.mean(k) for k in range(len(means)))
    drops = (stats.drop_pct(f, q) if f is not None and q is not None else None for f, q in zip(floats, means))
    return Row(record, means, tuple(drops), findings)


def _findings(
    record: Record,
    reference: Record,
    overall: Sequence[Judgement],
    labels: tuple[LabelJudgement, ...],
    plan: Plan,
) -> Findings:
    metrics = metrics_of(plan)
    return Findings(
        tuple(overall),
        labels,
        tuple(_every_label(metric, k, labels) for k, metric in enumerate(metrics)),
        tuple(
            _tails(metric, k, _case_pairs(record, reference, metric, plan), labels) for k, metric in enumerate(metrics)
        ),
        sum(label.collapsed or 0 for label in labels),
    )


def _overall(record: Record, reference: Record, metric: str, plan: Plan) -> Judgement:
    terms = _Terms(
        metric, plan.margin_of(metric, record.run.recipe), plan.seed, stats.resamples_for(len(plan.runs) - 1)
    )
    return _judgement(_case_pairs(record, reference, metric, plan), terms)


def _case_pairs(record: Record, reference: Record, metric: str, plan: Plan) -> _Pairs:
    position = record.metrics.index(metric)
    return _pairs(record.case_means(position), reference.case_means(position), _patients(record, plan))


def _label_judgements(
    quantized: Sequence[Record], reference: Record, plan: Plan, progress: Callable[[int, int], None]
) -> list[tuple[LabelJudgement, ...]]:
    """For each configuration its labels, in label order, with p adjusted over all labels of all configurations."""
    metrics, floats = metrics_of(plan), _by_label(reference)
    resamples = stats.resamples_for(len(floats) * len(quantized))
    asked: list[tuple[_Pairs, _Terms]] = []
    for record in quantized:
        patients, found = _patients(record, plan), _by_label(record)
        for label, targets in floats.items():
            for metric in metrics:
                k = record.metrics.index(metric)
                pairs = _pairs([t.scores[k] for t in found[label]], [t.scores[k] for t in targets], patients)
                margin = plan.margin_of(metric, record.run.recipe)
                asked.append((pairs, _Terms(metric, margin, plan.seed, resamples)))
    answers = _judged_by_size(asked, progress)
    table = [answers[start : start + len(metrics)] for start in range(0, len(answers), len(metrics))]
    judged = iter(_holm_each(table))
    return [
        tuple(_label(_by_label(record)[label], targets, next(judged), reference) for label, targets in floats.items())
        for record in quantized
    ]


def _judged_by_size(asked: Sequence[tuple[_Pairs, _Terms]], progress: Callable[[int, int], None]) -> list[Judgement]:
    """Each judged, in the order given; samples of one size one after another, as they share their resamples."""
    answers: dict[int, Judgement] = {}
    for position in sorted(range(len(asked)), key=lambda i: len(asked[i][0].scores)):
        answers[position] = _judgement(*asked[position])
        progress(len(answers), len(asked))
    return [answers[position] for position in range(len(asked))]


def _label(
    targets: Sequence[Target], floats: Sequence[Target], judgements: Sequence[Judgement], reference: Record
) -> LabelJudgement:
    primary = reference.metrics.index(judgements[0].metric)
    collapsed = sum(stats.is_collapsed(f.scores[primary], q.scores[primary]) for f, q in zip(floats, targets))
    return replace(_named(targets), collapsed=collapsed, judgements=tuple(judgements))


def _own(reference: Record, plan: Plan) -> Findings:
    """What is said of FP32 itself: its means, and no comparison."""

    def judgement(metric: str, scores: Iterable[float | None]) -> Judgement:
        there = [(score, who) for score, who in zip(scores, patients) if score is not None]
        mean, n_patients = _mean([score for score, _ in there]), len({who for _, who in there})
        none = (None,) * 8  # difference to margin
        return Judgement(metric, len(there), n_patients, mean, mean, *none, stats.Verdict.REFERENCE.value)

    patients = _patients(reference, plan)
    positions = [(metric, reference.metrics.index(metric)) for metric in metrics_of(plan)]
    labels = tuple(
        replace(_named(targets), judgements=tuple(judgement(m, [t.scores[k] for t in targets]) for m, k in positions))
        for targets in _by_label(reference).values()
    )
    return Findings(tuple(judgement(metric, reference.case_means(k)) for metric, k in positions), labels)


def _named(targets: Sequence[Target]) -> LabelJudgement:
    counts = (sum(t.presence is presence for t in targets) for presence in (Presence.HALLUCINATED, Presence.LOST))
    return LabelJudgement(targets[0].label, targets[0].name, *counts, None, ())


def _by_label(record: Record) -> dict[int, list[Target]]:
    """The targets of each label, one a case."""
    found: dict[int, list[Target]] = {}
    for target in (target for case in record.cases for target in case.targets):
        found.setdefault(target.label, []).append(target)
    return found


def _patients(record: Record, plan: Plan) -> tuple[str, ...]:
    return tuple(plan.dataset.patient_of(case.case) for case in record.cases)


def _pairs(scores: Sequence[float | None], references: Sequence[float | None], patients: Sequence[str]) -> _Pairs:
    kept = [(q, f, who) for q, f, who in zip(scores, references, patients) if q is not None and f is not None]
    return _Pairs(*(tuple(column) for column in zip(*kept))) if kept else _Pairs((), (), ())


def _judgement(pairs: _Pairs, terms: _Terms) -> Judgement:
    by_patient = stats.patient_means(pairs.differences, pairs.patients)
    paired = stats.paired(by_patient, terms.margin, seed=terms.seed, resamples=terms.resamples)
    return Judgement(
        metric=terms.metric,
        n_cases=len(pairs.scores),
        n_patients=paired.n,
        mean=_mean(pairs.scores),
        reference_mean=_mean(pairs.references),
        difference=paired.mean_difference,
        ci_low=paired.ci_low,
        ci_high=paired.ci_high,
        p_value=paired.p_value,
        p_holm=None,
        p_wilcoxon=stats.wilcoxon_p(by_patient),
        ni_bound=paired.ni_bound,
        margin=terms.margin,
        verdict=paired.verdict.value,
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _holm_each(table: Sequence[Sequence[Judgement]]) -> list[tuple[Judgement, ...]]:
    """Rows of judgements, a column a metric: each column is a family, and gets its adjusted p."""
    columns = [
        [replace(judgement, p_holm=p) for judgement, p in zip(column, stats.holm([j.p_value for j in column]))]
        for column in zip(*table)
    ]
    return list(zip(*columns))


def _every_label(metric: str, position: int, labels: Sequence[LabelJudgement]) -> EveryLabel:
    judged = [label.judgements[position] for label in labels]
    untested = tuple(label.name for label, j in zip(labels, judged) if j.p_value is None)
    p_value = stats.largest_p([j.p_value for j in judged])
    shown = p_value is not None and p_value <= stats.LEVEL
    verdict = stats.Verdict.NON_INFERIOR if shown else stats.Verdict.INCONCLUSIVE
    return EveryLabel(metric, p_value, untested, verdict.value)


def _tails(metric: str, position: int, pairs: _Pairs, labels: Sequence[LabelJudgement]) -> Tails:
    differences = [(label.judgements[position].difference, label.name) for label in labels]
    found = [(difference, name) for difference, name in differences if difference is not None]
    difference, name = min(found, default=(None, None))
    return Tails(metric, stats.percentile_5(pairs.differences), name, difference, stats.lost_much(pairs.differences))
