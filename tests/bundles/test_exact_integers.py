"""Real layers of each bundle on real inputs: per-tensor W8A8 and W4A4 are a true integer product, up to float rounding.

Weights are the demo weights, inputs what one window of a phantom brings to the layer; both in float64, so that only the
rounding of q S to float32 is left between the two.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medquanbench.bundle import open_bundle
from medquanbench.images import write_nifti
from medquanbench.phantoms import PHANTOMS
from medquanbench.quant import quantize
from medquanbench.quant.layers import is_layer, kind_of
from medquanbench.roads import ROADS
from medquanbench.values import Recipe
from tests.bundles.conftest import BUNDLES
from tests.quant.integer_layers import expected, integer_output

LAYERS = 3  # a bundle
EDGE = 8  # voxels of a crop, and more where the kernel is larger
TOKENS = 50


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A phantom as a file."""
    phantom, file = PHANTOMS["btcv-phantom/1"](0), tmp_path_factory.mktemp("phantom") / "image.nii.gz"
    write_nifti(phantom.image, phantom.affine, file)
    return file


@pytest.fixture(scope="module", params=BUNDLES)
def layers(request, image) -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """The first layers of different kinds, or strides, that a forward runs, each with a crop of what it read."""
    bundle, found = open_bundle(request.param), {}

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        what = f"{kind_of(layer)} stride {getattr(layer, 'stride', '')}"
        if what not in found and len(found) < LAYERS:
            found[what] = (layer, crop(layer, inputs[0].detach().clone()))

    network = bundle.network()
    hooks = [module.register_forward_pre_hook(note) for module in network.modules() if is_layer(module)]
    with torch.inference_mode():
        network(window(ROADS[bundle.restore].volume(bundle, (image,)).tensor, bundle.window.size)[None])
    for hook in hooks:
        hook.remove()
    return {what: (layer.double(), x.double()) for what, (layer, x) in found.items()}


def window(volume: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """The middle of a volume (channel, x, y, z)."""
    starts = [(whole - part) // 2 for whole, part in zip(volume.shape[1:], size)]
    return volume[(slice(None), *(slice(start, start + part) for start, part in zip(starts, size)))]


def crop(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A part of the input that has all channels and is not much larger than the kernel."""
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1])[None, :TOKENS]
    return x[(slice(1), slice(None), *(slice(max(EDGE, k)) for k in layer.kernel_size))]


@pytest.mark.parametrize("bits", [8, 4])
def test_per_tensor_is_an_integer_product(layers, bits):
    assert len(layers) == LAYERS
    for what, (layer, x) in layers.items():
        with torch.inference_mode():
            quantized, _ = quantize(nn.Sequential(layer), Recipe.parse(f"w{bits}a{bits} per-tensor"))
            found, plain = quantized(x).numpy(), layer(x).numpy()
        magnitudes = integer_output(layer, np.abs(x.numpy()), np.abs(layer.weight.detach().numpy()))
        wanted = expected(layer, x, "per-tensor", bits)
        assert np.abs(found - wanted).max() <= 2.0**-22 * magnitudes.max(), what
        assert np.abs(found - plain).max() > 2.0**-16 * magnitudes.max(), what  # and it is not the float layer
