"""UNesT's bundle: labels, how images reach the published networks, and the two unread keys of the authors' files."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medquanbench import open_bundle, shelf
from medquanbench.bundle import empty_network, fitting_variant, merged_config, parse_preprocessing
from medquanbench.bundle_config import window_of
from medquanbench.dataset import open_card
from medquanbench.infer import preprocess
from medquanbench.matching import Outputs, match_labels
from medquanbench.values import RequestError

FOLDER = shelf.shelf(shelf.BUNDLES) / "unest"
PUBLISHED = ("btcv", "large", "renal", "small", "wholebrain")
UNREAD = ("encoder3.layer.conv3.conv.weight", "encoder4.layer.conv3.conv.weight")


def config_of(variant: str, weights_set: str | None = None) -> dict:
    return merged_config(FOLDER, variant, weights_set)


def empty_checkpoint(variant: str) -> dict[str, torch.Tensor]:
    """Zeros of a variant's shapes that take no room in a file."""
    state = empty_network(config_of(variant)).state_dict()
    return {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}


def test_the_133_outputs_are_the_regions_of_the_dataset_in_its_order():
    background, *labels = config_of("wholebrain")["labels"]
    assert background == "background" and len(labels) == 132
    assert [(label.index, label.name) for label in open_card("wholebrain").labels] == list(enumerate(labels, 1))
    assert not [label for label in labels if label != label.strip()], "the published list has a blank after one name"


def test_the_demo_knows_each_region_of_the_phantom_by_its_name():
    _, *labels = config_of("demo", "demo-wholebrain-phantom")["labels"]
    targets = match_labels(Outputs("the weights", tuple(enumerate(labels, 1))), open_card("wholebrain-phantom"))
    assert len(labels) >= 30 and set(labels) < set(config_of("wholebrain")["labels"])
    assert [label.name for label in targets.labels] == labels and not targets.unmapped and not targets.unasked


@pytest.mark.parametrize("variant, outputs", [("btcv", 14), ("wholebrain", 133), ("renal", 4), ("small", 14)])
def test_there_is_an_output_for_each_label(variant, outputs):
    config = config_of(variant)
    assert empty_network(config).out.conv.conv.out_channels == len(config["labels"]) == outputs


def test_only_the_number_of_outputs_differs_between_btcv_brain_and_kidneys():
    networks = [config_of(variant)["network_def"] for variant in ("btcv", "wholebrain", "renal")]
    assert networks[0] == networks[1] == networks[2]


@pytest.mark.parametrize("variant", [*PUBLISHED, "demo"])
def test_each_variant_is_found_from_its_keys_and_shapes(variant, tmp_path):
    torch.save({"state_dict": empty_checkpoint(variant), "global_step": 1}, tmp_path / "w.pt")
    assert fitting_variant(FOLDER, tmp_path / "w.pt") == variant


@pytest.mark.parametrize("variant", ["btcv", "wholebrain", "small"])
def test_the_two_unread_keys_of_old_monai_are_dropped(variant, tmp_path):
    tensors, widths = empty_checkpoint(variant), config_of(variant)["network_def"]["embed_dims"]
    old = {key: torch.zeros(()).expand(width, width, 1, 1, 1) for key, width in zip(UNREAD, widths)}
    torch.save({"state_dict": tensors | old, "global_step": 1, "optimizer": {}}, tmp_path / "w.pt")
    bundle = open_bundle("unest", variant=None, weights=tmp_path / "w.pt")
    assert (bundle.variant, bundle.loaded.key_map) == (variant, "monai-0.6")
    assert set(bundle.loaded.dropped) == set(UNREAD)
    unread = sum(width * width for width in widths[:2])
    counted = unread + sum(value.numel() for value in tensors.values())
    assert round(counted / 1e6, 3) == {"btcv": 87.283, "wholebrain": 87.287, "small": 22.421}[variant]


def test_no_other_key_is_let_through(tmp_path):
    tensors = empty_checkpoint("btcv")
    torch.save({"state_dict": tensors | {"out_ticv.conv.conv.weight": torch.zeros(1, 32, 1, 1, 1)}}, tmp_path / "w.pt")
    with pytest.raises(RequestError, match="out_ticv.conv.conv.weight"):
        fitting_variant(FOLDER, tmp_path / "w.pt")


def image_of_a_box(file: Path, background: int) -> Path:
    """A box of 50 in `background`, 30 x 24 x 20 mm, at 1 mm; stored left-posterior-superior."""
    array = np.full((60, 50, 40), background, np.int16)
    array[10:40, 6:30, 8:28] = 50
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    return file


@pytest.mark.parametrize(
    "variant, spacing_mm, overlap, blending",
    [
        ("btcv", (1.5, 1.5, 2.0), 0.7, "gaussian"),
        ("small", (1.5, 1.5, 2.0), 0.7, "gaussian"),
        ("large", (1.5, 1.5, 2.0), 0.7, "gaussian"),
        ("renal", (1.0, 1.0, 1.0), 0.5, "constant"),
    ],
)
def test_the_published_recipe_for_ct_by_hand(variant, spacing_mm, overlap, blending, tmp_path):
    config = config_of(variant)
    window = window_of(config)
    volume = preprocess(parse_preprocessing(config), image_of_a_box(tmp_path / "i.nii.gz", -1000))
    assert (window.size, window.overlap, window.mode) == ((96, 96, 96), overlap, blending)
    np.testing.assert_allclose(volume.grid.spacing_mm, spacing_mm)
    assert nibabel.aff2axcodes(volume.grid.affine) == ("R", "A", "S")
    assert all(abs(have - mm / step) <= 1 for have, mm, step in zip(volume.grid.shape, (60, 50, 40), spacing_mm))
    assert float(volume.tensor.min()) == 0 and float(volume.tensor.max()) == pytest.approx((50 + 175) / 425)


def test_the_published_recipe_for_the_brain_by_hand(tmp_path):
    config = config_of("wholebrain")
    file, window = image_of_a_box(tmp_path / "i.nii.gz", 0), window_of(config)
    array = nibabel.load(file).get_fdata()
    array[10:25] *= 3  # half of the box 150, half of it 50: mean 100, standard deviation 50
    nibabel.save(nibabel.Nifti1Image(array.astype(np.int16), np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    volume = preprocess(parse_preprocessing(config), file)
    assert (window.size, window.overlap, window.mode) == ((96, 96, 96), 0.7, "constant")
    assert volume.grid.shape == (60, 50, 40) and nibabel.aff2axcodes(volume.grid.affine) == ("L", "P", "S")
    assert [float(volume.tensor[0, *where]) for where in ((12, 7, 9), (30, 7, 9), (0, 0, 0))] == [1, -1, 0]


def test_position_embeddings_are_part_of_the_weights():
    abdomen, head = (
        empty_network(config_of("demo", f"demo-{dataset}-phantom")).state_dict() for dataset in ("btcv", "wholebrain")
    )
    other = {key for key in abdomen if abdomen[key].shape != head[key].shape}
    assert other == {f"nestViT.levels.{level}.pos_embed" for level in range(3)} | {
        "out.conv.conv.weight", "out.conv.conv.bias",
    }  # fmt: skip


def test_every_merged_config_is_plain_json():
    sets = [(variant, None) for variant in (*PUBLISHED, "demo")]
    for variant, weights_set in (*sets, ("demo", "demo-msd-hippocampus"), ("demo", "demo-wholebrain-phantom")):
        config = config_of(variant, weights_set)
        assert json.loads(json.dumps(config)) == config
