"""verify on a fake of every layout of every card: a clean one has no finding but the cases that are not written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medquanbench.data.findings import Finding
from medquanbench.data.set_check import patients
from medquanbench.data.verify import check
from medquanbench.data.verify_report import Report
from medquanbench.dataset import Dataset, open_card, open_dataset
from medquanbench.images import write_nifti
from medquanbench.progress import Progress
from tests.bad_input.bad import save
from tests.fakes import AFFINE, FAKES, SHAPE, fake_labels, some_cases, write_fake

MASKS = ("totalsegmentator", "a mask for each structure")
IN_MASKS = "Totalsegmentator_dataset_v201/{case}/segmentations/{structure}.nii.gz"


def cut_to(dataset: Dataset, cases: tuple[str, ...]) -> Dataset:
    """The dataset with the splits of some cases alone."""
    kept = tuple((part, tuple(case for case in names if case in cases)) for part, names in dataset.split)
    return replace(
        dataset,
        split=tuple((part, names) for part, names in kept if names),
        found=replace(dataset.found, pairs=tuple(pair for pair in dataset.pairs if pair.case in cases)),
    )


def verified(card: str, root: Path, deep: bool = True) -> Report:
    dataset = cut_to(open_dataset(card, root=root), some_cases(open_card(card)))
    return check(dataset, None, deep, 1, Progress(lambda: None))


def told(report: Report) -> dict[str, Finding]:
    assert len({finding.kind for finding in report.findings}) == len(report.findings), report.findings
    return {finding.kind: finding for finding in report.findings}


@pytest.mark.parametrize("card, layout", FAKES)
def test_a_clean_fake_has_no_finding(card, layout, tmp_path):
    report = verified(card, write_fake(card, layout, tmp_path))
    stored = open_dataset(card, root=tmp_path)
    assert report.dataset.layout == layout
    assert {finding.kind for finding in report.findings} == ({"background"} if stored.background else set())
    for fact in report.facts:
        labels = fake_labels(report.dataset, fact.case)
        assert fact.n_voxels == tuple((label.index, int((labels == label.index).sum())) for label in stored.labels)
        assert fact.shape == SHAPE and fact.orientation == "LPS"


@pytest.mark.parametrize("card, layout", FAKES)
def test_the_whole_card_misses_the_cases_that_are_not_written(card, layout, tmp_path):
    write_fake(card, layout, tmp_path)
    dataset = open_dataset(card, root=tmp_path)
    report = check(dataset, None, False, 1, Progress(lambda: None))
    names = {case for _, cases in dataset.split for case in cases}
    missing = [finding.case for finding in report.findings if finding.kind == "missing"]
    assert len(missing) == len(names) - 3 and set(missing) == names - set(some_cases(dataset))
    assert {finding.kind for finding in report.findings} <= {"missing", "rescanned"}
    assert sum(found for part, _, found in report.splits if part in ("train", "test")) == 3


def test_all_cases_of_a_card_are_all_found(tmp_path):
    card = open_card("btcv")
    write_fake("btcv", "Synapse download", tmp_path, [case for _, cases in card.split for case in cases])
    report = check(open_dataset("btcv", root=tmp_path), None, True, 1, Progress(lambda: None))
    assert report.findings == () and report.verdict == "nothing wrong"
    assert report.splits[:3] == (("train", 24, 24), ("calibration", 4, 4), ("test", 6, 6)) and len(report.facts) == 30


@pytest.fixture(scope="module")
def good_masks(tmp_path_factory) -> Path:
    return write_fake(*MASKS, tmp_path_factory.mktemp("masks"))


@pytest.fixture
def masks(good_masks, tmp_path) -> Path:
    return Path(shutil.copytree(good_masks, tmp_path / "masks"))


def mask(root: Path, structure: str = "liver") -> Path:
    return root / IN_MASKS.format(case=some_cases(open_card(MASKS[0]))[0], structure=structure)


def test_masks_that_share_voxels_are_a_note_and_the_last_one_has_them(masks, good_masks):
    values = np.asarray(nibabel.load(mask(masks)).dataobj)
    more = np.asarray(nibabel.load(mask(masks, "stomach")).dataobj)
    save(np.maximum(values, more), mask(masks))
    report = verified(MASKS[0], masks)
    assert f"masks share {int(more.sum())} voxels" in told(report)["overlap"].sentence
    assert verified(MASKS[0], good_masks).facts[0].n_voxels == report.facts[0].n_voxels


@pytest.mark.parametrize(
    "spoil, kind, words",
    [
        (lambda file: file.unlink(), "unpaired", "1 of the 117 masks of s0"),
        (lambda file: save(np.full(SHAPE, 2, np.uint8), file), "values", "liver.nii.gz holds the values 2; a mask"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "voxels", "liver.nii.gz is damaged or cut off"),
        (lambda file: save(np.zeros((6, 6, 5), np.uint8), file), "grid", "6 x 6 x 6 and 6 x 6 x 5 voxels"),
        (lambda file: write_nifti(np.zeros(SHAPE, np.uint8), np.eye(4), file), "orientation", "point to RAS"),
    ],
)  # fmt: skip
def test_a_bad_mask_is_told(masks, spoil, kind, words):
    spoil(mask(masks))
    found = told(verified(MASKS[0], masks))
    assert list(found) == [kind] and words in found[kind].sentence


def test_many_masks_on_another_grid_are_one_finding(masks):
    for file in mask(masks).parent.iterdir():
        save(np.zeros((6, 6, 5), np.uint8), file)
    assert "(and 116 more files of this case)" in told(verified(MASKS[0], masks))["grid"].sentence


def test_a_case_without_any_mask_is_unpaired(masks):
    for file in mask(masks).parent.iterdir():
        file.unlink()
    assert "is there without its label map" in told(verified(MASKS[0], masks))["unpaired"].sentence


def test_a_folder_of_extra_masks_is_one_finding_and_an_extra_mask_of_a_case_another(masks):
    shutil.copytree(mask(masks).parent, mask(masks).parents[2] / "s9999" / "segmentations")
    shutil.copy(mask(masks), mask(masks, "face"))
    sentences = [finding.sentence for finding in verified(MASKS[0], masks, deep=False).findings]
    assert sentences == [
        f"{mask(masks, 'face').relative_to(masks)} belongs to no case of the card",
        "Totalsegmentator_dataset_v201/s9999/segmentations holds 117 files that belong to no case of the card",
    ]


def test_the_table_of_totalsegmentator_is_compared_with_the_card(masks):
    table = masks / "Totalsegmentator_dataset_v201" / "meta.csv"
    table.write_text(table.read_text("utf-8").replace(";test;", ";val;", 1), "utf-8")
    sentence = told(verified(MASKS[0], masks, deep=False))["split"].sentence
    assert sentence.startswith("Totalsegmentator_dataset_v201/meta.csv puts s") and sentence.endswith(
        " into 'val', the card into 'test'"
    )
    table.write_bytes(b"\xff\xfe\x00")
    assert "meta.csv is no table of text" in told(verified(MASKS[0], masks, deep=False))["split"].sentence


def test_left_and_right_in_a_mirrored_case(tmp_path):
    """A label map whose left kidney lies to the right, on a grid that image and label map share."""
    write_fake("btcv", "MONAI folders", tmp_path)
    case = some_cases(open_card("btcv"))[0]
    labels = np.zeros((40, 6, 6), np.uint16)
    labels[3:6, 2:4, 2:4], labels[30:33, 2:4, 2:4] = 3, 2  # left kidney, right kidney; x grows to the left
    write_nifti(labels, AFFINE, tmp_path / f"labelsTr/label{case}.nii.gz")
    write_nifti(labels.astype(np.int16) * 10 - 50, AFFINE, tmp_path / f"imagesTr/img{case}.nii.gz")
    sentence = told(verified("btcv", tmp_path))["sides"].sentence
    assert sentence == (
        f"in 1 of the 1 pairs of left and right structures of labelsTr/label{case}.nii.gz the left one lies to the "
        "patient's right"
    )
    write_nifti(labels[::-1], AFFINE, tmp_path / f"labelsTr/label{case}.nii.gz")
    assert verified("btcv", tmp_path).findings == ()


def test_the_five_patients_of_the_whole_brain_set_who_were_scanned_twice():
    card = open_card("wholebrain")
    assert list(patients(card, ("train", "calibration"))) == []
    found = list(patients(card, ("test",)))
    assert [finding.kind for finding in found] == ["rescanned"] * 5
    assert {finding.sentence[:13] for finding in found} == {
        "1003 and 1023", "1004 and 1024", "1005 and 1025", "1018 and 1038", "1019 and 1039",
    }  # fmt: skip


def moved(card: Dataset, case: str, part: str) -> Dataset:
    """The card with a case in another part of its own split."""
    names = [(name, tuple(other for other in cases if other != case)) for name, cases in card.split]
    return replace(card, split=tuple((name, (*cases, case) if name == part else cases) for name, cases in names))


@pytest.mark.parametrize("part", ["train", "calibration"])
def test_a_patient_on_both_sides_of_a_split_is_a_leak(part):
    card = moved(open_card("wholebrain"), "1023", part)
    found = [finding for finding in patients(card, (part,)) if finding.kind == "leak"]
    assert len(found) == 1 and found[0].sentence.startswith("patient OAS1_")
    assert f"'{part}' (1023)" in found[0].sentence and "'test' (1003)" in found[0].sentence


@pytest.mark.parametrize("name", ["btcv", "totalsegmentator", "abdomenatlas"])
def test_calibration_may_take_cases_of_the_training_and_other_splits_are_apart(name):
    card = open_card(name)
    assert not list(patients(card, [part for part, _ in card.split]))
