"""Dataset cards: splits by name, missing files, phantoms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medquanbench import open_dataset, shelf
from medquanbench.dataset import Access, Download, Missing, open_card
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
        index = [label.index for label in dataset.labels]
        # The head phantom has a part of the regions of wholebrain, with their indices.
        assert index[0] == 1 and index == sorted(set(index))
        assert index[-1] == len(index) or name == "wholebrain-phantom"
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
    with pytest.raises(
        RequestError, match="1 of the 14 files of split 'test' cannot be opened, first .*m3.nii.gz is missing"
    ):
        open_dataset(micro_data / "micro.toml", root=micro_data).cases("test")


def paired(micro_data, image: str = "images/m1.nii.gz", more: str = "") -> Path:
    """The micro card with one case in a list of pairs instead of a layout."""
    card = micro_data / "micro.toml"
    head, labels = card.read_text().split("[layout]")[0], card.read_text().split("[[label]]", 1)[1]
    pair = f'[[pairs]]\ncase = "one"\nimage = "{image}"\nlabel = "labels/m2.nii.gz"\n'
    card.write_text(f'{head}{pair}{more}[split]\ntest = ["one"]\n[[label]]{labels}')
    return card


def test_pairs_name_the_files_of_each_case(micro_data):
    dataset = open_dataset(paired(micro_data), root=micro_data)
    (case,) = dataset.cases("test")
    assert case.name == "one"
    assert case.files == (micro_data / "images" / "m1.nii.gz", micro_data / "labels" / "m2.nii.gz")
    with pytest.raises(RequestError, match="the folder that holds images/m1.nii.gz"):
        open_dataset(micro_data / "micro.toml")


@pytest.mark.parametrize(
    "path", ["../images/m1.nii.gz", "/images/m1.nii.gz", "images/../../m1.nii.gz", "..\\\\m1.nii.gz"]
)
def test_pairs_stay_in_the_data_root(micro_data, path):
    with pytest.raises(RequestError, match="leaves the data root"):
        open_dataset(paired(micro_data, path), root=micro_data)


@pytest.mark.parametrize(
    "more, words",
    [
        ('[layout]\nimage = "i/{case}.nii.gz"\nlabel = "l/{case}.nii.gz"\n', "pairs and a layout"),
        ('[[pairs]]\ncase = "one"\nimage = "a.nii.gz"\nlabel = "b.nii.gz"\n', "'one' is there twice"),
    ],
)
def test_pairs_that_contradict_the_card(micro_data, more, words):
    with pytest.raises(RequestError, match=words):
        open_dataset(paired(micro_data, more=more), root=micro_data)


def test_a_case_without_files_is_named(micro_data):
    card = paired(micro_data)
    card.write_text(card.read_text().replace('test = ["one"]', 'test = ["one", "two"]'))
    with pytest.raises(RequestError, match="the split names 'two', which has no files"):
        open_dataset(card, root=micro_data)


def test_the_sample_ct_of_totalsegmentator(tmp_path):
    """117 structures without a map of names (see tests/test_matching.py); who made the reference is said."""
    dataset = open_dataset("totalsegmentator-samples", root=tmp_path)
    names = [label.name for label in dataset.labels]
    assert (len(names), names[0], names[51], names[116]) == (117, "spleen", "aorta", "costal_cartilages")
    assert {label.tolerance_mm for label in dataset.labels} == {3.0} and "model output" in dataset.reference


def test_a_card_says_nothing_that_it_does_not_say(tmp_path):
    dataset = open_dataset("btcv-phantom")
    assert (dataset.label_map, dataset.reference, dataset.background, dataset.patients) == ((), "", (), ())
    assert dataset.access == Access("", ()) and all(x.stored == x.index for x in dataset.labels)
    assert dataset.patient_of("phantom_001") == "phantom_001"


def test_a_card_alone_has_all_but_files():
    card = open_card("msd-hippocampus")
    assert len(card.names("test")) == 40 and len(card.labels) == 2 and card.layouts and card.root is None
    with pytest.raises(RequestError, match="msd-hippocampus needs --data-root .*imagesTr/hippocampus_006.nii.gz"):
        card.cases("test")
    with pytest.raises(RequestError, match="needs --data-root"):
        card.census()


def test_a_census_counts_what_is_there_what_is_missing_and_what_is_more(micro_data):
    (micro_data / "images" / "m3.nii.gz").unlink()
    (micro_data / "labels" / "c1.nii.gz").unlink()
    (micro_data / "labels" / "zz.nii.gz").touch()
    (micro_data / "images" / "notes.txt").touch()
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    census, root = dataset.census(), micro_data.resolve()
    assert [case.name for case in census.cases] == ["t1", "m1", "m2", "m4", "m5", "m6", "m7"]
    assert census.missing == (
        Missing("calibration", "c1", root / "labels" / "c1.nii.gz"),
        Missing("test", "m3", root / "images" / "m3.nii.gz"),
    )
    assert census.extra == (root / "labels" / "zz.nii.gz",) and census.layout == dataset.layout == "the card's layout"


def test_a_full_card_is_read_whole(micro_data):
    card = micro_data / "micro.toml"
    more = """background = [7]
[patient]
m1 = "anna"
m2 = "anna"
[access]
steps = "ask us"
[[download]]
file = "micro.tar"
zenodo = "12"
md5 = "0123456789abcdef0123456789abcdef"
[layout]"""
    text = (
        card.read_text()
        .replace("[layout]", more, 1)
        .replace("index = 2", 'index = 2\nstored = 9\ntolerance_source = "a"')
    )
    card.write_text(text)
    dataset = open_dataset(card, root=micro_data)
    assert [(x.stored, x.tolerance_source) for x in dataset.labels] == [(1, ""), (9, "a")]
    assert dataset.background == (7,) and [dataset.patient_of(name) for name in ("m1", "m2", "m3")] == [
        "anna",
        "anna",
        "m3",
    ]
    download = Download("micro.tar", "", "12", None, "0123456789abcdef0123456789abcdef", "")
    assert dataset.access == Access("ask us", (download,))


def test_the_parts_of_a_published_split_are_splits(tmp_path):
    with pytest.raises(RequestError, match="no split 'transunet' in .*; there is: .*transunet-test, transunet-train"):
        open_card("btcv").names("transunet")
    assert open_card("btcv").split_of("0035") == "test" and open_card("btcv").split_of("0061") == "unused"


def test_unknown_split_lists_what_there_is(micro_data):
    with pytest.raises(RequestError, match="no split 'val'.*calibration, test, train"):
        open_dataset(micro_data / "micro.toml", root=micro_data).cases("val")


def test_a_broken_card_is_a_sentence(tmp_path):
    card = tmp_path / "bad.toml"
    card.write_text("name = 'x'\n[[[")
    with pytest.raises(RequestError, match="no dataset card"):
        open_dataset(card)
    card.write_text("name = 'x'\nphantom = 'p/1'\n")
    with pytest.raises(RequestError, match="has no .*'split'"):
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


def test_a_damaged_phantom_in_the_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path))
    dataset = open_dataset("btcv-phantom")
    image = dataset.cases("test", 1)[0].inputs[0]
    whole = image.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        image.write_bytes(damaged)
        assert dataset.cases("test", 1)[0].inputs[0].read_bytes() == whole
