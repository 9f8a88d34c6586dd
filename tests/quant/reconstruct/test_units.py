"""Units: what of a network is fitted as one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench import open_bundle
from medquanbench.quant import quantize
from medquanbench.quant.quantized import HELD_FLOAT, QuantizedLayer
from medquanbench.quant.reconstruct.units import CROP, Unit, find_units
from medquanbench.shelf import BUNDLES, names
from medquanbench.values import Recipe, State


def units(network: nn.Module, x: torch.Tensor, blocks: bool = True) -> tuple[list[Unit], frozenset[str]]:
    quantized, receipt = quantize(network.eval(), Recipe.parse("w4a4 per-channel"))
    for module in quantized.modules():
        if isinstance(module, QuantizedLayer):
            module.activation = HELD_FLOAT
    paths = frozenset(receipt.paths(State.QUANTIZED))
    return find_units(quantized, x, paths, blocks), paths


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride, 1), nn.InstanceNorm3d(outputs), nn.ReLU())


class Attention(nn.Module):
    """Four layers, a mask beside the input, and channels last."""

    def __init__(self, kept: int = 8):
        super().__init__()
        self.qkv, self.out, self.kept = nn.Linear(8, 24), nn.Linear(8, 8), kept
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x, mask=None):
        q, k, v = self.qkv(x).chunk(3, -1)
        x = x + self.out((q @ k.mT + mask).softmax(-1) @ v)
        return x + self.mlp(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(1, 4), conv(4, 4))
        self.down = nn.ModuleList([conv(4, 8, 2), conv(8, 8)])
        self.idle, self.twice = nn.Conv3d(8, 8, 1), conv(8, 8)
        self.attention, self.varying = Attention(), Attention()
        self.decoder = nn.ModuleDict({"stem": self.stem, "up": nn.ConvTranspose3d(8, 4, 2, 2)})
        self.out = nn.Conv3d(8, 2, 1)

    def forward(self, x):
        skip = self.stem(x)
        y = skip
        for stage in self.down:
            y = stage(y)
        y = self.twice(self.twice(y))
        tokens = y.flatten(2).mT
        tokens = self.attention(tokens, mask=torch.eye(tokens.shape[1]))
        tokens = self.varying(tokens, tokens[..., :1])
        y = tokens.mT.reshape(y.shape)
        return self.out(torch.cat([skip, self.decoder["up"](y)], 1))


def test_blocks_are_the_largest_modules_of_one_tensor_and_few_layers_in_the_order_in_which_they_run():
    found, _ = units(Net(), torch.randn(1, 1, 8, 8, 8))
    assert [unit.path for unit in found] == [
        "stem", "down.0", "down.1", "twice.0", "attention", "varying.qkv", "varying.out", "varying.mlp",
        "decoder.up", "out",
    ]  # fmt: skip
    by_path = {unit.path: unit for unit in found}
    assert by_path["stem"].layers == ("stem.0.0", "stem.1.0")
    assert by_path["attention"].layers == ("attention.qkv", "attention.out", "attention.mlp.0", "attention.mlp.2")
    assert torch.equal(by_path["attention"].rest[1]["mask"], torch.eye(64))
    assert by_path["twice.0"].calls == 2 and by_path["varying.mlp"].layers == ("varying.mlp.0", "varying.mlp.2")


def test_without_blocks_every_layer_is_a_unit_and_knows_its_norm():
    found, paths = units(Net(), torch.randn(1, 1, 8, 8, 8), blocks=False)
    assert {unit.path for unit in found} == {*paths} - {"idle"} and all(unit.layers == (unit.path,) for unit in found)
    assert {unit.path for unit in found if unit.normed} == {"stem.0.0", "stem.1.0", "down.0.0", "down.1.0", "twice.0"}


def test_crops_are_taken_of_large_maps_that_convolutions_read():
    net = nn.Sequential(conv(1, 2), conv(2, 2))
    (unit,), _ = units(net, torch.randn(1, 1, 40, 48, 40))
    assert unit.crop == (28, 36, 28) and 28 * 36 * 28 <= CROP
    assert unit.work == 28 * 36 * 28 * 27 * (2 + 4) and unit.values == (28 * 36 * 28, 2 * 28 * 36 * 28)
    (small,), _ = units(net, torch.randn(1, 1, 16, 16, 16))
    assert small.crop is None

    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(1, 2, 3, padding=1)

        def forward(self, x):
            return self.conv(x).roll(1, 2)

    (unit,), _ = units(Mixing(), torch.randn(1, 1, 40, 48, 40))
    assert unit.crop is None


@pytest.mark.parametrize("name", names(BUNDLES))
def test_units_of_every_bundle_hold_each_layer_that_runs_once(name):
    bundle = open_bundle(name)
    network = bundle.network()
    x = torch.randn(1, bundle.channels, *bundle.window.size)
    found, _ = units(network, x)
    held = [path for unit in found for path in unit.layers]
    singles, _ = units(network, x, blocks=False)
    assert sorted(held) == sorted(unit.path for unit in singles) and len(set(held)) == len(held)
    assert len(found) < 0.75 * len(singles)  # nearly all stand in blocks
    assert [unit.order for unit in found] == sorted(unit.order for unit in found)
