"""Samples: what is gathered of a unit's inputs in both networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench.quant import quantize
from medquanbench.quant.quantized import HELD_FLOAT, QuantizedLayer
from medquanbench.quant.reconstruct.samples import Wanted, gather
from medquanbench.quant.reconstruct.units import find_units
from medquanbench.values import Recipe, RunError


def networks(float_network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A quantized network, and one of quantized layers that is float."""
    pair = [quantize(float_network.eval(), Recipe.parse("w3a3 per-channel"))[0], None]
    pair[1] = quantize(float_network, Recipe.parse("w16a8 per-channel"))[0]
    for module in pair[1].modules():
        if isinstance(module, QuantizedLayer):
            module.activation = HELD_FLOAT
    return pair[0], pair[1]


def conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, padding=1), nn.InstanceNorm3d(outputs), nn.ReLU(inplace=True))


def places(whole: torch.Tensor, part: torch.Tensor) -> list[tuple[int, ...]]:
    """Where a crop lies in a tensor (1, 1, ...)."""
    windows = whole[0, 0]
    for axis, size in enumerate(part.shape[2:]):
        windows = windows.unfold(axis, size, 1)
    return torch.nonzero((windows == part[0, 0]).flatten(3).all(3)).tolist()


def test_crops_lie_at_one_place_in_both_networks_and_the_float_unit_answers_them():
    quantized, original = networks(nn.Sequential(conv(1, 2), conv(2, 1)))
    x = [torch.randn(1, 1, 44, 40, 44) for _ in range(3)]
    (unit,) = find_units(original, x[0], frozenset({"0.0", "1.0"}), True)
    batch = next(module.batch for module in quantized.modules() if isinstance(module, QuantizedLayer))
    asked = [Wanted(unit, frozenset({0, 2}), 2)]
    found = gather(asked, quantized, original, batch, enumerate(x), mixes=True)[unit.path]
    assert [one.window for one in found] == [0, 0, 2, 2] and all(one.is_image and one.samples == 1 for one in found)
    seen = [places(x[one.window], one.read) for one in found]
    assert all(len(place) == 1 for place in seen) and seen[0] != seen[1]
    for one in found:
        assert one.read.shape[2:] == unit.crop and one.float_read is None  # the image is the same in both
        with torch.no_grad():
            torch.testing.assert_close(one.target, original(one.read.clone()), rtol=0, atol=0)
    again = gather(asked, quantized, original, batch, enumerate(x), mixes=True)[unit.path]
    assert all(torch.equal(a.read, b.read) for a, b in zip(found, again))


def test_a_later_unit_reads_what_the_networks_make_and_no_more_is_run_than_it_needs():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict({"a": conv(1, 2), "b": conv(2, 2), "c": conv(2, 2), "d": conv(2, 1)})
            self.last = 0

        def forward(self, x):
            x = self.parts["c"](self.parts["b"](self.parts["a"](x)))
            self.last += 1
            return self.parts["d"](x), self.parts["d"](x)

    quantized, original = networks(Chain())
    x = torch.randn(2, 1, 6, 6, 6)
    layers = frozenset(f"parts.{name}.0" for name in "abcd")
    units = {unit.path: unit for unit in find_units(original, x, layers, True)}
    assert list(units) == ["parts.a", "parts.b", "parts.c", "parts.d.0"] and units["parts.d.0"].calls == 2
    batch = next(module.batch for module in quantized.modules() if isinstance(module, QuantizedLayer))
    ran = quantized.last
    asked = [Wanted(units["parts.b"], frozenset({0}), 1)]
    (one,) = gather(asked, quantized, original, batch, [(0, x)], mixes=True)["parts.b"]
    assert quantized.last == ran and one.samples == 2 and not one.is_image
    with torch.no_grad():
        with batch.part(2, x):
            torch.testing.assert_close(one.read, quantized.parts["a"](x), rtol=0, atol=0)
        torch.testing.assert_close(one.float_read, original.parts["a"](x), rtol=0, atol=0)
    assert not torch.equal(one.read, one.float_read)


def test_infinity_in_a_target_is_refused():
    quantized, original = networks(nn.Sequential(conv(1, 2), conv(2, 1)))
    x = torch.randn(1, 1, 6, 6, 6)
    units = find_units(original, x, frozenset({"0.0", "1.0"}), True)
    batch = next(module.batch for module in quantized.modules() if isinstance(module, QuantizedLayer))
    quantized_alone = quantize(nn.Sequential(conv(1, 2), conv(2, 1)).eval(), Recipe.parse("w3a16 per-channel"))[0]
    broken = torch.full_like(x, float("nan"))
    with pytest.raises(RunError, match="NaN or infinity in what 'the network'"):
        gather([Wanted(units[0], frozenset({0}), 1)], quantized_alone, original, batch, [(0, broken)], mixes=False)
