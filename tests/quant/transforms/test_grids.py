"""branches and asymmetric: transforms that change the grids of activations, not the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench import open_bundle, shelf
from medquanbench.quant import audit, quantize
from medquanbench.quant.fake import place_of
from medquanbench.quant.granularity import PER_SAMPLE
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.joins import Joins
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import Recipe, RequestError


class Skip(nn.Module):
    """A convolution that reads its input's two halves again, the first of them a hundred times as large."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv3d(4, 6, 3, padding=1), nn.Conv3d(10, 3, 1)

    def forward(self, x):
        return self.second(torch.cat((100 * x, self.first(x)), dim=1))


def images(count: int = 2) -> list[torch.Tensor]:
    return list(torch.randn(count, 2, 4, 5, 5, 5, generator=torch.Generator().manual_seed(0)))


def read_by(layer: QuantizedLayer) -> list[torch.Tensor]:
    """Fills with what the layer inside multiplies with its weight."""
    seen: list[torch.Tensor] = []
    layer.layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    return seen


@pytest.mark.parametrize("policy", ["per-tensor", "static-per-tensor"])
def test_a_concatenation_is_held_as_its_parts_alone_would_be(policy):
    network, x = Skip().eval(), images()
    calibration = [torch.cat((100 * image, network.first(image)), 1).detach() for image in x]
    joined, _ = quantize(network, Recipe.parse(f"w16a4 {policy} branches keep(first)"), x)
    seen = read_by(joined.second)
    with torch.no_grad():
        joined(x[0])
    for kept in (slice(0, 4), slice(4, 10)):
        inputs = [image[:, kept] for image in calibration]
        layer = nn.Conv3d(kept.stop - kept.start, 3, 1)
        alone, _ = quantize(layer, Recipe.parse(f"w16a4 {policy}"), inputs if "static" in policy else None)
        expected = read_by(alone)
        with torch.no_grad():
            alone(inputs[0])
        assert torch.equal(seen[0][:, kept], expected[0])


def error_of(network: nn.Module, text: str, x: list[torch.Tensor]) -> float:
    recipe = Recipe.parse(text)
    made, receipt = quantize(network, recipe, x if "branches" in text or "static" in text else None)
    with torch.no_grad():
        return float((made(x[0]) - network(x[0])).square().mean())


def test_the_small_branch_is_no_longer_lost():
    network = Skip().eval()
    with torch.no_grad():
        network.second.weight[:, :4] *= 0.01
    for policy in ("per-tensor", "static-per-tensor"):
        plain, branches = (error_of(network, f"w16a4 {policy}{text}", images()) for text in ("", " branches"))
        assert branches < 0.2 * plain


def test_receipts_tell_of_branches():
    made, receipt = quantize(Skip(), Recipe.parse("w4a4 per-tensor branches"), images())
    with torch.no_grad():
        made(images()[0])
    first, second = audit(made, receipt).lines
    assert first.transforms == ("branches: not done: it reads no concatenation of channels",)
    assert second.transforms == ("branches: branches of 4 and 6 channels",)
    assert second.activation.note == "a scale for each of 2 sections of channels"
    with pytest.raises(
        RequestError, match="'branches' changes none of 2 layers: it reads no concatenation .*; its input"
    ):
        quantize(Skip(), Recipe.parse("w4a4 static-per-channel branches"), images())


def test_concatenations_are_known_by_axis_and_shape():
    a, b = torch.zeros(1, 2, 3), torch.zeros(1, 5, 3)
    with Joins() as joins:
        channels, last = torch.cat((a, b), dim=1), torch.concat([a, a], -1)
    assert joins.sections(channels, -2) == (2, 5) and joins.sections(channels, -1) == ()
    assert joins.sections(last, -1) == (3, 3)
    assert joins.sections(channels[:, :2], -2) == () and joins.sections(torch.zeros(1, 7, 3), -2) == ()


FOUND = {"nnunet": 3, "stunet": 3, "swinunetr": 5, "unetr": 4, "unest": 4, "medformer": 2, "segresnet": 0}


@pytest.mark.parametrize("name", [name for name in shelf.names(shelf.BUNDLES) if FOUND.get(name) != 0])
def test_every_u_net_reads_skip_connections(name):
    bundle = open_bundle(name)
    x = torch.rand((1, bundle.channels, *bundle.window.size), generator=torch.Generator().manual_seed(0))
    made, receipt = quantize(bundle.network(), Recipe.parse("w4a4 per-tensor branches"), [x])
    lines = [line for line in receipt.lines if line.transforms]  # Swin has parameters that belong to no layer
    reading = [line.path for line in lines if "not done" not in line.transforms[0]]
    assert len(reading) >= FOUND.get(name, 1)
    layers = {module.path: module for module in made.modules() if isinstance(module, QuantizedLayer)}
    assert all(sum(layers[path].sections) == layers[path].kind.inputs for path in reading)


# ---- groups


@pytest.mark.parametrize("policy", ["per-tensor", "static-per-tensor", "engine"])
def test_groups_are_held_as_they_would_be_alone(policy):
    x = [torch.randn(1, 10, 4, 4, 4) * torch.logspace(-2, 2, 10).reshape(1, 10, 1, 1, 1) for _ in range(2)]
    made, receipt = quantize(
        nn.Conv3d(10, 3, 1), Recipe.parse(f"w16a4 {policy} groups(size=4)"), calibration(policy, x)
    )
    seen = read_by(made)
    with torch.no_grad():
        made(x[0])
    for kept in (slice(0, 4), slice(4, 8), slice(8, 10)):
        parts = [image[:, kept] for image in x]
        layer = nn.Conv3d(kept.stop - kept.start, 3, 1)
        alone, _ = quantize(layer, Recipe.parse(f"w16a4 {policy}"), calibration(policy, parts))
        expected = read_by(alone)
        with torch.no_grad():
            alone(parts[0])
        assert torch.equal(seen[0][:, kept], expected[0])
    (line,) = audit(made, receipt).lines
    assert line.transforms == ("groups(size=4): 3 groups of at most 4 input channels",)
    assert line.activation.note == "a scale for each of 3 sections of channels"


def calibration(policy: str, x: list[torch.Tensor]) -> list[torch.Tensor] | None:
    return None if policy == "per-tensor" else x


def test_groups_keep_branches_apart():
    made, _ = quantize(Skip(), Recipe.parse("w4a4 engine branches+groups(size=4)"), images())
    assert made.second.sections == (4, 4, 2) and made.first.sections == ()
    with pytest.raises(RequestError, match="size is a whole number above 1"):
        quantize(Skip(), Recipe.parse("w4a4 per-tensor groups(size=1)"))
    with pytest.raises(
        RequestError, match="changes none of 2 layers: its 10 input channels are one group of 16; its 4"
    ):
        quantize(Skip(), Recipe.parse("w4a4 per-tensor groups"))


# ---- asymmetric


def test_an_asymmetric_grid_spans_what_a_sample_holds():
    x = torch.stack([torch.linspace(0, 15, 16), torch.linspace(-1, 2, 16)]).reshape(2, 1, 2, 2, 2, 2)
    layer = nn.Conv3d(2, 1, 1, bias=False)
    made, receipt = quantize(layer, Recipe.parse("w16a4 per-tensor asymmetric"))
    seen: list[torch.Tensor] = []
    made.layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        made(x.reshape(2, 2, 2, 2, 2))
    assert torch.equal(seen[0][0].flatten(), torch.arange(16.0))
    assert torch.allclose(seen[0][1].flatten(), torch.linspace(-1, 2, 16), atol=1e-6)
    (line,) = audit(made, receipt).lines
    assert line.activation.effective_bits == 4 + (32 + 4) / 16
    assert line.transforms == ("asymmetric: its input on an asymmetric grid",)


@pytest.mark.parametrize("policy", ["per-tensor", "per-channel", "adaptive", "per-voxel"])
def test_what_is_one_sided_loses_less(policy):
    x = torch.rand(1, 8, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    layer = nn.Conv3d(8, 8, 1)
    assert error_of(layer, f"w16a4 {policy} asymmetric", [x]) < 0.4 * error_of(layer, f"w16a4 {policy}", [x])


def test_asymmetric_changes_nothing_where_scales_are_static():
    with pytest.raises(
        RequestError, match="'asymmetric' changes none of 1 layers: its static grid is asymmetric alread"
    ):
        quantize(nn.Conv3d(2, 2, 1), Recipe.parse("w4a4 engine asymmetric"), [torch.zeros(1, 2, 2, 2, 2)])


def test_the_grid_of_a_tensor_is_that_of_its_bounds():
    x = torch.randn(2, 3, 4, 4, 4)
    spec = TensorSpec(IntegerGrid(4), PER_SAMPLE, OBSERVERS["absmax"])
    placed = place_of(x, ("n", "c", "d", "h", "w"), spec)
    for sample, found in zip(x, placed.quantize(x)):
        low, high = sample.min(), sample.max()
        step = (high - low) / 15
        zero = torch.round(-low / step)
        assert torch.equal(found, torch.clamp(torch.round(sample / step), -zero, 15 - zero) * step)
