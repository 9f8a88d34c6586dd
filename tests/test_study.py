"""A study on the micro bundle, end to end: rows, files, resume, equality of repeats."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medquanbench import evaluate, open_bundle, open_dataset
from medquanbench.images import read_labels, same_grid
from medquanbench.study import carry_out, try_transforms
from medquanbench.study_plan import Conduct, prepare
from medquanbench.values import Recipe, RequestError, State


@pytest.fixture
def bundle(micro_bundle):
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def dataset(micro_data):
    return open_dataset(micro_data / "micro.toml", root=micro_data)


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as handle:
        return list(csv.DictReader(handle))


def test_reference_comes_first_and_rows_follow_the_request(bundle, dataset, tmp_path):
    study = evaluate(bundle, dataset, ["w4a4 per-tensor", Recipe.parse("w8a8 adaptive")], out=tmp_path / "o")
    assert [str(r.run.recipe) for r in study.records] == ["fp32", "w4a4 per-tensor", "w8a8 adaptive"]
    rows = rows_of(tmp_path / "o" / "results.csv")
    assert [row["precision"] for row in rows] == ["FP32", "W4A4", "W8A8"]
    assert [row["granularity"] for row in rows] == ["-", "per-tensor", "adaptive"]
    assert rows[0]["verdict"] == "reference" and rows[0]["dsc_diff"] == "" == rows[0]["dsc_drop_pct"]
    assert all(Recipe.parse(row["recipe"]) == record.run.recipe for row, record in zip(rows, study.records))


def test_the_micro_network_is_nearly_perfect_in_float_and_aggregates_follow_from_cases(bundle, dataset, tmp_path):
    study = evaluate(bundle, dataset, ["w8a8 per-tensor"], out=tmp_path / "o")
    assert study.records[0].mean(0) > 0.95
    cases = rows_of(tmp_path / "o" / "cases.csv")
    assert len(cases) == 2 * 7 * 2
    by_case: dict[str, list[float]] = {}
    for row in cases:
        if row["recipe"] == "fp32":
            by_case.setdefault(row["case"], []).append(float(row["dsc"]))
    mean = np.mean([np.mean(values) for values in by_case.values()])
    assert float(rows_of(tmp_path / "o" / "results.csv")[0]["dsc"]) == pytest.approx(mean, abs=2e-6)


def test_the_same_command_twice_gives_the_same_bytes(bundle, dataset, tmp_path):
    for name in ("a", "b"):
        evaluate(bundle, dataset, ["w4a4 adaptive"], out=tmp_path / name)
    for file in ("results.csv", "cases.csv", "labels.csv", "figures/scene.npz", "figures/per_label.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    records = [json.loads((tmp_path / name / "record.json").read_text()) for name in ("a", "b")]
    for record in records:
        for section in ("times", "memory", "host"):
            assert record.pop(section)
    assert records[0] == records[1]


def test_finished_cases_are_not_computed_again(bundle, dataset, tmp_path, monkeypatch):
    evaluate(bundle, dataset, ["w4a4 adaptive"], out=tmp_path / "o")
    before = (tmp_path / "o" / "results.csv").read_bytes()
    part = sorted((tmp_path / "o" / "parts").glob("*/m3.json"))[0]
    part.write_text(part.read_text()[:-20])  # one part is damaged: that one case is computed again, and no other
    calls = []
    from medquanbench.tasks import TASKS

    task = TASKS["segmentation"]
    counted = replace(task, answer=lambda *a: calls.append(a[2].name) or task.answer(*a))
    monkeypatch.setitem(TASKS, "segmentation", counted)
    evaluate(bundle, dataset, ["w4a4 adaptive"], out=tmp_path / "o")
    assert calls == ["m3"]
    assert (tmp_path / "o" / "results.csv").read_bytes() == before


def test_a_damaged_folder_and_one_that_is_a_file_are_sentences(bundle, dataset, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "study.json").write_text("{")
    with pytest.raises(RequestError, match="study.json is damaged"):
        evaluate(bundle, dataset, ["w4a4 adaptive"], out=tmp_path / "o")
    (tmp_path / "f").write_text("a file")
    with pytest.raises(RequestError, match="cannot be written: Not a directory|cannot be written: File exists"):
        evaluate(bundle, dataset, ["w4a4 adaptive"], out=tmp_path / "f")


def test_key_hangs_on_what_changes_scores_and_on_nothing_else(bundle, dataset):
    def key(bundle=bundle, dataset=dataset, recipe="w4a4 adaptive", seed=0):
        return prepare(bundle, dataset, [recipe], seed=seed).runs[1].key

    base = key()
    assert base == key() == key(bundle=replace(bundle, window=replace(bundle.window, batch=7)))
    changed = {key(recipe="w4a8 adaptive"), key(seed=1), key(bundle=replace(bundle, weights_sha256="0"))}
    assert base not in changed and len(changed) == 3
    image = dataset.cases("test")[0].inputs[0]
    image.write_bytes(image.read_bytes() + b"\0")
    assert key() != base


def test_few_cases_have_no_interval(bundle, dataset, tmp_path):
    evaluate(bundle, dataset, ["w4a4 adaptive"], cases=5, out=tmp_path / "o")
    row = rows_of(tmp_path / "o" / "results.csv")[1]
    assert row["n_cases"] == "5" and row["verdict"] == "inconclusive"
    assert row["dsc_ci_low"] == row["dsc_ci_high"] == row["p_value"] == ""


@pytest.mark.parametrize("count", [0, -3, 8])
def test_impossible_number_of_cases(bundle, dataset, count):
    with pytest.raises(RequestError, match=f"{count} cases are asked for; the split 'test' of micro has 7"):
        evaluate(bundle, dataset, ["w4a4 adaptive"], cases=count)


def test_wrong_requests_end_before_anything_runs(bundle, dataset, tmp_path):
    for recipe, words in (("w4a4 nosuch", "no policy 'nosuch'.*adaptive"), ("w4a4 adaptive keep(zzz)", "matches none")):
        with pytest.raises(RequestError, match=words):
            evaluate(bundle, dataset, [recipe], out=tmp_path / "o")
    with pytest.raises(RequestError, match="asked for twice"):
        evaluate(bundle, dataset, ["w4a4 adaptive", "W4A4 adaptive"], out=tmp_path / "o")
    with pytest.raises(RequestError, match="the margin is 0.0; a difference in NSD above 0"):
        prepare(bundle, dataset, ["w4a4 adaptive"], margins=(("dsc", 0.1), ("nsd", 0.0)))
    assert not (tmp_path / "o").exists()


def test_a_transform_that_changes_nothing_is_refused_before_the_float_network_runs(bundle, dataset, tmp_path):
    with pytest.raises(RequestError, match="changes none of 1 layers"):
        evaluate(bundle, dataset, ["w4a4 adaptive", "w4a4 adaptive svd(rank=1)"], out=tmp_path / "o")
    assert not (tmp_path / "o").exists(), "and the folder is free for what is asked instead"


def test_what_went_through_once_is_not_tried_again(bundle, dataset, tmp_path):
    told: list[str] = []
    conduct = Conduct(progress=lambda text, done, total: told.append(text))
    recipes = ["w4a4 adaptive", "w4a4 adaptive asymmetric", "w4a4 adaptive asymmetric+clip"]
    plan = prepare(bundle, dataset, recipes, cases=1)
    try_transforms(plan, tmp_path / "o", conduct)
    assert told == ["trying w4a4 adaptive asymmetric+clip"], "the two differ in the rounding of weights alone"
    carry_out(plan, tmp_path / "o", conduct)
    told.clear()
    try_transforms(plan, tmp_path / "o", conduct)
    assert told == []


def test_other_labels_are_refused(bundle, dataset):
    with pytest.raises(RequestError, match="answer with low, high; micro is labelled with flat, tall"):
        renamed = (replace(label, name=name) for label, name in zip(dataset.labels, ("flat", "tall")))
        evaluate(bundle, replace(dataset, labels=tuple(renamed)), [])


def test_predictions_lie_on_the_images(bundle, dataset, tmp_path):
    plan = prepare(bundle, dataset, ["w8a8 adaptive"])
    carry_out(plan, tmp_path / "o", Conduct(save_predictions=True))
    for case in plan.cases:
        reference = read_labels(case.target)
        saved = read_labels(tmp_path / "o" / "predictions" / "w8a8_adaptive" / f"{case.name}.nii.gz")
        assert same_grid(saved.grid, reference.grid)
        assert (saved.labels == reference.labels).mean() > 0.95


def test_receipt_and_image_row_are_in_the_record(bundle, dataset, tmp_path):
    evaluate(bundle, dataset, ["w4a4 adaptive input(8)"], out=tmp_path / "o")
    record = json.loads((tmp_path / "o" / "record.json").read_text())
    receipt = record["results"][1]["record"]["receipt"]
    assert receipt["image"]["bits"] == 8 and receipt["lines"][0]["state"] == State.QUANTIZED.value
    steps = [case["image_step"] for case in record["results"][1]["record"]["cases"]]
    # The images reach about 5 (500 HU); at 8 bits a step is a 127th of that.
    assert all(3 / 127 < step < 6.5 / 127 for step in steps)
    assert record["dataset"]["phantom"] is None and record["conventions"]["tolerance_mm"] == {"low": 1.0, "high": 1.0}


def test_an_image_on_another_grid_than_its_label(bundle, dataset):
    import nibabel

    case = dataset.cases("test")[0]
    image = nibabel.load(case.target)
    shifted = image.affine.copy()
    shifted[0, 3] += 5
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), shifted), case.target)
    with pytest.raises(RequestError, match="different grids"):
        evaluate(bundle, dataset, ["w4a4 adaptive"])


def test_a_label_that_the_card_does_not_know(bundle, dataset):
    import nibabel

    case = dataset.cases("test")[0]
    image = nibabel.load(case.target)
    values = np.asarray(image.dataobj).copy()
    values[0, 0, 0] = 9
    nibabel.save(nibabel.Nifti1Image(values, image.affine), case.target)
    with pytest.raises(RequestError, match="holds the values 9, which the card of micro does not know"):
        evaluate(bundle, dataset, ["w4a4 adaptive"])


def test_cases_tell_how_far_answers_agree_with_the_float_networks(bundle, dataset, tmp_path):
    """FP32's rows say 0; a quantized case says what its saved prediction and FP32's tell; with or without a folder."""
    plan = prepare(bundle, dataset, ["w2a2 per-tensor"], cases=2)
    study = carry_out(plan, tmp_path / "o", Conduct(save_predictions=True))
    rows = rows_of(tmp_path / "o" / "cases.csv")
    assert {(r["flip_rate"], r["flip_rate_boundary"]) for r in rows if r["recipe"] == "fp32"} == {("0.000000",) * 2}
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("ece", "brier"))
    for case in plan.cases:
        one, other = (
            read_labels(tmp_path / "o" / "predictions" / recipe / f"{case.name}.nii.gz").labels
            for recipe in ("fp32", "w2a2_per-tensor")
        )
        told = {r["flip_rate"] for r in rows if r["case"] == case.name and r["recipe"] != "fp32"}
        assert told == {f"{(one != other).sum() / ((one != 0) | (other != 0)).sum():.6f}"} != {"0.000000"}
    alone = evaluate(bundle, dataset, ["w2a2 per-tensor"], cases=2)
    details = [
        [
            (case.details, [target.details for target in case.targets])
            for record in study.records
            for case in record.cases
        ]
        for study in (study, alone)
    ]
    assert details[0] == details[1]


def test_a_study_without_its_float_answers_makes_them_again(bundle, dataset, tmp_path):
    evaluate(bundle, dataset, ["w4a4 adaptive"], cases=3, out=tmp_path / "o")
    before = (tmp_path / "o" / "cases.csv").read_bytes()
    files = sorted((tmp_path / "o" / "parts").glob("*/*.answer"))
    assert [file.stem for file in files] == ["m1", "m2", "m3"], "of the float network only"
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[:-1])
    for part in (tmp_path / "o" / "parts").glob("*/m2.json"):
        part.unlink()
    evaluate(bundle, dataset, ["w4a4 adaptive"], cases=3, out=tmp_path / "o")
    assert files[1].read_bytes() == whole and (tmp_path / "o" / "cases.csv").read_bytes() == before
