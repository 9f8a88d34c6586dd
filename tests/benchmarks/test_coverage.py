"""The coverage simulation: true means, shares, the page; what it finds with 10000 samples is in benchmarks/results."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def simulation():
    """The program as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location("coverage_benchmark", FOLDER / "coverage.py")
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def test_the_true_mean_is_minus_the_margin(simulation):
    for name, differences in simulation.DIFFERENCES.items():
        sample = differences.draw(np.random.default_rng(0), (1000, 400))
        error = sample.std() / sample.size**0.5
        assert abs(sample.mean() + simulation.MARGIN) < 4 * error, name


def test_peers_are_what_they_are_called(simulation):
    samples = np.random.default_rng(1).normal(size=(60, 12))  # more than one batch
    low, high = simulation.student_t(samples)
    half = 2.200985 * samples[0].std(ddof=1) / 12**0.5  # 97.5 % quantile of t with 11 degrees of freedom
    assert (low[0], high[0]) == pytest.approx((samples[0].mean() - half, samples[0].mean() + half), abs=1e-6)
    samples[7] = 0.25
    low, high = simulation.bca(samples)
    assert low[7] == high[7] == 0.25 and (np.delete(low, 7) < np.delete(high, 7)).all()


def test_a_small_run(simulation, tmp_path, capsys):
    assert simulation.main(["--replicates", "20", "--out", str(tmp_path / "r")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert len(result["rows"]) == 5 * 3 * 3
    for row in result["rows"]:
        assert row["coverage"] + row["false_non_inferior"] + row["false_inferior"] == pytest.approx(1)
    page = (tmp_path / "r.md").read_text()
    assert page == simulation.markdown(result) and page in capsys.readouterr().out
    again = simulation.measure("mostly zero", 6, 20, 0)
    assert again == [r for r in result["rows"] if (r["differences"], r["n"]) == ("mostly zero", 6)]


@pytest.mark.parametrize(("coverage", "false", "words"), [(0.95, 0.05, "holds"), (0.90, 0.06, "is missed")])
def test_targets_are_judged_on_ours_alone_and_not_on_the_limit(simulation, coverage, false, words):
    def row(differences, method, coverage, false):
        return {"differences": differences, "n": 100, "method": method, "coverage": coverage, "mean_width": 1.0,
                "false_non_inferior": false, "false_inferior": 0.0}  # fmt: skip

    rows = [row(name, "ours", coverage, false) for name in ("normal", "lognormal")]
    rows += [row("normal", "BCa", 0.1, 0.9), row("hidden", "ours", 0.1, 0.9)]
    result = {"versions": {}, "settings": {"replicates": 1, "seed": 0, "margin": 0.01}, "rows": rows, "differences": {}}
    told = simulation.markdown(result).splitlines()[-3:]
    assert all(line.endswith(f"{words}.") for line in told)
    assert f"at most {100 * false:.1f} %" in told[2]


def test_the_published_result_meets_its_targets(simulation):
    result = json.loads((FOLDER / "results" / "coverage.json").read_text())
    page = (FOLDER / "results" / "coverage.md").read_text()
    assert page == simulation.markdown(result)
    assert page.count("holds.") == 3 and "is missed" not in page
