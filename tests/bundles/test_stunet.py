"""STU-Net's bundle: label orders, how images reach the published networks, and the containers that they come in."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medquanbench import open_bundle, shelf
from medquanbench.bundle import build_network, empty_network, fitting_variant, merged_config, parse_preprocessing
from medquanbench.bundle_config import window_of
from medquanbench.data.label_set import label_set
from medquanbench.dataset import open_card
from medquanbench.infer import preprocess
from medquanbench.matching import Outputs, match_labels
from medquanbench.values import RequestError

FOLDER = shelf.shelf(shelf.BUNDLES) / "stunet"
SIZES = ("small", "base", "large", "huge")
PUBLISHED = tuple(f"{task}-{size}" for task in ("totalsegmentator", "abdomenatlas") for size in SIZES)
# TotalSegmentator 1 only: version 2 has one heart, and neither a face nor this artery.
ONLY_IN_VERSION_1 = {
    "face", "heart_atrium_left", "heart_atrium_right", "heart_myocardium", "heart_ventricle_left",
    "heart_ventricle_right", "pulmonary_artery",
}  # fmt: skip


def config_of(variant: str) -> dict:
    return merged_config(FOLDER, variant, None)


def shaped_like(variant: str, file: Path) -> Path:
    """A checkpoint of a variant's keys and shapes; each tensor is one number, repeated without memory."""
    state = empty_network(config_of(variant)).state_dict()
    torch.save({"state_dict": {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}}, file)
    return file


@pytest.mark.parametrize("variant", PUBLISHED)
def test_labels_are_those_of_the_label_set_on_the_shelf(variant):
    label_set_name = {"totalsegmentator": "stunet-total", "abdomenatlas": "stunet-abdomenatlas"}
    wanted = label_set(label_set_name[variant.partition("-")[0]], stored=False)
    background, *labels = config_of(variant)["labels"]
    assert background == "background" and tuple(enumerate(labels, 1)) == wanted.names


def test_the_104_structures_stand_in_the_order_of_the_alphabet():
    labels = config_of("totalsegmentator-small")["labels"][1:]
    assert len(labels) == 104 and labels == sorted(labels)


@pytest.mark.parametrize(
    "variant, card, unasked",
    [("totalsegmentator-base", "totalsegmentator", ONLY_IN_VERSION_1), ("abdomenatlas-base", "abdomenatlas", set())],
)
def test_labels_match_the_datasets_card_by_name(variant, card, unasked):
    outputs = Outputs("the weights", tuple(enumerate(config_of(variant)["labels"][1:], 1)))
    targets = match_labels(outputs, open_card(card))
    assert set(targets.unasked) == unasked and len(targets.pairs) == len(outputs.names) - len(unasked)


@pytest.mark.parametrize("variant", [*PUBLISHED, "demo"])
def test_each_variant_is_found_from_its_keys_and_shapes(variant, tmp_path):
    assert fitting_variant(FOLDER, shaped_like(variant, tmp_path / "w.model")) == variant


def test_what_images_become_is_what_nnunet_1_reads(tmp_path):
    # nnU-Net 1 takes SimpleITK's array: the stored axes in reversed order, z y x, without turning them. The published
    # networks were trained on images stored right-anterior-superior at 1.5 mm: such an image must pass unchanged.
    array = np.random.default_rng(0).normal(-400, 300, (6, 5, 7)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.5, 1.5, 1.5, 1])), tmp_path / "i.nii.gz")
    volume = preprocess(parse_preprocessing(config_of("totalsegmentator-small")), tmp_path / "i.nii.gz")
    z_score = (array.astype(float) - array.mean(dtype=float)) / array.std(dtype=float)
    np.testing.assert_allclose(volume.tensor[0].numpy(), z_score.transpose(2, 1, 0), atol=1e-5)


def test_other_images_are_turned_and_resampled_first(tmp_path):
    # Air around a box of 30 x 24 x 20 mm, at 1 mm, stored left-posterior-superior: it lies within x -39..-10, y -29..-6
    # and z 8..27 mm, of an image within x -59..0, y -49..0 and z 0..39 mm.
    array = np.full((60, 50, 40), -1000, np.int16)
    array[10:40, 6:30, 8:28] = 50
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "i.nii.gz")
    config = config_of("totalsegmentator-huge")
    volume = preprocess(parse_preprocessing(config), tmp_path / "i.nii.gz")
    assert nibabel.aff2axcodes(volume.grid.affine) == ("S", "A", "R")
    np.testing.assert_allclose(volume.grid.spacing_mm, (1.5, 1.5, 1.5))
    image = volume.tensor[0]
    inside = [indices.tolist() for indices in torch.where(image >= image.max() - 1e-3)]
    # Points 1.5 k from the lower end: of z 8..27, k = 6..18; of y 20..43 (from -49), 14..28; of x 20..49, 14..32.
    assert [(min(axis), max(axis)) for axis in inside] == [(6, 18), (14, 28), (14, 32)]
    assert abs(float(image.mean())) < 1e-5 and abs(float(image.std(correction=0)) - 1) < 1e-5
    window = window_of(config)
    assert (window.size, window.overlap, window.mode) == ((128, 128, 128), 0.5, "gaussian")


@pytest.mark.parametrize("size", SIZES)
def test_the_pools_of_totalsegmentator_halve_x_once_more(size):
    config = config_of(f"totalsegmentator-{size}")
    assert config["network_def"]["pools"] == [[2, 2, 2]] * 4 + [[1, 1, 2]]
    assert all(side % divisor == 0 for side, divisor in zip(window_of(config).size, (16, 16, 32)))


def test_the_demos_two_sets_have_the_same_keys_and_other_pools():
    # The window of the hippocampus is longest along y: its last pool halves that axis.
    abdomen, head = (merged_config(FOLDER, "demo", f"demo-{name}") for name in ("btcv-phantom", "msd-hippocampus"))
    for config, divisors in ((abdomen, (16, 16, 32)), (head, (16, 32, 16))):
        assert empty_network(config).divisors == divisors
        assert all(side % divisor == 0 for side, divisor in zip(window_of(config).size, divisors))
    assert list(empty_network(abdomen).state_dict()) == list(empty_network(head).state_dict())


@pytest.mark.parametrize("size", SIZES)
def test_abdomenatlas_cannot_be_run_and_says_what_is_not_known(size, tmp_path):
    file = shaped_like(f"abdomenatlas-{size}", tmp_path / "model_final_checkpoint.model")
    with pytest.raises(RequestError, match="pools and spacing and patch size and intensity .* unknown. plans.pkl"):
        open_bundle("stunet", variant=None, weights=file)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_model_file_of_nnunet_1_opens(prefix, zipped, tmp_path):
    """What nnU-Net 1 saves: training log and best scores are numpy's numbers, and a prefix from parallel training."""
    torch.manual_seed(0)
    network, loss = build_network(config_of("demo")), [np.float64(0.5), np.float32(0.25)]
    content = {
        "epoch": 4000,
        "state_dict": {prefix + key: value for key, value in network.state_dict().items()},
        "optimizer_state_dict": torch.optim.SGD(network.parameters(), 0.01, 0.99, nesterov=True).state_dict(),
        "lr_scheduler_state_dict": None,
        "plot_stuff": (loss, loss, [], [np.float64(0.8)]),
        "best_stuff": (None, np.float64(0.5), np.float64(0.8)),
        "amp_grad_scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 7},
    }
    file: Path = tmp_path / "small_ep4k.model"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    bundle = open_bundle("stunet", variant=None, weights=file)
    assert bundle.variant == "demo"
    for key, value in bundle.network().state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key
