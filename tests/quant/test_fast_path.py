"""What layers multiply is Eq. 1 written out plainly, bit for bit, however the fast path goes about it."""

import numpy as np
import pytest
import torch
from torch import nn

from medquanbench.quant import quantize
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.values import Recipe
from tests.quant.dynamic import DYNAMIC

# Which axes of a layer's input share a scale: (policy, layer with a kernel of 1) -> axes; of a batch of samples.
CONVOLUTION = {
    ("per-tensor", False): (1, 2, 3, 4), ("per-tensor", True): (1, 2, 3, 4),
    ("per-channel", False): (2, 3, 4), ("per-channel", True): (2, 3, 4),
    ("adaptive", False): (2, 3, 4), ("adaptive", True): (1,),
    ("per-voxel", False): (1,), ("per-voxel", True): (1,),
}  # fmt: skip


def plain(x: torch.Tensor, axes: tuple[int, ...], bits: int) -> torch.Tensor:
    """Eq. 1, one new tensor a step."""
    single, largest = x.detach().float(), torch.tensor(2.0 ** (bits - 1) - 1)
    scale = single.abs().amax(axes, keepdim=True) / largest
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (torch.clamp(torch.round(single / scale), -largest, largest) * scale).to(x.dtype)


def bits_of(x: torch.Tensor) -> np.ndarray:
    x = x.detach().contiguous()
    return x.view(torch.int16 if x.dtype.itemsize == 2 else torch.int32).numpy()


class Growing(nn.Module):
    """Layers whose inputs grow, shrink and change place in memory, so that memory is found, lent again and refused."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Conv3d(2, 6, 3, padding=1), nn.Conv3d(6, 4, 1), nn.ConvTranspose3d(4, 3, 2, stride=2),
            nn.Conv3d(3, 3, 3, groups=3), nn.Conv3d(3, 5, 1, stride=2), nn.Conv3d(5, 2, 3, padding=1),
        ])  # fmt: skip

    def forward(self, x):
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x))
        return x


def pairs(network: nn.Module, x: torch.Tensor, recipe: str) -> list[tuple[nn.Module, torch.Tensor, torch.Tensor]]:
    """(layer, its input as it came, its input as it was multiplied) of one forward."""
    quantized, _ = quantize(network, Recipe.parse(recipe))
    came, found = {}, []
    for module in quantized.modules():
        if isinstance(module, QuantizedLayer):
            module.register_forward_pre_hook(lambda m, x: came.update({m.path: x[0].clone()}))
            module.layer.register_forward_pre_hook(
                lambda m, x, path=module.path: found.append((m, came[path], x[0].clone()))
            )
    with torch.inference_mode():
        quantized(x)
    return found


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last_3d),
    "turned": lambda x: x.transpose(2, 4).contiguous().transpose(2, 4),
    "a slice": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "every second": lambda x: x.repeat_interleave(2, dim=4)[..., ::2],
    "one sample": lambda x: x[:1],
    "a broadcast": lambda x: x[:1].expand(3, -1, -1, -1, -1),
}


@pytest.mark.parametrize("policy", DYNAMIC)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layer_of_a_forward(layout, policy):
    x = LAYOUTS[layout](torch.randn(2, 2, 6, 5, 4) * torch.tensor([1.0, 30.0]).reshape(2, 1, 1, 1, 1))
    for bits in (2, 4, 8):
        found = pairs(Growing().eval(), x, f"w8a{bits} {policy}")
        assert len(found) == 6
        for layer, came, multiplied in found:
            pointwise = layer.kernel_size == (1, 1, 1) and layer.groups == 1
            rule = policy if layer.groups == 1 or policy == "per-tensor" else "per-channel"
            expected = plain(came, CONVOLUTION[rule, pointwise], bits)
            assert np.array_equal(bits_of(multiplied), bits_of(expected)), layer


@pytest.mark.parametrize("policy", DYNAMIC)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 9), (1, 4, 4, 4, 6), (300, 1025)])
def test_linear_layers_of_any_type(shape, dtype, policy):
    axes = tuple(range(1, len(shape))) if policy == "per-tensor" else (len(shape) - 1,)
    x = (torch.randn(shape) * torch.exp(torch.randn(*shape[:-1], 1))).to(dtype)
    ((_, came, multiplied),) = pairs(nn.Sequential(nn.Linear(shape[-1], 2)).to(dtype), x, f"w8a4 {policy}")
    assert multiplied.dtype == dtype and multiplied.stride() == came.stride()
    assert np.array_equal(bits_of(multiplied), bits_of(plain(came, axes, 4)))


@pytest.mark.parametrize("factor", [0.0, 1e-45, 1e-43, 1e-40, 1e-38, 1e-30, 1.0, 1e30, 3e38])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_zeros_denormals_and_huge_values(bits, factor):
    x = torch.linspace(-1, 1, 240, dtype=torch.float64).reshape(2, 2, 5, 4, 3).mul(factor).float()
    x[1] = 0
    for policy in DYNAMIC:
        network = nn.Sequential(nn.Conv3d(2, 2, 3))
        ((_, came, multiplied),) = pairs(network, x, f"w8a{bits} {policy}")
        assert np.array_equal(bits_of(multiplied), bits_of(plain(came, CONVOLUTION[policy, False], bits)))
