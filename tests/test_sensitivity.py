"""The sensitivity door: a card's rows through the same evaluation, resumed, with the reasons of what cannot be."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from medquanbench import run as runs
from medquanbench.eval.__main__ import main as evaluate
from medquanbench.sensitivity.__main__ import main as door
from tests.analysis.conftest import INNER, deep_bundle  # noqa: F401

CARD = """
name = "mine"
title = "Mine"
question = "Does it?"
source = "me"
baseline = "plain"
draws = 2
[layer]
recipe = "w4a4 per-tensor"
cases = 1
windows = 1
[[row]]
name = "float"
recipe = "fp32"
[[row]]
name = "plain"
recipe = "w2a2 per-tensor"
paper_dsc = 0.5
[[row]]
name = "one layer"
recipe = "w2a2 per-tensor keep({layer})"
[[row]]
name = "static, many cases"
recipe = "w4a4 engine calib(64)"
at_most = true
[[row]]
name = "static, all cases"
recipe = "w4a4 engine calib(2)"
[[row]]
name = "branches"
recipe = "w4a4 per-tensor branches calib(1)"
[[row]]
name = "of another variant"
recipe = "w4a4 per-tensor"
variant = "other"
[[row]]
name = "of no variant"
recipe = "w4a4 per-tensor"
variant = "nosuch"
"""


@pytest.fixture
def request_(deep_bundle, micro_data, tmp_path, monkeypatch) -> list[str]:  # noqa: F811
    """The flags of a good request."""
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path / "cache"))
    card = tmp_path / "mine.toml"
    card.write_text(CARD)
    return [
        "--study", str(card), "--bundle", str(deep_bundle), "--weights", "demo-micro", "--dataset",
        str(micro_data / "micro.toml"), "--data-root", str(micro_data), "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def table(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "study.csv", newline="") as handle:
        return {row["row"]: row for row in csv.DictReader(handle)}


def test_every_row_is_there_with_its_scores_or_its_reason(request_, tmp_path, capsys):
    assert door(request_) == 0
    out, shown = tmp_path / "out", capsys.readouterr().out
    rows = table(out)
    assert list(rows) == [line.split('"')[1] for line in CARD.split("[[row]]")[1:] for line in [line.strip()]]
    assert rows["one layer"]["layer"] == INNER and rows["one layer"]["recipe"] == f"w2a2 per-tensor keep({INNER})"
    assert rows["static, many cases"]["recipe"] == rows["static, all cases"]["recipe"] == "w4a4 engine calib(2)"
    assert rows["static, all cases"]["draws"] == "2" and float(rows["static, all cases"]["draws_least"]) > 0
    for name, words in (
        ("branches", "reads no concatenation"),
        ("of another variant", "no weights 'other-micro'"),
        ("of no variant", "no variant 'nosuch' in the bundle deep; there is: demo, other"),
    ):
        assert words in rows[name]["not_done"] and not rows[name]["dsc"] and words in (out / "study.md").read_text()
    assert "'static, many cases': the dataset has 2 cases to calibrate on." in shown
    assert "3 of 8 rows could not be carried out" in shown and "not done" in shown
    assert {file.name for file in (out / "demo").iterdir()} >= {"results.csv", "report.html", "draws.csv", "layers.csv"}
    assert all(len(line) <= 100 for line in shown.splitlines() if str(tmp_path) not in line)


def test_scores_are_those_of_eval_and_the_gap_follows_from_them(request_, tmp_path):
    assert door(request_) == 0
    rows = table(tmp_path / "out")
    common = request_[2:-1]
    recipe = ["--w2a2", "per-tensor", "--keep", INNER]
    assert evaluate([*common, str(tmp_path / "eval"), *recipe]) == 0
    with open(tmp_path / "eval" / "results.csv", newline="") as handle:
        reference, kept = csv.DictReader(handle)
    assert (rows["float"]["dsc"], rows["one layer"]["dsc"]) == (reference["dsc"], kept["dsc"])
    fp32, base, other = (float(rows[name]["dsc"]) for name in ("float", "plain", "one layer"))
    assert float(rows["one layer"]["gap_closed_pct"]) == pytest.approx(100 * (other - base) / (fp32 - base), abs=0.1)
    assert rows["plain"]["gap_closed_pct"] == "" and rows["plain"]["paper_dsc"] == "0.5"


def test_the_same_command_computes_nothing_again(request_, tmp_path, monkeypatch):
    assert door(request_) == 0
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.csv")}
    monkeypatch.setattr(runs, "_one_case", None)
    assert door(request_) == 0
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.csv")} == before


def test_a_searched_row_is_evaluated_as_what_was_found(request_, tmp_path, capsys):
    head = CARD.split("[layer]")[0].replace('"plain"', '""').replace('baseline = ""', "")
    rows = "".join(f'[[row]]\nname = "{name}"\nrecipe = "{text}"\n' for name, text in (
        ("float", "fp32"), ("found", "w4a4 best calib(1)"),
    ))  # fmt: skip
    (tmp_path / "mine.toml").write_text(head + "[search]\nminutes = 0.001\nfloat_budget_percent = 50\n" + rows)
    assert door([*request_, "--cases", "2"]) == 0
    found = table(tmp_path / "out")["found"]
    assert found["recipe"].startswith("w4a4 engine") and "calib(1)" in found["recipe"] and found["dsc"]
    assert (tmp_path / "out" / "demo" / "best.csv").is_file()
    assert "cases to calibrate on" not in capsys.readouterr().out


def test_a_layer_may_be_given(request_, tmp_path):
    assert door([*request_, "--layer", "residual", "--cases", "1"]) == 0
    assert table(tmp_path / "out")["one layer"]["layer"] == "residual"
    assert not (tmp_path / "out" / "demo" / "layers.csv").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--layer", "conv.unit9"], "no layer 'conv.unit9' in deep"),
        (["--study", "nosuch"], "no study 'nosuch'"),
        (["--study", "methods", "--layer", "residual"], "no row of the study methods acts on one layer"),
        (["--cases", "8"], "8 cases are asked for; the split 'test' of micro has 7"),
        (["--variant", "nosuch"], "no variant 'nosuch'"),
        (["--device", "tpu"], "no device 'tpu'"),
        (["--studies", "x"], "no flag '--studies'"),
    ],
)
def test_a_wrong_request_is_one_sentence(request_, capsys, flags, words):
    assert door([*request_, *flags]) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told


def test_a_study_of_which_nothing_can_be_done_says_why(request_, tmp_path, capsys):
    head, *rows = CARD.split("[[row]]")
    branches = next(row for row in rows if '"branches"' in row)
    (tmp_path / "mine.toml").write_text(head.replace('baseline = "plain"', "") + "[[row]]" + branches)
    assert door(request_) == 2
    assert "deep can carry out no row of the study mine: 'branches' changes none of 3 layers" in capsys.readouterr().err


def test_help_loads_no_torch():
    code = "import sys; from medquanbench.sensitivity.__main__ import main\ntry: main(['--help'])\n"
    code += "except SystemExit: assert 'torch' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "best, best-3-bits, calibration-size, methods, redesign, seeds, table12, table4" in shown
