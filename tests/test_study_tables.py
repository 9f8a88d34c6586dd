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
    "study", "row", "bundle", "variant", "dataset", "recipe", "n_cases", "dsc", "diff", "ci_low", "ci_high", "verdict",
    "gap_closed_pct", "gap_ci_low", "gap_ci_high", "paper_dsc", "hardware",
)  # fmt: skip
BASE = ("w4a4 adaptive", 8, 0.6, -0.2, -0.25, -0.15, "inferior", "", "", "", "")


def run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)


def write(file: Path, *rows: tuple) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as handle:
        csv.writer(handle).writerows(rows)


def study(folder: Path, bundle: str, *rows: tuple, name: str = "methods", **shares: float) -> None:
    """A published study: FP32 at 0.8, the baseline at 0.6, other recipes at what wins back this share of it."""
    reference = (name, "FP32", bundle, "demo", "msd-hippocampus", "fp32", 8, 0.8, *[""] * 9)
    write(
        folder / "study.csv",
        COLUMNS,
        reference,
        *((name, row[0], bundle, "demo", "msd-hippocampus", *row[1:], "9 gemm") for row in rows),
    )
    scores = {"fp32": 0.8, "w4a4 adaptive": 0.6} | {
        recipe.replace("_", " "): 0.6 + 0.2 * s for recipe, s in shares.items()
    }
    cases = [(f"c{n}", recipe, dsc + n / 100) for n in range(8) for recipe, dsc in scores.items()]
    write(folder / "demo" / "cases.csv", ("case", "recipe", "dsc"), *cases)


@pytest.fixture
def results(tmp_path) -> Path:
    clip = ("engine, clip", "w4a4 engine clip", 8, 0.7, -0.1, -0.12, -0.08, "inferior", 50, 40.2, 54.9, "")
    better = ("engine, clip", "w4a4 engine clip", 8, 0.8, -0.004, -0.006, 0.001, "non-inferior", 98, 97, 99, "")
    undone = ("engine, gptq", *[""] * 11)
    study(tmp_path / "a", "unetr", ("adaptive", *BASE), clip, undone, **{"w4a4_engine_clip": 0.5})
    study(tmp_path / "b", "nnunet", ("adaptive", *BASE), better, **{"w4a4_engine_clip": 1.0})
    found = ("best", "w4a4 engine smooth calib(4)", 8, 0.8, 0.0, -0.001, 0.001, "non-inferior", "", "", "", "")
    study(tmp_path / "c", "unetr", ("adaptive", *BASE), found, name="best", **{"w4a4_engine_smooth_calib(4)": 1.0})
    trials = [{"recipe": "w4a4 engine calib(2)", "divergence": 0.0442}, {"recipe": found[1], "divergence": 0.0014}]
    shares = [{"bits": "W4A4", "multiply_adds": 0.991}, {"bits": "W8A8", "multiply_adds": 0.009}]
    choice = {"recipe": found[1], "seconds": 90, "trials": trials, "cost": {"shares": shares, "weight_bits": 4.0189}}
    (tmp_path / "c" / "demo" / "record.json").write_text(json.dumps({"best": [choice]}))
    return tmp_path


def test_the_page_has_a_table_a_dataset_a_row_a_recipe_and_a_column_a_bundle(results):
    page = results / "page.md"
    assert run(SCRIPTS / "study_tables.py", "--results", results, "--page", page).returncode == 0
    text = page.read_text()
    assert (
        "| Row | nnU-Net | UNETR | Non-inferior | Mean gap closed |" in text
        and "### msd-hippocampus, 8 cases\n" in text
    )
    assert "| FP32 | DSC 0.800 | DSC 0.800 |  |  |" in text
    assert "| adaptive | -0.2000 [-0.2500, -0.1500] | -0.2000 [-0.2500, -0.1500] | 0 of 2 |  |" in text
    cells = "**-0.0040** [-0.0060, +0.0010]; 98 % [97, 99] | -0.1000 [-0.1200, -0.0800]; 50 % [40, 55]"
    assert (
        f"| engine, clip | {cells} | 1 of 2 | 75 % [75, 75], 2 networks |" in text
    )  # shares 0.5 and 1 of all patients
    assert "| engine, gptq |  | *n/a* |  |  |" in text
    cost = "0.90 % | 4.019 | 44.2 → 1.4 | 2 in 1.5 min | 9 gemm"
    assert f"| best | UNETR | {cost} | `w4a4 engine smooth calib(4)` |" in text
    assert text.index("How near W4A4 comes") < text.index("Every method alone")
    check = (SCRIPTS / "study_tables.py", "--results", results, "--page", page, "--check")
    assert run(*check).returncode == 0
    page.write_text(text + "more")
    assert run(*check).returncode == 1


def test_another_training_has_a_table_for_itself(results):
    study(results / "seed-1" / "a", "unetr", ("adaptive", *BASE))
    assert run(SCRIPTS / "study_tables.py", "--results", results, "--page", results / "page.md").returncode == 0
    text = (results / "page.md").read_text()
    second = text[text.index("## Every method alone, under W4A4: seed 1\n") :]
    assert "| Row | UNETR | Non-inferior | Mean gap closed |" in second
    assert "| Row | nnU-Net | UNETR |" in text.removesuffix(second)


def test_a_run_that_is_published_twice_is_refused(results):
    study(results / "d", "unetr", ("adaptive", *BASE))
    found = run(SCRIPTS / "study_tables.py", "--results", results, "--page", results / "page.md")
    assert found.returncode == 1 and "methods: unetr on msd-hippocampus is published twice" in found.stderr


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
