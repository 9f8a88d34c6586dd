"""Structure by structure: the plot, its numbers, and what appeared or vanished."""

from __future__ import annotations

from base64 import b64encode

from medquanbench.report import wording
from medquanbench.report.figures import label_scores, per_label_figure, scene_figure
from medquanbench.report.markup import Content, Markup, details, image, numeric, row, section, table, tag
from medquanbench.report.model import StudyReport
from medquanbench.report.results_section import judgement_table
from medquanbench.stats import LEVEL
from medquanbench.values import Presence

_SHOWN = 40
"""Hallucinated or lost structures listed by name; cases.csv holds them all."""
_SINGLE = (
    "Below, each structure has its own interval and verdict. Of many structures some look non-inferior by chance: name "
    f"one by itself only where its p (Holm) is at most {LEVEL}."
)
_EMPTY_MASKS = (
    "An empty mask has a fixed meaning: a structure that only the prediction holds is hallucinated and scores 0, one "
    "that only the reference holds is lost and scores 0, one that neither holds is not counted."
)


def labels_section(report: StudyReport) -> Markup:
    """The plot of the Dice of each label, with all numbers behind it."""
    figure = _figure(
        report,
        f"data:image/svg+xml;base64,{b64encode(per_label_figure(report)).decode()}",
        "Dice similarity coefficient of each structure under each configuration",
        "Dice of each structure, mean over the cases in which it counts. The black bar is FP32; the line from it to a "
        "mark is what quantization changed. The table below holds the same numbers.",
    )
    tables = [
        details(f"All numbers: {name.upper()} per structure", _score_table(report, position))
        for position, name in enumerate(report.reference.record.metrics)
    ]
    return section("structures", "Structure by structure", figure, *tables, *_judgement_tables(report))


def _judgement_tables(report: StudyReport) -> list[Markup]:
    """For each configuration and metric, the difference of each structure with its interval and verdict."""
    tables = [tag("p", _SINGLE)] if report.quantized else []
    for entry in report.quantized:
        for position, judgement in enumerate(entry.findings.overall):
            lines = [(label.name, label.judgements[position]) for label in entry.findings.labels]
            verdicts = [said.verdict for _, said in lines]
            found = ", ".join(f"{verdicts.count(v)} {v}" for v, _ in wording.VERDICTS if v in verdicts)
            title = f"Verdicts: {judgement.metric.upper()} per structure, {wording.configuration(entry)} ({found})"
            tables.append(details(title, judgement_table("Structure", lines)))
    return tables


def scene_section(report: StudyReport) -> Markup:
    """One slice with its outlines."""
    scene = report.scene
    if scene is None:
        return section("picture", "One slice", tag("p", "No slice was kept for this study."))
    figure = _figure(
        report,
        f"data:image/png;base64,{b64encode(scene_figure(report)).decode()}",
        f"Outlines of the reference and of each prediction in {scene.axis_note} of case {scene.case}",
        f"Case {scene.case}, {scene.axis_note}. Coloured outlines: the reference in the first panel, the prediction in "
        "the others, where thin white lines are the reference again, hidden where both agree. This is one slice of one "
        "case: an illustration, not evidence.",
    )
    return section("picture", "One slice", figure)


def presence_section(report: StudyReport) -> Markup:
    """Hallucinated, lost and not counted structures of each configuration."""
    counted = (Presence.HALLUCINATED, Presence.LOST, Presence.NEITHER)
    rows = [
        row([wording.configuration(entry), *(numeric(str(entry.record.count(presence))) for presence in counted)])
        for entry in report.rows
    ]
    return section(
        "presence",
        "Structures that appeared or vanished",
        tag("p", _EMPTY_MASKS),
        table(("Configuration", "Hallucinated", "Lost", "Not counted"), rows, css="right"),
        *_missing_lists(report),
    )


def _missing_lists(report: StudyReport) -> list[Markup]:
    lists = []
    for entry in report.rows:
        lines = [
            f"{target.presence.name.lower()}: {target.name} in {case.case} "
            f"({target.reference_voxels} voxels in the reference, {target.predicted_voxels} predicted)"
            for case in entry.record.cases
            for target in case.targets
            if target.presence in (Presence.HALLUCINATED, Presence.LOST)
        ]
        if lines:
            more = [f"and {len(lines) - _SHOWN} more, see cases.csv"] if len(lines) > _SHOWN else []
            items = tag("ul", *(tag("li", line) for line in lines[:_SHOWN] + more))
            lists.append(details(f"Which ones: {wording.configuration(entry)} ({len(lines)})", items))
    return lists


def _figure(report: StudyReport, source: str, alternative: str, caption: str) -> Markup:
    stamp: list[Content] = [tag("span", wording.PHANTOM, css="stamp")] if report.phantom else []
    return tag("figure", image(source, alternative), tag("figcaption", *stamp, caption))


def _score_table(report: StudyReport, metric: int) -> Markup:
    columns = [label_scores(entry) for entry in report.rows]
    by_name = [{score.name: score for score in column} for column in columns]
    headings = ["Structure", "Cases counted in FP32", *map(wording.configuration, report.rows)]
    rows = [
        row([
            score.name,
            numeric(str(score.n_counted)),
            *(numeric(wording.number(column[score.name].means[metric] if score.name in column else None, 3))
              for column in by_name),
        ])
        for score in columns[0]
    ]  # fmt: skip
    return table(headings, rows, css="scores right")
