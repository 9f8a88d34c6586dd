"""The scores of a folder of predictions as results.csv, cases.csv, labels.csv and a table for a terminal (floor 5)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from medquanbench.data.score_case import METRICS, Scored
from medquanbench.data.score_interval import Interval, interval
from medquanbench.dataset import Dataset
from medquanbench.values import Presence, Target

COLUMNS = {"dsc": "dsc", "nsd": "nsd", "hd95": "hd95_mm", "volume_similarity": "volume_similarity"}
"""metric -> its column"""
INTERVAL_COLUMNS = ("dsc_ci_low", "dsc_ci_high", "nsd_ci_low", "nsd_ci_high")
_INTERVALS = ("dsc", "nsd")
RESULTS_COLUMNS = (
    "dataset", "n_cases", "n_missing", *COLUMNS.values(), "lost", "hallucinated", *INTERVAL_COLUMNS,
)  # fmt: skip
CASES_COLUMNS = ("case", "label", "name", *COLUMNS.values(), "presence", "reference_voxels", "predicted_voxels")
LABELS_COLUMNS = ("label", "name", "n_cases", *COLUMNS.values(), "lost", "hallucinated", *INTERVAL_COLUMNS)
_N_SHOWN = 10
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Summary:
    """Some scores in one line.

    Attributes:
        n: cases that counted. values: a metric each; None where nothing counted.
        intervals: of the mean of DSC and NSD over patients, 95 %; None where there are too few, or all are equal.
    """

    n: int
    values: tuple[float | None, ...]
    lost: int
    hallucinated: int
    intervals: tuple[Interval | None, ...]


def overall(cases: Sequence[Scored], patient_of: Callable[[str], str]) -> Summary:
    """Over all cases: the mean over counted labels of a case, then over cases; HD95: the median over all of them."""
    targets = [target for case in cases for target in case.targets]
    values = tuple(_OVERALL.get(name, _mean_of_means)(cases, place) for place, name in enumerate(METRICS))
    means = (
        [_mean(target.scores[METRICS.index(name)] for target in case.targets) for case in cases] for name in _INTERVALS
    )
    return _summary(len(cases), values, targets, means, [patient_of(case.case) for case in cases])


def by_label(cases: Sequence[Scored], patient_of: Callable[[str], str]) -> dict[tuple[int, str], Summary]:
    """For each label, (number, name): means over the cases that count; HD95: the median."""
    found: dict[tuple[int, str], list[Target]] = {}
    for target in (target for case in cases for target in case.targets):
        found.setdefault((target.label, target.name), []).append(target)
    patients = [patient_of(case.case) for case in cases]
    return {label: _of_label(targets, patients) for label, targets in found.items()}


def results_csv(dataset: Dataset, n_missing: int, cases: Sequence[Scored]) -> str:
    """The text of results.csv: one row."""
    total = overall(cases, dataset.patient_of)
    return _csv(RESULTS_COLUMNS, [(_name(dataset.name), total.n, n_missing, *_cells(total))])


def cases_csv(cases: Sequence[Scored]) -> str:
    """The text of cases.csv: a row a case and label; a score that does not count is empty."""
    rows = ((_name(case.case), target.label, _name(target.name), *map(_cell, target.scores),
             target.presence.name.lower(), target.reference_voxels, target.predicted_voxels)
            for case in cases for target in case.targets)  # fmt: skip
    return _csv(CASES_COLUMNS, rows)


def labels_csv(dataset: Dataset, cases: Sequence[Scored]) -> str:
    """The text of labels.csv: a row a label."""
    found = by_label(cases, dataset.patient_of).items()
    return _csv(LABELS_COLUMNS, ((number, _name(name), row.n, *_cells(row)) for (number, name), row in found))


def terminal_table(dataset: Dataset, cases: Sequence[Scored]) -> str:
    """The mean over all and the labels with the lowest DSC, as plain text."""
    labels = [(name, row) for (_, name), row in by_label(cases, dataset.patient_of).items() if row.n]
    labels.sort(key=lambda row: row[1].values[0])
    title = "worst labels" if len(labels) > _N_SHOWN else "labels, worst first"
    rows = [("", "DSC", "NSD", "median HD95", "lost", "hallucinated"), _line("all", overall(cases, dataset.patient_of))]
    rows += [_line(f"  {name}", row) for name, row in labels[:_N_SHOWN]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join((row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))))
        for row in rows
    ]
    return "\n".join((*lines[:2], f"{title}:", *lines[2:]))


def _line(name: str, row: Summary) -> tuple[str, ...]:
    dsc, nsd, hd95_mm, _ = row.values
    shown = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in name)
    distance = "-" if hd95_mm is None else f"{hd95_mm:.2f} mm"
    return (shown[:60], *("-" if v is None else f"{v:.3f}" for v in (dsc, nsd)), distance, str(row.lost),
            str(row.hallucinated))  # fmt: skip


def _of_label(targets: Sequence[Target], patients: Sequence[str]) -> Summary:
    values = tuple(
        _OF_LABEL.get(name, _mean)(target.scores[place] for target in targets) for place, name in enumerate(METRICS)
    )
    scores = ([target.scores[METRICS.index(name)] for target in targets] for name in _INTERVALS)
    n_counted = sum(target.presence is not Presence.NEITHER for target in targets)
    return _summary(n_counted, values, targets, scores, patients)


def _summary(
    n: int,
    values: tuple[float | None, ...],
    targets: Sequence[Target],
    scores: Iterable[Sequence[float | None]],
    patients: Sequence[str],
) -> Summary:
    intervals = tuple(interval(of_metric, patients) for of_metric in scores)
    return Summary(n, values, _count(targets, Presence.LOST), _count(targets, Presence.HALLUCINATED), intervals)


def _mean_of_means(cases: Sequence[Scored], place: int) -> float | None:
    return _mean(_mean(target.scores[place] for target in case.targets) for case in cases)


def _median_of_all(cases: Sequence[Scored], place: int) -> float | None:
    return _median(target.scores[place] for case in cases for target in case.targets)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None


def _median(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return median(there) if there else None


# A distance has no upper end, and none where a structure is lost: its mean would hang on few cases.
_OVERALL: dict[str, Callable[[Sequence[Scored], int], float | None]] = {"hd95": _median_of_all}
_OF_LABEL: dict[str, Callable[[Iterable[float | None]], float | None]] = {"hd95": _median}


def _count(targets: Iterable[Target], presence: Presence) -> int:
    return sum(target.presence is presence for target in targets)


def _cells(row: Summary) -> tuple[str, ...]:
    bounds = (bound for one in row.intervals for bound in (one.low if one else None, one.high if one else None))
    return (*map(_cell, row.values), str(row.lost), str(row.hallucinated), *map(_cell, bounds))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _name(text: str) -> str:
    """A name from outside, on one line; spreadsheets take a cell that begins with one of =+-@ for a formula."""
    text = _CONTROL.sub(" ", text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
