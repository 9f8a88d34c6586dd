"""A quantized layer equals exact integer arithmetic: int64 sums of q_x q_w, then S_x S_w, plus the bias.

The integer layers are a second implementation in NumPy, which knows nothing of torch's convolutions. Where scales
are powers of two, every float64 product and sum is exact, and the two must agree bit for bit; with scales of any value
they agree up to the float32 rounding of q S.
"""

import numpy as np
import pytest
import torch
from torch import nn

from medquanbench.quant import quantize
from medquanbench.values import Recipe
from tests.quant.integer_layers import expected, integer_output

BITS = 4
LARGEST = 7


LAYERS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(0, 1), dilation=(2, 1)), (2, 4, 7, 6)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 3, stride=(1, 2, 2), padding=1), (2, 4, 4, 5, 6)),
    "conv3d 1x3x3": (lambda: nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)), (2, 4, 4, 5, 6)),
    "pointwise": (lambda: nn.Conv3d(4, 6, 1), (2, 4, 3, 4, 3)),
    "grouped": (lambda: nn.Conv3d(4, 6, 3, groups=2), (2, 4, 4, 5, 3)),
    "depthwise": (lambda: nn.Conv3d(4, 8, 3, padding=1, groups=4), (2, 4, 4, 3, 3)),
    "transposed1d": (lambda: nn.ConvTranspose1d(4, 6, 4, stride=2, padding=1), (2, 4, 5)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, dilation=2), (2, 4, 3, 4)),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 6, 2, stride=2), (2, 4, 3, 2, 3)),
    "grouped transposed": (lambda: nn.ConvTranspose3d(4, 6, 2, stride=2, groups=2), (2, 4, 3, 2, 3)),
    "linear": (lambda: nn.Linear(5, 6), (2, 5)),
}


def with_power_of_two_scales(layer: nn.Module, x: torch.Tensor, policy: str) -> torch.Tensor:
    """Stretch every group of input and weight so that its largest magnitude is 7 times a power of two."""

    def stretched(group: torch.Tensor) -> torch.Tensor:
        return group * (LARGEST * 2.0 ** torch.randint(-3, 3, ()) / group.abs().max())

    w = layer.weight.data
    if policy == "per-tensor":
        w.copy_(stretched(w))
    elif getattr(layer, "transposed", False):
        for block in w.chunk(layer.groups):
            for channel in range(block.shape[1]):
                block[:, channel] = stretched(block[:, channel])
    else:
        for channel in range(w.shape[0]):
            w[channel] = stretched(w[channel])
    return torch.stack([stretched(sample) for sample in x])


@pytest.mark.parametrize("policy", ["per-tensor", "per-channel"])
@pytest.mark.parametrize("name", LAYERS)
def test_bit_for_bit_where_scales_are_powers_of_two(name, policy, quantized_output):
    make, shape = LAYERS[name]
    layer = make().double()
    x = with_power_of_two_scales(layer, torch.randn(shape, dtype=torch.float64), policy)
    layer.bias.data = torch.randint(-8, 9, layer.bias.shape).double() / 4
    assert np.array_equal(quantized_output(layer, x, policy), expected(layer, x, policy, BITS))


@pytest.mark.parametrize("policy", ["per-tensor", "per-channel"])
@pytest.mark.parametrize("name", LAYERS)
def test_up_to_float32_rounding_for_any_scales(name, policy, quantized_output):
    make, shape = LAYERS[name]
    layer, x = make().double(), torch.randn(shape, dtype=torch.float64)
    nn.init.normal_(layer.weight)
    found, wanted = quantized_output(layer, x, policy), expected(layer, x, policy, BITS)
    largest = integer_output(layer, np.abs(x.numpy()), np.abs(layer.weight.detach().numpy())).max()
    assert np.abs(found - wanted).max() <= 2.0**-22 * largest  # of the sum of magnitudes: each term was rounded twice
    assert np.abs(found - layer(x).detach().numpy()).max() > 0.01  # and it is not the float layer


@pytest.fixture
def quantized_output():
    def output(layer: nn.Module, x: torch.Tensor, policy: str) -> np.ndarray:
        """Weights as the policy says, activations with one scale a sample (that integer runtimes can factor out)."""
        network, _ = quantize(nn.Sequential(layer), Recipe.parse(f"w{BITS}a{BITS} {policy}"))
        if policy != "per-tensor":
            one, _ = quantize(nn.Sequential(layer), Recipe.parse(f"w{BITS}a{BITS} per-tensor"))
            network[0].activation = one[0].activation
        with torch.inference_mode():
            return network(x).numpy()

    return output
