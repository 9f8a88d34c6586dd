"""What a network executes is counted: by hand on a small one, and beside torch's own counter on all layers of torch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from medquanbench.composition import Composition, Row
from medquanbench.composition_count import composition
from medquanbench.networks.stunet import STUNet
from medquanbench.values import RequestError


class Small(nn.Module):
    """One of each: a shared convolution, attention, a table that is added, a head that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, 8, 3, padding=1)
        self.also_stem = self.stem
        self.depthwise = nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1), groups=8, bias=False)
        self.norm = nn.InstanceNorm3d(8, affine=True)
        self.down = nn.Conv3d(8, 4, 2, stride=2)
        self.position = nn.Parameter(torch.zeros(1, 8, 4))
        self.qkv = nn.Linear(4, 12)
        self.up = nn.ConvTranspose3d(4, 2, 2, stride=2)
        self.head = nn.Conv3d(8, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.leaky_relu(self.norm(self.depthwise(self.stem(x))))
        tokens = self.down(x).flatten(2).transpose(1, 2) + self.position
        q, k, v = self.qkv(tokens).chunk(3, -1)
        tokens = (q @ k.transpose(1, 2)).softmax(-1) @ v
        return self.up(tokens.transpose(1, 2).reshape(len(x), 4, 2, 2, 2))


def test_a_small_network_counts_as_by_hand():
    made = composition(Small(), (4, 4, 4), 1)
    rows = {(row.kind, row.kernel_text): row for row in made.rows}
    # kind, kernel, layers, parameters, multiply-adds, activations; 4^3 = 64 voxels, 2^3 = 8 tokens of 4 channels
    by_hand = (
        Row("conv", (3, 3, 3), 1, 8 * 27 + 8, 64 * 8 * 27, 64 * 8),
        Row("conv", (2, 2, 2), 1, 4 * 8 * 8 + 4, 8 * 4 * 8 * 8, 8 * 4),
        Row("conv depthwise", (1, 3, 3), 1, 8 * 9, 64 * 8 * 9, 64 * 8),
        Row("conv_transpose", (2, 2, 2), 1, 4 * 2 * 8 + 2, 8 * 4 * 2 * 8, 64 * 2),
        Row("linear", (), 1, 4 * 12 + 12, 8 * 4 * 12, 8 * 12),
        Row("attention product", (), 2, 0, 2 * 8 * 8 * 4, 8 * 8 + 8 * 4),
        Row("norm", (), 1, 16, 0, 64 * 8),
        Row("never run", (), 0, 8 * 5 + 5, 0, 0),
    )
    for row in by_hand:
        assert rows.pop((row.kind, row.kernel_text)) == row
    (other,) = rows.values()
    # leaky_relu, the sum with the positions, a transposed and a chunked tensor made contiguous (or not), soft-max
    assert other.parameters == 32 and other.multiply_adds == 0 and other.activations >= 64 * 8 + 8 * 4 + 8 * 8
    assert made.total.multiply_adds == sum(row.multiply_adds for row in by_hand)


def test_layers_have_the_paths_of_the_modules_in_which_they_ran():
    layers = composition(Small(), (4, 4, 4), 1).layers
    paths = [layer.path for layer in layers if layer.kind not in ("other", "norm")]
    assert paths == ["stem", "depthwise", "down", "qkv", "", "", "up", "head"]


def attend(in_channels: int) -> nn.Module:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(in_channels, 2, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.flatten(2).transpose(1, 2))

    return Attend()


class Forwards(nn.Module):
    """A forward of its own over given parameters."""

    def __init__(self, forward, **parameters: torch.Tensor) -> None:
        super().__init__()
        self.calculate = forward
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.calculate(self, x)


def standardized(self, x):
    weight = self.weight - self.weight.mean((1, 2, 3, 4), keepdim=True)
    return functional.conv3d(x, weight / weight.std(), self.bias)


WEIGHT, BIAS, TABLE = torch.zeros(6, 4, 2, 2, 2), torch.zeros(6), torch.zeros(4, 3)
NETWORKS = {
    "conv": (nn.Conv3d(4, 6, (1, 3, 3), stride=2, dilation=2, padding=1), "conv 1x3x3"),
    "conv grouped": (nn.Conv3d(4, 6, 3, groups=2), "conv grouped 3x3x3"),
    "transposed grouped": (nn.ConvTranspose3d(4, 6, 2, stride=2, groups=2), "conv_transpose 2x2x2"),
    "functional conv": (Forwards(lambda s, x: functional.conv3d(x, s.weight), weight=WEIGHT), "conv 2x2x2"),
    "standardized weight": (Forwards(standardized, weight=WEIGHT, bias=BIAS), "conv 2x2x2"),
    "einsum with a table": (Forwards(lambda s, x: torch.einsum("ncdhw,ck->nkdhw", x, s.t), t=TABLE), "linear"),
    "einsum of two": (Forwards(lambda s, x: torch.einsum("ncdhw,nkdhw->nck", x, x)), "attention product"),
    "learned queries": (
        Forwards(lambda s, x: (s.q @ s.w) @ x.flatten(2), q=torch.zeros(5, 4), w=torch.zeros(4, 4)),
        "attention product"),
    "fused attention": (
        Forwards(lambda s, x: functional.scaled_dot_product_attention(*[x.flatten(2)] * 3)), "attention product"),
    "encoder layer": (attend(4), "attention product"),
    "nothing": (nn.LeakyReLU(), "other"),
    "lstm": (nn.Sequential(nn.Flatten(2), nn.LSTM(512, 7)), "linear"),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_are_half_of_what_torchs_own_counter_calls_flops(name):
    network, kind = NETWORKS[name]
    made = composition(network, (8, 8, 8), 4)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        copy.deepcopy(network).eval().to("meta")(torch.zeros(1, 4, 8, 8, 8, device="meta"))
    assert 2 * made.total.multiply_adds == counter.get_total_flops()
    assert kind in {f"{row.kind} {row.kernel_text}".rstrip() for row in made.rows}
    assert made.total.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_parameters_count_once_and_belong_to_the_layer_that_reads_them():
    assert composition(Small(), (4, 4, 4), 1).total.parameters == sum(p.numel() for p in Small().parameters())
    made = composition(NETWORKS["standardized weight"][0], (8, 8, 8), 4)
    assert [(row.kind, row.parameters) for row in made.rows if row.parameters] == [("conv", 6 * 4 * 8 + 6)]


def test_a_bias_that_torch_adds_in_a_step_of_its_own_belongs_to_its_layer():
    network = Forwards(lambda s, x: x.movedim(1, -1) @ s.weight + s.bias, weight=TABLE, bias=torch.zeros(3))
    rows = composition(network, (2, 2, 2), 4).rows
    assert [(row.kind, row.parameters) for row in rows] == [("linear", 15), ("other", 0)]


def test_the_network_is_left_as_it_was():
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2), nn.Dropout())
    network[2].eval()
    before = copy.deepcopy(network.state_dict())
    tensors = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    made = composition(network, (2, 2, 2), 1)
    assert [module.training for module in network] == [True, True, False] and network.training
    assert {id(tensor) for tensor in network.state_dict(keep_vars=True).values()} == tensors
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert [row.kind for row in made.rows] == ["conv", "norm"]  # no dropout: it is evaluated


def test_a_module_that_stands_in_two_places_is_left_as_it_was_and_counts_once():
    stem = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2))
    network = nn.Sequential(stem, nn.Module(), nn.Conv3d(2, 2, 1))
    network[1].encoder, network[1].forward = stem, lambda x: x
    made = composition(network, (2, 2, 2), 1)
    assert not any(tensor.is_meta for module in network.modules() for tensor in module._parameters.values())
    assert network(torch.zeros(1, 1, 2, 2, 2)).device.type == "cpu"
    assert made.total.parameters == 4 + 4 + 6


def test_of_another_window_it_is_the_same_network():
    small, large = (composition(nn.Conv3d(1, 2, 3), size, 1) for size in ((4, 4, 4), (6, 6, 6)))
    assert (small.total.multiply_adds, large.total.multiply_adds) == (8 * 54, 64 * 54)
    assert small.total.parameters == large.total.parameters == 56


def test_networks_of_two_axes_count_too():
    made = composition(nn.Conv2d(3, 5, 3, padding=1), (6, 7), 3)
    assert made.rows == (Row("conv", (3, 3), 1, 3 * 5 * 9 + 5, 42 * 3 * 5 * 9, 42 * 5),)


def refusing(self, x):
    raise ValueError("edges must be\ndivisible by 16")


@pytest.mark.parametrize(
    "network, words",
    [
        (nn.Conv3d(2, 1, 1), r"does not take a window of 4x4x4 voxels with 1 channel\(s\): .*channel"),
        (Forwards(refusing), "divisible by 16$"),
        (Forwards(lambda s, x: x if x.sum() > 0 else -x), "depends on numbers in its tensors"),
        (Forwards(lambda s, x: x * x.max().item()), "depends on numbers in its tensors"),
    ],
    ids=["channels", "own error", "a condition on values", "a number read"],
)
def test_what_cannot_be_counted_is_said_in_a_sentence(network, words):
    with pytest.raises(RequestError, match=words) as caught:
        composition(network, (4, 4, 4), 1)
    assert "\n" not in str(caught.value)


# dims, blocks per stage, and the README's TFLOPs at 128^3 (uni-medical/STU-Net @0652eaf)
STUNETS = {
    "small": ((16, 32, 64, 128, 256, 256), 1, 0.13),
    "base": ((32, 64, 128, 256, 512, 512), 1, 0.51),
    "large": ((64, 128, 256, 512, 1024, 1024), 2, 3.81),
    "huge": ((96, 192, 384, 768, 1536, 1536), 3, 12.60),
}


def stunet(size: str, last_pool: tuple[int, int, int]) -> Composition:
    dims, depth, _ = STUNETS[size]
    with torch.device("meta"):
        network = STUNet(1, 105, dims, (depth,) * 6, ((2, 2, 2),) * 4 + (last_pool,))
    return composition(network, (128, 128, 128), 1)


@pytest.mark.parametrize("size", STUNETS)
def test_the_tflops_of_stunets_readme_are_multiply_adds(size):
    """They are: of a network that pools by two everywhere, with five operations for each number that a norm writes.

    The published weights pool (1, 1, 2) last, which makes at most one hundredth more.
    """
    told = STUNETS[size][2]
    made = stunet(size, (2, 2, 2))
    norms = sum(row.activations for row in made.rows if row.kind == "norm")
    assert round((made.total.multiply_adds + 5 * norms) / 1e12, 2) == told
    assert stunet(size, (1, 1, 2)).total.multiply_adds / 1e12 == pytest.approx(told, rel=0.01)
