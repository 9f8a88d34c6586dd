"""The report of verify: as text, as JSON, as a table (floor 5)."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from medquanbench.data.findings import KINDS, CaseFacts, Finding, Severity
from medquanbench.data.text_table import table
from medquanbench.dataset import Dataset

SCHEMA = 1
_N_SHOWN = 5  # findings of a kind; all are in verify.csv
_N_RARE = 20  # structures that are not in every case
COLUMNS = ("severity", "kind", "case", "file", "sentence")


@dataclass(frozen=True)
class Report:
    """What verify found: per split (name, cases named, cases whose files are all there), per case, and against it."""

    dataset: Dataset
    deep: bool
    splits: tuple[tuple[str, int, int], ...]
    facts: tuple[CaseFacts, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def verdict(self) -> str:
        counts = [(self.count(severity), severity) for severity in Severity]
        told = ", ".join(f"{n} {severity}{'s' * (n != 1)}" for n, severity in counts if n)
        return told or "nothing wrong"


def as_text(report: Report) -> str:
    """The report for a person: splits, ranges, structures, then the findings by kind, worst first."""
    dataset = report.dataset
    how = "every voxel was read" if report.deep else "headers were read; --deep reads every voxel"
    lines = [
        f"{dataset.name}: {dataset.title}",
        f"{len(report.facts)} cases in {dataset.root} ({dataset.layout}); {how}",
        "",
        *table([("split", "cases", "found"), *report.splits]),
        "",
        *_ranges(report.facts),
        *(_presence(report) if report.deep else ()),
    ]
    for severity in Severity:
        lines += _told(report, severity)
    return "\n".join([*lines, "", f"result: {report.verdict}"])


def _told(report: Report, severity: Severity) -> Iterator[str]:
    for kind, (of, meaning) in KINDS.items():
        found = [finding for finding in report.findings if finding.kind == kind]
        if of is not severity or not found:
            continue
        yield ""
        yield f"{severity}: {kind} ({len(found)}): {meaning}"
        yield from (f"  {finding.sentence}" for finding in found[:_N_SHOWN])
        if len(found) > _N_SHOWN:
            yield f"  ... and {len(found) - _N_SHOWN} more (--out DIR writes all)"


def _ranges(facts: Sequence[CaseFacts]) -> list[str]:
    usable = [fact for fact in facts if fact.shape]
    if not usable:
        return []
    rows = [
        ("voxels", _span([fact.shape for fact in usable], "d")),
        ("spacing", f"{_span([fact.spacing_mm for fact in usable], '.4g')} mm"),
        ("axes", _counted([fact.orientation for fact in usable])),
        ("images", _counted([fact.image_type for fact in usable])),
        ("labels", _counted([fact.label_type for fact in usable if fact.label_type])),
        ("size", f"{sum(fact.n_bytes for fact in facts) / 1e6:.1f} MB"),
    ]
    return table([row for row in rows if row[1]])


def _span(triples: Sequence[tuple[float, ...]], form: str) -> str:
    edges = [(format(min(axis), form), format(max(axis), form)) for axis in zip(*triples)]
    return " x ".join(low if low == high else f"{low}-{high}" for low, high in edges)


def _counted(values: Sequence[str]) -> str:
    counts = sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{value} ({n})" if len(counts) > 1 else value for value, n in counts)


def presence(report: Report) -> tuple[tuple[str, int], ...]:
    """(structure, cases that hold it), in the order of the card; of the cases whose label maps were read."""
    held = Counter(index for fact in report.facts for index, n in fact.n_voxels if n)
    return tuple((label.name, held[label.index]) for label in report.dataset.labels)


def _presence(report: Report) -> Iterator[str]:
    n_read = sum(bool(fact.n_voxels) for fact in report.facts)
    if not n_read:
        return
    counts = presence(report)
    some = [f"{name} ({n})" for n, name in sorted((n, name) for name, n in counts if 0 < n < n_read)]
    none = [name for name, n in counts if not n]
    n_all = len(counts) - len(some) - len(none)
    yield f"{n_all} of the {len(counts)} structures are in every label map that was read ({n_read})"
    for where, names in (("some", some), ("none", none)):
        more = f", and {len(names) - _N_RARE} more" * (len(names) > _N_RARE)
        if names:
            yield f"in {where}: {', '.join(names[:_N_RARE])}{more}"


def as_csv(report: Report) -> str:
    """A row a finding, worst first."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    order = list(KINDS)
    for finding in sorted(report.findings, key=lambda finding: order.index(finding.kind)):
        writer.writerow((finding.severity, finding.kind, finding.case, finding.file, finding.sentence))
    return stream.getvalue()


def as_json(report: Report) -> str:
    """Everything that is known: splits, findings, the facts of every case."""
    dataset = report.dataset
    cases = [asdict(fact) | {"n_voxels": dict(fact.n_voxels)} for fact in report.facts]
    for case in cases:
        del case["findings"]  # they stand below, with those of no single case
    findings = [dict(zip(COLUMNS, (f.severity, f.kind, f.case, f.file, f.sentence))) for f in report.findings]
    content = {
        "schema": SCHEMA,
        "dataset": dataset.name,
        "version": dataset.version,
        "card_sha256": dataset.card_sha256,
        "root": str(dataset.root),
        "layout": dataset.layout,
        "deep": report.deep,
        "splits": [dict(zip(("split", "cases", "found"), row)) for row in report.splits],
        "n_cases_with": dict(presence(report)) if report.deep else {},
        "findings": findings,
        "cases": cases,
    }
    return json.dumps(content, indent=1) + "\n"


FILES: dict[str, Callable[[Report], str]] = {"verify.json": as_json, "verify.csv": as_csv}
"""file -> what is written into it."""
