"""Folding: the same answer, and nothing that divides an activation, wherever nobody else reads it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench.quant import quantize
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.values import Recipe


def randomized(network: nn.Module) -> nn.Module:
    """Weights and biases, those of norms too, that are not what they were made as."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


last = nn.Conv3d(6, 4, 3, padding=1)
MAKERS = {
    "instance norm": (nn.Conv3d(4, 6, 3), nn.InstanceNorm3d(6, affine=True)),
    "instance norm without weight": (nn.Conv3d(4, 6, 3), nn.InstanceNorm3d(6)),
    "instance norm with statistics": (nn.Conv3d(4, 6, 3), nn.InstanceNorm3d(6, track_running_stats=True)),
    "batch norm": (nn.Conv3d(4, 6, 3), nn.BatchNorm3d(6)),
    "batch norm without weight": (nn.Conv3d(4, 6, 3), nn.BatchNorm3d(6, affine=False)),
    "group norm": (nn.Conv3d(4, 6, 3), nn.GroupNorm(2, 6)),
    "convolution": (nn.Conv3d(4, 6, 3),),
    "grouped convolution": (nn.Conv3d(4, 6, 3, groups=2, bias=False),),
    "transposed convolution": (nn.ConvTranspose3d(4, 6, 2, stride=2, groups=2),),
}
BETWEEN = {
    "nothing": (),
    "relu": (nn.ReLU(),),
    "in place": (nn.LeakyReLU(0.1, inplace=True), nn.Dropout(0.5)),
    "a slope for each channel": (nn.PReLU(6), nn.AvgPool3d(2)),
    "pooled, enlarged": (nn.MaxPool3d(2), nn.Upsample(scale_factor=2, mode="trilinear")),
}


def smoothed(network: nn.Module, x: torch.Tensor, text: str = "smooth") -> tuple[nn.Module, dict[str, str]]:
    made, receipt = quantize(network, Recipe.parse(f"w16a16 per-channel {text}"), [x, 0.5 * x])
    assert_same(made, network, x)
    return made, {line.path: line.transforms[0] for line in receipt.lines if line.transforms}


def assert_same(made: nn.Module, network: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(made(x), expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def steps(network: nn.Module) -> dict[str, int]:
    return {module.path: len(module.steps) for module in network.modules() if isinstance(module, QuantizedLayer)}


def image(*shape: int) -> torch.Tensor:
    scale = torch.logspace(-2, 2, shape[1]).reshape(-1, *[1] * (len(shape) - 2))
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * scale


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("maker", MAKERS)
def test_it_goes_into_what_makes_the_input(maker, between):
    network = randomized(chain(*MAKERS[maker], *BETWEEN[between], last))
    made, told = smoothed(network, image(1, 4, 8, 8, 8))
    path, into = str(len(network) - 1), str(len(MAKERS[maker]) - 1)
    assert told[path].endswith(f", folded into '{into}'") and "input channels divided by" in told[path]
    assert steps(made) == {"0": 1, path: 0}


def test_channels_last():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.first, self.second = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, x):
            windows = self.norm(x).view(2, 3, 2, 8).permute(0, 2, 1, 3).roll(1, 1).reshape(4, 3, 8)
            return self.second(self.first(windows).relu())

    made, told = smoothed(randomized(Tokens()), torch.randn(2, 6, 8))
    assert told["first"].endswith("folded into 'norm'") and told["second"].endswith("folded into 'first'")
    assert steps(made) == {"first": 0, "second": 0}


class Two(nn.Module):
    """Two layers that read one tensor."""

    def __init__(self):
        super().__init__()
        self.norm, self.left, self.right = nn.InstanceNorm3d(6), nn.Conv3d(6, 4, 3, padding=1), nn.Conv3d(6, 4, 1)
        with torch.no_grad():
            self.left.weight *= torch.logspace(-1, 1, 6).reshape(-1, 1, 1, 1)

    def forward(self, x):
        x = self.norm(x).relu()
        return self.left(x) + self.right(x)


def test_layers_that_read_one_tensor_share_the_factors_for_the_largest_of_their_weights():
    network, x = Two().eval(), image(1, 6, 5, 5, 5)
    made, told = smoothed(network, x)
    assert told["left"] == told["right"] and told["left"].endswith("folded into 'norm'")
    read = network.norm(torch.cat([x, 0.5 * x])).relu().amax((0, 2, 3, 4))
    weight = torch.maximum(network.left.weight.abs().amax((0, 2, 3, 4)), network.right.weight.abs().amax((0, 2, 3, 4)))
    torch.testing.assert_close(1 / made.norm.weight, (read / weight).sqrt().detach())


class Blocked(nn.Module):
    def __init__(self, forward, **modules: nn.Module):
        super().__init__()
        self.compute = forward
        self.make, self.read = nn.Conv3d(4, 4, 3, padding=1), nn.Conv3d(4, 4, 3, padding=1)
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.compute(self, x)


def twice_read(net, x):
    y = net.make(x)
    return net.read(y) + y


def answered(net, x):
    y = net.make(x)
    return torch.cat([net.read(y).mean((2, 3, 4)), net.other(y).mean((2, 3, 4))])


def kept_back(net, x):
    y = net.make(x)
    net.seen = y  # which is no reading: folding changes what others find there
    return net.read(y), y


BLOCKED = {
    "add reads the same": twice_read,
    "gelu makes what it reads": lambda net, x: net.read(nn.functional.gelu(net.make(x))),
    "cat makes what it reads": lambda net, x: net.read(torch.cat([net.make(x)[:, :2], x[:, :2]], 1)),
    "what comes from outside makes what it reads": lambda net, x: net.make(net.read(x)),
    "'make' is called 2 times": lambda net, x: net.read(net.make(net.make(x))),
    "it is called 2 times": lambda net, x: net.read(net.make(x)) + net.read(2 * x),
    "pad makes what it reads": lambda net, x: net.read(nn.functional.pad(net.make(x), [1] * 6, value=3.0)),
    "folded, the network's answer would change by": lambda net, x: net.read(net.make(x)[:, [1, 2, 3, 0]]),
}


@pytest.mark.parametrize("why", BLOCKED)
def test_elsewhere_the_activation_is_divided_and_the_receipt_says_why(why):
    made, told = smoothed(randomized(Blocked(BLOCKED[why])), image(1, 4, 6, 6, 6))
    assert f", on the activation: {why}" in told["read"]
    assert steps(made)["read"] == 1


def test_a_layer_that_is_not_smoothed_keeps_the_others_from_folding():
    network, x = randomized(Blocked(answered, other=nn.Conv3d(4, 4, 1))), image(1, 4, 6, 6, 6)
    for text, reader in (("smooth(on=read)", "other"), ("smooth keep(other)", "conv3d")):
        _, told = smoothed(network, x, text)
        assert told["read"].endswith(f"on the activation: {reader} reads the same")
    _, told = smoothed(network, x)
    assert told["read"].endswith("folded into 'make'")


def test_what_the_network_also_answers_is_left_alone():
    network, x = randomized(Blocked(kept_back)), image(1, 4, 6, 6, 6)
    made, receipt = quantize(network, Recipe.parse("w16a16 per-channel smooth"), [x])
    assert receipt.lines[1].transforms[0].endswith("on the activation: the network's answer reads the same")
    assert torch.allclose(made(x)[1], network(x)[1], rtol=1e-4, atol=1e-4)


def test_transforms_that_come_before_stay_where_they_are():
    network, x = randomized(chain(nn.Conv3d(4, 8, 3), nn.Conv3d(8, 8, 3))), image(1, 4, 7, 7, 7)
    _, receipt = quantize(network, Recipe.parse("w16a16 per-channel hadamard+smooth"), [x])
    assert receipt.lines[1].transforms[1].endswith("on the activation: other steps come before it")
    _, receipt = quantize(network, Recipe.parse("w16a16 per-channel svd(rank=2,on=0)+smooth"), [x])
    assert receipt.lines[1].transforms[1].endswith("on the activation: '0' has steps of its own")


@pytest.mark.parametrize("policy", ["engine", "per-tensor", "per-channel", "static-per-channel"])
def test_folded_or_not_the_quantized_network_is_the_same(policy, monkeypatch):
    network = randomized(
        chain(nn.Conv3d(4, 8, 3), nn.InstanceNorm3d(8, affine=True), nn.LeakyReLU(), nn.Conv3d(8, 4, 3))
    )
    x, recipe = image(1, 4, 9, 9, 9), Recipe.parse(f"w4a16 {policy} smooth")
    folded, _ = quantize(network, recipe, [x])
    assert steps(folded)["3"] == 0
    monkeypatch.setattr("medquanbench.quant.fold._found", lambda flow, layers: ([], dict.fromkeys(layers, "")))
    unfolded, _ = quantize(network, recipe, [x])
    assert steps(unfolded)["3"] == 1
    assert_same(folded, unfolded, x)
