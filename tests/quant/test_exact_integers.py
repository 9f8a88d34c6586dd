"""A quantized layer equals exact integer arithmetic: int64 sums of q_x q_w, then S_x S_w, plus the bias.

The integer layers below are a second implementation in NumPy, which knows nothing of torch's convolutions. Where scales
are powers of two, every float64 product and sum is exact, and the two must agree bit for bit; with scales of any value
they agree up to the float32 rounding of q S.
"""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from medquanbench.quant import quantize
from medquanbench.values import Recipe

BITS = 4
LARGEST = 7


def integer_convolution(x: np.ndarray, w: np.ndarray, stride, padding, dilation, groups: int) -> np.ndarray:
    """int64 (n, c, ...) and (o, c / groups, ...) -> int64, one tap of the kernel after the other."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    kernel = w.shape[2:]
    size = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    out = np.zeros((x.shape[0], w.shape[0], *size), x.dtype)
    inputs, outputs = x.shape[1] // groups, w.shape[0] // groups
    for group, tap in itertools.product(range(groups), itertools.product(*map(range, kernel))):
        steps = zip(tap, dilation, size, stride)
        seen = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in steps)
        part = x[(slice(None), slice(group * inputs, (group + 1) * inputs), *seen)]
        rows = slice(group * outputs, (group + 1) * outputs)
        out[:, rows] += np.einsum("nc...,oc->no...", part, w[(rows, slice(None), *tap)])
    return out


def integer_transposed(x: np.ndarray, w: np.ndarray, stride, padding, dilation, groups: int) -> np.ndarray:
    """int64 (n, c, ...) and (c, o / groups, ...) -> int64: every input value stamps the kernel."""
    kernel = w.shape[2:]
    size = [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    inputs, outputs = x.shape[1] // groups, w.shape[1]
    out = np.zeros((x.shape[0], outputs * groups, *size), x.dtype)
    for group, tap in itertools.product(range(groups), itertools.product(*map(range, kernel))):
        steps = zip(tap, dilation, x.shape[2:], stride)
        where = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in steps)
        columns = slice(group * inputs, (group + 1) * inputs)
        stamped = np.einsum("nc...,co->no...", x[:, columns], w[(columns, slice(None), *tap)])
        out[(slice(None), slice(group * outputs, (group + 1) * outputs), *where)] += stamped
    return out[(..., *(slice(p, n - p) for p, n in zip(padding, size)))]


def integer_output(layer: nn.Module, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    if isinstance(layer, nn.Linear):
        return x @ w.T
    compute = integer_transposed if layer.transposed else integer_convolution
    return compute(x, w, layer.stride, layer.padding, layer.dilation, layer.groups)


def integers(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """q as int64 and S, one scale for all but the given axes."""
    shared = tuple(i for i in range(x.ndim) if i not in axes)
    scale = np.abs(x.astype(np.float32)).max(axis=shared, keepdims=True) / np.float32(LARGEST)
    return np.rint(x.astype(np.float32) / scale).astype(np.int64), scale.astype(np.float64)


def output_channels(layer: nn.Module, weight_scale: np.ndarray) -> np.ndarray:
    """S_w, one an output channel, where the output has its channels."""
    if isinstance(layer, nn.Linear):
        return weight_scale.reshape(-1)
    return weight_scale.reshape(-1, *[1] * (layer.weight.dim() - 2))


def weight_integers(layer: nn.Module, policy: str) -> tuple[np.ndarray, np.ndarray]:
    w = layer.weight.detach().numpy()
    if policy == "per-tensor":
        return integers(w, ())
    if not getattr(layer, "transposed", False):
        return integers(w, (0,))
    blocks = [integers(block, (1,)) for block in np.split(w, layer.groups)]
    return np.concatenate([q for q, _ in blocks]), np.concatenate([scale.reshape(-1) for _, scale in blocks])


def expected(layer: nn.Module, x: torch.Tensor, policy: str) -> np.ndarray:
    q_x, scale_x = integers(x.numpy(), (0,))
    q_w, scale_w = weight_integers(layer, policy)
    scale = scale_x.reshape(-1, *[1] * (layer.weight.dim() - 1)) * output_channels(layer, scale_w)
    bias = layer.bias.detach().numpy()
    bias = bias if isinstance(layer, nn.Linear) else bias.reshape(-1, *[1] * (layer.weight.dim() - 2))
    return integer_output(layer, q_x, q_w) * scale + bias


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
    assert np.array_equal(quantized_output(layer, x, policy), expected(layer, x, policy))


@pytest.mark.parametrize("policy", ["per-tensor", "per-channel"])
@pytest.mark.parametrize("name", LAYERS)
def test_up_to_float32_rounding_for_any_scales(name, policy, quantized_output):
    make, shape = LAYERS[name]
    layer, x = make().double(), torch.randn(shape, dtype=torch.float64)
    nn.init.normal_(layer.weight)
    found, wanted = quantized_output(layer, x, policy), expected(layer, x, policy)
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
