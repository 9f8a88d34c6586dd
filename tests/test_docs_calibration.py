"""docs/calibration.md says what is so: its command and its Python are run as they stand."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

from medquanbench.calibration import KEPT_BYTES, WINDOWS_PER_CASE
from medquanbench.eval import __main__ as door
from medquanbench.values import State

PAGE = Path(__file__).resolve().parent.parent / "docs" / "calibration.md"


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return found


def test_the_command_and_the_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert door.main(shlex.split(block("bash").removeprefix("python -m medquanbench.eval "))) == 0
    with open("runs/draws/draws.csv", newline="") as handle:
        table = [(row["recipe"], row["draw"]) for row in csv.DictReader(handle)]
    assert table == [("w4a4 engine calib(1)", "0"), ("w4a4 engine calib(1)", "1")]
    with open("runs/draws/results.csv", newline="") as handle:
        assert [row["recipe"] for row in csv.DictReader(handle)] == ["fp32", "w4a4 engine calib(1)", "w4a4 adaptive"]
    said: dict = {}
    exec(block("python"), said)
    assert str(said["study"].records[1].run.recipe) == "w4a4 engine calib(1)"
    assert said["receipt"].count(State.QUANTIZED) > 10
    assert len(list(said["windows"])) == WINDOWS_PER_CASE


def test_the_numbers_of_the_page():
    text = PAGE.read_text()
    assert WINDOWS_PER_CASE == 4 and "Four of a case" in text
    assert KEPT_BYTES == 2**30 and "up to 1 GB" in text
    assert f"takes {96**3 * 4 / 1e6:.1f} MB" in text
