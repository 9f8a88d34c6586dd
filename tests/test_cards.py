"""The cards on the shelf say what is published: labels, splits, tolerances, checksums."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from medquanbench import shelf
from medquanbench.dataset import Dataset, open_card
from tests.fakes import CARDS

FACTS = Path(__file__).resolve().parent.parent.parent / "shared" / "facts"
SHELF = shelf.names(shelf.DATASETS, ".toml")
TABLES = {
    "btcv": "btcv",
    "totalsegmentator": "totalsegmentator_v2",
    "abdomenatlas": "abdomenatlas_1_1",
    "wholebrain": "unest_wholebrain",
    "amos": "amos22",
    "msd-spleen": "msd09",
}
BRAINCOLOR_BACKGROUND = {15, 42, 43, 46, 63, 64, 65, 66, 69, 74, 126, 127}


def facts(name: str) -> dict:
    if not (FACTS / name).is_file():
        pytest.skip(f"the collected facts ({name}) are not beside this checkout")
    return json.loads((FACTS / name).read_text())


def part(card: Dataset, split: str) -> set[str]:
    return set(card.names(split))


@pytest.mark.parametrize(
    "name, count",
    [
        ("btcv", 13), ("totalsegmentator", 117), ("abdomenatlas", 25), ("wholebrain", 132), ("amos", 15),
        ("msd-spleen", 1), ("msd-hippocampus", 2),
    ],
)  # fmt: skip
def test_labels_are_numbered_without_gaps(name, count):
    assert [label.index for label in open_card(name).labels] == list(range(1, count + 1))


@pytest.mark.parametrize("name, table", TABLES.items())
def test_labels_are_those_of_the_collected_tables(name, table):
    there = {int(index): row for index, row in facts("labels.json")[table].items() if index != "0"}
    labels = open_card(name).labels
    if name == "wholebrain":
        assert {x.index: (x.name, x.stored) for x in labels} == {
            index: (row["name"], row["braincolor"]) for index, row in there.items()
        }
    else:
        assert {label.index: label.name for label in labels} == there
        assert all(label.stored == label.index for label in labels)


def test_twelve_braincolor_numbers_are_background():
    card = open_card("wholebrain")
    assert set(card.background) == BRAINCOLOR_BACKGROUND and not set(card.background) & {x.stored for x in card.labels}
    assert all(not open_card(name).background for name in CARDS if name != "wholebrain")


@pytest.mark.parametrize("real, other", [("btcv", "btcv-phantom"), ("totalsegmentator", "totalsegmentator-samples")])
def test_cards_of_one_label_set_agree(real, other):
    told = [[(x.index, x.name, x.tolerance_mm) for x in open_card(name).labels] for name in (real, other)]
    assert told[0] == told[1]


def test_an_organ_has_one_tolerance_on_all_cards_that_follow_flare():
    same = {"gall_bladder": "gallbladder", "postcava": "inferior vena cava"}
    seen: dict[str, set[float]] = {}
    for name in ("btcv", "amos", "abdomenatlas", "msd-spleen"):
        for label in open_card(name).labels:
            organ = " ".join(sorted(same.get(label.name, label.name).replace("_", " ").replace(" gland", "").split()))
            seen.setdefault(organ, set()).add(label.tolerance_mm)
    assert all(len(values) == 1 for values in seen.values()), seen
    assert {seen[organ].pop() for organ in ("liver", "stomach", "pancreas")} == {5.0}


@pytest.mark.parametrize("name", SHELF)
def test_no_test_case_is_a_case_to_learn_from(name):
    card = open_card(name)
    for split, names in card.split:
        if split.split("-")[-1] == "test":
            stem = split.removesuffix("test")
            others = {other for other, _ in card.split if other.startswith(stem)} - {split}
            others = {other for other in others if other.removeprefix(stem).isalpha()}
            assert names and not {case for other in others for case in card.names(other)} & set(names), split


@pytest.mark.parametrize("name", SHELF)
def test_every_card_has_cases_to_test_and_how_to_get_them(name):
    card = open_card(name)
    assert part(card, "test") and card.licence and card.source and card.tolerance_source
    assert name not in CARDS or (part(card, "calibration") and card.access.steps and card.citation and card.layouts)


@pytest.mark.parametrize("name", ["btcv", "abdomenatlas", "wholebrain"])
def test_what_must_not_be_passed_on_has_steps_and_no_download(name):
    assert not open_card(name).access.downloads and "no program may fetch" in open_card(name).access.steps


def test_downloads_have_the_addresses_and_checksums_that_monai_uses():
    from monai.apps import DecathlonDataset

    for name, task in (("msd-spleen", "Task09_Spleen"), ("msd-hippocampus", "Task04_Hippocampus")):
        (one,) = open_card(name).access.downloads
        assert (one.url, one.md5) == (DecathlonDataset.resource[task], DecathlonDataset.md5[task])
    (total,) = open_card("totalsegmentator").access.downloads
    assert (total.zenodo, total.bytes, total.url) == ("10047292", 23581218285, "")


def test_the_three_splits_of_btcv():
    card = open_card("btcv")
    everyone = part(card, "train") | part(card, "test")
    sizes = {name: (len(card.names(f"{name}train")), len(card.names(f"{name}test"))) for name in ("", "transunet-")}
    assert sizes == {"": (24, 6), "transunet-": (18, 12)} and len(everyone) == 30
    assert (len(card.names("modelzoo-train")), len(card.names("modelzoo-test"))) == (21, 9)
    for name in ("transunet-", "modelzoo-"):
        assert part(card, f"{name}train") | part(card, f"{name}test") == everyone
    folds = [part(card, f"monai-fold{number}") for number in range(5)]
    assert set.union(*folds) == everyone and sum(map(len, folds)) == 30 and folds[0] == part(card, "test")


def test_the_overlap_trap_of_btcv_is_as_the_card_says():
    card = open_card("btcv")
    assert part(card, "test") & part(card, "transunet-train") == {"0037", "0039", "0040"}
    assert part(card, "modelzoo-test") & part(card, "train") == {"0032", "0033", "0034"}
    tests = (part(card, name) for name in ("test", "transunet-test", "modelzoo-test"))
    assert set.intersection(*tests) == {"0035", "0036", "0038"}
    assert all(case in card.description for case in ("0037, 0039 and 0040", "0035, 0036 and 0038"))


def test_totalsegmentator_has_the_split_of_its_table():
    card = open_card("totalsegmentator")
    assert {name: len(card.names(name)) for name in ("train", "val", "test")} == {"train": 1082, "val": 57, "test": 89}
    assert len(set().union(*(part(card, name) for name in ("train", "val", "test")))) == 1228
    told = facts("totalseg_v2_split.json")
    assert {name: set(told[name]) for name in told} == {name: part(card, name) for name in told}


def test_abdomenatlas_has_the_cases_that_have_images():
    card = open_card("abdomenatlas")
    names = (*card.names("train"), *card.names("test"))
    assert names == tuple(f"BDMAP_{number:08d}" for number in range(1, 5196))


def test_amos_keeps_ct_and_mr_apart():
    """nnU-Net's converters tell CT by numbers: to train at most 410, to validate at most 409; MR from 507 on."""
    card = open_card("amos")
    numbers = {name: {int(case[-4:]) for case in names} for name, names in card.split}
    assert (len(numbers["train"]), max(numbers["train"])) == (200, 410)
    assert (len(numbers["test"]), max(numbers["test"])) == (100, 409)
    assert len(numbers["mr-train"]) == 40 and min(numbers["mr-train"]) >= 507


def test_the_spleens_are_sorted_as_texts():
    card = open_card("msd-spleen")
    names = (*card.names("train"), *card.names("test"))
    assert len(names) == 41 and len(card.names("test")) == 9 and all(one < other for one, other in pairwise(names))
    assert card.names("test")[-2:] == ("spleen_8", "spleen_9")


def test_twenty_brain_scans_are_fifteen_patients():
    card = open_card("wholebrain")
    patients = {split: [card.patient_of(case) for case in card.names(split)] for split in ("train", "test")}
    assert (len(patients["train"]), len(patients["test"])) == (15, 20)
    assert (len(set(patients["train"])), len(set(patients["test"]))) == (15, 15)
    assert not set(patients["train"]) & set(patients["test"])
    for one, other in (("1003", "1023"), ("1004", "1024"), ("1005", "1025"), ("1018", "1038"), ("1019", "1039")):
        assert card.patient_of(one) == card.patient_of(other)
    assert open_card("btcv").patient_of("0035") == "0035"


def test_labels_without_a_published_tolerance_say_whose_choice_it_is():
    marked = {name: [x.name for x in open_card(name).labels if x.tolerance_source] for name in CARDS}
    assert marked["btcv"] == ["portal and splenic veins"] and marked["amos"] == ["bladder", "prostate_and_uterus"]
    assert len(marked["abdomenatlas"]) == 12 and not marked["totalsegmentator"]
    for name, labels in marked.items():
        said = {x.name: x.tolerance_source for x in open_card(name).labels}
        assert all("own choice" in said[label] for label in labels)
