"""Outputs carried back one by one: the same as labels where nothing is resampled, and however they are put aside."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from medquanbench import open_bundle
from medquanbench.roads import ROADS
from medquanbench.values import RequestError


def road_of(folder, **changed):
    """The micro bundle with another config: (its answer by the road that the config names, the bundle)."""
    file = folder / "configs" / "inference.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    bundle = open_bundle(folder, weights="demo-micro")
    road = ROADS[bundle.restore].answer
    return lambda image, begin=None: road(bundle.network(), bundle, (image,), "cpu", begin), bundle


@pytest.fixture
def image(micro_data):
    return micro_data / "images" / "m1.nii.gz"


@pytest.mark.parametrize("activation", ["softmax", "none"])
def test_on_one_grid_it_is_the_largest_logit(micro_bundle, image, activation):
    expected = road_of(micro_bundle)[0](image)
    found = road_of(micro_bundle, restore="logits-linear", activation=activation)[0](image)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.grid.affine, expected.grid.affine)
    assert found.labels.dtype == np.uint16 and len(np.unique(found.labels)) == 3


def coarse(folder) -> list[dict]:
    transforms = json.loads((folder / "configs" / "inference.json").read_text())["preprocessing"]["transforms"]
    return [*transforms, {"_target_": "Spacingd", "keys": "image", "pixdim": [1.7, 1.7, 3.1], "mode": "bilinear"}]


def test_it_hangs_neither_on_groups_of_outputs_nor_on_what_was_spilled(micro_bundle, image, monkeypatch):
    preprocessing = {"_target_": "Compose", "transforms": coarse(micro_bundle)}
    road, _ = road_of(micro_bundle, restore="logits-linear", preprocessing=preprocessing)
    whole = road(image).labels
    module = sys.modules["medquanbench.roads.logits_linear"]  # the package's attribute of that name is the function
    monkeypatch.setattr(module, "_GROUP_BYTES", 1)
    monkeypatch.setattr(module, "_BUDGET_BYTES", 1000)
    np.testing.assert_array_equal(road(image).labels, whole)
    nearest = road_of(micro_bundle, restore="labels-nearest")[0](image).labels
    assert 0.5 < (nearest == whole).mean() < 1, "else interpolating would be as taking the nearest"


def test_logits_are_heard_of_as_on_every_road(micro_bundle, image):
    heard = {}
    for restore in ("labels-nearest", "labels-inverted", "logits-linear"):
        road, _ = road_of(micro_bundle, restore=restore, activation="softmax")
        blocks = []

        def begin(grid, blocks=blocks):
            return lambda first, logits: blocks.append((first, grid.shape, logits.clone()))

        road(image, begin)
        heard[restore] = blocks
    for restore in ("labels-inverted", "logits-linear"):
        assert len(heard[restore]) == len(heard["labels-nearest"]) > 0
        for (first, shape, logits), (other_first, other_shape, other) in zip(heard[restore], heard["labels-nearest"]):
            assert (first, shape) == (other_first, other_shape) and torch.equal(logits, other)


@pytest.mark.parametrize("restore", ["labels-inverted", "logits-linear"])
def test_a_preprocessing_that_cannot_be_undone_is_a_sentence(micro_bundle, image, restore):
    transforms = json.loads((micro_bundle / "configs" / "inference.json").read_text())["preprocessing"]["transforms"]
    cropped = [
        *transforms,
        {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x[:, :5]", "track_meta": False},
    ]
    road, _ = road_of(micro_bundle, restore=restore, preprocessing={"_target_": "Compose", "transforms": cropped})
    with pytest.raises(RequestError, match="preprocessing of .*m1.nii.gz cannot be undone: "):
        road(image)
