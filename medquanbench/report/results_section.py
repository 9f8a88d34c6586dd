"""The main table with its verdicts, what each metric says in detail, and the tails."""

from __future__ import annotations

from collections.abc import Iterable

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
from medquanbench.values import Judgement, Row, Tails

_READING = (
    "The drop is relative to FP32; a negative one is a gain. The difference is quantized minus FP32, paired patient by "
    "patient; it is judged against the margin, the loss that was declared acceptable before the run."
)
_TAILS = (
    "A mean hides a few bad cases: 39 that lose nothing and one that loses 0.4 have a mean loss of 0.01. These are the "
    "worst."
)
_MINUS = str.maketrans("-", "\N{MINUS SIGN}")


def results_section(report: StudyReport) -> Markup:
    """The table like the paper's Table 1, each metric's statistics, the tails, and what each verdict means."""
    return section(
        "results",
        "Results",
        tag("p", _in_short(report)),
        results_table(report),
        tag("p", _READING, css="soft"),
        *_details(report),
        tag("h3", "What the verdicts mean"),
        definitions((verdict_mark(verdict), meaning) for verdict, meaning in wording.VERDICTS),
    )


def results_table(report: StudyReport) -> Markup:
    """A row a configuration; transforms, kept layers and image bits stand below the granularity."""
    headings: tuple[Content, ...] = (
        "Precision",
        "Granularity",
        *(numeric_heading(f"{name.upper()} (drop)") for name in report.reference.record.metrics),
        numeric_heading(f"{report.primary.upper()} difference [95 % CI]"),
        "Verdict",
        "Layers by machine",
    )
    return table(headings, _rows(report), css="results")


def judgement_table(first: str, lines: Iterable[tuple[Content, Judgement]]) -> Markup:
    """A row a judgement, all of one metric: difference, interval, verdict, margin and p-values."""
    headings: tuple[Content, ...] = (
        first,
        numeric_heading("Difference [95 % CI]"),
        "Verdict",
        *map(numeric_heading, ("Margin", "Smallest margin", "p", "p (Holm)", "p (Wilcoxon)")),
    )
    return table(headings, (row(_judgement_cells(name, said)) for name, said in lines), css="scores judgements")


def verdict_mark(verdict: str) -> Markup:
    """A verdict as a coloured word."""
    css = "reference-row" if verdict == wording.REFERENCE else verdict
    return tag("span", verdict, css=f"verdict {css}")


def minus(text: str) -> str:
    """A number's text with a true minus sign."""
    return text if text == "-" else text.translate(_MINUS)


def _details(report: StudyReport) -> list[Markup]:
    """Below the main table: nothing where only the reference was run."""
    if not report.quantized:
        return []
    parts = []
    for position, judgement in enumerate(report.reference.findings.overall):
        lines = [(wording.configuration(entry), entry.findings.overall[position]) for entry in report.quantized]
        name = judgement.metric.upper()
        parts += [tag("h3", f"{name}: difference, margin and p"), judgement_table("Configuration", lines)]
    every = [tag("h3", "Every structure at once"), tag("p", wording.EVERY_LABEL, css="soft"), _every_table(report)]
    return [*parts, *every, tag("h3", "Tails"), tag("p", _TAILS, css="soft"), _tails_table(report)]


def _judgement_cells(name: Content, said: Judgement) -> list[Content]:
    return [
        name,
        numeric(minus(wording.difference(said))),
        verdict_mark(said.verdict),
        numeric("-" if said.margin is None else f"{said.margin:g}"),
        numeric(wording.number(said.ni_bound, 4)),
        *(numeric(wording.p_value(p)) for p in (said.p_value, said.p_holm, said.p_wilcoxon)),
    ]


def _every_table(report: StudyReport) -> Markup:
    metrics = [judgement.metric.upper() for judgement in report.reference.findings.overall]
    headings = ["Configuration", *(text for name in metrics for text in (f"Every {name}", f"Largest p, {name}"))]
    rows = []
    for entry in report.quantized:
        cells: list[Content] = [wording.configuration(entry)]
        for claim in entry.findings.every_label:
            untested = f" ({len(claim.untested)} not tested)" if claim.untested else ""
            cells += [cell(verdict_mark(claim.verdict), untested), numeric(wording.p_value(claim.p_value))]
        rows.append(row(cells))
    return table(headings, rows, css="scores")


def _tails_table(report: StudyReport) -> Markup:
    metrics = [judgement.metric.upper() for judgement in report.reference.findings.overall]
    headings: list[Content] = ["Configuration"]
    for name in metrics:
        headings += [
            numeric_heading(f"{name}: 5th percentile"),
            numeric_heading(f"{name}: lost more than 0.05"),
            f"{name}: worst structure",
        ]
    headings.append(numeric_heading("Collapsed"))
    rows = [
        row([
            wording.configuration(entry),
            *(cell for tails in entry.findings.tails for cell in _tails_cells(tails)),
            numeric(str(entry.findings.collapsed)),
        ])
        for entry in report.quantized
    ]  # fmt: skip
    return table(headings, rows, css="scores")


def _tails_cells(tails: Tails) -> tuple[Content, ...]:
    loss = f" ({minus(wording.signed(tails.worst_label_difference, 4))})" if tails.worst_label else ""
    return (
        numeric(minus(wording.signed(tails.percentile_5, 4))),
        numeric(wording.counted(tails.cases_lost_much, "case")),
        cell(tails.worst_label or "n/a", loss),
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
    return [
        cell(tag("strong", recipe.precision)),
        cell(recipe.policy or "-", *extras),
        *(_score(entry, name) for name in entry.record.metrics),
        numeric(minus(wording.difference(entry.primary))),
        verdict_mark(entry.verdict),
        _machines(entry),
    ]


def _machines(entry: Row) -> Markup:
    """What could run the quantized layers; the reasons show where the mouse rests, and stand with the receipts."""
    receipt = entry.record.receipt
    reasons = "; ".join(f"{unit}: {reason}" for unit, reason in wording.machine_reasons(receipt))
    return tag("span", wording.machines(receipt), css="soft", attributes=(("title", reasons),) if reasons else ())


def _score(entry: Row, metric: str) -> Markup:
    loss = minus(wording.drop(entry, metric_value(entry, entry.drops_pct, metric)))
    mean = wording.number(metric_value(entry, entry.means, metric), 3)
    return numeric(mean, tag("span", f"({loss})", css="loss"))
