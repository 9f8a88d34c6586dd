"""Dataset cards: splits by name, missing files, phantoms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medquanbench import open_dataset, shelf
from medquanbench.values import RequestError

HIPPOCAMPUS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "msd-hippocampus"


def test_unknown_dataset_lists_what_there_is():
    with pytest.raises(RequestError, match="no dataset 'nosuch' in .*btcv-phantom, msd-hippocampus"):
        open_dataset("nosuch")


def test_cards_on_the_shelf_are_complete(tmp_path):
    for name in shelf.names(shelf.DATASETS, ".toml"):
        text = (shelf.shelf(shelf.DATASETS) / f"{name}.toml").read_text()
        dataset = open_dataset(name, root=None if "\nphantom" in text else tmp_path)
        assert dataset.name == name and dataset.licence and dataset.source and dataset.tolerance_source
        everyone = [case for _, cases in dataset.split for case in cases]
        assert len(everyone) == len(set(everyone)), "a case stands in two splits"
        assert [label.index for label in dataset.labels] == list(range(1, len(dataset.labels) + 1))
        assert all(label.tolerance_mm > 0 for label in dataset.labels)


def test_phantom_labels_are_btcv_labels():
    names = [label.name for label in open_dataset("btcv-phantom").labels]
    assert names == [
        "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
        "inferior vena cava", "portal and splenic veins", "pancreas", "right adrenal gland", "left adrenal gland",
    ]  # fmt: skip


def test_hippocampus_split_names_200_of_260(tmp_path):
    dataset = open_dataset("msd-hippocampus", root=tmp_path)
    assert {split: len(names) for split, names in dataset.split} == {"train": 140, "calibration": 20, "test": 40}
    assert all(re.fullmatch(r"hippocampus_\d{3}", name) for _, names in dataset.split for name in names)


def test_more_files_change_no_split(micro_data):
    before = open_dataset(micro_data / "micro.toml", root=micro_data)
    for part in ("images", "labels"):
        (micro_data / part / "zz_new.nii.gz").write_bytes((micro_data / part / "m1.nii.gz").read_bytes())
    after = open_dataset(micro_data / "micro.toml", root=micro_data)
    assert after == before
    assert [case.name for case in after.cases("test")] == ["m1", "m2", "m3", "m4", "m5", "m6", "m7"]
    assert after.split_of("zz_new") == "unused" and after.split_of("c1") == "calibration"


def test_real_hippocampus_files_are_there():
    if not HIPPOCAMPUS.is_dir():
        pytest.skip("the msd-hippocampus images are not beside this checkout")
    dataset = open_dataset("msd-hippocampus", root=HIPPOCAMPUS)
    assert sum(len(dataset.cases(split)) for split in ("train", "calibration", "test")) == 200


def test_real_data_needs_a_root():
    with pytest.raises(RequestError, match="needs --data-root.*medicaldecathlon"):
        open_dataset("msd-hippocampus")


def test_a_phantom_takes_no_root(tmp_path):
    with pytest.raises(RequestError, match="makes its own images"):
        open_dataset("btcv-phantom", root=tmp_path)


def test_missing_files_are_counted_and_named(micro_data):
    (micro_data / "images" / "m3.nii.gz").unlink()
    with pytest.raises(RequestError, match="1 files of split 'test' are missing.*m3.nii.gz"):
        open_dataset(micro_data / "micro.toml", root=micro_data).cases("test")


def test_unknown_split_lists_what_there_is(micro_data):
    with pytest.raises(RequestError, match="no split 'val'.*calibration, test, train"):
        open_dataset(micro_data / "micro.toml", root=micro_data).cases("val")


def test_a_broken_card_is_a_sentence(tmp_path):
    card = tmp_path / "bad.toml"
    card.write_text("name = 'x'\n[[[")
    with pytest.raises(RequestError, match="no dataset card"):
        open_dataset(card)
    card.write_text("name = 'x'\nphantom = 'p/1'\n")
    with pytest.raises(RequestError, match="has no 'split'"):
        open_dataset(card)


def test_phantom_files_are_made_once_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path))
    dataset = open_dataset("btcv-phantom")
    (case,) = dataset.cases("test", 1)
    made = case.inputs[0].stat().st_mtime_ns
    assert dataset.root == tmp_path / "btcv-phantom-1"
    assert dataset.cases("test", 1)[0].inputs[0].stat().st_mtime_ns == made


@pytest.mark.parametrize("name, words", [("../m1", "no case name"), (".m1", "no case name"), ("t1", "named twice")])
def test_case_names_are_file_names_and_stand_in_one_split(micro_data, name, words):
    card = micro_data / "micro.toml"
    card.write_text(card.read_text().replace('"m1"', f'"{name}"'))
    with pytest.raises(RequestError, match=words):
        open_dataset(card, root=micro_data)
