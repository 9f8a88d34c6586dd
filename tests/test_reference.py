"""A reference is one label map in the card's indices, however it lies on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medquanbench.dataset import Dataset, Label, open_card
from medquanbench.images import read_labels, write_nifti
from medquanbench.reference import read_reference
from medquanbench.values import Case, RequestError

AFFINE = np.diag([-1.0, 2.0, 3.0, 1.0])
LABELS = (Label(1, "low", 1.0), Label(2, "high", 1.0), Label(3, "top", 1.0))


def card(labels=LABELS, background=()) -> Dataset:
    return replace(open_card("btcv-phantom"), name="micro", labels=tuple(labels), background=background)


def map_case(folder, values) -> Case:
    write_nifti(np.asarray(values).reshape(-1, 1, 1), AFFINE, folder / "l.nii.gz")
    return Case("c", (folder / "i.nii.gz",), folder / "l.nii.gz")


def mask_case(folder, *masks, affine=AFFINE) -> Case:
    files = []
    for index, values in enumerate(masks, 1):
        file = folder / f"m{index}.nii.gz"
        write_nifti(np.array(values, np.uint8).reshape(-1, 1, 1), affine if index == 2 else AFFINE, file)
        files.append((index, file))
    return Case("c", (folder / "i.nii.gz",), folder, tuple(files))


def test_a_label_map_is_read_as_it_is(tmp_path):
    case = map_case(tmp_path, np.array([0, 1, 2, 3], np.uint8))
    there, plain = read_reference(case, card()), read_labels(case.target)
    assert np.array_equal(there.labels, plain.labels) and there.labels.dtype == np.uint16
    assert np.array_equal(there.grid.affine, AFFINE)


def test_stored_values_become_indices_and_background_becomes_0(tmp_path):
    labels = (Label(1, "low", 1.0, 207), Label(2, "high", 1.0, 1), Label(3, "top", 1.0, 48))
    case = map_case(tmp_path, np.array([0, 207, 1, 48, 43, 42], np.float32))
    assert read_reference(case, card(labels, (42, 43))).labels.ravel().tolist() == [0, 1, 2, 3, 0, 0]


def test_values_beyond_the_card_are_named(tmp_path):
    case = map_case(tmp_path, np.array([0, 1, 9, 200], np.int16))
    with pytest.raises(RequestError, match="l.nii.gz holds the values 9, 200, which the card of micro does not know"):
        read_reference(case, card())
    with pytest.raises(RequestError, match="holds the values 1, 200"):  # an index is no stored value
        read_reference(case, card([Label(1, "low", 1.0, 9)]))


@pytest.mark.parametrize("value, told", [(0.9999, "0.9999"), (0.9999999, "0.9999999"), (-1.0, "-1")])
def test_almost_a_label_is_none(tmp_path, value, told):
    case = map_case(tmp_path, np.array([0, value], np.float32))
    with pytest.raises(RequestError, match=f"no label map: it holds {told}.*must be whole numbers"):
        read_reference(case, card())


def test_masks_are_painted_in_their_order(tmp_path):
    case = mask_case(tmp_path, [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0])
    assert read_reference(case, card()).labels.ravel().tolist() == [1, 2, 3, 0]
    assert case.files == (*case.inputs, *(file for _, file in case.masks))


def test_disjoint_masks_are_their_label_map_in_any_order(tmp_path):
    whole = np.random.RandomState(0).randint(0, 4, 50)
    case = mask_case(tmp_path, *(whole == index for index in (1, 2, 3)))
    for masks in (case.masks, case.masks[::-1]):
        assert np.array_equal(read_reference(replace(case, masks=masks), card()).labels.ravel(), whole)


@pytest.mark.parametrize("value", [2, 255])
def test_a_mask_holds_0_and_1(tmp_path, value):
    case = mask_case(tmp_path, [1, 0], [0, value])
    with pytest.raises(RequestError, match=f"m2.nii.gz holds the value {value}; a mask .here of high. holds 1"):
        read_reference(case, card())


def test_masks_lie_on_one_grid(tmp_path):
    with pytest.raises(RequestError, match="m1.nii.gz and .*m2.nii.gz lie on different grids"):
        read_reference(mask_case(tmp_path, [1, 0], [0, 1], affine=np.diag([1.0, 2, 3, 1])), card())
    with pytest.raises(RequestError, match="different grids: 2 x 1 x 1 and 3 x 1 x 1 voxels"):
        read_reference(mask_case(tmp_path, [1, 0], [0, 1, 0]), card())


def test_a_missing_mask_is_named(tmp_path):
    case = mask_case(tmp_path, [1, 0], [0, 1])
    case.masks[1][1].unlink()
    with pytest.raises(RequestError, match="no image file .*m2.nii.gz"):
        read_reference(case, card())


def test_no_reference_is_no_reference(tmp_path):
    with pytest.raises(RequestError, match="case c of micro has no reference"):
        read_reference(Case("c", (tmp_path / "i.nii.gz",), None), card())
