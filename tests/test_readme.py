"""The README says what is so: its tables are published results, its Python runs, its commands are those of CI."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medquanbench.analysis.card import open_card
from medquanbench.study_plan import TABLE_1

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RESULTS = sorted((ROOT / "docs" / "results").glob("**/results.csv"))
STUDIES = sorted((ROOT / "docs" / "results").glob("**/study.csv"))


def test_tables_are_the_published_results():
    subprocess.run([sys.executable, ROOT / "scripts" / "readme_tables.py", "--check"], check=True)


def test_the_page_of_studies_is_that_of_the_published_ones():
    subprocess.run([sys.executable, ROOT / "scripts" / "study_tables.py", "--check"], check=True)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.parent.name)
def test_a_published_study_is_of_its_card_and_its_runs(file):
    with open(file, newline="") as handle:
        rows = list(csv.DictReader(handle))
    card = open_card(rows[0]["study"])
    assert [row["row"] for row in rows] == [row.name for row in card.rows]
    for row in (row for row in rows if not row["not_done"]):
        with open(file.parent / row["variant"] / "results.csv", newline="") as handle:
            (run,) = [one for one in csv.DictReader(handle) if one["recipe"] == row["recipe"]]
        assert (row["dsc"], row["nsd"], row["n_cases"]) == (run["dsc"], run["nsd"], run["n_cases"])
        assert (row["diff"], row["ci_low"], row["verdict"]) == (run["dsc_diff"], run["dsc_ci_low"], run["verdict"])


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: str(file.parent.relative_to(ROOT / "docs" / "results")))
def test_a_published_table_follows_from_its_cases_and_its_weights(file):
    with open(file, newline="") as handle:
        rows = list(csv.DictReader(handle))
    with open(file.with_name("cases.csv"), newline="") as handle:
        cases = list(csv.DictReader(handle))
    for row in rows:
        for metric in ("dsc", "nsd"):
            by_case: dict[str, list[float]] = {}
            for case in cases:
                if case["recipe"] == row["recipe"] and case[metric]:
                    by_case.setdefault(case["case"], []).append(float(case[metric]))
            means = [sum(values) / len(values) for values in by_case.values()]
            assert float(row[metric]) == pytest.approx(sum(means) / len(means), abs=2e-6)
    record = json.loads(file.with_name("record.json").read_text())
    bundle = record["bundle"]
    assert bundle["weights_sha256"] == training(file, bundle)["sha256"], "published with other weights than it says"
    assert "host" not in record


def training(file: Path, bundle: dict) -> dict:
    """The card of the weights: of the shipped ones, or of another seed's, whose card alone is published."""
    for seed in (folder for folder in file.parents if folder.name.startswith("seed-")):
        card = json.loads((seed / "weights" / f"{bundle['name']}.json").read_text())
        assert card["training"]["seed"] == int(seed.name.removeprefix("seed-"))
        return card
    return json.loads((ROOT / "bundles" / bundle["name"] / "models" / f"{bundle['weights']}.json").read_text())


FAMILIES = ("nnunet", "stunet", "medformer", "swinunetr", "unetr", "unest")
BLOCKS = [f"{bundle}-{dataset}" for bundle in FAMILIES for dataset in ("btcv-phantom", "msd-hippocampus")]


@pytest.mark.parametrize("name", [*BLOCKS, "unest-wholebrain-phantom"])
def test_a_published_block_is_that_of_table_1_and_8_bits_cost_next_to_nothing(name):
    with open(ROOT / "docs" / "results" / name / "results.csv", newline="") as handle:
        rows = {row["recipe"]: row for row in csv.DictReader(handle)}
    assert list(rows) == ["fp32", *TABLE_1]
    assert all(row["n_cases"] == ("8" if "phantom" in name else "40") for row in rows.values())
    assert abs(float(rows["w8a8 per-channel"]["dsc"]) - float(rows["fp32"]["dsc"])) < 0.01


def test_methods_alone_are_what_the_page_says():
    for bundle in FAMILIES:
        with open(ROOT / "docs" / "results" / f"methods-{bundle}-msd-hippocampus" / "study.csv", newline="") as handle:
            verdicts = {row["row"].removesuffix(", image at 8 bits"): row["verdict"] for row in csv.DictReader(handle)}
        for name in ("engine, qdrop", "engine, svd", "per-channel, asymmetric"):
            assert verdicts[name] == "non-inferior"
        assert verdicts["engine, hadamard"] != "non-inferior"


def test_python_example_prints_what_it_says():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "README.md", "exec"), {})
    assert [f"# {line}" for line in shown.getvalue().splitlines()] == re.findall(r"^# .*$", code, re.MULTILINE)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_phantom_results_are_called_so():
    for name in re.findall(r"<!-- result: (\S+) -->", README):
        heading = README[: README.index(f"<!-- result: {name} -->")].rstrip().splitlines()[-1]
        assert ("phantom" in heading) == ("phantom" in name)
