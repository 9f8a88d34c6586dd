#!/usr/bin/env python3
"""Fill the README from the published results; --check says whether it is up to date.

A table stands between `<!-- result: NAME -->` and `<!-- end -->`, what a terminal showed between
`<!-- output: NAME -->` and `<!-- end -->`; NAME is a folder of docs/results. Between `<!-- families: ENDING -->` and
`<!-- end -->` stands a row for each folder of that ending, in the order of MODELS, with the DSC of every recipe.
Between `<!-- study: CARD DATASET -->` and `<!-- end -->` stands the same of a study card's rows. Between
`<!-- trainings: DATASET -->` and `<!-- end -->` stands a row for each training seed, with what all networks say.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from csv_rows import csv_rows
from model_names import MODELS
from study_tables import mean_gap, published

from medquanbench.analysis.card import open_card

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
_TABLE = re.compile(r"(<!-- result: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OUTPUT = re.compile(r"(<!-- output: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FAMILIES = re.compile(r"(<!-- families: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_STUDY = re.compile(r"(<!-- study: (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TRAININGS = re.compile(r"(<!-- trainings: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SHIPPED = {
    "W4A4 engine": ("best", "engine, image at 8 bits"),
    "W4A4 best": ("best", "best, image at 8 bits"),
    "W3A3 engine": ("best-3-bits", "engine, image at 8 bits"),
    "W3A3 best": ("best-3-bits", "best, image at 8 bits"),
}  # row of the study `seeds` -> study and row that say the same of the shipped weights
_TITLES = ("Precision", "Granularity", "DSC (drop)", "NSD (drop)", "DSC difference [95 % CI]", "Verdict")
_MARKS = {"reference": "", "non-inferior": "", "inconclusive": " ?", "inferior": " ↓"}
_HEAD = f"| {' | '.join(_TITLES)} |\n|{'---|' * len(_TITLES)}\n"


def score(row: dict[str, str], metric: str) -> str:
    drop = row[f"{metric}_drop_pct"]
    return f"{float(row[metric]):.3f}" + (f" ({round(float(drop), 1) + 0.0:.1f} %)" if drop else "")  # no -0.0


def line(row: dict[str, str]) -> str:
    """One row of results.csv as a row of the README."""
    ci = f" [{float(row['dsc_ci_low']):+.4f}, {float(row['dsc_ci_high']):+.4f}]" if row["dsc_ci_low"] else ""
    difference = f"{round(float(row['dsc_diff']), 4) + 0.0:+.4f}{ci}" if row["dsc_diff"] else "-"
    rest = " ".join(row["recipe"].split()[1:]) or "-"  # the policy, and what else the recipe asks for
    cells = (row["precision"], rest, score(row, "dsc"), score(row, "nsd"), difference, row["verdict"])
    return f"| {' | '.join(cells)} |\n"


def rows(name: str) -> list[dict[str, str]]:
    """The results.csv of a published study."""
    return csv_rows(RESULTS / name / "results.csv")


def table(match: re.Match) -> str:
    """The text between the two marks, made anew."""
    return match[1] + _HEAD + "".join(map(line, rows(match[2]))) + match[3]


def families(match: re.Match) -> str:
    """A row for each model, a column for each recipe: DSC, with the verdict's mark."""
    found = {model: RESULTS / f"{model}-{match[2]}" for model in MODELS}
    studies = {model: rows(folder.name) for model, folder in found.items() if folder.is_dir()}
    recipes = [row["recipe"] for row in next(iter(studies.values()))]
    titles = ["Model", "FP32", *(f"{r.split()[0].upper()} {r.split(maxsplit=1)[1]}" for r in recipes[1:])]
    lines = [f"| {' | '.join(titles)} |", f"|---|{'---:|' * len(recipes)}"]
    for model, study in studies.items():
        cells = [f"{float(row['dsc']):.3f}{_MARKS[row['verdict']]}" for row in study]
        lines.append(f"| {' | '.join([MODELS[model], *cells])} |")
    return match[1] + "\n".join(lines) + "\n" + match[3]


def studied(match: re.Match) -> str:
    """The rows of a study card as columns: DSC and, but for FP32, its difference; below, what all networks say."""
    found = published(RESULTS)
    studies = {model: found[place] for model in MODELS if (place := (match[2], match[3], model)) in found}
    names = [row["row"] for row in next(iter(studies.values())).rows]
    base = open_card(match[2]).baseline
    lines = [f"| {' | '.join(['Model', *names])} |", f"|---|{'---:|' * len(names)}"]
    for model, study in studies.items():
        cells = [f"{float(row['dsc']):.3f}{_difference(row)}" for row in study.rows]
        lines.append(f"| {' | '.join([MODELS[model], *cells])} |")
    verdicts = [[row["verdict"] for study in studies.values() for row in study.rows if row["row"] == n] for n in names]
    count = [f"{one.count('non-inferior')} of {len(one)}" if "reference" not in one else "" for one in verdicts]
    gaps = [mean_gap(list(studies.values()), name, base)[0] if name != base else "" for name in names]
    lines += [f"| {' | '.join(['Non-inferior', *count])} |", f"| {' | '.join(['Mean gap closed', '', *gaps[1:]])} |"]
    return match[1] + "\n".join(lines) + "\n" + match[4]


def _difference(row: dict[str, str]) -> str:
    return f" ({float(row['diff']):+.4f}){_MARKS[row['verdict']]}" if row["diff"] else ""


def trainings(match: re.Match) -> str:
    """A row for each training seed, a column for each row of the study `seeds`, over the networks published so far."""
    lines = [f"| {' | '.join(['Training', *_SHIPPED])} |", f"|---|{'---:|' * len(_SHIPPED)}"]
    for folder in (RESULTS, *sorted(RESULTS.glob("seed-*"))):
        found, first = published(folder), folder == RESULTS
        places = _SHIPPED.values() if first else [("seeds", name) for name in _SHIPPED]
        columns = [
            [row for (name, data, _), one in found.items() if (name, data) == (study, match[2]) for row in one.rows
             if row["row"] == wanted] for study, wanted in places
        ]  # fmt: skip
        title = "shipped weights" if first else folder.name.replace("-", " ")
        lines.append(f"| {' | '.join([title, *map(_over_networks, columns)])} |")
    return match[1] + "\n".join(lines) + "\n" + match[3]


def _over_networks(rows: list[dict[str, str]]) -> str:
    """How many are non-inferior, and the mean difference in DSC."""
    verdicts, differences = [row["verdict"] for row in rows], [float(row["diff"]) for row in rows]
    return f"{verdicts.count('non-inferior')} of {len(rows)} ({sum(differences) / len(rows):+.4f})"


def output(match: re.Match) -> str:
    """What the terminal showed, as it was."""
    return f"{match[1]}```\n{(ROOT / 'docs' / 'results' / match[2] / 'output.txt').read_text()}```\n{match[3]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    readme = ROOT / "README.md"
    old = readme.read_text()
    blocks = ((_TABLE, table), (_OUTPUT, output), (_FAMILIES, families), (_STUDY, studied), (_TRAININGS, trainings))
    new = old
    for block, made in blocks:
        new = block.sub(made, new)
    if args.check:
        return int(new != old)
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
