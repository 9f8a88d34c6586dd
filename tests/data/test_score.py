"""``data score``: what is scored, in which files, and what is said of bad folders."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medquanbench import open_dataset
from medquanbench.data import score_run
from medquanbench.data.__main__ import main
from medquanbench.images import read_labels
from medquanbench.metrics import dice, surface_dice
from medquanbench.reference import read_reference

CASES = ("c1", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "t1")
OTHER_AXES = np.diag([1.0, -1.0, 2.0, 1.0])


@dataclass(frozen=True)
class Place:
    """A folder with the micro dataset and predictions for all its cases, equal to the references."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def prediction(self, case: str = "m2") -> Path:
        return self.predictions / f"{case}.nii.gz"

    def reference(self, case: str = "m2") -> Path:
        return self.data / "labels" / f"{case}.nii.gz"

    def run(self, *more: str) -> int:
        return main([
            "score", "--reference", str(self.data / "labels"), "--prediction", str(self.predictions),
            "--dataset", str(self.data / "micro.toml"), "--out", str(self.out), "--jobs", "1", *more,
        ])  # fmt: skip

    def table(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((self.out / f"{name}.csv").open()))

    def tables(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.out.glob("*.csv")}

    def record(self) -> dict:
        return json.loads((self.out / "record.json").read_text())


@pytest.fixture
def place(micro_data, tmp_path) -> Place:
    shutil.copytree(micro_data / "labels", tmp_path / "predictions")
    return Place(tmp_path)


def values(file: Path) -> np.ndarray:
    return np.asarray(nibabel.load(file).dataobj)


def write(array: np.ndarray, file: Path, like: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(array, nibabel.load(like).affine), file)


def rewrite(file: Path, change) -> None:
    """Replace the values of a label map by what a function makes of them."""
    write(change(values(file)), file, file)


def shifted(array: np.ndarray) -> np.ndarray:
    return np.roll(array, 1, axis=0)


def test_the_very_reference_is_perfect(place, capsys):
    assert place.run() == 0
    (row,) = place.table("results")
    assert row == {
        "dataset": "micro", "n_cases": "9", "n_missing": "0", "dsc": "1.000000", "nsd": "1.000000",
        "hd95_mm": "0.000000", "volume_similarity": "1.000000", "lost": "0", "hallucinated": "0",
        "dsc_ci_low": "", "dsc_ci_high": "", "nsd_ci_low": "", "nsd_ci_high": "",
    }  # fmt: skip
    assert [(r["label"], r["name"], r["n_cases"], r["dsc"]) for r in place.table("labels")] == [
        ("1", "low", "9", "1.000000"), ("2", "high", "9", "1.000000"),
    ]  # fmt: skip
    assert [(r["case"], r["label"]) for r in place.table("cases")] == [(c, n) for c in CASES for n in ("1", "2")]
    assert (
        "9 predictions are the very file of their reference: c1, m1, m2, m3, m4, and 4 more" in capsys.readouterr().out
    )


def test_scores_are_those_of_the_metrics(place):
    random = np.random.default_rng(0)
    for case in CASES:
        rewrite(
            place.prediction(case), lambda a: np.where(random.random(a.shape) < 0.1, 2, shifted(a)).astype(np.uint8)
        )
    assert place.run() == 0
    dataset = open_dataset(place.data / "micro.toml", root=place.data)
    rows, means = place.table("cases"), []
    for name in CASES:
        reference, predicted = read_labels(place.reference(name)), read_labels(place.prediction(name))
        pair = reference.labels, predicted.labels, [1, 2]
        dsc, nsd = dice(*pair), surface_dice(*pair, reference.grid.spacing_mm, 1.0)
        mine = [row for row in rows if row["case"] == name]
        assert [row["dsc"] for row in mine] == [f"{value:.6f}" for value in dsc]
        assert [row["nsd"] for row in mine] == [f"{value:.6f}" for value in nsd]
        assert [int(row["predicted_voxels"]) for row in mine] == [int((predicted.labels == n).sum()) for n in (1, 2)]
        means.append(dsc.mean())
    assert place.table("results")[0]["dsc"] == f"{np.mean(means):.6f}"
    total, (low, high) = place.table("results")[0], place.table("labels")
    for row in (total, low, high):
        assert 0 < float(row["dsc_ci_low"]) < float(row["dsc"]) < float(row["dsc_ci_high"]) < 1
    assert np.array_equal(reference.labels, read_reference(dataset.cases("train")[0], dataset).labels)


def test_a_missing_prediction_is_scored_0_and_listed(place, capsys):
    rewrite(place.reference("m3"), lambda a: np.where(a == 2, 0, a).astype(np.uint8))
    place.prediction("m3").unlink()
    assert place.run() == 0
    low, high = (row for row in place.table("cases") if row["case"] == "m3")
    assert (low["dsc"], low["nsd"], low["hd95_mm"], low["presence"]) == ("0.000000", "0.000000", "", "lost")
    assert (high["dsc"], high["presence"]) == ("", "neither"), "what the reference lacks is not counted"
    (row,) = place.table("results")
    assert (row["n_cases"], row["n_missing"], row["lost"], row["dsc"]) == ("9", "1", "1", f"{8 / 9:.6f}")
    assert "1 of 9 cases have no prediction and count as empty (0 on every label of their reference): m3." in (
        capsys.readouterr().out
    )
    assert place.record()["missing_predictions"] == ["m3"]


def test_predictions_without_a_reference_are_told(place, capsys):
    shutil.copy(place.prediction(), place.predictions / "stranger.nii.gz")
    (place.predictions / "._m2.nii.gz").write_bytes(b"a file of macOS")
    (place.predictions / "plans.json").write_text("{}")
    assert place.run() == 0
    assert "1 predictions have no reference and are not scored: stranger.nii.gz." in capsys.readouterr().out
    assert place.record()["extra_predictions"] == ["stranger.nii.gz"]


def test_many_processes_give_the_same_files(place):
    for case in CASES[:5]:
        rewrite(place.prediction(case), shifted)
    assert place.run() == 0
    alone = place.tables()
    shutil.rmtree(place.out)
    assert place.run("--jobs", "3") == 0
    assert place.tables() == alone


def test_nothing_is_scored_twice_and_what_changed_is_scored_anew(place, monkeypatch):
    assert place.run() == 0
    before, real, scored = place.tables(), score_run.measure, []

    def counted(case, scoring):
        scored.append(case.name)
        return real(case, scoring)

    monkeypatch.setattr(score_run, "measure", counted)
    assert place.run() == 0 and scored == [] and place.tables() == before
    rewrite(place.prediction("m4"), shifted)
    assert place.run() == 0 and scored == ["m4"] and place.tables() != before


def test_a_stopped_command_goes_on_where_it_was(place, monkeypatch):
    real, scored = score_run.measure, []

    def stopping(case, scoring):
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append(case.name)
        return real(case, scoring)

    monkeypatch.setattr(score_run, "measure", stopping)
    assert place.run() == 1 and not (place.out / "results.csv").exists()
    monkeypatch.setattr(score_run, "measure", lambda case, scoring: scored.append(case.name) or real(case, scoring))
    assert place.run() == 0 and sorted(scored) == sorted(CASES)


SWAPPED = {
    "nnunet.json": json.dumps({"labels": {"background": 0, "High": 1, "low": 2, "third": 3}}),
    "numbers.json": json.dumps({"0": "background", "1": "HIGH", "2": "low", "3": "third"}),
    "table.toml": '[labels]\n1 = "high"\n2 = "low"\n3 = "third"\n',
}


@pytest.mark.parametrize("name", SWAPPED)
def test_predictions_with_another_label_set_are_matched_by_name(place, name, capsys):
    rewrite(place.prediction("m5"), shifted)
    assert place.run() == 0
    before = place.tables()
    shutil.rmtree(place.out)
    (place.folder / name).write_text(SWAPPED[name])
    for case in CASES:
        rewrite(place.prediction(case), lambda a: np.array([0, 2, 1], np.uint8)[a])
    rewrite(place.prediction("m1"), lambda a: np.where(np.indices(a.shape)[0] == 13, 3, a).astype(np.uint8))
    assert place.run("--labels", str(place.folder / name)) == 0
    assert place.tables() == before, "numbers and names are the dataset's"
    assert "1 structures of" in (told := capsys.readouterr().out) and "count as background: third." in told
    assert place.record()["labels"]["outputs_without_structure"] == ["third"]


def with_stored_values(place: Place) -> None:
    """References hold 11 for low, 12 for high, and 99, which is background."""
    card = place.data / "micro.toml"
    text = (
        card.read_text().replace("index = 1", "index = 1\nstored = 11").replace("index = 2", "index = 2\nstored = 12")
    )
    card.write_text(text.replace("[layout]", "background = [99]\n[layout]", 1))
    for case in CASES:
        rewrite(
            place.reference(case),
            lambda a: np.where(np.indices(a.shape)[0] == 13, 99, np.array([0, 11, 12])[a]).astype(np.uint8),
        )


def test_indices_and_stored_values_give_the_same(place):
    rewrite(place.prediction("m5"), shifted)
    assert place.run() == 0
    before = place.tables()
    shutil.rmtree(place.out)
    with_stored_values(place)
    assert place.run() == 0 and place.tables() == before
    for case in CASES:
        rewrite(place.prediction(case), lambda a: np.array([99, 11, 12], np.uint8)[a])
    shutil.rmtree(place.out)
    assert place.run("--prediction-values", "stored") == 0 and place.tables() == before


def test_values_of_the_other_kind_are_told_with_the_flag(place, capsys):
    with_stored_values(place)
    for case in CASES:
        rewrite(place.prediction(case), lambda a: np.array([0, 11, 12], np.uint8)[a])
    assert place.run() == 2
    assert "which the card of micro does not know; they would fit --prediction-values stored" in capsys.readouterr().err


def test_a_split_is_scored_alone(place, capsys):
    assert place.run("--split", "test") == 0
    assert {row["case"] for row in place.table("cases")} == set(CASES) - {"c1", "t1"}
    assert "2 cases with a reference are not in split 'test'" in capsys.readouterr().out
    place.reference("m7").unlink()
    assert place.run("--split", "test") == 0
    assert "1 cases of split 'test' have no reference and are not scored: m7." in capsys.readouterr().out
    assert place.record()["without_reference"] == ["m7"] and place.table("results")[0]["n_cases"] == "6"


def test_names_of_files_are_those_of_the_layout(place):
    """As BTCV has them: img0001 and label0001 are one case; nnU-Net's _0000 counts for nothing."""
    card = place.data / "micro.toml"
    text = card.read_text().replace("images/{case}.nii.gz", "images/img_{case}.nii.gz")
    card.write_text(text.replace("labels/{case}.nii.gz", "labels/label_{case}.nii.gz"))
    for case in CASES:
        place.reference(case).rename(place.data / "labels" / f"label_{case}.nii.gz")
    place.prediction("m1").rename(place.predictions / "img_m1.nii.gz")
    place.prediction("m2").rename(place.predictions / "label_m2.nii.gz")
    place.prediction("m3").rename(place.predictions / "m3_0000.nii.gz")
    (place.predictions / "m4.nii").write_bytes(gzip.decompress(place.prediction("m4").read_bytes()))
    place.prediction("m4").unlink()
    assert place.run() == 0
    assert place.table("results")[0]["n_missing"] == "0" and len(place.record()["cases"]) == 9


def test_references_may_lie_in_the_layout_of_the_card(place):
    assert place.run() == 0
    before = place.tables()
    shutil.rmtree(place.out)
    assert place.run("--reference", str(place.data)) == 0 and place.tables() == before


def test_tables_of_another_evaluation_are_not_written_over(place, capsys):
    assert place.run() == 0
    before = place.tables()
    assert place.run("--split", "test") == 0, "the same request on other cases makes the tables anew"
    assert place.run() == 0 and place.tables() == before
    other = place.folder / "other"
    shutil.copytree(place.predictions, other)
    assert place.run("--prediction", str(other)) == 0, "the same predictions, moved"
    rewrite(other / "m1.nii.gz", shifted)
    assert place.run("--prediction", str(place.predictions)) == 0
    assert place.run("--prediction", str(other)) == 2
    assert "holds the scores of the predictions in" in capsys.readouterr().err
    (place.folder / "set.json").write_text(SWAPPED["nnunet.json"])
    assert place.run("--labels", str(place.folder / "set.json")) == 2
    assert "scores of another request" in capsys.readouterr().err
    (place.out / "record.json").unlink()
    assert place.run() == 2 and "of something else; choose another --out" in capsys.readouterr().err
    assert place.tables() == before


def test_a_name_that_a_spreadsheet_would_run_is_disarmed(place):
    for file in (place.data / "labels", place.predictions):
        (file / "m1.nii.gz").rename(file / "=1+1.nii.gz")
    assert place.run() == 0
    assert "'=1+1" in {row["case"] for row in place.table("cases")}


def other_shape(file: Path) -> None:
    write(values(file)[1:], file, file)


def other_axes(file: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(values(file), OTHER_AXES), file)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def nan(array: np.ndarray) -> np.ndarray:
    return np.where(np.indices(array.shape).sum(0) == 9, np.nan, array).astype(np.float32)


BAD = {
    "a prediction of another shape": (other_shape, "m2.nii.gz lie on different grids: 13 x 12 x 10 and 14 x 12 x 10"),
    "a prediction in another orientation": (other_axes, "lie on different grids: their affines lay the same"),
    "labels that are 0.9999": (
        lambda file: rewrite(file, lambda a: a * 0.9999),
        "m2.nii.gz is no label map: it holds 0.9999; its values must be whole numbers",
    ),
    "NaN": (lambda file: rewrite(file, nan), "m2.nii.gz is no label map: it holds nan"),
    "probabilities": (lambda file: rewrite(file, lambda a: a / 7.0), "m2.nii.gz is no label map: it holds 0.14"),
    "a file that is cut off": (cut_off, "m2.nii.gz is damaged or cut off"),
    "a web page": (lambda file: file.write_bytes(b"<!DOCTYPE html>404"), "m2.nii.gz is no NIfTI file: it is a web"),
    "values that are no labels": (
        lambda file: rewrite(file, lambda a: a * 40),
        "m2.nii.gz holds the values 40, 80, which the card of micro does not know",
    ),
    "the same case twice": (
        lambda file: (file.parent / "m2.nii").write_bytes(gzip.decompress(file.read_bytes())),
        "m2.nii and m2.nii.gz are both of case m2; one of them must go",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage, words", BAD.values(), ids=BAD)
def test_a_bad_prediction_is_a_sentence_before_anything_is_scored(place, capsys, damage, words):
    damage(place.prediction())
    assert place.run() == 2
    error = capsys.readouterr().err
    assert words in error and error.count("error:") == 1 and "Traceback" not in error
    assert not list(place.out.rglob("*.json")) and not place.tables()


@pytest.mark.parametrize(
    "damage, words",
    [
        (cut_off, "labels/m2.nii.gz is damaged or cut off"),
        (
            lambda file: rewrite(file, lambda a: a * 40),
            "holds the values 40, 80, which the card of micro does not know",
        ),
    ],
)
def test_a_bad_reference_is_a_sentence(place, capsys, damage, words):
    damage(place.reference())
    assert place.run() == 2 and words in capsys.readouterr().err


def test_all_bad_files_are_counted(place, capsys):
    for case in CASES[:5]:
        cut_off(place.prediction(case))
    assert place.run() == 2
    assert "5 files are wrong, first" in (error := capsys.readouterr().err) and error.count("cut off") == 3


def empty(place: Place) -> str:
    (place.folder / "empty").mkdir()
    return str(place.folder / "empty")


def strangers(place: Place) -> str:
    (place.folder / "strange").mkdir()
    for name in ("a", "b"):
        shutil.copy(place.prediction(), place.folder / "strange" / f"{name}.nii.gz")
    return str(place.folder / "strange")


def held(place: Place, name: str, text: str) -> str:
    (place.folder / name).write_text(text)
    return str(place.folder / name)


REQUESTS = {
    "no such folder": (lambda p: ["--prediction", str(p.folder / "no")], "there is no folder"),
    "a file for a folder": (lambda p: ["--reference", str(p.reference())], "m2.nii.gz is no folder"),
    "no predictions": (lambda p: ["--prediction", empty(p)], "empty holds no label maps (.nii, .nii.gz)"),
    "no references": (lambda p: ["--reference", empty(p)], "no label maps (.nii, .nii.gz), and no case of micro"),
    "no pair": (lambda p: ["--prediction", strangers(p)], "has the name of a reference in"),
    "no such split": (lambda p: ["--split", "tests"], "no split 'tests'"),
    "no such dataset": (lambda p: ["--dataset", "nosuch"], "no dataset 'nosuch'"),
    "no such label set": (lambda p: ["--labels", "nosuch"], "no label set 'nosuch'"),
    "a label set that is missing": (lambda p: ["--labels", str(p.folder / "no.json")], "no.json is missing"),
    "a label set that is none": (lambda p: ["--labels", held(p, "s.json", "[1]")], "a table of values and names"),
    "a label set that is no JSON": (lambda p: ["--labels", held(p, "s.json", "{")], "is no label set: it is no JSON"),
    "a label set without labels": (lambda p: ["--labels", held(p, "s.json", '{"background": 0}')], "no labels"),
    "regions": (lambda p: ["--labels", held(p, "s.json", '{"labels": {"all": [1, 2]}}')], "regions of several labels"),
    "a name twice": (lambda p: ["--labels", held(p, "s.json", '{"1": "low", "2": "low"}')], "the name 'low' twice"),
    "labels of another world": (lambda p: ["--labels", "vista3d"], "the labels of vista3d answer with liver"),
    "no process": (lambda p: ["--jobs", "0"], "--jobs 0: at least one process"),
    "an output folder that is a file": (lambda p: ["--out", held(p, "file", "")], "file"),
}  # fmt: skip


@pytest.mark.parametrize("more, words", REQUESTS.values(), ids=REQUESTS)
def test_a_bad_request_is_a_sentence(place, capsys, more, words):
    assert place.run(*more(place)) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error, error
