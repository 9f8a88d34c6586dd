"""The large case's benchmark on little volumes: what it counts, and that it sees a difference. No times."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from medquanbench import sliding, spill

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "large_case.py"
LITTLE = ["--large", "30", "26", "20", "--beside", "20", "18", "16", "--equal", "12", "14", "20",
          "--windows", "12", "10", "8", "--classes", "7"]  # fmt: skip


@pytest.fixture
def large_case(monkeypatch):
    spec = importlib.util.spec_from_file_location("large_case", FILE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sliding, "LEAST_EDGE", 1)
    return module


def test_a_little_run(large_case, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(spill, "BUDGET_BYTES", 20_000)
    assert large_case.main([*LITTLE, "--out", str(tmp_path / "large_case")]) == 0
    result = json.loads((tmp_path / "large_case.json").read_text())
    large, beside, equal = (result[part] for part in ("large", "beside", "equal"))
    assert large["logits_bytes"] == 4 * 7 * 30 * 26 * 20 and large["classes_found"] > 3
    assert large["most_held_bytes"] <= 20_000 < large["most_bytes"] and large["spilled_bytes"]
    assert beside["labels_differ"] == 0
    assert [row["labels_differ"] + row["logits_differ"] for row in equal] == [0] * 8
    assert {row["logits"] for row in equal} == {7 * 12 * 14 * 20, 5 * 12 * 14 * 20}
    assert [bool(row["spilled_bytes"]) for row in equal[:2]] == [False, True]
    page = (tmp_path / "large_case.md").read_text()
    assert page in capsys.readouterr().out and "30 x 26 x 20, 7 classes, windows of 12^3" in page


def test_windows_are_counted_and_disagree(large_case):
    """The stand-in must tell windows apart, else no order of sums could show."""
    shape = large_case.Shape((12, 14, 20), 8, 5)
    network, volume, window = large_case.StandIn(5), large_case.volume_of(shape.voxels), large_case.window_of(shape)
    large_case.monai(network, volume, window)
    assert network.seen == 2 * 3 * 4
    one, other = (network(volume.tensor[None, :, :8, :8, first : first + 8].contiguous()) for first in (0, 4))
    assert not one[..., 4:].isclose(other[..., :4], atol=1e-3).all()


def test_one_wrong_bit_is_seen(large_case, monkeypatch):
    shape, right = large_case.Shape((12, 14, 20), 8, 5), large_case.monai

    def wrong(*arguments) -> torch.Tensor:
        logits = right(*arguments).clone()
        logits[4, 11, 0, 19] = torch.nextafter(logits[4, 11, 0, 19], torch.tensor(0.0))
        return logits

    assert large_case.measure_equal(shape, 0).logits_differ == 0
    monkeypatch.setattr(large_case, "monai", wrong)
    assert large_case.measure_equal(shape, 0).logits_differ == 1
