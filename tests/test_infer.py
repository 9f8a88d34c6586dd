"""The road of an image: preprocess, slide, restore."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from medquanbench.bundle import Window
from medquanbench.images import Grid
from medquanbench.infer import Volume, predict, preprocess, restore_labels
from medquanbench.values import RequestError, RunError

SOURCE = Grid((6, 5, 4), np.diag([2.0, 3.0, 4.0, 1.0]))
LABELS = np.arange(1, 121).reshape(6, 5, 4).astype(np.uint16)


def test_same_grid_changes_nothing():
    assert np.array_equal(restore_labels(LABELS, SOURCE, SOURCE), LABELS)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_turned_and_flipped_grids_show_the_same_world(order, signs):
    """Law: every target voxel has the label of the source voxel at the same place in the world."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, (along, sign) in enumerate(zip(order, signs)):
        turn[along, axis] = sign
        if sign < 0:
            turn[along, 3] = SOURCE.shape[along] - 1
    target = Grid(tuple(SOURCE.shape[along] for along in order), SOURCE.affine @ turn)
    restored = restore_labels(LABELS, SOURCE, target)
    for voxel in np.ndindex(target.shape):
        place = np.rint(np.linalg.inv(SOURCE.affine) @ target.affine @ [*voxel, 1])[:3].astype(int)
        assert restored[voxel] == LABELS[tuple(place)]


def test_other_spacing_takes_the_nearest_and_outside_is_background():
    target = Grid((12, 5, 6), np.array([[1, 0, 0, 0.1], [0, 3, 0, 0], [0, 0, 4, -4], [0, 0, 0, 1.0]]))
    restored = restore_labels(LABELS, SOURCE, target)
    for voxel in np.ndindex(target.shape):
        place = np.rint(np.linalg.inv(SOURCE.affine) @ target.affine @ [*voxel, 1])[:3].astype(int)
        inside = all(0 <= p < n for p, n in zip(place, SOURCE.shape))
        assert restored[voxel] == (LABELS[tuple(place)] if inside else 0)


def test_oblique_grids_are_refused():
    tilted = SOURCE.affine.copy()
    tilted[0, 1] = 0.5
    with pytest.raises(ValueError, match="oblique"):
        restore_labels(LABELS, SOURCE, Grid((6, 5, 4), tilted))


def test_predict_is_argmax_of_monai_sliding_window():
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    volume = Volume(torch.randn(1, 14, 12, 10), Grid((14, 12, 10), np.eye(4)))
    window = Window((8, 8, 8), 0.5, "gaussian", 2)
    with torch.no_grad():
        blended = sliding_window_inference(volume.tensor[None], (8, 8, 8), 5, network, overlap=0.5, mode="gaussian")
    assert np.array_equal(predict(network, volume, window), blended[0].argmax(0).numpy())


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b\x08" + bytes(40)])
def test_unreadable_image_is_a_sentence(tmp_path, micro_bundle, content):
    from medquanbench import open_bundle

    file = tmp_path / "broken.nii.gz"
    file.write_bytes(content)
    transform = open_bundle(micro_bundle, weights="demo-micro").preprocessing()
    with pytest.raises(RequestError, match="broken.nii.gz cannot be read"):
        preprocess(transform, file)


def test_an_overflowing_network_is_an_error():
    volume = Volume(torch.full((1, 8, 8, 8), 1e38), Grid((8, 8, 8), np.eye(4)))
    network = torch.nn.Conv3d(1, 2, 1)
    torch.nn.init.constant_(network.weight, 1e3)
    with pytest.raises(RunError, match="NaN or infinity"):
        predict(network, volume, Window((8, 8, 8), 0.5, "gaussian", 1))


def test_the_window_batch_changes_no_bit():
    torch.manual_seed(0)
    volume = Volume(torch.randn(1, 20, 18, 16), Grid((20, 18, 16), np.eye(4)))
    seen: list[int] = []

    def network(windows):
        seen.append(len(windows))
        return torch.cat([windows, -windows], dim=1)

    answers = [predict(network, volume, Window((8, 8, 8), 0.5, "gaussian", batch)) for batch in (1, 3, 8)]
    assert set(seen) == {1} and all(np.array_equal(answers[0], other) for other in answers)
