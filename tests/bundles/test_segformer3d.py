"""SegFormer3D's bundle: the published network can be built and its weights fit, and why it is not evaluated."""

import pytest
import torch

from medquanbench import open_bundle, shelf
from medquanbench.bundle import empty_network, merged_config
from medquanbench.networks.segformer3d import SegFormer3D
from medquanbench.values import RequestError

FOLDER = shelf.shelf(shelf.BUNDLES) / "segformer3d"


def test_the_published_weights_come_with_the_scale_that_they_were_trained_with():
    config = merged_config(FOLDER, "brats", None)
    assert config["network_def"]["attention_scale"] == "heads-2024"
    built, default = empty_network(config), SegFormer3D(4, 3)
    for name, layer in default.named_modules():
        if hasattr(layer, "scale"):
            assert built.get_submodule(name).scale == layer.scale
    assert built.stride == 4 and config["inferer"]["roi_size"] == [128, 128, 128]


def test_the_published_weights_are_refused_with_the_reason(tmp_path):
    state = empty_network(merged_config(FOLDER, "brats", None)).state_dict()
    torch.save({key: torch.zeros(value.shape, dtype=value.dtype) for key, value in state.items()}, tmp_path / "w.bin")
    with pytest.raises(RequestError, match="brats of segformer3d cannot be run.* four MR images a case"):
        open_bundle(FOLDER, variant=None, weights=tmp_path / "w.bin")
