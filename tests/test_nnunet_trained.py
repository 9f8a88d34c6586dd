"""Results folders with networks that were really trained: what they score, and what mirroring changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from medquanbench import evaluate, metrics, open_bundle, open_dataset, shelf
from medquanbench.weights import load_into, read
from tests.trained_nnunet import (
    CONFIGURATION,
    IMPORTED,
    LAYERS,
    PLAIN,
    Recipe,
    predicted,
    random_network,
    train,
    write_checkpoint,
    write_model,
)

DEMO = shelf.shelf(shelf.BUNDLES) / "nnunet" / "models" / "demo-btcv-phantom.safetensors"
ARCHITECTURE = {
    "network_class_name": PLAIN["network_class_name"],
    "arch_kwargs": {
        **LAYERS,
        "n_stages": 4,
        "features_per_stage": [16, 32, 64, 128],
        "kernel_sizes": [[3, 3, 3]] * 4,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2] * 4,
        "n_conv_per_stage_decoder": [2] * 3,
    },
    "_kw_requires_import": IMPORTED,
}


def demo_folder(results: Path) -> Path:
    """HU -120 to 280 as -2.5 to 2.5, voxels of 3 x 3 x 5 mm in the order x, y, z: as the demo's own config."""
    labels = open_bundle("nnunet").labels
    recipe = Recipe(
        ARCHITECTURE,
        "NibabelIOWithReorient",
        (2, 1, 0),
        (3.0, 3.0, 5.0),
        (64, 64, 32),
        labels=tuple((name, number) for number, name in enumerate(labels)),
        intensities=(("mean", 80.0), ("std", 80.0), ("percentile_00_5", -120.0), ("percentile_99_5", 280.0)),
    )
    folder = write_model(results, recipe, dataset="Dataset777_Phantom")
    network = random_network(recipe)
    load_into(network, read(DEMO), str(DEMO))
    write_checkpoint(folder / "fold_0" / "checkpoint_final.pth", recipe, network, "nnUNetTrainer", CONFIGURATION)
    return folder


def test_it_scores_no_less_than_the_demo(tmp_path):
    """The demo's own road differs in resampling, windows and the way back, not in what the network has learnt."""
    folder, dataset = demo_folder(tmp_path), open_dataset("btcv-phantom")
    scores = [
        evaluate(open_bundle("nnunet", weights=weights), dataset, [], cases=1).records[0].mean(0)
        for weights in (None, folder)
    ]
    assert scores[0] > 0.85
    assert scores[1] > scores[0]  # logits are resampled, not labels: edges come out finer


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A micro network after seconds of training, with mirroring, on boxes as those of the micro dataset."""
    recipe = Recipe(PLAIN, spacing_mm=(2.2, 1.0, 1.0))
    folder = write_model(tmp_path_factory.mktemp("results"), recipe)
    network = random_network(recipe)
    train(network, recipe, steps=150)
    write_checkpoint(folder / "fold_0" / "checkpoint_final.pth", recipe, network, "nnUNetTrainer", CONFIGURATION)
    return folder


def test_float_and_four_bits_of_a_trained_folder(trained, micro_data):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    records = evaluate(open_bundle("nnunet", weights=trained), dataset, ["w4a4 adaptive"], cases=2).records
    assert all(record.mean(0) > 0.8 for record in records)
    assert records[0].mean(0) != records[1].mean(0)


def test_agreement_with_mirroring(trained, micro_data, record_property):
    """Dice between nnU-Net's answers with and without mirroring, of a network that was trained with it."""
    for case in ("m1", "m2"):
        image = micro_data / "images" / f"{case}.nii.gz"
        plain, mirrored = (predicted(trained, image, mirroring=on).astype(int) for on in (False, True))
        agreement = metrics.dice(plain, mirrored, [1, 2])
        record_property(f"dice_mirrored_unmirrored_{case}", agreement.round(4).tolist())
        print(case, agreement.round(4).tolist())
        assert (agreement > 0.85).all()
        assert (agreement < 1).any()
