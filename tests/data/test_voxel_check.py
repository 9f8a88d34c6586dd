"""What voxels tell: label maps are known from images, left from right."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from medquanbench.data.voxel_check import content_sha256, looks_like_labels, side_pairs, wrong_sides
from medquanbench.dataset import Label, open_card
from medquanbench.phantoms import PHANTOMS


@pytest.fixture(scope="module")
def phantom():
    return PHANTOMS["btcv-phantom/1"](1057)


@pytest.fixture(scope="module")
def pairs():
    return side_pairs(open_card("btcv-phantom").labels)


def test_the_label_map_of_a_phantom_looks_like_one_and_its_image_does_not(phantom):
    assert looks_like_labels(phantom.label.astype(np.float32))
    assert not looks_like_labels(phantom.image.astype(np.float32))
    assert not looks_like_labels(np.clip(phantom.image, 0, 255).astype(np.float32)), "8 bits, and 0 around"


def test_a_mask_looks_like_labels_and_fractions_do_not():
    mask = np.zeros((9, 9, 9), np.float32)
    mask[2:7, 2:7, 2:7] = 1
    assert looks_like_labels(mask)
    assert not looks_like_labels(mask * 0.5)
    assert not looks_like_labels(-mask)
    assert not looks_like_labels(np.zeros_like(mask))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_checksum_is_of_values_and_shape_alone(order):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert content_sha256(np.array(values, order=order)) == content_sha256(values)
    assert content_sha256(values.reshape(2, 4, 3)) != content_sha256(values)
    assert content_sha256(values + (values == 5)) != content_sha256(values)


def test_pairs_are_found_in_the_ways_in_which_cards_write_them():
    names = [
        "kidney_left",
        "kidney_right",
        "left adrenal gland",
        "right adrenal gland",
        "Left-Caudate",
        "Right-Caudate",
    ]
    names += ["rib_left_1", "rib_right_1", "cleft", "left ventricle", "bright", "bleft"]
    labels = tuple(Label(index, name, 1.0) for index, name in enumerate(names, 1))
    assert side_pairs(labels) == ((1, 2), (3, 4), (5, 6), (7, 8))


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAL", "PIR"])
def test_sides_are_told_in_every_orientation_and_a_mirrored_header_is_seen(phantom, pairs, axes):
    """The phantom's own header is right; the same voxels under a mirrored one are a patient who is mirrored."""
    assert len(pairs) == 2
    image = nibabel.Nifti1Image(phantom.label, phantom.affine)
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(axes)
        )
    )
    labels = np.asarray(turned.dataobj).astype(np.uint16)
    assert wrong_sides(labels, turned.affine, pairs) == (0, 2)
    assert wrong_sides(labels, np.diag([-1.0, 1, 1, 1]) @ turned.affine, pairs) == (2, 2)


def test_structures_that_are_not_there_or_touch_are_no_pair(phantom, pairs):
    labels = phantom.label.astype(np.uint16)
    assert wrong_sides(np.where(labels == 2, 0, labels), phantom.affine, pairs) == (0, 1)
    assert wrong_sides(np.zeros_like(labels), phantom.affine, pairs) == (0, 0)
    assert wrong_sides(labels, phantom.affine * [[0.01], [1], [1], [1]], pairs) == (0, 0)
