"""How well what a search judges by foretells what its recipes lose, from the published runs; a section of a page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from csv_rows import csv_rows
from scipy.stats import spearmanr

from medquanbench.values import distance

LINES = [
    "## What a search judges by",
    "",
    "Every recipe on this page that a search chose was judged on held-out calibration windows; then it lost something",
    "in DSC on the evaluated cases. Spearman's rank correlation of the two, over networks and trainings. Searches",
    "go by the distance. Those of the shipped weights went by the geometric mean of divergence and disagreement; that",
    "disagreement should weigh more was seen in what came of them, and of first searches for seed 1.",
    "",
    "| Dataset | Bits | Recipes | Divergence | Disagreement | Geometric mean | Distance |",
    "| --- | --- | --- | --- | --- | --- | --- |",
]


@dataclass(frozen=True)
class Chosen:
    """A recipe that was chosen: how it was judged, and its loss in DSC."""

    dataset: str
    bits: str
    divergence: float
    agreement: float
    loss: float


def chosen(study: Path) -> Iterable[Chosen]:
    """The recipes that searches chose for the rows of a study.csv."""
    for row in csv_rows(study):
        trials = study.parent / row["variant"] / "best.csv"
        if not row["diff"] or not trials.is_file():
            continue
        for trial in csv_rows(trials):
            if trial["chosen"] and trial["recipe"] == row["recipe"]:
                bits = row["recipe"].split()[0].upper()
                judged = float(trial["divergence"]), float(trial["agreement"])
                yield Chosen(row["dataset"], bits, *judged, -float(row["diff"]))


def section(folder: Path) -> list[str]:
    """The section's lines; none where fewer than three recipes were chosen."""
    found = [one for study in sorted(folder.glob("**/study.csv")) for one in chosen(study)]
    groups = sorted({(one.dataset, one.bits) for one in found})
    rows = [_row(*group, [one for one in found if (one.dataset, one.bits) == group]) for group in groups]
    return [*LINES, *filter(None, rows), ""] if any(rows) else []


def _row(dataset: str, bits: str, group: list[Chosen]) -> str:
    if len(group) < 3:
        return ""
    measures = (
        lambda one: one.divergence,
        lambda one: 1 - one.agreement,
        lambda one: one.divergence * (1 - one.agreement),
        lambda one: distance(one.divergence, one.agreement),
    )
    losses = [one.loss for one in group]
    cells = [f"{spearmanr([measure(one) for one in group], losses).statistic:.2f}" for measure in measures]
    return f"| {' | '.join([dataset, bits, str(len(group)), *cells])} |"
