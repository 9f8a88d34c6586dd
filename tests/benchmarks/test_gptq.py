"""The GPTQ benchmark, on a small layer: what its contenders compute, reasons, and the page. No times."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gptq(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("gptq_benchmark", FOLDER / "gptq.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_ours_do_their_work(gptq):
    threads = torch.get_num_threads()
    try:
        names = [name for name in gptq.CONTENDERS if name.startswith("ours")]
        found = [gptq.measure(name, "6,8,10", threads) for name in names]
    finally:
        torch.set_num_threads(threads)
    errors = [row.error for row in found]
    assert len(errors) == 4 and all(0 < error < 0.6 for error in errors)
    assert errors[0] == errors[1]  # a small layer's H is whole
    assert all(row.seconds > 0 for row in found)


def test_a_run_of_processes(gptq, tmp_path, monkeypatch, capsys):
    one = "ours: GPTQ"
    monkeypatch.setattr(gptq, "CONTENDERS", {one: gptq.CONTENDERS[one], "nobody": None})
    assert gptq.main(["--layer", "4,4,6", "--out", str(tmp_path / "gptq")]) == 0
    rows = json.loads((tmp_path / "gptq.json").read_text())["rows"]
    assert [row["contender"] for row in rows] == [one, "nobody"]
    assert rows[0]["error"] < 1 and not rows[0]["reason"]
    assert rows[1]["seconds"] is None and "nobody" in rows[1]["reason"]  # a KeyError in its process
    page = (tmp_path / "gptq.md").read_text()
    assert page in capsys.readouterr().out and "4 to 4 channels, 6 x 6 x 6 voxels" in page


def test_the_page_says_whether_the_target_holds(gptq):
    def page(megabytes: float) -> str:
        row = {"contender": "ours: GPTQ", "layer": gptq.TARGET_LAYER, "seconds": 2.0, "above_start_mb": megabytes,
               "error": 0.25, "reason": ""}  # fmt: skip
        other = {**row, "contender": "theirs", "seconds": 5.0, "above_start_mb": 4 * megabytes}
        machine = {"cpu": "c", "threads": 1, "capability": "none"}
        return gptq.markdown({"machine": machine, "versions": {}, "bits": 4, "rounds": 1, "rows": [row, other]})

    assert "The target of less than 300 MB for GPTQ holds." in page(299)
    assert "The target of less than 300 MB for GPTQ is missed." in page(300)
    assert "| theirs | 5.00 | 2.5 | 1196 | 4.0 | 0.250 |" in page(299)
