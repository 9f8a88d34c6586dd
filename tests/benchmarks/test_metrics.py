"""The metrics benchmark, on a small made-up map: rows, differences, and the page that is made of them. No times."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("metrics_benchmark", FOLDER / "metrics.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_a_small_run(program, tmp_path, capsys):
    pytest.importorskip("surface_distance")
    chosen = ["--case", "ct117", "--case", "fragments"]
    chosen += ["--contender", "medquanbench", "--contender", "surface-distance"]
    assert program.main(["--synthetic", "32", "--rounds", "2", *chosen, "--out", str(tmp_path / "r")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    cases = {case["name"]: case for case in result["cases"] if case["rows"]}
    assert list(cases) == ["ct117", "fragments"]
    assert 0 < cases["fragments"]["n_labels_in_both"] < cases["fragments"]["n_labels"] == 12
    for case in cases.values():
        rows = {(row["metric"], row["contender"]): row for row in case["rows"]}
        assert len(rows) == len(case["rows"]) == 4
        for (_, contender), row in rows.items():
            assert len(row["cpu_s"]) == len(row["wall_s"]) == 2 and row["reason"] == ""
            assert row["peak_mib"] >= row["before_mib"] > 0
            assert row["max_difference"] <= 1e-9
            assert row["labels"] == case["n_labels" if contender == "medquanbench" else "n_labels_in_both"]
    page = (tmp_path / "r.md").read_text()
    assert page in capsys.readouterr().out
    assert "no result" in page and "| 12 of 12 |" in page


def test_without_data_it_says_what_is_missing(program, tmp_path, capsys):
    assert program.main(["--data", str(tmp_path), "--out", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().out
    assert "ct117 is skipped: there is no totalsegmentator-samples/" in said and "brain is skipped" in said
    assert not (tmp_path / "r.md").exists()


def row(metric, contender, seconds, difference=None, peak=100.0, reason=""):
    found = {
        "median_cpu_s": seconds, "median_wall_s": seconds, "peak_mib": peak, "before_mib": 50.0, "above_mib": 50.0,
        "labels": 3, "max_difference": difference,
    }  # fmt: skip
    return {"metric": metric, "contender": contender, "reason": reason} | (found if not reason else {})


@pytest.mark.parametrize(
    ("seconds", "difference", "peak", "sentences"),
    [
        (0.1, 1e-15, 90.0, ("30.0 times", "of 20 holds", "by at most 1.0e-15", "1e-09 holds", "at most 90 MiB")),
        (0.2, 1e-8, 3000.0, ("15.0 times", "of 20 is missed", "1e-09 is missed", "2048 MiB is missed")),
    ],
)
def test_what_the_page_concludes(program, seconds, difference, peak, sentences):
    rows = [
        row("nsd", "medquanbench", seconds, difference, peak),
        row("nsd", "surface-distance", 3.0, 0.0),
        row("nsd", "monai", 0, reason="it | broke"),
    ]
    case = {
        "name": "c", "about": "a map", "shape": [2, 3, 4], "tolerance_mm": 3.0, "metrics": ["nsd"], "n_labels": 3,
        "collapsed": False, "rows": rows,
    }  # fmt: skip
    result = {"machine": {"cpu": "c", "cores": 2}, "versions": {}, "rounds": 5, "synthetic": False, "skipped": {}}
    page = program.markdown(result | {"cases": [case]})
    for sentence in (*sentences, "it / broke", "- c: a map, 2 x 3 x 4"):
        assert sentence in page
