"""The road of an image: preprocess, slide the window, blend."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from medquanbench.bundle_config import Window
from medquanbench.images import Grid
from medquanbench.infer import Volume, predict, preprocess
from medquanbench.values import RequestError, RunError


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
    with pytest.raises(RequestError, match="broken.nii.gz (is no NIfTI file|is damaged)"):
        preprocess(transform, file)


def test_an_overflowing_network_is_an_error():
    volume = Volume(torch.full((1, 8, 8, 8), 1e38), Grid((8, 8, 8), np.eye(4)))
    network = torch.nn.Conv3d(1, 2, 1)
    torch.nn.init.constant_(network.weight, 1e3)
    with pytest.raises(RunError, match="NaN or infinity"):
        predict(network, volume, Window((8, 8, 8), 0.5, "gaussian", 1))


def test_equal_logits_go_to_the_first_output():
    volume = Volume(torch.randn(1, 14, 12, 10), Grid((14, 12, 10), np.eye(4)))
    labels = predict(lambda w: torch.cat([0 * w, w, w], dim=1), volume, Window((8, 8, 8), 0.5, "gaussian", 1))
    assert labels.dtype == np.uint16 and set(np.unique(labels)) == {0, 1}


def test_one_bad_value_in_the_last_plane_is_an_error():
    tensor = torch.zeros(1, 8, 8, 8)
    tensor[0, -1, -1, -1] = float("nan")
    with pytest.raises(RunError, match="NaN or infinity"):
        predict(lambda w: torch.cat([w, w], dim=1), Volume(tensor, Grid((8, 8, 8), np.eye(4))),
                Window((8, 8, 8), 0.5, "gaussian", 1))  # fmt: skip


def test_the_window_batch_changes_no_bit():
    torch.manual_seed(0)
    volume = Volume(torch.randn(1, 20, 18, 16), Grid((20, 18, 16), np.eye(4)))
    seen: list[int] = []

    def network(windows):
        seen.append(len(windows))
        return torch.cat([windows, -windows], dim=1)

    answers = [predict(network, volume, Window((8, 8, 8), 0.5, "gaussian", batch)) for batch in (1, 3, 8)]
    assert set(seen) == {1} and all(np.array_equal(answers[0], other) for other in answers)


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_the_largest_is_found_where_argmax_finds_it(classes):
    """Few distinct values, so that most voxels have several largest; signed zeros are equal."""
    logits = torch.randint(-1, 2, (classes, 5, 6, 7), generator=torch.Generator().manual_seed(0)).float()
    logits[logits == 0] *= -1
    volume = Volume(torch.zeros(1, 5, 6, 7), Grid((5, 6, 7), np.eye(4)))
    labels = predict(lambda window: logits[None], volume, Window((5, 6, 7), 0.5, "constant", 1))
    assert np.array_equal(labels, logits.argmax(0).numpy())


def test_a_watch_sees_what_the_labels_are_made_of():
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    volume = Volume(torch.randn(1, 70, 12, 10), Grid((70, 12, 10), np.eye(4)))
    seen = np.full(volume.grid.shape, -1)

    def watch(first, logits):
        box = tuple(slice(low, low + size) for low, size in zip(first, logits.shape[1:], strict=True))
        assert (seen[box] == -1).all()
        seen[box] = logits.argmax(0).numpy()
        logits.zero_()  # its own affair

    assert np.array_equal(predict(network, volume, Window((8, 8, 8), 0.5, "gaussian", 2), watch=watch), seen)
