"""nnU-Net raw and MONAI datalists: names, numbers, and lists that cannot be used."""

from __future__ import annotations

import json

import pytest

from medquanbench.layouts import Wanted
from medquanbench.listed_layouts import datalist, datalists, nnunet_raw

LABELS = (("spleen", 1, 11), ("left_kidney", 2, 12))


def wanted(*cases: str) -> Wanted:
    return Wanted(cases, LABELS)


def write_list(folder, content, name="list.json"):
    (folder / name).write_text(json.dumps(content))
    return folder / name


def rows(*images: str) -> dict:
    return {"training": [{"image": image, "label": f"labels/{number}.nii"} for number, image in enumerate(images)]}


def images_of(found) -> dict[str, str]:
    return {pair.case: pair.image for pair in found.pairs if " in " not in pair.image}


@pytest.mark.parametrize(
    "cases, images, there",
    [
        (("p1", "p2"), ("p1.nii.gz", "p2.nii"), {"p1": "p1.nii.gz", "p2": "p2.nii"}),
        (("p1", "p2"), ("x_2.nii", "x_01.nii"), {"p1": "x_01.nii", "p2": "x_2.nii"}),  # equal numbers
        (("p1", "p2"), ("p1.nii", "x_2.nii"), {"p1": "p1.nii"}),  # one equal name: numbers mean nothing
        (("p1", "q1"), ("x_1.nii",), {}),  # the number of two cases
        (("p1",), ("x_1.nii", "y_1.nii"), {}),  # the number of two files
        (("p1",), ("a/p1.nii", "b/p1.nii"), {}),  # a name twice
        (("p1",), ("p1/ct.nii.gz", "p2/ct.nii.gz"), {"p1": "p1/ct.nii.gz"}),  # the folder's name
        (("s0013",), ("data/s0013_0000.nii.gz",), {"s0013": "data/s0013_0000.nii.gz"}),  # nnU-Net's channel
        (("p",), ("x.nii",), {}),
    ],
)
def test_which_file_is_whose(cases, images, there, tmp_path):
    assert images_of(datalist(tmp_path, write_list(tmp_path, rows(*images)), wanted(*cases))) == there


def test_a_case_that_two_lists_name_alike_is_one_case(tmp_path):
    content = rows("p1.nii") | {"validation": rows("p1.nii")["training"], "test": ["q.nii", {"image": "r.nii"}]}
    found = datalist(tmp_path, write_list(tmp_path, content), wanted("p1"))
    assert images_of(found) == {"p1": "p1.nii"} and found.strays == ()


def test_images_of_one_in_a_list_are_images(tmp_path):
    content = {"training": [{"image": ["./a/p1.nii"], "label": "b/p1.nii"}]}
    assert images_of(datalist(tmp_path, write_list(tmp_path, content), wanted("p1"))) == {"p1": "a/p1.nii"}


@pytest.mark.parametrize("path", ["/p1.nii", "../p1.nii", "a/../../p1.nii"])
def test_a_datalist_stays_in_its_folder(path, tmp_path):
    found = datalist(tmp_path, write_list(tmp_path, rows(path)), wanted("p1"))
    assert "leaves the folder of list.json" in found.problem


@pytest.mark.parametrize("content", [[], {}, {"training": "all"}, {"name": "other"}, 1])
def test_other_json_is_no_datalist(content, tmp_path):
    file = write_list(tmp_path, content)
    assert "is no MONAI datalist" in datalist(tmp_path, file, wanted("p1")).problem
    assert list(datalists(tmp_path, wanted("p1"))) == []


def test_a_broken_file_is_no_datalist(tmp_path):
    (tmp_path / "list.json").write_bytes(b'{"training": [\xff')
    assert "is no MONAI datalist" in datalist(tmp_path, tmp_path / "list.json", wanted("p1")).problem


@pytest.mark.parametrize(
    "labels, by_index, problem",
    [
        ({"background": 0, "spleen": 11, "left kidney": 12}, False, ""),  # as the card stores them
        ({"background": 0, "Spleen": 1, "Left-Kidney": 2}, True, ""),  # as the card numbers them
        ({"0": "background", "1": "spleen", "2": "left kidney"}, True, ""),  # the Decathlon's form
        ({"spleen": 2, "left_kidney": 1}, False, "it numbers 'spleen' 2, the card 11"),
        ({"spleen": 11, "left_kidney": 2}, False, "it numbers 'left_kidney' 2, the card 12"),
        ({"heart": 1, "all": [1, 2]}, False, ""),  # nothing that the card knows, and a region
        (None, False, ""),
    ],
)
def test_the_numbers_of_the_labels(labels, by_index, problem, tmp_path):
    found = datalist(tmp_path, write_list(tmp_path, rows("p1.nii") | {"labels": labels}), wanted("p1"))
    assert (found.by_index, found.problem) == (by_index, problem)


def nnunet(folder, about=None, ending=".nii.gz"):
    for part, name in (("Tr", "a_01"), ("Ts", "a_02")):
        for file in (f"images{part}/{name}_0000{ending}", f"labels{part}/{name}{ending}"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).touch()
    if about is not None:
        (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def test_training_and_test_cases_of_nnunet_are_cases(tmp_path):
    found = nnunet_raw(nnunet(tmp_path), wanted("a_01", "a_02", "a_03"))
    assert [(pair.image, pair.label) for pair in found.pairs] == [
        ("imagesTr/a_01_0000.nii.gz", "labelsTr/a_01.nii.gz"),
        ("imagesTs/a_02_0000.nii.gz", "labelsTs/a_02.nii.gz"),
        ("imagesTr/a_03_0000.nii.gz", "labelsTr/a_03.nii.gz"),
    ]
    assert (found.n_cases, found.n_images, found.problem) == (2, 2, "")


@pytest.mark.parametrize(
    "about, ending, problem",
    [
        ({"file_ending": ".nii"}, ".nii", ""),
        ({"file_ending": ".mha"}, ".mha", "its files end in .mha; NIfTI (.nii.gz, .nii) is needed"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, ".nii.gz", "its images have 2 channels; one is needed"),
        ({"modality": {"0": "CT"}}, ".nii.gz", ""),
        ("no table", ".nii.gz", ""),
    ],
)
def test_what_dataset_json_says(about, ending, problem, tmp_path):
    found = nnunet_raw(nnunet(tmp_path, about, ending), wanted("a_01", "a_02"))
    assert (found.n_cases, found.problem) == (2, problem)
