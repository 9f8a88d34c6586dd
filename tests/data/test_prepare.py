"""prepare: what it writes opens as the same dataset, in both layouts, from every layout; nothing is written twice."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from medquanbench.data.__main__ import main
from medquanbench.data.prepare import write
from medquanbench.data.written_layouts import LAYOUTS
from medquanbench.dataset import Dataset, open_card, open_dataset
from medquanbench.images import grid_of, read_image, read_labels, same_grid
from medquanbench.progress import Progress
from medquanbench.reference import read_reference
from medquanbench.values import RequestError
from tests.bad_input.bad import save
from tests.fakes import FAKES, some_cases, write_fake

QUIET = Progress(lambda: None)


def three_cases(card: str, root: Path) -> Dataset:
    """A fake's dataset, of its two test cases and its training case alone."""
    dataset = open_dataset(card, root=root)
    *test, train = some_cases(open_card(card))
    return replace(dataset, split=(("train", (train,)), ("test", tuple(test))))


@pytest.mark.parametrize("card, layout", FAKES)
def test_what_is_written_opens_as_the_same_dataset(card, layout, tmp_path):
    dataset = three_cases(card, write_fake(card, layout, tmp_path / "data"))
    for name, written in LAYOUTS.items():
        assert write(dataset, ("train", "test"), written, tmp_path / name, False, 1, QUIET) == 3
        again = replace(open_dataset(card, root=tmp_path / name), split=dataset.split)
        for part in ("train", "test"):
            for case, copy in zip(dataset.cases(part), again.cases(part)):
                assert copy.inputs[0].is_relative_to(tmp_path / name) and not copy.masks
                one, other = read_reference(case, dataset), read_reference(copy, again)
                assert np.array_equal(one.labels, other.labels) and same_grid(one.grid, other.grid)
                assert np.array_equal(read_image(case.inputs[0]).values, read_image(copy.inputs[0]).values)
                assert same_grid(grid_of(copy.inputs[0]), grid_of(copy.target))


def test_references_are_in_the_cards_indices_whatever_the_files_hold(tmp_path):
    write_fake("wholebrain", "malf.templates", tmp_path / "data")
    dataset = three_cases("wholebrain", tmp_path / "data")
    write(dataset, ("test",), LAYOUTS["nnunet"], tmp_path / "out", False, 1, QUIET)
    labels = read_labels(tmp_path / "out" / "labelsTs" / f"{dataset.names('test')[0]}.nii.gz").labels
    assert np.unique(labels).tolist() == list(range(133))
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]["Left-Hippocampus"] == 17


def prepare(data: Path, out: Path, *flags: object) -> int:
    given = ["prepare", str(data / "micro.toml"), "--data-root", str(data), "--out", str(out), "--jobs", "1"]
    return main([*given, *map(str, flags)])


def contents(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


TESTS = [f"m{number}" for number in range(1, 8)]


def test_nnunets_files(micro_data, tmp_path, capsys):
    out = tmp_path / "Dataset501_Micro"
    assert prepare(micro_data, out) == 0
    expected = {
        f"{kind}Tr/{case}{end}.nii.gz" for kind, end in (("images", "_0000"), ("labels", "")) for case in ("t1", "c1")
    }
    expected |= {
        f"{kind}Ts/{case}{end}.nii.gz" for kind, end in (("images", "_0000"), ("labels", "")) for case in TESTS
    }
    assert contents(out) == {"dataset.json", *expected}
    about = json.loads((out / "dataset.json").read_text())
    assert about["channel_names"] == {"0": "CT"} and about["labels"] == {"background": 0, "low": 1, "high": 2}
    assert about["numTraining"] == 2 and about["file_ending"] == ".nii.gz"
    assert capsys.readouterr().out == (
        f"micro: 9 cases (train 1, calibration 1, test 7) in {out}, 0 of them were there\n"
    )


def test_monai_reads_its_list(micro_data, tmp_path):
    out = tmp_path / "out"
    assert prepare(micro_data, out, "--layout", "monai") == 0
    for part, cases in (("training", ["t1", "c1"]), ("test", TESTS), ("validation", [])):
        rows = load_decathlon_datalist(str(out / "dataset_0.json"), True, part) if cases else []
        assert [Path(row["image"]).name for row in rows] == [f"{case}.nii.gz" for case in cases]
        for row in rows:
            assert same_grid(grid_of(Path(row["image"])), grid_of(Path(row["label"])))


def test_a_published_validation_part_becomes_nnunets_split(tmp_path):
    write_fake("totalsegmentator", "nnU-Net raw", tmp_path / "data", ("s0013", "s0000"))
    dataset = replace(
        open_dataset("totalsegmentator", root=tmp_path / "data"), split=(("train", ("s0013",)), ("val", ("s0000",)))
    )
    write(dataset, ("train", "val"), LAYOUTS["nnunet"], tmp_path / "out", False, 1, QUIET)
    assert json.loads((tmp_path / "out" / "splits_final.json").read_text()) == [{"train": ["s0013"], "val": ["s0000"]}]
    write(dataset, ("train", "val"), LAYOUTS["monai"], tmp_path / "monai", False, 1, QUIET)
    assert len(json.loads((tmp_path / "monai" / "dataset_0.json").read_text())["validation"]) == 1


def test_calibration_that_is_taken_from_the_training_is_training(tmp_path):
    write_fake("totalsegmentator", "nnU-Net raw", tmp_path / "data", ("s0013", "s0000"))
    both = (("calibration", ("s0000",)), ("train", ("s0013", "s0000")), ("other-test", ("s0013",)))
    dataset = replace(open_dataset("totalsegmentator", root=tmp_path / "data"), split=both)
    assert write(dataset, ("calibration", "train"), LAYOUTS["nnunet"], tmp_path / "out", False, 1, QUIET) == 2
    with pytest.raises(RequestError, match="case s0013 is in two of the splits asked for, other-test and train"):
        write(dataset, ("other-test", "train"), LAYOUTS["nnunet"], tmp_path / "two", False, 1, QUIET)


def stamps(folder: Path) -> dict[str, int]:
    return {name: os.lstat(folder / name).st_mtime_ns for name in contents(folder) if name.endswith(".nii.gz")}


@pytest.mark.parametrize("link", [(), ("--link",)], ids=["copied", "linked"])
def test_the_same_command_again_writes_what_is_not_whole_and_nothing_else(micro_data, tmp_path, capsys, link):
    out = tmp_path / "out"
    assert prepare(micro_data, out, *link) == 0
    before = stamps(out)
    (out / "imagesTs" / "m1_0000.nii.gz").unlink()
    label = out / "labelsTs" / "m2.nii.gz"
    label.write_bytes(label.read_bytes()[:-9])
    left = out / "imagesTs" / ".m3_0000.nii.gz.123.tmp"
    left.write_bytes(b"half")
    assert prepare(micro_data, out, *link, "--jobs", "2") == 0
    after = stamps(out)
    assert {name for name in before if after[name] != before[name]} == {"imagesTs/m1_0000.nii.gz", "labelsTs/m2.nii.gz"}
    assert not left.exists() and ", 7 of them were there" in capsys.readouterr().out
    assert np.array_equal(read_labels(label).labels, read_labels(micro_data / "labels" / "m2.nii.gz").labels)


def test_links_lead_to_the_images(micro_data, tmp_path):
    assert prepare(micro_data, tmp_path / "out", "--link", "--split", "train") == 0
    image = tmp_path / "out" / "imagesTr" / "t1_0000.nii.gz"
    assert image.is_symlink() and image.resolve() == (micro_data / "images" / "t1.nii.gz").resolve()
    assert not (tmp_path / "out" / "labelsTr" / "t1.nii.gz").is_symlink()


@pytest.mark.parametrize("link", [(), ("--link",)], ids=["copied", "linked"])
def test_images_that_are_not_compressed_are(micro_data, tmp_path, link):
    card = (micro_data / "micro.toml").read_text().replace("images/{case}.nii.gz", "images/{case}.nii")
    (micro_data / "micro.toml").write_text(card)
    for file in (micro_data / "images").iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
    assert prepare(micro_data, tmp_path / "out", *link) == 0
    written = tmp_path / "out" / "imagesTr" / "t1_0000.nii.gz"
    assert gzip.decompress(written.read_bytes()) == (micro_data / "images" / "t1.nii").read_bytes()


def other_grid(data: Path) -> None:
    save(np.zeros((14, 12, 9), np.uint8), data / "labels" / "m4.nii.gz")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda data: (data / "images" / "m4.nii.gz").unlink(), "m4.nii.gz is missing"),
        (other_grid, "lie on different grids: 14 x 12 x 10 and 14 x 12 x 9 voxels"),
        (lambda data: save(np.full((14, 12, 10), 9, np.uint8), data / "labels" / "m4.nii.gz"), "holds the values 9"),
        (lambda data: save(np.full((14, 12, 10), 0.9999), data / "labels" / "m4.nii.gz"), "it holds 0.9999"),
        (
            lambda data: (data / "images" / "m4.nii.gz").write_bytes((data / "images" / "m4.nii.gz").read_bytes()[:-9]),
            "m4.nii.gz is damaged or cut off",
        ),
    ],
)
def test_bad_data_is_one_sentence_and_what_was_finished_is_kept(micro_data, tmp_path, capsys, spoil, words):
    spoil(micro_data)
    assert prepare(micro_data, tmp_path / "out") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and words in error
    for file in (tmp_path / "out").rglob("*.nii.gz"):
        assert nibabel.load(file).shape == (14, 12, 10)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--layout", "nnUnet"], "no layout 'nnUnet' in data prepare; there is: monai, nnunet"),
        (["--split", "tset"], "no split 'tset' in the card of micro"),
        (["--jobs", "0"], "--jobs 0: at least one process is needed"),
    ],
)
def test_a_wrong_request_writes_nothing(micro_data, tmp_path, capsys, flags, words):
    assert prepare(micro_data, tmp_path / "out", *flags) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", [".", "images", "new/folder"])
def test_the_data_root_is_not_written_to(micro_data, capsys, out):
    before = contents(micro_data)
    assert prepare(micro_data, micro_data / out) == 2
    assert "lies in the data root" in capsys.readouterr().err and contents(micro_data) == before


def test_a_link_into_the_data_root_is_seen(micro_data, tmp_path, capsys):
    (tmp_path / "link").symlink_to(micro_data)
    assert prepare(micro_data, tmp_path / "link" / "out") == 2
    assert "lies in the data root" in capsys.readouterr().err


def test_a_folder_of_another_dataset_is_refused(micro_data, tmp_path, capsys):
    assert prepare(micro_data, tmp_path / "out", "--split", "calibration") == 0
    assert prepare(micro_data, tmp_path / "out", "--split", "train") == 2
    assert "holds another dataset, or other splits of it: dataset.json differs" in capsys.readouterr().err


def test_out_must_be_named(micro_data, capsys):
    assert main(["prepare", str(micro_data / "micro.toml")]) == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize("layout, said", [("nnunet", True), ("monai", False)])
def test_label_indices_with_gaps_are_told_to_whoever_trains_nnunet(micro_data, tmp_path, capsys, layout, said):
    card = micro_data / "micro.toml"
    request = ["prepare", str(card), "--data-root", str(micro_data), "--layout", layout, "--jobs", "1", "--out"]
    assert main([*request, str(tmp_path / "whole")]) == 0 and "note" not in capsys.readouterr().out
    text = card.read_text()
    assert text.count("index = 2") == 1
    card.write_text(text.replace("index = 2", "index = 5\nstored = 2"))
    assert main([*request, str(tmp_path / "gap")]) == 0
    note = "note: nnU-Net's training takes no label indices with gaps, and these have some (after 1 comes 5): renumber"
    assert (note in capsys.readouterr().out) == said


def test_a_phantom_can_be_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path / "cache"))
    dataset = replace(open_dataset("btcv-phantom"), split=(("test", ("phantom_057",)),))
    assert write(dataset, ("test",), LAYOUTS["nnunet"], tmp_path / "out", False, 1, QUIET) == 1
    label = read_labels(tmp_path / "out" / "labelsTs" / "phantom_057.nii.gz").labels
    assert np.array_equal(label, read_labels(dataset.cases("test")[0].target).labels)
