"""In whatever layout a dataset lies on disk, it is found, and its cases are the same."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest

from medquanbench import evaluate, open_bundle, open_dataset
from medquanbench.dataset import open_card
from medquanbench.images import read_image, write_nifti
from medquanbench.reference import read_reference
from medquanbench.run import case_sha256
from medquanbench.values import RequestError
from tests.conftest import CARD
from tests.fakes import DATALIST, FAKES, NNUNET, fake_labels, some_cases, write_fake


@pytest.mark.parametrize("card, layout", FAKES, ids=[f"{card}, {layout}" for card, layout in FAKES])
def test_a_case_is_the_same_in_every_layout(card, layout, tmp_path):
    dataset = open_dataset(card, root=write_fake(card, layout, tmp_path))
    assert dataset.layout == layout
    census, wanted = dataset.census(), set(some_cases(dataset))
    assert {case.name for case in census.cases} == wanted and not census.extra
    everyone = {name for _, names in dataset.split for name in names}
    assert {missing.case for missing in census.missing} == everyone - wanted
    for case in census.cases:
        labels = read_reference(case, dataset).labels
        assert np.array_equal(labels, fake_labels(dataset, case.name))
        assert np.array_equal(read_image(case.inputs[0]).values, labels.astype(np.float32) * 10 - 50)
    assert dataset.cases("test", 2) == tuple(case for case in census.cases if dataset.split_of(case.name) == "test")


@pytest.mark.parametrize("below", ["", "RawData", "RawData/Training"])
def test_the_data_root_may_be_a_folder_further_in(below, tmp_path):
    root = write_fake("btcv", "Synapse download", tmp_path) / below
    assert open_dataset("btcv", root=root).cases("test", 2)[0].inputs[0].is_file()


def test_the_layout_with_most_cases_is_taken(tmp_path):
    write_fake("btcv", "Synapse download", tmp_path, ["0001", "0002"])
    write_fake("btcv", "MONAI folders", tmp_path, ["0001", "0002", "0003"])
    assert open_dataset("btcv", root=tmp_path).layout == "MONAI folders"


def test_the_first_of_two_equal_layouts_is_taken(tmp_path):
    write_fake("btcv", NNUNET, tmp_path)
    write_fake("btcv", "Synapse download", tmp_path)
    assert open_dataset("btcv", root=tmp_path).layout == "Synapse download"


def test_combined_labels_come_before_masks(tmp_path):
    for layout in ("BDMAP folders, a mask for each structure", "BDMAP folders"):
        write_fake("abdomenatlas", layout, tmp_path)
        assert open_dataset("abdomenatlas", root=tmp_path).layout == layout


def test_a_datalist_can_be_the_data_root(tmp_path):
    write_fake("btcv", "MONAI folders", tmp_path)
    file = write_fake("btcv", DATALIST, tmp_path) / "dataset_0.json"
    dataset = open_dataset("btcv", root=file)
    assert (dataset.layout, dataset.root) == (DATALIST, tmp_path.resolve())
    assert dataset.cases("test", 1)[0].inputs[0] == tmp_path.resolve() / "scans" / "img0035.nii.gz"


def test_nothing_found_tells_all_that_was_sought_and_what_there_is(tmp_path):
    (tmp_path / "holiday").mkdir()
    dataset = open_dataset("btcv", root=tmp_path)
    assert dataset.layout == "" and not dataset.census().cases
    with pytest.raises(RequestError) as told:
        dataset.cases("test")
    for words in (
        "Synapse download",
        "RawData/Training",
        "MONAI folders",
        "nnU-Net raw",
        "there is: holiday",
        "synapse",
    ):
        assert words in str(told.value)


def test_missing_cases_are_missed_where_the_layout_has_them(tmp_path):
    for layout, words in (
        (NNUNET, "imagesTr/0037_0000.nii.gz is missing"),
        (DATALIST, "0037 in dataset_0.json is mis"),
    ):
        root = write_fake("btcv", layout, tmp_path / layout)
        with pytest.raises(RequestError, match=words):
            open_dataset("btcv", root=root).cases("test")


def test_a_missing_mask_among_present_ones_is_named(tmp_path):
    root = write_fake("abdomenatlas", "BDMAP folders, a mask for each structure", tmp_path)
    case = some_cases(open_card("abdomenatlas"))[0]
    (root / case / "segmentations" / "pancreas.nii.gz").unlink()
    dataset = open_dataset("abdomenatlas", root=root)
    with pytest.raises(RequestError, match="1 of the 26 files .*segmentations/pancreas.nii.gz is missing"):
        dataset.cases("test", 1)
    assert [(x.split, x.case, x.file.name) for x in dataset.census().missing if x.case == case] == [
        ("test", case, "pancreas.nii.gz")
    ]


def test_files_that_belong_to_no_case_are_extra(tmp_path):
    for layout, folder in (("Decathlon download", "Task09_Spleen"), (NNUNET, ".")):
        root = write_fake("msd-spleen", layout, tmp_path / layout)
        image = next((root / folder / "imagesTr").iterdir())
        odd = image.with_name(image.name.replace("spleen", "liver"))
        shutil.copy(image, odd)
        assert open_dataset("msd-spleen", root=root).census().extra == (odd.resolve(),)


def test_a_mask_of_no_structure_is_extra(tmp_path):
    """So that a folder of TotalSegmentator's version 1, which has a face, does not pass for version 2."""
    case = some_cases(open_card("totalsegmentator"))[0]
    root = write_fake("totalsegmentator", "a mask for each structure", tmp_path, [case])
    masks = root / "Totalsegmentator_dataset_v201" / case / "segmentations"
    shutil.copy(masks / "skull.nii.gz", masks / "face.nii.gz")
    assert open_dataset("totalsegmentator", root=root).census().extra == ((masks / "face.nii.gz").resolve(),)


def test_another_numbering_of_the_labels_is_an_error(tmp_path):
    root = write_fake("btcv", NNUNET, tmp_path)
    about = json.loads((root / "dataset.json").read_text())
    about["labels"] |= {"pancreas": 10, "portal and splenic veins": 11}
    (root / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(RequestError, match="nnU-Net raw in .* it numbers 'portal and splenic veins' 11, the card 10"):
        open_dataset("btcv", root=root)


def test_patterns_with_brackets_are_no_wildcards(micro_data):
    """A folder named [ct] is that folder, in the pattern of a card and in the search for extra files."""
    card = micro_data / "micro.toml"
    card.write_text(card.read_text().replace('"images/', '"[ct]/'))
    (micro_data / "images").rename(micro_data / "[ct]")
    shutil.copy(micro_data / "[ct]" / "m1.nii.gz", micro_data / "[ct]" / "zz.nii.gz")
    census = open_dataset(card, root=micro_data).census()
    assert len(census.cases) == 9 and [file.name for file in census.extra] == ["zz.nii.gz"]


def test_masks_score_as_their_label_map_does(micro_bundle, micro_data):
    """The whole way, with stored values too; and a mask belongs to the checksums of its case."""
    bundle, card, text = open_bundle(micro_bundle, weights="demo-micro"), micro_data / "micro.toml", CARD
    as_map = evaluate(bundle, open_dataset(card, root=micro_data), ["w4a4 adaptive"], cases=2)
    for file in (micro_data / "labels").iterdir():
        whole = nibabel.load(file)
        values = np.asarray(whole.dataobj)
        for index, name in enumerate(("low", "high"), 1):
            mask = micro_data / "masks" / file.name.removesuffix(".nii.gz") / f"{name}.nii.gz"
            write_nifti((values == index).astype(np.uint8), whole.affine, mask)
        write_nifti(np.array([9, 2, 1], np.uint8)[values], whole.affine, micro_data / "stored" / file.name)
    card.write_text(text.replace("labels/{case}.nii.gz", "masks/{case}/{structure}.nii.gz"))
    dataset = open_dataset(card, root=micro_data)
    as_masks = evaluate(bundle, dataset, ["w4a4 adaptive"], cases=2)
    stored = text.replace("labels/", "stored/").replace("[layout]", "background = [9]\n[layout]")
    stored = stored.replace("index = 1", "index = 1\nstored = 2").replace("index = 2", "index = 2\nstored = 1")
    card.write_text(stored)
    as_stored = evaluate(bundle, open_dataset(card, root=micro_data), ["w4a4 adaptive"], cases=2)
    for one, *others in zip(as_map.records, as_masks.records, as_stored.records):
        assert one.mean(0) > 0.3
        for other in others:
            assert [case.targets for case in other.cases] == [case.targets for case in one.cases]
    (case,) = dataset.cases("test", 1)
    before = case_sha256(case)
    file = case.masks[1][1]
    write_nifti(np.asarray(nibabel.load(file).dataobj) * 0, nibabel.load(file).affine, file)
    assert len(before) == 3 and [a == b for a, b in zip(before, case_sha256(case))] == [True, True, False]
