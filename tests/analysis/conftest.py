"""A micro bundle of three layers: two read the image, and what one of these gives is read by the third."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medquanbench.bundle import build_network, merged_config
from tests.conftest import INFERENCE, write_bundle

INNER = "conv.unit1.conv"
"""The only layer that does not read the image."""
NETWORK = {
    "_target_": "monai.networks.blocks.ResidualUnit",
    "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "kernel_size": 1, "subunits": 2, "norm": None,
}  # fmt: skip


@pytest.fixture
def deep_bundle(tmp_path: Path) -> Path:
    """A bundle with the variants ``demo`` and ``other``, whose kernel is 3; only the first has weights."""
    folder = write_bundle(tmp_path / "deep")
    (folder / "configs" / "inference.json").write_text(json.dumps({**INFERENCE, "network_def": NETWORK}))
    (folder / "configs" / "variants" / "other.json").write_text('{"network_def#kernel_size": 3}')
    torch.manual_seed(0)
    state = build_network(merged_config(folder, "demo", None)).state_dict()
    state["residual.weight"] = torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1, 1, 1)
    state["residual.bias"] = torch.tensor([0.0, -1.0, -4.0])
    save_file(state, folder / "models" / "demo-micro.safetensors")
    return folder
