"""Rows as text: results.csv, cases.csv, labels.csv, and the table that a terminal shows."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Sequence

from medquanbench.report import wording
from medquanbench.report.model import StudyReport, metric_value
from medquanbench.values import CaseResult, Judgement, LabelJudgement, Record, Row, Run, Target

RESULTS_COLUMNS = (
    "bundle", "variant", "weights", "dataset", "precision", "granularity", "transform", "recipe", "n_cases",
    "dsc", "nsd", "dsc_drop_pct", "nsd_drop_pct", "dsc_diff", "dsc_ci_low", "dsc_ci_high", "p_value", "ni_bound",
    "verdict",
)  # fmt: skip
_TARGET_DETAILS = ("hd95_mm", "volume_similarity", "ece", "brier")
_CASE_DETAILS = ("flip_rate", "flip_rate_boundary")
CASES_COLUMNS = (
    "case", "label", "name", "recipe", "dsc", "nsd", "presence", "reference_voxels", "predicted_voxels",
    *_TARGET_DETAILS, *_CASE_DETAILS,
)  # fmt: skip
LABELS_COLUMNS = ("recipe", "precision", "label", "name", "n_cases", "n_patients", "hallucinated", "lost", "collapsed")
"""The first columns of labels.csv; for each metric follow those of _JUDGEMENT_COLUMNS."""
_JUDGEMENT_COLUMNS = (
    "{}", "{}_fp32", "{}_diff", "{}_ci_low", "{}_ci_high", "{}_p_value", "{}_p_holm", "{}_p_wilcoxon", "{}_ni_bound",
    "{}_margin", "{}_verdict",
)  # fmt: skip
DRAWS_COLUMNS = ("recipe", "draw", "dsc", "nsd")
WIDTH = 100
_HEADINGS = ("Precision", "Granularity", "DSC (drop)", "NSD (drop)", "Difference [95 % CI]", "Verdict")
_LONGEST_GRANULARITY = 15
_GAP = "  "
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def results_csv(rows: Sequence[Row]) -> str:
    """The text of results.csv (DESIGN section 5): a row a run, means with 6 decimals, drops with 4, None as nothing."""
    return _csv(RESULTS_COLUMNS, (_results_cells(row) for row in rows))


def cases_csv(rows: Sequence[Row]) -> str:
    """The text of cases.csv: a row a case, label and run; scores that do not count are empty.

    What was measured of a case as a whole (flip rates) stands on each of its rows.
    """
    return _csv(
        CASES_COLUMNS,
        (
            _case_cells(row, case, target)
            for row in rows
            for case in row.record.cases
            for target in case.targets
        ),
    )  # fmt: skip


def labels_csv(rows: Sequence[Row]) -> str:
    """The text of labels.csv: a row a label and run, FP32's first; what there is not is empty."""
    metrics = [judgement.metric for judgement in rows[0].findings.overall]
    columns = (*LABELS_COLUMNS, *(column.format(metric) for metric in metrics for column in _JUDGEMENT_COLUMNS))
    return _csv(columns, (_label_cells(row, label) for row in rows for label in row.findings.labels))


def draws_csv(records: Sequence[Record], drawn: Sequence[Record]) -> str:
    """The text of draws.csv: a row a recipe that calibrates and a draw of its cases, draw 0 being the study's row."""
    recipes = dict.fromkeys(record.run.recipe for record in drawn)
    found = (record for recipe in recipes for record in (*records, *drawn) if record.run.recipe == recipe)
    return _csv(DRAWS_COLUMNS, (_draw_cells(record) for record in found))


def _draw_cells(record: Record) -> tuple[str, ...]:
    means = {name: record.mean(k) for k, name in enumerate(record.metrics)}
    number = str(record.run.draw.number)
    return str(record.run.recipe), number, _cell(means.get("dsc"), 6), _cell(means.get("nsd"), 6)


def first_line(run: Run, reference_origin: str = "") -> str:
    """What is run on what, whether the images are generated, and who made the reference where no expert did."""
    images = wording.PHANTOM if run.phantom else wording.REAL
    images += f", reference: {reference_origin}" if reference_origin else ""
    text = f"{run.bundle} {run.variant} on {run.dataset}, {wording.counted(len(run.cases), 'case')} - {images}"
    return "\n".join(_wrapped(text))


def terminal_table(report: StudyReport) -> str:
    """The results as plain ASCII text, no line longer than 100 characters, with the notes below."""
    headings, cells = _HEADINGS, [_terminal_cells(row) for row in report.rows]
    widths = [max(len(row[i]) for row in (headings, *cells)) for i in range(len(headings))]
    lines = [_line(headings, widths), _line(tuple("-" * w for w in widths), widths)]
    for row, texts in zip(report.rows, cells):
        lines.append(_line(texts, widths))
        indent = " " * (widths[0] + len(_GAP))
        lines += _wrapped(_continuation(row), indent, indent)
    if any(wording.machine_reasons(entry.record.receipt) for entry in report.quantized):
        lines += ["", *_wrapped(f"What could run the layers: {_machines(report)}.")]
    warning = wording.few_cases_warning(report)
    for note in (*report.notes, *([warning] if warning else [])):
        lines += ["", *_wrapped(note, "Note: ", "      ")]
    return "\n".join(lines) + "\n"


def _machines(report: StudyReport) -> str:
    """Counts of layers by machine; configurations that share them are named together."""
    alike: dict[str, list[str]] = {}
    for entry in report.quantized:
        alike.setdefault(wording.machines(entry.record.receipt), []).append(wording.configuration(entry))
    return "; ".join(f"{', '.join(names)}: {counts}" for counts, names in alike.items())


def _csv(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _results_cells(row: Row) -> tuple[str, ...]:
    run, said = row.record.run, row.primary
    recipe = run.recipe
    return (
        *map(_name, (run.bundle, run.variant, run.weights, run.dataset)),
        recipe.precision, recipe.policy or "-", recipe.transform, str(recipe), str(len(row.record.cases)),
        _cell(metric_value(row, row.means, "dsc"), 6), _cell(metric_value(row, row.means, "nsd"), 6),
        _cell(metric_value(row, row.drops_pct, "dsc"), 4), _cell(metric_value(row, row.drops_pct, "nsd"), 4),
        *(_cell(value, 6) for value in (said.difference, said.ci_low, said.ci_high, said.p_value, said.ni_bound)),
        said.verdict,
    )  # fmt: skip


def _case_cells(row: Row, case: CaseResult, target: Target) -> tuple[str, ...]:
    record = row.record
    scores = dict(zip(record.metrics, target.scores))
    details, case_details = dict(zip(record.details, target.details)), dict(zip(record.case_details, case.details))
    return (
        _name(case.case), str(target.label), _name(target.name), str(row.record.run.recipe),
        _cell(scores.get("dsc"), 6), _cell(scores.get("nsd"), 6), target.presence.name.lower(),
        str(target.reference_voxels), str(target.predicted_voxels),
        *(_cell(details.get(name), 6) for name in _TARGET_DETAILS),
        *(_cell(case_details.get(name), 6) for name in _CASE_DETAILS),
    )  # fmt: skip


def _label_cells(row: Row, label: LabelJudgement) -> tuple[str, ...]:
    recipe, first = row.record.run.recipe, label.judgements[0]
    collapsed = "" if label.collapsed is None else str(label.collapsed)
    return (
        str(recipe), recipe.precision, str(label.label), _name(label.name), str(first.n_cases), str(first.n_patients),
        str(label.hallucinated), str(label.lost), collapsed,
        *(cell for judgement in label.judgements for cell in _judgement_cells(judgement)),
    )  # fmt: skip


def _judgement_cells(said: Judgement) -> tuple[str, ...]:
    numbers = (
        said.mean, said.reference_mean, said.difference, said.ci_low, said.ci_high, said.p_value, said.p_holm,
        said.p_wilcoxon, said.ni_bound,
    )  # fmt: skip
    margin = "" if said.margin is None else f"{said.margin:g}"
    return (*(_cell(number, 6) for number in numbers), margin, said.verdict)


def _cell(value: float | None, decimals: int) -> str:
    return "" if value is None else wording.number(value, decimals)


def _name(text: str) -> str:
    """A name from outside, on one line; spreadsheets take a cell that begins with one of =+-@ for a formula."""
    text = _CONTROL.sub(" ", text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def _terminal_cells(row: Row) -> tuple[str, ...]:
    recipe = row.record.run.recipe
    return (
        recipe.precision,
        _clipped(recipe.policy or "-"),
        *(_score(row, metric) for metric in ("dsc", "nsd")),
        wording.difference(row.primary),
        str(row.verdict),
    )


def _score(row: Row, metric: str) -> str:
    mean, drop_pct = metric_value(row, row.means, metric), metric_value(row, row.drops_pct, metric)
    return f"{wording.number(mean, 3)} ({wording.drop(row, drop_pct)})"


def _clipped(policy: str) -> str:
    return policy if len(policy) <= _LONGEST_GRANULARITY else policy[: _LONGEST_GRANULARITY - 3] + "..."


def _continuation(row: Row) -> str:
    """What the row's cells leave out of its recipe; empty for most rows."""
    recipe = row.record.run.recipe
    if recipe.policy is not None and _clipped(recipe.policy) != recipe.policy:
        return str(recipe)
    return wording.extras(row)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    """The text in lines of at most WIDTH characters. What is not printable ASCII is escaped: names reach a terminal."""
    safe = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)
    return textwrap.wrap(safe, WIDTH, initial_indent=first, subsequent_indent=rest)
