"""SegResNet's bundle: sizes and labels of the whole-body networks, and how images reach them."""

import nibabel
import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from medquanbench import shelf
from medquanbench.bundle import empty_network, merged_config, parse_preprocessing
from medquanbench.bundle_config import settings_of
from medquanbench.data.label_set import label_set
from medquanbench.dataset import open_card
from medquanbench.images import Grid
from medquanbench.infer import Volume, predict, preprocess
from medquanbench.matching import Outputs, match_labels

FOLDER = shelf.shelf(shelf.BUNDLES) / "segresnet"
WHOLE_BODY = [("wholebody", 1.5), ("wholebody-lowres", 3.0)]


def config_of(variant: str) -> dict:
    return merged_config(FOLDER, variant, None)


@pytest.mark.parametrize("variant, _", WHOLE_BODY)
def test_size_of_the_whole_body_networks(variant, _):
    network = empty_network(config_of(variant))
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 3) == 18.799
    assert tuple(network.state_dict()["conv_final.2.conv.weight"].shape) == (105, 32, 1, 1, 1)


def test_labels_are_those_of_totalsegmentator_1_in_its_order():
    high, low = (config_of(variant)["labels"] for variant, _ in WHOLE_BODY)
    assert high == low and high[0] == "background"
    assert tuple(enumerate(high[1:], 1)) == label_set("totalsegmentator-v1", stored=False).names


@pytest.mark.parametrize("card, matched", [("btcv", 13), ("totalsegmentator", 97)])
def test_labels_match_the_cards_by_name(card, matched):
    outputs = Outputs("the weights", tuple(enumerate(config_of("wholebody")["labels"][1:], 1)))
    assert len(match_labels(outputs, open_card(card)).labels) == matched


@pytest.mark.parametrize("variant, spacing_mm", WHOLE_BODY)
def test_the_published_recipe_by_hand(variant, spacing_mm, tmp_path):
    """A box of 50 HU in water (0 HU), with one voxel of air: water counts neither for the mean nor the deviation."""
    array = np.zeros((24, 24, 24), np.int16)
    array[4:10, 4:10, 4:10], array[20, 20, 20] = 50, -1000
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1])), tmp_path / "i.nii.gz")
    config = config_of(variant)
    volume = preprocess(parse_preprocessing(config), tmp_path / "i.nii.gz")
    assert nibabel.aff2axcodes(volume.grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(volume.grid.spacing_mm, (spacing_mm,) * 3)
    told = np.array([-1000, *[50] * 6**3])
    normalised = {value: (value - told.mean()) / told.std() for value in (-1000, 50)} | {0: 0.0}
    low, high = normalised[-1000], normalised[50]
    expected = {value: 2 * (own - low) / (high - low) - 1 for value, own in normalised.items()}
    assert expected[-1000] == -1 and expected[50] == 1
    np.testing.assert_allclose(np.unique(volume.tensor.numpy()), sorted(expected.values()), atol=1e-5)
    settings = settings_of(config, variant)
    window = settings.window
    assert (window.size, window.overlap, window.mode, window.padding) == ((96,) * 3, 0.25, "gaussian", "replicate")
    assert settings.intensity.per_value == 0.5  # of the range from -1 to 1


def test_an_image_smaller_than_the_window_is_continued_as_monai_does():
    torch.manual_seed(0)
    network, window = torch.nn.Conv3d(1, 3, 9, padding=4), settings_of(config_of("wholebody"), "it").window
    volume = Volume(torch.randn(1, 100, 30, 41) + 5, Grid((100, 30, 41), np.eye(4)))
    how = {"overlap": window.overlap, "mode": window.mode}
    answers = {}
    with torch.inference_mode():
        for padding in ("replicate", "constant"):
            blended = sliding_window_inference(
                volume.tensor[None], window.size, 1, network, padding_mode=padding, **how
            )
            answers[padding] = blended[0].argmax(0).numpy()
    ours = predict(network, volume, window)
    assert np.array_equal(ours, answers["replicate"]) and not np.array_equal(ours, answers["constant"])
