"""The forward benchmark, on a small network: rows, counts, reasons and the page that is made of them. No times."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def forward(monkeypatch):
    """The program as a module; ModelOpt and Brevitas are not installed, whether they are or not."""
    for tool in ("modelopt", "modelopt.torch.quantization", "brevitas", "brevitas.export.inference"):
        monkeypatch.setitem(sys.modules, tool, None)
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("forward_benchmark", FOLDER / "forward.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_a_small_run(forward, tmp_path, capsys):
    chosen = ["ours w8a8 per-channel", "ours w4a4 adaptive", "modelopt int8 held", "brevitas int8 as it comes"]
    arguments = [word for name in chosen for word in ("--contenders", name)]
    assert (
        forward.main(
            [*arguments, "--network", "nnunet/demo", "--size", "32", "--rounds", "2", "--out", str(tmp_path / "r")]
        )
        == 0
    )
    result = json.loads((tmp_path / "r.json").read_text())
    (network,) = result["networks"]
    rows = {row["contender"]: row for row in network["rows"]}
    assert list(rows) == ["fp32", *chosen] and network["layers"] == 18
    for name in ("fp32", *chosen[:2]):
        assert len(rows[name]["seconds"]) == 2 and rows[name]["min_seconds"] == min(rows[name]["seconds"]) > 0
    assert [rows[name]["quantized_layers"] for name in ("fp32", *chosen[:2])] == [0, 18, 18]
    for name in chosen[2:]:
        assert rows[name]["seconds"] == [] and rows[name]["reason"].startswith("not installed")
    page = (tmp_path / "r.md").read_text()
    assert page in capsys.readouterr().out
    assert page.count("18 of 18") == 2 and page.count("not installed") == 2 + sum(
        number == "not installed" for number in result["versions"].values()
    )


def test_an_unknown_contender_says_which_there_are(forward):
    with pytest.raises(SystemExit, match="no contender 'tensorrt'; there is: fp32, ours w8a8 per-tensor"):
        forward.main(["--contenders", "tensorrt"])


def row(name: str, tool: str, seconds: list[float], compiled: bool = False) -> dict:
    return {
        "contender": name, "tool": tool, "weights": "w", "activations": "a", "scales": "s", "compiled": compiled,
        "like": "" if tool == "torch" else "tensor, dynamic",
        "quantized_layers": 3, "seconds": seconds, "min_seconds": min(seconds, default=None),
        "median_seconds": max(seconds, default=None), "reason": "" if seconds else "it | broke",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "others", "sentences"),
    [
        (
            3.0,
            3.5,
            [
                "Ours, eager: 1.10 to 1.50 of eager FP32; the target of 1.6 holds.",
                "Scales of tensor, dynamic: ours take 0.63 to 0.86 of x's time, below it.",
            ],
        ),
        (
            3.4,
            3.3,
            [
                "1.10 to 1.70 of eager FP32; the target of 1.6 is missed.",
                "Scales of tensor, dynamic: ours take 0.67 to 1.03 of x's time, not all below it.",
            ],
        ),
    ],
)
def test_what_the_page_concludes(forward, ours, others, sentences):
    rows = [
        row("fp32", "torch", [2.0, 9.0]), row("fp32 compiled", "torch", [1.0], True),
        row("ours", "medquanbench", [2.2]), row("slow ours", "medquanbench", [9.0, ours]),
        row("ours compiled", "medquanbench", [2.5], True), row("x", "brevitas", [others]), row("y", "brevitas", []),
    ]  # fmt: skip
    network = {"network": "n", "size_voxels": 8, "parameters": 1_500_000, "layers": 4, "rows": rows}
    machine = {"cpu": "c", "cores": 2, "threads": 2, "capability": "AVX2", "environment": {}}
    page = forward.markdown({"machine": machine, "versions": {}, "rounds": 2, "networks": [network]})
    for sentence in (*sentences, "Ours, compiled: 1.25 to 1.25 of eager FP32; the target of 1.2 is missed."):
        assert sentence in page
    assert f"| slow ours | w | a | s | 3 of 4 | {ours:.3f} | 9.000 | {ours / 2:.2f} | {ours:.2f} |" in page
    assert "| y | w | a | s | - | - | - | - | it / broke |" in page
    assert "n, 8 x 8 x 8, 1.5 M parameters" in page
