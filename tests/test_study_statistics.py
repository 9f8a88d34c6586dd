"""What rows say beside FP32: pairs, patients, families, tails; records are made by hand, the plan is a true one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medquanbench import open_bundle, open_dataset, stats
from medquanbench.study_plan import Plan, prepare
from medquanbench.study_statistics import judged_rows
from medquanbench.values import CaseResult, Presence, Receipt, Record, Row, Target

RECIPES = ("w8a8 per-tensor", "w4a4 adaptive")
NAMES = ("low", "high")


@pytest.fixture
def plan(micro_bundle, micro_data) -> Plan:
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    return prepare(open_bundle(micro_bundle, weights="demo-micro"), dataset, RECIPES, margins=(("nsd", 0.03),))


def target(label: int, dsc: float | None, presence: Presence = Presence.BOTH) -> Target:
    """A target whose NSD is half its DSC."""
    return Target(label, NAMES[label - 1], presence, 9, 9, (dsc, None if dsc is None else dsc / 2))


def record(plan: Plan, number: int, scores: np.ndarray) -> Record:
    """The record of a run: DSC (cases, labels), NaN where a structure is absent."""
    cases = tuple(
        CaseResult(
            name,
            (1.0, 1.0, 1.0),
            tuple(target(i, None if np.isnan(dsc) else float(dsc)) for i, dsc in enumerate(row, 1)),
            None,
            1.0,
        )
        for (name, _), row in zip(plan.sums, scores)
    )
    return Record(plan.runs[number], ("dsc", "nsd"), cases, Receipt(str(plan.runs[number].recipe), ()))


@pytest.fixture
def scores() -> np.ndarray:
    """DSC (runs, cases, labels): FP32, a small loss, a larger one."""
    generator = np.random.default_rng(0)
    floats = generator.uniform(0.7, 0.9, (7, 2))
    return np.stack([floats, floats - generator.uniform(0, 0.001, (7, 2)), floats - generator.uniform(0, 0.1, (7, 2))])


def rows_of(plan: Plan, scores: np.ndarray) -> tuple[Row, ...]:
    return judged_rows([record(plan, number, run) for number, run in enumerate(scores)], plan)


def test_overall_is_the_paired_comparison_of_case_means(plan, scores):
    row = rows_of(plan, scores)[2]
    dsc, nsd = row.findings.overall
    expected = stats.paired((scores[2] - scores[0]).mean(axis=1), 0.01)
    assert (dsc.metric, dsc.n_cases, dsc.n_patients, dsc.margin) == ("dsc", 7, 7, 0.01)
    assert (dsc.ci_low, dsc.ci_high) == pytest.approx((expected.ci_low, expected.ci_high))
    assert dsc.verdict == row.verdict == expected.verdict
    assert dsc.mean - dsc.reference_mean == pytest.approx(dsc.difference)
    assert (nsd.metric, nsd.margin, row.primary) == ("nsd", 0.03, dsc)  # the one that was given, for any precision
    assert nsd.difference == pytest.approx(dsc.difference / 2)


def test_fp32_is_compared_with_nothing(plan, scores):
    row = rows_of(plan, scores)[0]
    assert row.verdict == "reference" and row.drops_pct == (None, None)
    for judgement in (*row.findings.overall, *(j for label in row.findings.labels for j in label.judgements)):
        assert judgement.verdict == "reference" and judgement.n_patients == 7
        assert judgement.difference is judgement.ci_low is judgement.p_value is judgement.margin is None
    assert row.findings.labels[0].judgements[0].mean == pytest.approx(scores[0, :, 0].mean())


def test_scans_of_a_patient_count_once(plan, scores):
    """Two scans with the losses 0 and x are one patient with the loss x / 2."""
    twins = replace(plan, dataset=replace(plan.dataset, patients=(("m1", "p"), ("m5", "p"))))
    dsc = rows_of(twins, scores)[2].primary
    differences = (scores[2] - scores[0]).mean(axis=1)
    expected = stats.paired([(differences[0] + differences[4]) / 2, *np.delete(differences, [0, 4])], 0.01)
    assert (dsc.n_cases, dsc.n_patients) == (7, 6)
    assert (dsc.difference, dsc.ci_low) == pytest.approx((expected.mean_difference, expected.ci_low))
    alone = replace(plan, dataset=replace(plan.dataset, patients=tuple((f"m{i}", "p") for i in range(1, 4))))
    assert rows_of(alone, scores)[2].primary.ci_low is None, "5 patients are too few, whatever they were scanned"


def test_families_are_all_configurations_and_all_labels_of_all_configurations(plan, scores):
    rows = rows_of(plan, scores)[1:]
    for k in range(2):
        overall = [row.findings.overall[k] for row in rows]
        assert tuple(j.p_holm for j in overall) == stats.holm([j.p_value for j in overall])
        labels = [label.judgements[k] for row in rows for label in row.findings.labels]
        assert len(labels) == 4
        assert tuple(j.p_holm for j in labels) == stats.holm([j.p_value for j in labels])


def test_every_label_is_as_good_as_the_worst(plan, scores):
    small, large = (row.findings for row in rows_of(plan, scores)[1:])
    for findings in (small, large):
        worst = max(label.judgements[0].p_value for label in findings.labels)
        claim = findings.every_label[0]
        assert (claim.p_value, claim.untested) == (worst, ())
        assert (claim.verdict == "non-inferior") == (worst <= 0.025)
    assert (small.every_label[0].verdict, large.every_label[0].verdict) == ("non-inferior", "inconclusive")


def test_a_label_of_too_few_cases_is_not_tested_and_nor_is_the_claim_about_every_label(plan, scores):
    scores[:, 2:, 1] = np.nan
    findings = rows_of(plan, scores)[1].findings
    rare = findings.labels[1].judgements[0]
    assert (rare.n_cases, rare.p_value, rare.p_holm, rare.verdict) == (2, None, None, "inconclusive")
    assert findings.every_label[0].untested == ("high",) and findings.every_label[0].verdict == "inconclusive"
    tested = [row.findings.labels[0].judgements[0].p_value for row in rows_of(plan, scores)[1:]]
    assert findings.labels[0].judgements[0].p_holm == stats.holm([*tested, None, None])[0], "the family stays as large"


def test_a_structure_that_only_the_quantized_network_invents_is_in_no_pair(plan, scores):
    scores[0, 0, 1] = np.nan
    records = [record(plan, number, run) for number, run in enumerate(scores)]
    first = records[1].cases[0]
    invented = replace(first, targets=(first.targets[0], target(2, 0.0, Presence.HALLUCINATED)))
    records[1] = replace(records[1], cases=(invented, *records[1].cases[1:]))
    low, high = judged_rows(records, plan)[1].findings.labels
    assert (high.hallucinated, high.judgements[0].n_cases, low.judgements[0].n_cases) == (1, 6, 7)
    expected = (scores[1] - scores[0])[1:, 1].mean()
    assert high.judgements[0].difference == pytest.approx(expected)


def test_tails_by_hand(plan, scores):
    scores[0] = 0.8
    scores[1] = 0.8
    scores[1, 3] = (0.8, 0.05)  # one structure of one case is gone: the case loses 0.375, the label 0.75 / 7
    scores[1, 5] = (0.75, 0.73)  # a loss of 0.06
    findings = rows_of(plan, scores)[1].findings
    dsc, nsd = findings.tails
    assert (dsc.percentile_5, dsc.cases_lost_much, dsc.worst_label) == (pytest.approx(-0.375), 2, "high")
    assert dsc.worst_label_difference == pytest.approx(-(0.75 + 0.07) / 7)
    assert (nsd.percentile_5, nsd.cases_lost_much) == (pytest.approx(-0.1875), 1)
    assert findings.collapsed == 1 and [label.collapsed for label in findings.labels] == [0, 1]


def test_a_study_of_the_reference_alone_has_rows(plan, scores):
    alone = replace(plan, runs=plan.runs[:1])
    (row,) = rows_of(alone, scores[:1])
    assert row.verdict == "reference" and row.findings.tails == ()
