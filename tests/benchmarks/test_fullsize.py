"""The full-size benchmark, on a small network: rows, resuming, reasons and the page. No times."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from medquanbench.quant import METHODS, TRANSFORMS

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def fullsize(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("fullsize_benchmark", FOLDER / "fullsize.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_every_transform_and_method_has_a_row(fullsize):
    alone = {recipe.split()[2] for recipe in fullsize.recipes() if len(recipe.split()) > 2}
    assert alone >= {*TRANSFORMS, *METHODS}
    assert "w4a4 engine smooth+branches+clip+gptq calib(1)" in fullsize.recipes()


def test_a_run_goes_on_where_it_stopped(fullsize, tmp_path, capsys):
    base = ["--network", "nnunet/demo", "--size", "32", "--threads", "1", "--out", str(tmp_path / "r")]
    first, broken, second = "w4a4 engine clip calib(1)", "w4a4 engine hadamard(block=4096) calib(1)", "w4a4 per-tensor"
    assert fullsize.main([*base, "--recipe", first, "--recipe", broken]) == 0
    before = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert before[0]["peak_mb"] >= before[0]["start_mb"] > 0 and before[0]["seconds"] > 0 and not before[0]["reason"]
    assert "changes none of 20 layers" in before[1]["reason"]
    capsys.readouterr()
    assert fullsize.main([*base, "--recipe", first, "--recipe", second]) == 0
    after = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert after[0] == before[0] and [row["recipe"] for row in after] == [first, second]
    said, page = capsys.readouterr().out, (tmp_path / "r.md").read_text()
    assert page in said and f"nnunet/demo {second} ..." in said and f"nnunet/demo {first} ..." not in said


def test_the_page_says_whether_the_target_holds(fullsize):
    def page(seconds: float, peak_mb: float) -> str:
        row = fullsize.Row(
            "n/v", "w4a4 engine smooth+branches+clip+gptq calib(1)", 8, 2, 1000, 1, 1500, seconds, 7, peak_mb
        )
        result = {"machine": {"cpu": "c", "cores": 2, "capability": "none"}, "versions": {}}
        return fullsize.markdown(result | {"rows": [fullsize.asdict(row)]})

    assert "less than 300 s holds, less than 2000 MB above start holds." in page(299, 2999)
    assert "less than 300 s is missed, less than 2000 MB above start is missed." in page(300, 3000)
    assert "| w4a4 engine smooth+branches+clip+gptq calib(1) | 299.0 | 7.0 | 2999 | 1999 | 1499 |" in page(299, 2999)
