"""The main table with its verdicts, and how to read its statistics."""

from __future__ import annotations

from medquanbench.metrics import METRICS
from medquanbench.report import wording
from medquanbench.report.markup import (
    Content,
    Markup,
    cell,
    definitions,
    numeric,
    numeric_heading,
    row,
    section,
    table,
    tag,
)
from medquanbench.report.model import StudyReport, metric_value
from medquanbench.values import Row

_READING = (
    "The drop is relative to FP32; a negative one is a gain. The difference is quantized minus FP32 in DSC, paired "
    "case by case; it is judged against the margin."
)
_CI = (
    "Interval of that difference from a studentized bootstrap over cases: what other patients drawn like these might "
    "have shown. It knows nothing of other scanners or hospitals."
)
_P = (
    "One-sided p-value of non-inferiority at the margin: small values speak for a loss smaller than the margin. It is "
    "not a test of whether anything changed."
)
_MINUS = str.maketrans("-", "\N{MINUS SIGN}")


def results_section(report: StudyReport) -> Markup:
    """The table like the paper's Table 1, with the paired difference, and what each verdict means."""
    return section(
        "results",
        "Results",
        tag("p", _in_short(report)),
        results_table(report),
        tag("p", _READING, css="soft"),
        tag("h3", "What the verdicts mean"),
        definitions((verdict_mark(verdict), meaning) for verdict, meaning in wording.VERDICTS),
    )


def results_table(report: StudyReport) -> Markup:
    """A row a configuration; transforms, kept layers and image bits stand below the granularity."""
    headings: tuple[Content, ...] = (
        "Precision",
        "Granularity",
        *(numeric_heading(f"{name.upper()} (drop)") for name in report.reference.record.metrics),
        numeric_heading("Difference [95 % CI]"),
        "Verdict",
        *map(numeric_heading, ("Margin", "p", "Smallest margin")),
    )
    return table(headings, _rows(report), css="results")


def verdict_mark(verdict: str) -> Markup:
    """A verdict as a coloured word."""
    css = "reference-row" if verdict == wording.REFERENCE else verdict
    return tag("span", verdict, css=f"verdict {css}")


def minus(text: str) -> str:
    """A number's text with a true minus sign."""
    return text if text == "-" else text.translate(_MINUS)


def statistics_section(report: StudyReport) -> Markup:
    """The definitions behind the columns."""
    warning = wording.few_cases_warning(report)
    pairs: list[tuple[Content, Content]] = [
        (METRICS[name].title, METRICS[name].definition) for name in report.reference.record.metrics if name in METRICS
    ]
    pairs += [
        ("Tolerances", report.tolerances),
        ("Mean", "Scores are averaged over the counted structures of a case, then over cases."),
        ("Drop", "100 (FP32 \N{MINUS SIGN} quantized) / FP32, in per cent. Not given where FP32 scores 0."),
        ("Difference", "Mean over cases of the paired difference in DSC, quantized minus FP32."),
        ("95 % CI", _CI),
        ("Margin", f"The loss of DSC that was declared acceptable beforehand: {_margins(report)}."),
        ("p", _P),
        ("Smallest margin", "Every margin larger than this would have been called non-inferior."),
        ("n", f"{wording.counted(report.compared_cases, 'case')} compared in pairs."),
    ]
    return section(
        "statistics",
        "How to read the numbers",
        *([tag("p", warning, css="note")] if warning else []),
        definitions(pairs),
    )


def _in_short(report: StudyReport) -> str:
    verdicts = [str(row.verdict) for row in report.quantized]
    found = [f"{verdicts.count(v)} {v}" for v, _ in wording.VERDICTS if v in verdicts]
    if not found:
        return "Only the FP32 reference was run: there is nothing to compare it with."
    count = wording.counted(len(verdicts), "quantized configuration")
    return f"{count} against FP32 on {wording.counted(report.compared_cases, 'case')}: {', '.join(found)}."


def _rows(report: StudyReport) -> list[Markup]:
    lines, previous = [], ""
    for entry in report.rows:
        precision = entry.record.run.recipe.precision
        css = "reference" if entry.verdict == wording.REFERENCE else "first" if precision != previous else ""
        lines.append(row(_cells(entry), css=css))
        previous = precision
    return lines


def _cells(entry: Row) -> list[Content]:
    recipe = entry.record.run.recipe
    extras = [tag("div", extra, css="extras")] if (extra := wording.extras(entry)) else []
    is_reference = entry.verdict == wording.REFERENCE
    return [
        cell(tag("strong", recipe.precision)),
        cell(recipe.policy or "-", *extras),
        *(_score(entry, name) for name in entry.record.metrics),
        numeric(minus(wording.difference(entry))),
        verdict_mark(str(entry.verdict)),
        numeric("-" if is_reference else f"{entry.margin:g}"),
        numeric("-" if is_reference else wording.p_value(entry.p_value)),
        numeric("-" if is_reference else wording.number(entry.ni_bound, 4)),
    ]


def _score(entry: Row, metric: str) -> Markup:
    loss = minus(wording.drop(entry, metric_value(entry, entry.drops_pct, metric)))
    mean = wording.number(metric_value(entry, entry.means, metric), 3)
    return numeric(mean, tag("span", f"({loss})", css="loss"))


def _margins(report: StudyReport) -> str:
    found = dict.fromkeys((row.record.run.recipe.precision, f"{row.margin:g}") for row in report.quantized)
    return ", ".join(f"{margin} for {precision}" for precision, margin in found) or "none was needed"
