"""results.csv, cases.csv and labels.csv to the letter, and a terminal table that fits."""

import csv
import io
from dataclasses import replace

import pytest

from medquanbench.report import cases_csv, labels_csv, results_csv, terminal_table
from medquanbench.report.html import report_html
from medquanbench.report.tables import first_line
from medquanbench.values import (
    CaseResult,
    Findings,
    Judgement,
    LabelJudgement,
    Presence,
    Receipt,
    Recipe,
    Record,
    Row,
    Run,
    Target,
)


def a_row(
    recipe: str,
    score: float,
    judged: tuple[Judgement, ...],
    labels: tuple[LabelJudgement, ...],
    drops_pct: tuple[float | None, ...] = (None, None),
) -> Row:
    targets = (
        Target(1, "liver", Presence.BOTH, 10, 9, (score, 0.5), (3.0, 0.25)),
        Target(4, "gallbladder", Presence.NEITHER, 0, 0, (None, None), (None, None)),
    )
    run = Run("unet", "demo", "w.safetensors", "ct", "test", False, ("a",), Recipe.parse(recipe), 0, "k")
    case = CaseResult("a", (1, 1, 1), targets, None, 1.0, (0.125,))
    record = Record(run, ("dsc", "nsd"), (case,), Receipt(recipe, ()), ("hd95_mm", "ece"), ("flip_rate",))
    return Row(record, (score, 0.5), drops_pct, Findings(judged, labels))


def judged(metric: str, mean: float, *numbers: float | None, verdict: str) -> Judgement:
    """All numbers from the difference to the margin."""
    return Judgement(metric, 1, 1, mean, 0.8 if metric == "dsc" else 0.5, *numbers, verdict)


def nothing(metric: str) -> Judgement:
    return Judgement(metric, 0, 0, *(None,) * 9, 0.01, "inconclusive")


OWN = tuple(judged(metric, mean, *(None,) * 8, verdict="reference") for metric, mean in (("dsc", 0.8), ("nsd", 0.5)))
LOST = (judged("dsc", 0.6, -0.2, -0.25, -0.1, 1.0, 1.0, 0.03125, 0.25, 0.01, verdict="inferior"),
        judged("nsd", 0.5, -1e-9, -0.001, 0.001, 0.02, 0.04, 1.0, 0.001, 0.002, verdict="non-inferior"))  # fmt: skip
ABSENT = LabelJudgement(4, "gallbladder", 1, 0, 0, (nothing("dsc"), nothing("nsd")))
REFERENCE = a_row("fp32", 0.8, OWN, (LabelJudgement(1, "liver", 0, 0, None, OWN),))
LOSS = a_row("w4a4 adaptive smooth(alpha=0.5)+svd(rank=4) keep(a.*,b)", 0.6, LOST,
             (LabelJudgement(1, "liver", 0, 0, 1, LOST), ABSENT), drops_pct=(25.0, -1e-9))  # fmt: skip


def test_results_csv_to_the_letter():
    assert results_csv((REFERENCE, LOSS)) == (
        "bundle,variant,weights,dataset,precision,granularity,transform,recipe,n_cases,dsc,nsd,dsc_drop_pct,"
        "nsd_drop_pct,dsc_diff,dsc_ci_low,dsc_ci_high,p_value,ni_bound,verdict\n"
        "unet,demo,w.safetensors,ct,FP32,-,-,fp32,1,0.800000,0.500000,,,,,,,,reference\n"
        "unet,demo,w.safetensors,ct,W4A4,adaptive,smooth(alpha=0.5)+svd(rank=4),"
        '"w4a4 adaptive smooth(alpha=0.5)+svd(rank=4) keep(a.*,b)",1,0.600000,0.500000,25.0000,0.0000,'
        "-0.200000,-0.250000,-0.100000,1.000000,0.250000,inferior\n"
    )


def test_cases_csv_to_the_letter():
    assert cases_csv((REFERENCE,)) == (
        "case,label,name,recipe,dsc,nsd,presence,reference_voxels,predicted_voxels,"
        "hd95_mm,volume_similarity,ece,brier,flip_rate,flip_rate_boundary\n"
        "a,1,liver,fp32,0.800000,0.500000,both,10,9,3.000000,,0.250000,,0.125000,\n"
        "a,4,gallbladder,fp32,,,neither,0,0,,,,,0.125000,\n"
    )


def test_labels_csv_to_the_letter():
    judgement = ",".join(
        f"{m}{end}" for m in ("dsc", "nsd")
        for end in ("", "_fp32", "_diff", "_ci_low", "_ci_high", "_p_value", "_p_holm", "_p_wilcoxon", "_ni_bound",
                    "_margin", "_verdict")
    )  # fmt: skip
    recipe = '"w4a4 adaptive smooth(alpha=0.5)+svd(rank=4) keep(a.*,b)",W4A4'
    assert labels_csv((REFERENCE, LOSS)) == (
        f"recipe,precision,label,name,n_cases,n_patients,hallucinated,lost,collapsed,{judgement}\n"
        "fp32,FP32,1,liver,1,1,0,0,,0.800000,0.800000,,,,,,,,,reference,0.500000,0.500000,,,,,,,,,reference\n"
        f"{recipe},1,liver,1,1,0,0,1,0.600000,0.800000,-0.200000,-0.250000,-0.100000,1.000000,1.000000,0.031250,"
        "0.250000,0.01,inferior,0.500000,0.500000,0.000000,-0.001000,0.001000,0.020000,0.040000,1.000000,0.001000,"
        "0.002,non-inferior\n"
        f"{recipe},4,gallbladder,0,0,1,0,0,,,,,,,,,,0.01,inconclusive,,,,,,,,,,0.01,inconclusive\n"
    )


def test_labels_csv_has_a_row_a_label_and_run(report):
    assert len(labels_csv(report.rows).splitlines()) == 1 + 7 * 13


def test_every_recipe_in_results_csv_parses_back(report):
    for line, row in zip(csv.DictReader(io.StringIO(results_csv(report.rows))), report.rows):
        assert Recipe.parse(line["recipe"]) == row.record.run.recipe


def test_cases_csv_has_a_row_a_case_label_and_run(report):
    assert len(cases_csv(report.rows).splitlines()) == 1 + 7 * 8 * 13


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", " =x", "\t=x"])
def test_a_name_cannot_become_a_formula(name):
    case = replace(REFERENCE.record.cases[0], case=name)
    row = replace(REFERENCE, record=replace(REFERENCE.record, cases=(case,)))
    assert next(csv.DictReader(io.StringIO(cases_csv((row,)))))["case"].startswith("'")


def test_a_name_with_a_line_break_stays_in_its_row():
    run = replace(REFERENCE.record.run, bundle="a\rb\nc,d")
    text = results_csv((replace(REFERENCE, record=replace(REFERENCE.record, run=run)),))
    assert next(csv.DictReader(io.StringIO(text, newline="")))["bundle"] == "a b c,d"
    assert text.count("\n") == 2


def test_terminal_table_to_the_letter(make_report):
    block = (("fp32", 0.8), ("w4a4 per-tensor", 0.0))
    lines = terminal_table(make_report(block=block, names=("liver",), n_cases=3)).splitlines()
    assert lines[0] == "Precision  Granularity  DSC (drop)      NSD (drop)      Difference [95 % CI]   Verdict"
    assert lines[3].startswith("W4A4       per-tensor   ")
    assert "0.000 (100.0%)  0.000 (100.0%)" in lines[3]
    assert lines[3].endswith("[no interval]  inconclusive")
    assert "Note: 5 structures were hallucinated." in lines
    assert any(line.startswith("Note: Only 3 cases: no interval") for line in lines)


def test_what_could_run_the_layers_stands_below_the_table(make_report):
    report = make_report(block=(("fp32", 0.8), ("w8a8 adaptive", 0.8), ("w4a4 adaptive", 0.7)), names=("liver",))
    assert "What could run" not in terminal_table(report)
    line = replace(report.rows[1].record.receipt.lines[1], hardware="gemm", hardware_reason="why")
    rows = [
        replace(row, record=replace(row.record, receipt=Receipt("x", lines)))
        for row, lines in zip(report.rows, ((), (line, line), (line, line)))
    ]
    shown = terminal_table(replace(report, rows=tuple(rows)))
    assert "What could run the layers: W8A8 adaptive, W4A4 adaptive: 2 gemm.\n" in shown
    page = report_html(replace(report, rows=tuple(rows)))
    assert page.count('<span class="soft" title="gemm: why">2 gemm</span>') == 2


def test_first_line_says_what_the_images_are(make_report):
    run = make_report(n_cases=3).rows[0].record.run
    expected = "swinunetr demo on btcv-phantom, 3 cases - PHANTOM: generated images, not patients"
    assert first_line(replace(run, phantom=True)) == expected
    real = first_line(replace(run, phantom=False))
    assert "real images" in real and "PHANTOM" not in real
    model = first_line(replace(run, phantom=False), "model output of X").replace("\n", " ")
    assert model.endswith("3 cases - real images, reference: model output of X")


def test_terminal_table_is_narrow_plain_ascii(make_report):
    long = (
        "w4a4 a-policy-with-a-very-long-name " + "+".join(f"step{i}(alpha=0.5)" for i in range(9)) + " keep(décodeur.*)"
    )
    report = make_report(block=(("fp32", 0.8), (long, 0.0), ("w8a8 per-channel", 0.79)), phantom=False)
    report = replace(report, notes=("ünïcode \x1b[31m and " + "x" * 300,))
    text = terminal_table(report)
    assert text.isascii() and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    words = text.replace("\n", "").replace(" ", "")
    assert "step8(alpha=0.5)" in words and "keep(d\\xe9codeur.*)" in words


def test_a_run_without_any_score_shows_that_it_has_none():
    row = replace(REFERENCE, means=(None, None))
    assert results_csv((row,)).splitlines()[1] == "unet,demo,w.safetensors,ct,FP32,-,-,fp32,1,,,,,,,,,,reference"
