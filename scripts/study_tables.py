#!/usr/bin/env python3
"""Make docs/study-results.md from the published runs of study cards; --check says whether it is up to date.

    python scripts/study_tables.py [--results DIR] [--page FILE] [--check]

Reads every study.csv below docs/results. One table a study and dataset: rows are the card's, columns are bundles. Means
over bundles are computed from the cases.csv beside it, patient by patient. Studies of networks that were trained again
lie a folder deeper, in seed-N, and get a table for themselves.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import search_judges
from csv_rows import csv_rows
from model_names import MODELS

from medquanbench.stats import mean_gap_closed, patient_means

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ("best", "best-3-bits", "seeds", "methods", "table4", "table12", "redesign", "calibration-size")
_HEAD = """\
# What the studies found

Made by `scripts/study_tables.py` from the published runs of the [study cards](../sensitivity/README.md), in
[results](results/README.md). A cell is the paired difference in mean DSC from FP32 of the same network, with its 95 %
interval; behind it, where a card names a baseline, the share of the baseline's loss that is won back, with its
interval. **Bold** is non-inferior to FP32 (margin 0.01). *n/a*: the network cannot carry the row out; `study.csv`
says why. The last columns count the networks that are non-inferior, and give the mean of the shares over all networks
whose baseline is worse than FP32 beyond doubt, patients resampled for all of them at once: the interval is about
other patients, not about other networks.
"""
Row = dict[str, str]


@dataclass(frozen=True)
class Published:
    """A study.csv and where it lies."""

    folder: Path
    rows: tuple[Row, ...]

    @property
    def place(self) -> tuple[str, str, str]:
        first = self.rows[0]
        return first["study"], first["dataset"], first["bundle"]


def published(folder: Path) -> dict[tuple[str, str, str], Published]:
    """Every published study, by name, dataset and bundle."""
    found: dict[tuple[str, str, str], Published] = {}
    for file in sorted(folder.glob("*/study.csv")):
        one = Published(file.parent, tuple(csv_rows(file)))
        if one.place in found:
            name, dataset, bundle = one.place
            raise SystemExit(f"{name}: {bundle} on {dataset} is published twice")
        found[one.place] = one
    return found


def section(name: str, studies: list[Published], which: str = "") -> list[str]:
    """The lines of one study: its question, and a table a dataset. ``which``: of what training, if not the first."""
    card = tomllib.loads((ROOT / "sensitivity" / f"{name}.toml").read_text())
    lines = [f"## {card['title']}{which}", "", " ".join(card["question"].split()), ""]
    if "reading" in card:
        lines += [" ".join(card["reading"].split()), ""]
    for dataset in sorted({one.place[1] for one in studies}):
        there = [one for one in studies if one.place[1] == dataset]
        there.sort(key=lambda one: list(MODELS).index(one.place[2]) if one.place[2] in MODELS else len(MODELS))
        cases = " / ".join(dict.fromkeys(row["n_cases"] for one in there for row in one.rows if row["n_cases"]))
        note = ", generated images, not patients" * ("phantom" in dataset)
        lines += [f"### {dataset}, {cases} cases{note}", "", *table(there, card.get("baseline", "")), ""]
        lines += recipes(there, card)
    return lines


def table(studies: list[Published], baseline: str) -> list[str]:
    """The lines of one dataset's table."""
    rows = {(row["row"], one.place[2]): row for one in studies for row in one.rows}
    bundles = [one.place[2] for one in studies]
    paper = any(row["paper_dsc"] for row in rows.values())
    ends = ["Non-inferior", "Mean gap closed"][: 2 if baseline else 1] + ["Paper's DSC"] * paper
    titles = ["Row", *(MODELS.get(name, name) for name in bundles), *ends]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for name in dict.fromkeys(row["row"] for one in studies for row in one.rows):
        here = [rows.get((name, bundle)) for bundle in bundles]
        done = [row for row in here if row is not None and row["diff"]]
        last = [f"{sum(row['verdict'] == 'non-inferior' for row in done)} of {len(done)}" if done else ""]
        if baseline:
            last.append(_mean_gap_cell(studies, name, baseline) if done and name != baseline else "")
        printed = [next((row["paper_dsc"] for row in here if row is not None), "")] * paper
        lines.append(_line([name, *map(_cell, here), *last, *printed]))
    return lines


def mean_gap(studies: list[Published], name: str, baseline: str) -> tuple[str, int]:
    """``63 % [50, 75]`` and of how many networks; empty where none has a loss beyond doubt."""
    triples = [triple for one in studies if (triple := _scores(one, name, baseline)) is not None]
    if not triples:
        return "", 0
    gap = mean_gap_closed(triples)
    interval = "" if gap.ci_low is None else f" [{_percent(gap.ci_low)}, {_percent(gap.ci_high)}]"
    return f"{_percent(gap.share)} %{interval}", len(triples)


def _mean_gap_cell(studies: list[Published], name: str, baseline: str) -> str:
    words, count = mean_gap(studies, name, baseline)
    return f"{words}, {count} network{'s' * (count != 1)}" if count else ""


def _scores(study: Published, name: str, baseline: str) -> tuple | None:
    """Patients under FP32, the baseline and a row; None where one is not there or the baseline may lose nothing."""
    rows = {row["row"]: row for row in study.rows}
    base, other = rows.get(baseline), rows.get(name)
    if not base or not other or not base["ci_high"] or float(base["ci_high"]) >= 0 or not other["dsc"]:
        return None
    if base["variant"] != other["variant"]:
        return None
    means = case_means(study.folder / base["variant"] / "cases.csv")
    patient = tomllib.loads((ROOT / "datasets" / f"{study.place[1]}.toml").read_text()).get("patient", {})
    wanted = [means["fp32"], means[base["recipe"]], means[other["recipe"]]]
    cases = [case for case in wanted[0] if all(case in scores for scores in wanted)]
    patients = [patient.get(case, case) for case in cases]
    return tuple(patient_means([scores[case] for case in cases], patients) for scores in wanted)


@cache
def case_means(file: Path) -> dict[str, dict[str, float]]:
    """Recipe -> case -> mean DSC over the structures that count."""
    scores: dict[str, dict[str, list[float]]] = {}
    for row in csv_rows(file):
        if row["dsc"]:
            scores.setdefault(row["recipe"], {}).setdefault(row["case"], []).append(float(row["dsc"]))
    return {
        recipe: {case: math.fsum(found) / len(found) for case, found in cases.items()}
        for recipe, cases in scores.items()
    }


def recipes(studies: list[Published], card: dict) -> list[str]:
    """Recipes that were searched, which stand nowhere on the card, with what they cost."""
    searched = [row["name"] for row in card["row"] if " best" in row["recipe"]]
    found = [(one, row) for name in searched for one in studies for row in one.rows if row["row"] == name]
    if not found:
        return []
    titles = [
        "Row",
        "Network",
        "Multiply-adds with more bits, the image's among them",
        "Bits a weight",
        "Divergence, mnat",
        "Trials",
        "What could run it",
        "Recipe that was found",
    ]
    lines = ["Divergence from FP32 on held-out calibration windows, of `engine` alone and of what was found:", ""]
    lines += [_line(titles), _line(["---"] * len(titles))]
    for one, row in found:
        cells = [row["row"], MODELS.get(one.place[2], one.place[2]), *_cost(one, row), f"`{row['recipe']}`"]
        lines.append(_line(cells))
    return [*lines, ""]


def _cost(study: Published, row: Row) -> list[str]:
    """The cells of what a search found: as its record tells it."""
    record = json.loads((study.folder / row["variant"] / "record.json").read_text())
    choice = next(one for one in record["best"] if one["recipe"] == row["recipe"])
    cost, trials = choice["cost"], {trial["recipe"]: trial["divergence"] for trial in choice["trials"]}
    higher = 1 - max(share["multiply_adds"] for share in cost["shares"])
    return [
        f"{100 * higher:.2f} %",
        f"{cost['weight_bits']:.3f}",
        f"{1000 * choice['trials'][0]['divergence']:.1f} → {1000 * trials[row['recipe']]:.1f}",
        f"{len(trials)} in {choice['seconds'] / 60:.1f} min",
        row["hardware"],
    ]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if not row["dsc"]:
        return "*n/a*"
    if not row["diff"]:
        return f"DSC {float(row['dsc']):.3f}"
    if row.get("draws"):
        means = (float(row[key]) for key in ("draws_mean", "draws_least", "draws_most"))
        return "DSC {:.4f} ({:.4f} to {:.4f}, {} draws)".format(*means, row["draws"])
    interval = f" [{float(row['ci_low']):+.4f}, {float(row['ci_high']):+.4f}]" if row["ci_low"] else ""
    closed = f"; {round(float(row['gap_closed_pct'])) + 0} %" if row["gap_closed_pct"] else ""
    spread = f" [{_whole(row['gap_ci_low'])}, {_whole(row['gap_ci_high'])}]" if row["gap_ci_low"] else ""
    difference = f"{round(float(row['diff']), 4) + 0.0:+.4f}"
    mark = "**" if row["verdict"] == "non-inferior" else ""
    return f"{mark}{difference}{mark}{interval}{closed}{spread}"


def _whole(text: str) -> str:
    return str(round(float(text)) + 0)


def _percent(share: float) -> str:
    return str(round(100 * share) + 0)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page(folder: Path) -> str:
    """The text of the page."""
    lines = [_HEAD]
    for where in (folder, *sorted(folder.glob("seed-*"))):
        found, which = published(where), f": {where.name.replace('-', ' ')}" * (where != folder)
        for name in STUDIES:
            studies = [one for (study, _, _), one in found.items() if study == name]
            lines += section(name, studies, which) if studies else []
    return "\n".join([*lines, *search_judges.section(folder)]).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "study-results.md")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if not published(args.results):
        print(f"no published study in {args.results}", file=sys.stderr)
        return 2
    text = page(args.results)
    if args.check:
        return int(not args.page.is_file() or args.page.read_text() != text)
    args.page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
