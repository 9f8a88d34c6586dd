"""A study that calibrates: which recipes get a number, what the network is shown, what further draws leave behind."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medquanbench import __version__, evaluate, open_bundle, open_dataset, quant
from medquanbench.calibration import calibration_cases, calibration_patches
from medquanbench.run import config_in_key
from medquanbench.study import carry_out
from medquanbench.study_plan import Conduct, prepare
from medquanbench.values import RequestError
from tests.test_run import outcome

CHOOSE = "choose another --out"


@pytest.fixture
def bundle(micro_bundle):
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def dataset(micro_data):
    return open_dataset(micro_data / "micro.toml", root=micro_data)


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as handle:
        return list(csv.DictReader(handle))


def recipes_of(plan) -> list[str]:
    return [str(run.recipe) for run in plan.runs]


def test_the_number_goes_to_the_recipes_that_calibrate_and_have_none(bundle, dataset):
    plan = prepare(bundle, dataset, ["w4a4 engine", "w4a4 adaptive", "w8a8 engine calib(1)"], calibrated=2)
    assert recipes_of(plan) == ["fp32", "w4a4 engine calib(2)", "w4a4 adaptive", "w8a8 engine calib(1)"]
    assert [run.draw and run.draw.cases for run in plan.runs] == [None, ("c1", "t1"), None, ("c1",)]
    assert plan.calibration.assumed == ()


def test_eight_cases_where_none_are_said_and_a_note_says_so(bundle, dataset):
    lists = tuple((name, cases[:1] if name == "test" else cases) for name, cases in dataset.split)
    more = replace(
        dataset, split=(("train", tuple(f"m{n}" for n in range(2, 8))), ("calibration", ("c1", "t1")), *lists[2:])
    )
    study = evaluate(bundle, more, ["w4a4 engine"])
    assert [str(record.run.recipe) for record in study.records] == ["fp32", "w4a4 engine calib(8)"]
    assert any("(--calibrated): 8 were taken for w4a4 engine calib(8)" in note for note in study.report.notes)
    assert not [note for note in evaluate(bundle, more, ["w4a4 engine calib(8)"]).report.notes if "calibr" in note]
    with pytest.raises(RequestError, match="^8 calibration cases are needed .*; the card of micro has 1 in"):
        prepare(bundle, dataset, ["w4a4 engine"])


@pytest.mark.parametrize(
    "recipe, how, words",
    [
        ("w4a4 engine", {"calibrated": 0}, "0 calibration cases are asked for; at least 1"),
        ("w4a4 engine", {"calibrated": -1}, "-1 calibration cases are asked for; at least 1"),
        ("w4a4 engine", {"calibrated": 1, "draws": 0}, "0 draws of calibration cases"),
        ("w4a4 adaptive", {"calibrated": 1}, "nothing uses them: the scales of 'w4a4 adaptive' are dynamic"),
        ("w4a4 adaptive", {"draws": 3}, "nothing uses them"),
        ("w4a4 engine calib(1)", {"calibrated": 1}, None),
    ],
)
def test_numbers_that_make_no_sense(bundle, dataset, recipe, how, words):
    if words is None:
        assert recipes_of(prepare(bundle, dataset, [recipe], **how))[1] == recipe
        return
    with pytest.raises(RequestError, match=words):
        prepare(bundle, dataset, [recipe], **how)


def test_a_recipe_that_becomes_another_one_is_asked_for_twice(bundle, dataset):
    with pytest.raises(RequestError, match=r"'w4a4 engine calib\(1\)' is asked for twice"):
        prepare(bundle, dataset, ["w4a4 engine", "w4a4 engine calib(1)"], calibrated=1)


def test_the_network_is_shown_the_windows_of_its_draw(bundle, dataset, monkeypatch):
    shown: list[torch.Tensor | None] = []
    own = quant.quantize

    def spy(network, recipe, calibration=None):
        shown.append(None if calibration is None else torch.stack(list(calibration)))
        return own(network, recipe, calibration)

    monkeypatch.setattr(quant, "quantize", spy)
    evaluate(bundle, dataset, ["w4a4 adaptive", "w4a4 engine calib(2)"], cases=1, seed=3, draws=2)
    assert shown[:2] == [None, None]
    for number, windows in enumerate(shown[2:]):
        cases = calibration_cases(dataset, 2, number)
        assert torch.equal(windows, torch.stack(list(calibration_patches(bundle, dataset, cases, seed=(3, number)))))


def test_calibration_files_are_looked_at_before_anything_is_computed(bundle, dataset, tmp_path):
    file = calibration_cases(dataset, 1)[0].inputs[0]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(RequestError, match="c1.nii.gz is damaged"):
        evaluate(bundle, dataset, ["w4a4 engine calib(1)"], out=tmp_path / "o")
    assert not (tmp_path / "o").exists()
    evaluate(bundle, dataset, ["w4a4 adaptive"], cases=1)  # does not need it


# Keys


def test_a_key_hangs_on_the_calibration_cases_and_their_draw(bundle, dataset):
    def key(**how) -> str:
        return prepare(bundle, dataset, ["w4a4 engine"], **how).runs[1].key

    base = key(calibrated=1)
    plan = prepare(bundle, dataset, ["w4a4 engine"], calibrated=1, draws=2)
    assert base == key(calibrated=1) == plan.runs[1].key != plan.calibration.runs[0].key
    assert len({base, key(calibrated=2), key(calibrated=1, seed=1)}) == 3
    floats = prepare(bundle, dataset, []).runs[0].key
    label = calibration_cases(dataset, 1)[0].target
    label.write_bytes(label.read_bytes() + b"\0")
    assert base != key(calibrated=1)
    assert floats == prepare(bundle, dataset, ["w4a4 engine calib(1)"]).runs[0].key, "FP32 does not hang on them"


def test_keys_of_runs_that_do_not_calibrate_are_what_they_always_were(bundle, dataset):
    """Written out once more, as of version 0.3.0: finished cases must be found again."""
    plan = prepare(bundle, dataset, ["w4a4 adaptive"])
    sums = [[name, list(of_case)] for name, of_case in plan.sums]
    keys = []
    for recipe in ("fp32", "w4a4 adaptive"):
        parts = [
            __version__,
            bundle.weights_sha256,
            dataset.card_sha256,
            config_in_key(bundle),
            sums,
            recipe,
            "test",
            0,
        ]
        keys.append(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest())
    assert [run.key for run in plan.runs] == keys
    assert plan.key == hashlib.sha256(json.dumps([keys, []]).encode()).hexdigest()


# Draws


def test_draws_are_told_in_a_table_a_note_and_the_record(bundle, dataset, tmp_path):
    study = evaluate(bundle, dataset, ["w2a2 engine calib(1)", "w4a4 adaptive"], draws=4, out=tmp_path / "o")
    assert [str(record.run.recipe) for record in study.records] == ["fp32", "w2a2 engine calib(1)", "w4a4 adaptive"]
    assert [record.run.draw.number for record in study.draws] == [1, 2, 3]
    table = rows_of(tmp_path / "o" / "draws.csv")
    assert list(table[0]) == ["recipe", "draw", "dsc", "nsd"]
    assert [(row["recipe"], row["draw"]) for row in table] == [("w2a2 engine calib(1)", str(n)) for n in range(4)]
    row = rows_of(tmp_path / "o" / "results.csv")[1]
    assert (row["dsc"], row["nsd"]) == (table[0]["dsc"], table[0]["nsd"]), "the row is draw 0"
    scores = [float(row["dsc"]) for row in table]
    assert len(set(scores)) > 1, "2 bits feel on which windows their scales were found"
    words = f"DSC {sum(scores) / 4:.4f} ({min(scores):.4f} to {max(scores):.4f}), NSD "
    (note,) = (note for note in study.report.notes if "draws" in note)
    assert note.startswith("w2a2 engine calib(1), mean (least to most) over 4 draws") and words in note
    record = json.loads((tmp_path / "o" / "record.json").read_text())
    told = record["calibration"]
    assert told["draws"] == 4 and set(told["case_sha256"]) == {"c1", "t1"}
    assert [draw["number"] for draw in told["further_draws"]] == [1, 2, 3]
    assert told["spread"][0]["least"] == pytest.approx(min(scores), abs=1e-6)
    assert record["results"][1]["record"]["run"]["draw"] == {"number": 0, "cases": ["c1"], "windows_per_case": 4}
    assert record["results"][2]["record"]["run"]["draw"] is None


def test_a_study_without_calibration_has_no_word_of_it(bundle, dataset, tmp_path):
    study = evaluate(bundle, dataset, ["w4a4 adaptive"], cases=1, out=tmp_path / "o")
    assert "calibration" not in json.loads((tmp_path / "o" / "record.json").read_text())
    assert not (tmp_path / "o" / "draws.csv").exists() and study.draws == ()
    assert "Calibration" not in {fact.name for fact in study.report.facts}


def test_finished_draws_are_not_computed_again_and_calibrate_nothing(bundle, dataset, tmp_path, monkeypatch):
    told: list[str] = []
    plan = prepare(bundle, dataset, ["w2a2 engine calib(1)"], cases=2, draws=3)
    conduct = Conduct(save_predictions=True, progress=lambda text, done, total: told.append(f"{done}/{total} {text}"))
    carry_out(plan, tmp_path / "o", conduct)
    assert {path.name for path in (tmp_path / "o" / "predictions").iterdir()} == {"fp32", "w2a2_engine_calib(1)"}
    assert len(list((tmp_path / "o" / "parts").glob("*/*.npy"))) == 2, "of further draws only scores are wanted"
    assert "4/8 run 3/4, w2a2 engine calib(1), draw 1: case 0/2" in told
    assert any(line.startswith("4/8 calibration: pass 1, case 1/1, window 4/4") for line in told)
    before = {file: file.read_bytes() for file in (tmp_path / "o").glob("*.csv")}

    def fail(*given: object) -> None:
        raise AssertionError("calibrated again")

    monkeypatch.setattr(quant, "quantize", fail)
    carry_out(plan, tmp_path / "o", Conduct(save_predictions=True))
    assert {file: file.read_bytes() for file in before} == before and len(before) == 4


def test_a_folder_of_other_draws_is_of_another_study(bundle, dataset, tmp_path):
    evaluate(bundle, dataset, ["w4a4 engine calib(1)"], cases=1, out=tmp_path)
    with pytest.raises(RequestError, match=rf"another study \(draws: 1 there, 2 here\); {CHOOSE}"):
        evaluate(bundle, dataset, ["w4a4 engine calib(1)"], cases=1, draws=2, out=tmp_path)
    file = calibration_cases(dataset, 1)[0].inputs[0]
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(RequestError, match=rf"another study \(files of the cases: 'c1' changed\); {CHOOSE}"):
        evaluate(bundle, dataset, ["w4a4 engine calib(1)"], cases=1, out=tmp_path)


def test_a_phantom_that_calibrates_is_made_on_demand(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path))
    dataset = open_dataset("btcv-phantom")
    told: list[str] = []
    (case,) = calibration_cases(dataset, 1, progress=told.append)
    assert case.name == dataset.names("calibration")[0] and told == ["making phantom 1/1"]
    windows = list(calibration_patches(open_bundle("segresnet"), dataset, (case,)))
    assert len(windows) == 4 and all(window.amin() < window.amax() for window in windows)


def test_execute_without_windows_is_a_sentence(bundle, dataset):
    with pytest.raises(RequestError, match="'w4a4 engine' needs calibration"):
        outcome(bundle, dataset, "w4a4 engine", 1)
