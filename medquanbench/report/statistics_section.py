"""How to read the numbers: each column in plain words."""

from __future__ import annotations

from medquanbench.metrics import METRICS
from medquanbench.report import wording
from medquanbench.report.markup import Content, Markup, definitions, section, tag
from medquanbench.report.model import StudyReport
from medquanbench.stats import FEW_PATIENTS, FOUND, GONE, LARGE_LOSS, LEVEL

_COLUMNS: tuple[tuple[str, str], ...] = (
    ("Mean", "Scores are averaged over the counted structures of a case, then over cases."),
    ("Drop", "100 (FP32 \N{MINUS SIGN} quantized) / FP32, in per cent. Not given where FP32 scores 0."),
    ("Difference", "Mean over patients of the paired difference, quantized minus FP32; several scans of one patient "
     "are averaged first."),
    ("95 % CI", "Interval of that difference from a studentized bootstrap over patients: what other patients drawn "
     "like these might have shown. It knows nothing of other scanners or hospitals. Samples of rare losses look too "
     "good, so its lower end also holds if one more patient had lost as much as the worst one, or more than that with "
     f"fewer than {FEW_PATIENTS} patients or where most differences are equal. Where all are equal, it is what so many "
     "patients can have missed."),
)  # fmt: skip
_P_VALUES: tuple[tuple[str, str], ...] = (
    ("Smallest margin", "Every margin larger than this would have been called non-inferior."),
    ("p", "One-sided p-value of non-inferiority at the margin: small values speak for a loss smaller than the margin; "
     f"{LEVEL} or less is what the verdict asks for. It is not a test of whether anything changed."),
    ("p (Holm)", "p adjusted for the number of questions asked: all configurations of the command, or, in the table of "
     f"structures, all structures of all configurations. {LEVEL} or less: this one may be named by itself."),
    ("p (Wilcoxon)", "Whether anything changed at all, for better or worse: signed-rank test, two-sided. No verdict "
     "hangs on it, and a small p can belong to a loss too small to matter."),
    ("Every structure", wording.EVERY_LABEL),
    ("Pairs", "A case counts for a structure where both runs have a score. A structure that is neither in the "
     "reference nor found by FP32, but by the quantized network, is in no pair: it is counted as hallucinated."),
    ("5th percentile", "One case in twenty lost this much or more; with up to 20 cases the worst case."),
    ("Worst structure", "The structure with the lowest mean difference, and that difference."),
    ("Lost more than 0.05", f"Cases whose score, averaged over structures, fell by more than {LARGE_LOSS}."),
    ("Collapsed", f"Structures of a case that FP32 finds (DSC at least {FOUND}) and the quantized network does not "
     f"(below {GONE})."),
)  # fmt: skip


def statistics_section(report: StudyReport) -> Markup:
    """The definitions behind the columns."""
    warning = wording.few_cases_warning(report)
    pairs: list[tuple[Content, Content]] = [
        (METRICS[name].title, METRICS[name].definition) for name in report.reference.record.metrics if name in METRICS
    ]
    pairs += [
        ("Tolerances", report.tolerances),
        *_COLUMNS,
        ("Margin", f"The loss that was declared acceptable beforehand: {_margins(report)}."),
        *_P_VALUES,
        ("n", _n(report)),
    ]
    return section(
        "statistics",
        "How to read the numbers",
        *([tag("p", warning, css="note")] if warning else []),
        definitions(pairs),
    )


def _n(report: StudyReport) -> str:
    cases, patients = report.compared_cases, report.compared_patients
    whose = f" of {wording.counted(patients, 'patient')}" if patients != cases else ""
    return f"{wording.counted(cases, 'case')}{whose} compared in pairs."


def _margins(report: StudyReport) -> str:
    found = dict.fromkeys(
        (judgement.metric.upper(), row.record.run.recipe.precision, f"{judgement.margin:g}")
        for row in report.quantized
        for judgement in row.findings.overall
    )
    return ", ".join(f"{margin} {name} for {precision}" for name, precision, margin in found) or "none was needed"
