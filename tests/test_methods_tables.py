"""Publishing a study, and the page that is made of published ones."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
COLUMNS = (
    "study", "row", "bundle", "dataset", "n_cases", "dsc", "diff", "ci_low", "ci_high", "gap_closed_pct", "gap_ci_low",
    "gap_ci_high",
)  # fmt: skip


def run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)


def study(folder: Path, *rows: tuple) -> None:
    folder.mkdir(parents=True)
    with open(folder / "study.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerows([COLUMNS, *rows])


@pytest.fixture
def results(tmp_path) -> Path:
    plain = ("methods", "engine", "unetr", "msd-hippocampus", 40, 0.8, -0.07649, -0.1, -0.05, "", "", "")
    clip = ("methods", "clip", "unetr", "msd-hippocampus", 40, 0.84, -0.04, -0.06, -0.02, 47.7, 40.2, 54.9)
    undone = ("methods", "clip", "nnunet", "msd-hippocampus", "", "", "", "", "", "", "", "")
    study(tmp_path / "a", plain, clip)
    study(tmp_path / "b", ("methods", "engine", "nnunet", "msd-hippocampus", 40, 0.9, *[""] * 6), undone)
    study(tmp_path / "c", ("table4", "engine", "unetr", "msd-hippocampus", 40, 0.1, *[""] * 6))
    return tmp_path


def test_the_page_has_a_table_a_dataset_a_row_a_recipe_and_a_column_a_bundle(results):
    page = results / "page.md"
    assert run(SCRIPTS / "methods_tables.py", "--results", results, "--page", page).returncode == 0
    text = page.read_text()
    assert "| Row | nnU-Net | UNETR |" in text and "## msd-hippocampus\n\n40 cases." in text
    assert "| engine | DSC 0.900 | -0.0765 [-0.1000, -0.0500] |" in text
    assert "| clip | *n/a* | -0.0400 [-0.0600, -0.0200]; 48 % [40, 55] |" in text
    check = (SCRIPTS / "methods_tables.py", "--results", results, "--page", page, "--check")
    assert run(*check).returncode == 0
    page.write_text(text + "more")
    assert run(*check).returncode == 1


def test_a_run_that_is_published_twice_is_refused(results):
    study(results / "d", ("methods", "clip", "unetr", "msd-hippocampus", 40, 0.1, *[""] * 6))
    found = run(SCRIPTS / "methods_tables.py", "--results", results, "--page", results / "page.md")
    assert found.returncode == 1 and "unetr on msd-hippocampus is published twice" in found.stderr


def test_a_study_is_published_with_the_runs_of_its_variants(tmp_path):
    run_folder, target = tmp_path / "run", tmp_path / "target"
    (run_folder / "demo").mkdir(parents=True)
    for name in ("study.csv", "study.md", "demo/results.csv", "demo/labels.csv", "demo/cases.csv", "demo/draws.csv"):
        (run_folder / name).write_text(name)
    (run_folder / "demo" / "report.html").write_text("large")
    record = {"host": "mine", "results": [{"record": {"cases": [1], "run": "r"}}]}
    (run_folder / "demo" / "record.json").write_text(json.dumps(record))
    assert run(SCRIPTS / "publish_result.py", run_folder, target).returncode == 0
    found = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    own = {f"demo/{name}" for name in ("results.csv", "labels.csv", "cases.csv", "draws.csv", "record.json")}
    assert found == {"study.csv", "study.md", *own}
    assert json.loads((target / "demo/record.json").read_text()) == {"results": [{"record": {"run": "r"}}]}
    assert run(SCRIPTS / "publish_result.py", run_folder / "demo", tmp_path / "one").returncode == 0
    assert (tmp_path / "one/draws.csv").read_text() == "demo/draws.csv"
