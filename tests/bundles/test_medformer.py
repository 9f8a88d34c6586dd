"""MedFormer's bundle: labels of the datasets' cards, how images reach the published networks, and its checkpoints."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medquanbench import open_bundle, shelf
from medquanbench.bundle import build_network, empty_network, fitting_variant, merged_config, parse_preprocessing
from medquanbench.bundle_config import window_of
from medquanbench.dataset import open_card
from medquanbench.infer import preprocess
from medquanbench.values import RequestError
from medquanbench.weights import load_into

FOLDER = shelf.shelf(shelf.BUNDLES) / "medformer"
PUBLISHED = ("acdc", "amos-ct", "amos-mr", "bcv", "kits", "lits")
OLD_EXTRAS = ("up3.map_reduction.weight", "up4.map_reduction.weight")


def config_of(variant: str) -> dict:
    return merged_config(FOLDER, variant, None)


def shaped_like(variant: str) -> dict[str, torch.Tensor]:
    """Tensors of a variant's keys and shapes; each is one number, repeated without memory."""
    state = empty_network(config_of(variant)).state_dict()
    return {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}


def saved(content: object, file: Path) -> Path:
    torch.save(content, file)
    return file


@pytest.mark.parametrize("variant, card", [("demo", "btcv"), ("bcv", "btcv"), ("amos-ct", "amos"), ("amos-mr", "amos")])
def test_labels_are_the_cards_in_its_order(variant, card):
    labels = [(label.index, label.name) for label in open_card(card).labels]
    assert list(enumerate(config_of(variant)["labels"]))[1:] == labels


@pytest.mark.parametrize("variant", PUBLISHED)
def test_as_many_labels_as_the_official_network_has_outputs(variant):
    table = json.loads((Path(__file__).parent / "keys" / f"medformer-{variant}.json").read_text())
    assert len(config_of(variant)["labels"]) == table["state_dict"]["outc.weight"][0]


def test_parameters_are_the_published_ones_and_the_demo_is_small():
    counts = {
        variant: round(sum(p.numel() for p in empty_network(config_of(variant)).parameters()) / 1e6, 3)
        for variant in ("demo", "demo-redesign", *PUBLISHED)
    }
    assert counts == {
        "demo": 1.234, "demo-redesign": 1.234, "acdc": 21.826, "amos-ct": 39.594, "amos-mr": 39.594, "bcv": 36.669,
        "kits": 38.586, "lits": 38.586,
    }  # fmt: skip


def test_the_redesign_is_the_demo_with_its_second_flat_convolution_made_pointwise():
    shapes = {
        variant: {key: tuple(value.shape) for key, value in empty_network(config_of(variant)).state_dict().items()}
        for variant in ("demo", "demo-redesign")
    }
    second = "inc.conv2.conv1.conv.weight"
    assert shapes["demo-redesign"] == {**shapes["demo"], second: (8, 8, 1, 1, 1)}
    network, ran = build_network(config_of("demo")).eval(), []
    for name, module in network.named_modules():
        if getattr(module, "kernel_size", None) == (1, 3, 3):
            module.register_forward_hook(lambda *call, name=name: ran.append(name))
    with torch.no_grad():
        network(torch.zeros(1, 1, 16, 32, 32))
    assert ran[:3] == ["inc.conv1", second.removesuffix(".weight"), "inc.conv2.conv2.conv"]


def test_only_weights_of_the_redesign_are_the_redesigns(tmp_path):
    for variant in ("demo", "demo-redesign"):
        assert fitting_variant(FOLDER, saved(shaped_like(variant), tmp_path / "w.pt")) == variant


def test_the_demo_keeps_what_makes_the_family():
    modules = dict(empty_network(config_of("demo")).named_modules())
    kernels = {name: m.kernel_size for name, m in modules.items() if isinstance(m, torch.nn.Conv3d)}
    flat = {name for name, kernel in kernels.items() if kernel == (1, 3, 3)}
    assert {name.split(".")[0] for name in flat} == {"inc", "down1", "up3", "up4"}
    assert list(kernels.values()).count((1, 1, 1)) > 60
    depthwise = [m for m in modules.values() if isinstance(m, torch.nn.Conv3d) and m.groups > 1]
    assert len(depthwise) > 20
    assert sum(name.endswith("attn") for name in modules) == 8 and "map_fusion.fusion.layers.1.0.fn.to_qkv" in modules


def stored(file: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), file)
    return file


@pytest.mark.parametrize(
    "variant, clip, mean, std, spacing_mm, roi",
    [
        ("bcv", (-958, 327), 82.92, 136.97, (3, 0.75, 0.75), (32, 128, 128)),
        ("amos-ct", (-991, 362), 50, 141, (2, 0.68825, 0.68825), (128, 128, 128)),
        ("lits", (-17, 201), 99.4, 39.39, (1, 0.767578125, 0.767578125), (128, 128, 128)),
    ],
)
def test_the_published_recipe_on_ct_by_hand(variant, clip, mean, std, spacing_mm, roi, tmp_path):
    # Slices of one value each, 2.5 mm apart, stored left-posterior-superior: in plane nothing changes, across slices
    # the nearest is taken.
    values = np.array([-2000, 40, 100, -30, 2000, 60], np.int16)
    affine = np.diag([-0.8, -0.8, 2.5, 1])
    image = stored(tmp_path / "i.nii.gz", np.broadcast_to(values, (24, 20, 6)).copy(), affine)
    config = config_of(variant)
    volume, window = preprocess(parse_preprocessing(config), image), window_of(config)
    assert nibabel.aff2axcodes(volume.grid.affine) == ("S", "A", "R")
    np.testing.assert_allclose(volume.grid.spacing_mm, spacing_mm)
    wanted = (np.clip(values, *clip) - mean) / std
    # Slice k of the new grid lies k * spacing above the first: spacings here never fall midway between two slices.
    nearest = np.rint(np.arange(volume.grid.shape[0]) * spacing_mm[0] / 2.5).astype(int).clip(max=5)
    np.testing.assert_allclose(volume.tensor[0, :, 10, 12].numpy(), wanted[nearest], atol=1e-4)
    assert float(volume.tensor[0].std((1, 2)).max()) < 1e-4
    assert (window.size, window.overlap, window.mode) == (roi, 0.5, "constant")
    assert config["intensity"] == {"unit": "HU", "per_value": std}


def test_resampling_in_plane_is_by_cubic_splines(tmp_path):
    # A parabola across x is kept by a spline of third order, not by linear interpolation.
    x = np.arange(40.0)
    array = np.broadcast_to((0.5 * (x - 20) ** 2)[:, None, None], (40, 12, 4)).astype(np.float32)
    volume = preprocess(
        parse_preprocessing(config_of("bcv")), stored(tmp_path / "i.nii.gz", array, np.diag([1.0, 1, 3, 1]))
    )
    row = volume.tensor[0, 1, 6].numpy() * 136.97 + 82.92
    at = np.arange(len(row)) * 0.75
    middle = (at > 8) & (at < 31)
    np.testing.assert_allclose(row[middle], 0.5 * (at[middle] - 20) ** 2, atol=0.01)


def test_kits_sees_its_files_from_behind(tmp_path):
    # KiTS19 stores inferior, posterior, left; read in reversed order that is left, posterior, inferior.
    affine = np.array([[0, 0, -0.9, 0], [0, -0.9, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1]])
    array = np.broadcast_to(np.arange(5, dtype=np.int16)[:, None, None] * 50, (5, 12, 14)).copy()
    volume = preprocess(parse_preprocessing(config_of("kits")), stored(tmp_path / "i.nii.gz", array, affine))
    assert nibabel.aff2axcodes(volume.grid.affine) == ("L", "P", "I")
    row = volume.tensor[0, 5, 5].numpy() * 76.9 + 100.93
    nearest = np.rint(np.arange(len(row)) * 0.781625 / 3).clip(max=4)
    np.testing.assert_allclose(row, nearest * 50, atol=1e-3)


def test_mr_is_normalised_by_its_own_percentiles(tmp_path):
    random = np.random.default_rng(0)
    array = random.normal(300, 80, (30, 30, 8)).astype(np.float32)
    image = stored(tmp_path / "i.nii.gz", array, np.diag([1.1875, 1.1875, 2, 1]))  # amos-mr's own grid
    volume = preprocess(parse_preprocessing(config_of("amos-mr")), image)
    clipped = np.clip(array, *np.percentile(array, [2, 98]))
    np.testing.assert_allclose(volume.tensor[0].numpy(), (clipped.T - clipped.mean()) / clipped.std(), atol=1e-3)
    image = stored(tmp_path / "c.nii.gz", array - 200, np.diag([1.5625, 1.5625, 5, 1]))  # acdc's
    volume = preprocess(parse_preprocessing(config_of("acdc")), image)
    high = np.percentile(array - 200, 98)
    np.testing.assert_allclose(volume.tensor[0].numpy(), np.clip(array - 200, 0, high).T / high, atol=1e-4)


@pytest.mark.parametrize("variant", ["acdc", "bcv", "kits", "lits"])
def test_a_checkpoint_of_the_trainer_finds_its_variant(variant, tmp_path):
    averaged = shaped_like(variant)
    other = {f"module.{key}": torch.ones(()).expand(value.shape) for key, value in averaged.items()}
    content = {"epoch": 149, "model_state_dict": other, "ema_model_state_dict": averaged, "optimizer_state_dict": {}}
    file = saved(content, tmp_path / "fold_0_best.pth")
    assert fitting_variant(FOLDER, file) == variant
    assert open_bundle(FOLDER, variant=None, weights=file).loaded.under == "ema_model_state_dict"


def test_ct_and_mr_of_amos_must_be_told_apart(tmp_path):
    file = saved(shaped_like("amos-mr"), tmp_path / "w.pth")
    with pytest.raises(RequestError, match=r"amos-ct.*amos-mr"):
        fitting_variant(FOLDER, file)
    assert open_bundle(FOLDER, variant="amos-mr", weights=file).variant == "amos-mr"


@pytest.mark.parametrize("variant, last", [("acdc", 1), ("amos-ct", 0), ("bcv", 1), ("demo", 0), ("kits", 1)])
def test_what_old_checkpoints_have_too_many_is_dropped_by_name(variant, last, tmp_path):
    extra = f"up2.trans_blocks.blocks.{last}.attn.map_out.weight"
    old = shaped_like(variant) | {key: torch.zeros(1) for key in (*OLD_EXTRAS, extra)}
    bundle = open_bundle(FOLDER, variant=variant, weights=saved(old, tmp_path / "w.pth"))
    loaded = bundle.loaded
    assert loaded.key_map == "before-2023-03-27" and set(loaded.dropped) == {*OLD_EXTRAS, extra}
    assert json.loads(bundle.config)["network_def"]["conv_norm_eps"] == 1e-5
    assert any("conv_norm_eps 1e-05 is set" in remark for remark in bundle.remarks)
    del old[extra]
    with pytest.raises(RequestError, match="up3.map_reduction.weight"):
        open_bundle(FOLDER, variant=variant, weights=saved(old, tmp_path / "less.pth"))


def test_old_weights_never_meet_the_new_epsilon(tmp_path):
    new = {key: torch.full(value.shape, 0.01) for key, value in shaped_like("demo").items()}
    old = new | {key: torch.zeros(1) for key in (*OLD_EXTRAS, "up2.trans_blocks.blocks.0.attn.map_out.weight")}
    assert open_bundle(FOLDER, weights=saved(new, tmp_path / "new.pth")).remarks == ()
    opened = open_bundle(FOLDER, weights=saved(old, tmp_path / "old.pth"))
    assert opened.network().inc.conv2.conv1.norm.eps == 1e-5
    # MONAI's own command builds the network first: it is told what to add, and then goes on.
    config = config_of("demo")
    with pytest.raises(
        RequestError, match=r"--network_def#conv_norm_eps 1e-05 --key_maps#before-2023-03-27#config None"
    ):
        load_into(build_network(config), old, "old.pth", config["key_maps"])
    config["key_maps"]["before-2023-03-27"]["config"] = None
    load_into(build_network(config), old, "old.pth", config["key_maps"])


def test_half_a_checkpoint_is_refused(tmp_path):
    tensors = dict(list(shaped_like("bcv").items())[:150])
    with pytest.raises(RequestError, match="missing"):
        open_bundle(FOLDER, variant="bcv", weights=saved(tensors, tmp_path / "w.pth"))


def test_norms_before_convolutions_take_another_eps_from_the_config():
    config = config_of("demo")
    assert build_network(config).inc.conv2.conv1.norm.eps == 1e-4
    config["network_def"]["conv_norm_eps"] = 1e-5
    assert build_network(config).inc.conv2.conv1.norm.eps == 1e-5
