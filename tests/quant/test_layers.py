"""Layers: weights and activations of every kind against NumPy, a group at a time; and what cannot be quantized."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from medquanbench.quant import audit, quantize
from medquanbench.quant.layers import kind_of
from medquanbench.values import FLOAT, Recipe, RunError, State
from tests.quant.dynamic import DYNAMIC

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def on_grid(group: np.ndarray, bits: int = 4) -> np.ndarray:
    """One group with one scale, in NumPy."""
    largest = np.float32(2 ** (bits - 1) - 1)
    scale = np.abs(group).max() / largest or np.float32(1)
    return np.rint(group / scale) * scale


def each(x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Every slice of a tensor along some axes on a grid of its own."""
    x = x.detach().numpy()
    found = np.empty_like(x)
    for place in itertools.product(*(range(x.shape[axis]) for axis in axes)):
        where = [slice(None)] * x.ndim
        for axis, i in zip(axes, place):
            where[axis] = i
        found[tuple(where)] = on_grid(x[tuple(where)])
    return torch.from_numpy(found)


def spread(layer: nn.Module) -> nn.Module:
    """A layer whose weights differ by orders of magnitude along both leading axes."""
    weight = layer.weight.data
    factors = torch.exp(2 * torch.randn(weight.shape[0], weight.shape[1], *[1] * (weight.dim() - 2)))
    layer.weight.data = weight * factors
    return layer.eval()


def quantized_weight(layer: nn.Module, policy: str) -> torch.Tensor:
    return quantize(nn.Sequential(layer), Recipe.parse(f"w4a4 {policy}"))[0][0].weight


def only_line(network: nn.Module, x: torch.Tensor, recipe: str):
    quantized, receipt = quantize(network, Recipe.parse(recipe))
    with torch.inference_mode():
        quantized(x)
    (line,) = audit(quantized, receipt).lines
    return line


# ---- weights


@pytest.mark.parametrize("policy", ["per-channel", "adaptive", "per-voxel"])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_weights_scale_per_output_channel(rank, groups, policy):
    layer = spread(CONVOLUTIONS[rank](8, 12, 3, groups=groups))
    assert torch.equal(quantized_weight(layer, policy), each(layer.weight, (0,)))


@pytest.mark.parametrize("policy", ["per-channel", "adaptive", "per-voxel"])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_weights_scale_per_group_and_output_channel(rank, groups, policy):
    layer = spread(TRANSPOSED[rank](8, 12, 2, groups=groups))
    found, inputs = quantized_weight(layer, policy), 8 // groups
    assert layer.weight.shape[:2] == (8, 12 // groups)  # torch's (in, out / groups, ...)
    for group in range(groups):
        block = slice(group * inputs, (group + 1) * inputs)
        assert torch.equal(found[block], each(layer.weight[block], (1,)))


@pytest.mark.parametrize("policy", ["per-channel", "adaptive", "per-voxel"])
def test_linear_weights_scale_per_row(policy):
    layer = spread(nn.Linear(9, 6))
    assert torch.equal(quantized_weight(layer, policy), each(layer.weight, (0,)))


@pytest.mark.parametrize(
    "layer", [nn.Linear(9, 6), nn.Conv3d(8, 12, 3, groups=2), nn.ConvTranspose2d(8, 12, 2, groups=4)], ids=str
)
def test_per_tensor_weights_have_one_scale(layer):
    assert torch.equal(quantized_weight(spread(layer), "per-tensor"), each(layer.weight, ()))


def test_the_bias_stays():
    layer = nn.Conv3d(2, 3, 3)
    assert torch.equal(quantize(nn.Sequential(layer), Recipe.parse("w2a2 per-tensor"))[0][0].bias, layer.bias)


# ---- activations


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 3, 3), (2, 4, 9)),
        (nn.Conv2d(4, 3, 3), (2, 4, 6, 5)),
        (nn.Conv3d(4, 3, 3), (2, 4, 5, 6, 4)),
        (nn.Conv3d(4, 4, 3, groups=4), (2, 4, 5, 6, 4)),
        (nn.ConvTranspose3d(4, 4, 2, groups=2), (2, 4, 3, 2, 4)),
        (nn.Conv3d(4, 4, 1, groups=2), (2, 4, 3, 2, 4)),
    ],
    ids=str,
)
def test_convolution_inputs_scale_per_sample_and_channel(layer, shape, quantized_inputs):
    x = torch.randn(shape) * torch.exp(2 * torch.randn(*shape[:2], *[1] * (len(shape) - 2)))
    assert torch.equal(quantized_inputs(nn.Sequential(layer), x, "w4a4 per-channel")["0"], each(x, (0, 1)))
    if kind_of(layer).groups > 1:
        for policy in ("adaptive", "per-voxel"):  # too few channels in a group for a scale a voxel
            assert torch.equal(quantized_inputs(nn.Sequential(layer), x, f"w4a4 {policy}")["0"], each(x, (0, 1)))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv3d(4, 3, 1), nn.ConvTranspose3d(4, 3, 1), nn.Conv3d(4, 3, 1, stride=2), nn.Conv3d(4, 3, 1, padding=1)],
    ids=str,
)
def test_pointwise_inputs_scale_per_voxel_under_adaptive(layer, quantized_inputs):
    x = torch.randn(2, 4, 3, 2, 5)
    assert torch.equal(quantized_inputs(nn.Sequential(layer), x, "w4a4 adaptive")["0"], each(x, (0, 2, 3, 4)))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_ungrouped_convolution_scales_per_voxel_under_per_voxel(rank, quantized_inputs):
    x = torch.randn(2, 4, *(5, 6, 3)[:rank])
    for layer in (CONVOLUTIONS[rank](4, 3, 3), TRANSPOSED[rank](4, 3, 2)):
        found = quantized_inputs(nn.Sequential(layer), x, "w4a4 per-voxel")["0"]
        assert torch.equal(found, each(x, (0, *range(2, 2 + rank))))


@pytest.mark.parametrize("policy", ["per-channel", "adaptive", "per-voxel"])
@pytest.mark.parametrize("shape", [(7,), (3, 7), (3, 4, 7), (2, 3, 4, 7), (2, 2, 3, 4, 7)], ids=str)
def test_linear_inputs_scale_per_token(shape, policy, quantized_inputs):
    x = torch.randn(shape) * torch.exp(2 * torch.randn(*shape[:-1], 1))
    found = quantized_inputs(nn.Sequential(nn.Linear(7, 2)), x, f"w4a4 {policy}")["0"]
    assert torch.equal(found, each(x, tuple(range(len(shape) - 1))))


@pytest.mark.parametrize("layer", [nn.Conv3d(4, 3, 1), nn.ConvTranspose3d(4, 4, 2, groups=2)], ids=str)
def test_per_tensor_inputs_have_one_scale_a_sample(layer, quantized_inputs):
    x = torch.randn(3, 4, 3, 2, 5) * torch.tensor([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1, 1)
    assert torch.equal(quantized_inputs(nn.Sequential(layer), x, "w4a4 per-tensor")["0"], each(x, (0,)))


@pytest.mark.parametrize("policy", DYNAMIC)
def test_an_unbatched_input_is_one_sample(policy):
    network = quantize(nn.Sequential(nn.Conv3d(4, 3, 3)), Recipe.parse(f"w4a4 {policy}"))[0]
    x = torch.randn(4, 5, 5, 5)
    assert torch.allclose(network(x), network(x[None])[0], atol=1e-5)


@pytest.mark.parametrize("policy", DYNAMIC)
@pytest.mark.parametrize("layer", [nn.Conv3d(4, 3, 3), nn.Conv3d(4, 3, 1), nn.ConvTranspose3d(4, 3, 2)], ids=str)
def test_the_memory_format_changes_nothing(layer, policy, quantized_inputs):
    x = torch.randn(2, 4, 5, 6, 4)
    plain = quantized_inputs(nn.Sequential(layer), x, f"w4a4 {policy}")["0"]
    last = x.to(memory_format=torch.channels_last_3d)
    assert torch.equal(quantized_inputs(nn.Sequential(layer), last, f"w4a4 {policy}")["0"], plain)
    assert torch.equal(quantized_inputs(nn.Sequential(layer), x.flip(0).flip(0), f"w4a4 {policy}")["0"], plain)
    weight = quantized_weight(layer, policy)
    layer.weight.data = layer.weight.data.to(memory_format=torch.channels_last_3d)
    assert torch.equal(quantized_weight(layer, policy), weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("policy", DYNAMIC)
def test_a_network_keeps_its_type(policy, dtype):
    network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.Conv3d(4, 3, 1), nn.Flatten(), nn.Linear(81, 2)).to(dtype)
    quantized, _ = quantize(network, Recipe.parse(f"w8a8 {policy}"))
    assert {p.dtype for p in quantized.parameters()} == {dtype}
    assert quantized(torch.randn(2, 2, 5, 5, 5, dtype=dtype)).dtype == dtype


def test_padding_is_made_of_quantized_values():
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")
    x = torch.randn(1, 2, 6, 6)
    network = quantize(nn.Sequential(layer), Recipe.parse("w16a4 per-tensor"))[0]
    assert torch.equal(network(x), layer(each(x, (0,))))


def test_a_transposed_convolution_takes_an_output_size():
    class Up(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 3, 3, stride=2)

        def forward(self, x):
            return self.up(input=x, output_size=[10, 9])

    network, x = Up(), torch.randn(1, 2, 4, 4)
    assert quantize(network, Recipe.parse("w8a8 per-channel"))[0](x).shape == network(x).shape == (1, 3, 10, 9)


def test_an_empty_batch_stays_empty():
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv3d(3, 4, 1))
    assert quantize(network, Recipe.parse("w8a8 adaptive"))[0](torch.zeros(0, 2, 5, 5, 5)).shape == (0, 4, 3, 3, 3)


class CopiesItself(nn.Linear):
    def __deepcopy__(self, memo):
        other = CopiesItself(self.in_features, self.out_features)
        other.load_state_dict(self.state_dict())
        return other


def test_python_asks_the_stand_in_itself():
    quantized, _ = quantize(nn.Sequential(CopiesItself(4, 3)), Recipe.parse("w4a4 per-tensor"))
    assert type(copy.deepcopy(quantized)[0]) is type(quantized[0])


def test_a_layer_answers_for_the_layer_inside():
    layer = nn.ConvTranspose3d(4, 6, 2, stride=2, groups=2)
    quantized = quantize(nn.Sequential(layer.eval()), Recipe.parse("w8a8 adaptive"))[0][0]
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "groups"):
        assert getattr(quantized, name) == getattr(layer, name)
    assert quantized.weight.dtype == layer.weight.dtype and not quantized.training
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = quantized.no_such_thing


# ---- groups of one value are lossless, so they are not made


@pytest.mark.parametrize(
    ("layer", "shape", "policy", "asked"),
    [
        (nn.Conv3d(1, 3, 3), (2, 1, 5, 5, 5), "per-voxel", "per-voxel"),  # one input channel
        (nn.Conv3d(1, 3, 1), (2, 1, 5, 5, 5), "adaptive", "per-voxel"),
        (nn.Conv3d(4, 3, 1), (2, 4, 1, 1, 1), "per-channel", "per-channel"),  # a 1x1x1 map
        (nn.Conv3d(4, 4, 3, padding=1, groups=4), (2, 4, 1, 1, 1), "adaptive", "per-channel"),
        (nn.Linear(1, 3), (2, 6, 1), "per-channel", "per-token"),  # one input feature
    ],
)
def test_groups_of_one_fall_back_to_one_scale_a_sample(layer, shape, policy, asked, quantized_inputs):
    x = torch.randn(shape)
    assert torch.equal(quantized_inputs(nn.Sequential(layer), x, f"w4a4 {policy}")["0"], each(x, (0,)))
    note = only_line(nn.Sequential(layer), x, f"w4a4 {policy}").activation
    assert note.note == f"{asked} would give each value its own scale"
    assert (note.bits, note.granularity, note.elements_per_scale) == (4, "per-sample", x[0].numel())
    assert note.effective_bits == 4 + 32 / x[0].numel()


@pytest.mark.parametrize(
    "layer", [nn.Conv3d(4, 4, 1, groups=4), nn.ConvTranspose3d(4, 4, 1, groups=4), nn.Linear(1, 4)], ids=str
)
def test_weights_in_groups_of_one_fall_back_to_one_scale(layer):
    assert torch.equal(quantized_weight(layer, "per-channel"), each(layer.weight, ()))
    note = quantize(nn.Sequential(layer), Recipe.parse("w4a4 per-channel"))[1].lines[0].weight
    assert (note.granularity, note.elements_per_scale, note.effective_bits) == ("per-tensor", 4, 12.0)
    assert note.note == "per-output-channel would give each value its own scale"


@pytest.mark.parametrize("policy", DYNAMIC)
def test_a_single_value_counts_as_float(policy, quantized_inputs):
    network, x = nn.Sequential(nn.Conv3d(1, 1, 1)), torch.full((2, 1, 1, 1, 1), 0.031)
    network[0].weight.data.fill_(0.031)  # on the grid it would be 0.031 / 7 x 7 = 0.031000001
    line = only_line(network, x, f"w4a4 {policy}")
    for note in (line.weight, line.activation):
        assert (note.bits, note.granularity, note.effective_bits) == (32, "-", 32.0)
        assert note.note.startswith("a single value")
    assert torch.equal(quantized_inputs(network, x, f"w4a4 {policy}")["0"], x)
    assert torch.equal(quantized_weight(network[0], policy), network[0].weight)
    assert line.state is State.KEPT  # nothing of it is on a grid


def test_effective_bits_charge_every_scale():
    line = only_line(nn.Sequential(nn.Conv3d(4, 6, 3)), torch.randn(2, 4, 5, 6, 7), "w4a8 per-channel")
    assert (line.weight.elements_per_scale, line.weight.effective_bits) == (108, 4 + 32 / 108)  # 4 channels x 27 taps
    assert (line.activation.elements_per_scale, line.activation.effective_bits) == (210, 8 + 32 / 210)  # 5 x 6 x 7
    line = only_line(nn.Sequential(nn.Conv3d(4, 6, 3)), torch.randn(2, 4, 5, 6, 7), "w8a4 per-voxel")
    assert (line.activation.elements_per_scale, line.activation.effective_bits) == (4, 12.0)
    line = only_line(nn.Sequential(nn.Linear(8, 6)), torch.randn(2, 5, 8), "w8a4 per-tensor")
    assert (line.weight.elements_per_scale, line.weight.effective_bits) == (48, 8 + 32 / 48)
    assert (line.activation.elements_per_scale, line.activation.effective_bits) == (40, 4.8)


# ---- what cannot be quantized has a line that says why, and is left alone


class Standardized(nn.Conv3d):
    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Inside(nn.Conv3d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, 2 * weight, bias)


def patched() -> nn.Module:
    layer = nn.Conv3d(2, 3, 1)
    layer.forward = lambda x: nn.functional.conv3d(x, layer.weight)
    return layer


def hooked() -> nn.Module:
    layer = nn.Conv3d(2, 3, 1)
    layer.register_forward_pre_hook(lambda module, x: (2 * x[0],))
    return layer


def pruned() -> nn.Module:
    return prune.random_unstructured(nn.Conv3d(2, 3, 1), "weight", 0.5)


MADE_ANEW = "made anew at every forward"
UNSUPPORTED = {
    "other forward": (lambda: Standardized(2, 3, 1), "Standardized computes something else than Conv3d"),
    "other inside": (lambda: Inside(2, 3, 1), "Inside computes something else than Conv3d"),
    "patched": (patched, "Conv3d computes something else"),
    "pre-hook": (hooked, "a hook runs before it"),
    "weight norm": (lambda: nn.utils.weight_norm(nn.Conv3d(2, 3, 1)), MADE_ANEW),
    "weight norm after a step": (lambda: after_a_forward(nn.utils.weight_norm(nn.Conv3d(2, 3, 1))), MADE_ANEW),
    "parametrized": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv3d(2, 3, 1)), MADE_ANEW),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Conv3d(2, 3, 1)), MADE_ANEW),
    "pruned": (pruned, MADE_ANEW),
}


def after_a_forward(layer: nn.Module) -> nn.Module:
    layer(torch.randn(1, 2, 2, 2, 2))
    return layer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_a_layer_that_computes_otherwise_is_unsupported(make, reason):
    network = nn.Sequential(nn.Conv3d(2, 2, 1), make()).eval()
    quantized, receipt = quantize(network, Recipe.parse("w2a2 per-tensor"))
    line = receipt.lines[1]
    assert (line.path, line.state, line.weight, line.activation) == ("1", State.UNSUPPORTED, FLOAT, FLOAT)
    assert reason in line.reason
    assert line.parameters == sum(p.numel() for p in network[1].parameters())
    x = torch.randn(1, 2, 2, 2, 2)
    with torch.no_grad():
        assert torch.equal(quantized[1](x), network[1](x))


ATTENTION = nn.MultiheadAttention(8, 2, batch_first=True)
USES = "uses the weights inside it without calling them as layers"
OPAQUE = {
    "attention": (ATTENTION, USES, lambda m, x: m(x, x, x)[0]),
    "keys of 6": (nn.MultiheadAttention(8, 2, kdim=6, vdim=6), USES, lambda m, x: m(x, x[..., :6], x[..., :6])[0]),
    "lstm": (nn.LSTM(8, 3), USES, lambda m, x: m(x)[0]),
    "gru": (nn.GRU(8, 3), USES, lambda m, x: m(x)[0]),
    "cell": (nn.LSTMCell(8, 3), USES, lambda m, x: m(x[0])[0]),
    "encoder layer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), USES, lambda m, x: m(x)),
    "bilinear": (nn.Bilinear(8, 8, 3), "parameters that belong to no layer stay float: weight", lambda m, x: m(x, x)),
    "embedding": (nn.Embedding(5, 3), "belong to no layer", lambda m, x: m(torch.arange(5))),
}


@pytest.mark.parametrize(("module", "reason", "call"), OPAQUE.values(), ids=OPAQUE)
def test_a_module_that_uses_its_weights_itself_is_one_unsupported_line(module, reason, call):
    network = nn.ModuleDict({"a": nn.Linear(8, 8), "b": module}).eval()
    quantized, receipt = quantize(network, Recipe.parse("w2a2 per-tensor"))
    assert [(line.path, line.state) for line in receipt.lines] == [("a", State.QUANTIZED), ("b", State.UNSUPPORTED)]
    assert reason in receipt.lines[1].reason and receipt.lines[1].kind == type(module).__name__
    assert receipt.lines[1].parameters == sum(p.numel() for p in module.parameters())
    x = torch.randn(2, 5, 8)
    with torch.inference_mode():
        assert torch.equal(call(quantized["b"], x), call(module.eval(), x))


def test_parameters_of_no_layer_have_a_line():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions, self.gain = nn.Parameter(torch.randn(4, 8)), nn.Parameter(torch.ones(8))
            self.linear, self.norm = nn.Linear(8, 2), nn.LayerNorm((4, 8))

        def forward(self, x):
            return self.linear(self.norm(x) * self.gain + self.positions)

    _, receipt = quantize(Table(), Recipe.parse("w4a4 per-tensor"))
    line = receipt.lines[0]
    assert (line.path, line.state, line.parameters) == ("", State.UNSUPPORTED, 40)
    assert line.reason == "parameters that belong to no layer stay float: positions"
    assert [(line.path, line.state) for line in receipt.lines[1:]] == [("linear", State.QUANTIZED)]  # norms have none


# ---- NaN


def test_nan_in_a_weight_names_the_layer():
    network = nn.Sequential(nn.Conv3d(2, 3, 1), nn.Sequential(nn.Conv3d(3, 3, 1)))
    network[1][0].weight.data[1, 2] = float("nan")
    with pytest.raises(RunError, match="weight of layer '1.0': NaN or infinity"):
        quantize(network, Recipe.parse("w4a16 per-channel"))
    quantize(network, Recipe.parse("w16a4 per-channel"))  # that weight is not quantized


@pytest.mark.parametrize("policy", DYNAMIC)
def test_infinity_in_an_activation_names_the_layer(policy):
    network = nn.Sequential(nn.Conv3d(2, 3, 1), nn.Sequential(nn.Conv3d(3, 3, 1)))
    network[0].bias.data[1] = float("inf")
    quantized, _ = quantize(network, Recipe.parse(f"w4a4 {policy}"))
    with pytest.raises(RunError, match="layer '1.0': NaN or infinity"):
        quantized(torch.randn(1, 2, 3, 3, 3))
