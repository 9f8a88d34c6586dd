"""How far each configuration's answers agree with FP32's, and how far its probabilities can be believed."""

from __future__ import annotations

from medquanbench.report import wording
from medquanbench.report.markup import Markup, numeric, row, section, table, tag
from medquanbench.report.model import StudyReport
from medquanbench.values import Presence, Row

_COLUMNS = (  # (detail, heading, decimals, factor)
    ("flip_rate", "Labels flipped (%)", 2, 100),
    ("flip_rate_boundary", "Flipped near boundaries (%)", 2, 100),
    ("ece", "ECE", 4, 1),
    ("brier", "Brier score", 4, 1),
    ("hd95_mm", "HD95 (mm)", 2, 1),
    ("volume_similarity", "Volume similarity", 3, 1),
)
_MEANING = (
    "Labels flipped: share of voxels labelled otherwise than by FP32, where either of both answers is foreground; near "
    "boundaries: within 3 mm of a boundary of FP32's answer, background on the far side included. ECE and Brier score "
    "compare the probability of each structure with the reference, inside the structure's bounding box widened by "
    "10 mm: lower is better. All are means over the structures of a case that count, then over cases; record.json "
    "holds the definitions. HD95 has no value where a structure is lost or hallucinated: read it beside these counts."
)


def agreement_section(report: StudyReport) -> Markup:
    """Flip rates, calibration and distances of each configuration, with the structures lost and hallucinated."""
    shown = [column for column in _COLUMNS if _has(report.reference, column[0])]
    headings = ("Configuration", *(heading for _, heading, *_ in shown), "Lost", "Hallucinated")
    rows = [
        row([
            wording.configuration(entry),
            *(numeric(_cell(entry, name, decimals, factor)) for name, _, decimals, factor in shown),
            *(numeric(str(entry.record.count(presence))) for presence in (Presence.LOST, Presence.HALLUCINATED)),
        ])
        for entry in report.rows
    ]  # fmt: skip
    return section(
        "agreement", "Agreement and calibration", tag("p", _MEANING), table(headings, rows, css="right")
    )  # fmt: skip


def _has(entry: Row, name: str) -> bool:
    return name in (*entry.record.details, *entry.record.case_details)


def _cell(entry: Row, name: str, decimals: int, factor: int) -> str:
    mean = entry.record.detail_mean(name) if _has(entry, name) else None
    return wording.number(mean * factor if mean is not None else None, decimals)
