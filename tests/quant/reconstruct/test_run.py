"""Learned rounding as a part of a whole recipe: adaround, brecq, qdrop."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from medquanbench.quant import audit, check, needs_calibration, quantize, take_image_step
from medquanbench.quant.formats import FORMATS
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.layers import weight_groups
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.reconstruct.up_or_down import levels_of
from medquanbench.values import Receipt, Recipe, RequestError, RunError

TERMS = ("adaround(steps=40)", "brecq(steps=40)", "qdrop(steps=40)")
BASES = {
    "w3a16 per-channel": 3, "w2a4 engine clip+gptq+": 2, "w3a3 adaptive gptq+": 3, "w3a4 static-per-channel": 3,
    "w4a4 engine branches+svd(rank=1)+": 4,
}  # fmt: skip


class Toy(nn.Module):
    """Two convolutions with norms, one at half the resolution and back, a depthwise one, a skip, a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv3d(1, 6, 3, padding=1), nn.InstanceNorm3d(6, affine=True), nn.LeakyReLU(inplace=True),
            nn.Conv3d(6, 6, 3, padding=1), nn.InstanceNorm3d(6), nn.ReLU(),
        )  # fmt: skip
        self.down = nn.Sequential(nn.Conv3d(6, 8, 2, 2), nn.ReLU(), nn.Conv3d(8, 8, 3, padding=1, groups=8))
        self.up = nn.ConvTranspose3d(8, 6, 2, 2)
        self.mix = nn.Conv3d(12, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        skip = self.first(x)
        y = self.mix(torch.cat([self.up(self.down(skip)), skip], 1))
        return self.head(y.movedim(1, -1)).movedim(-1, 1)


@cache
def toy() -> nn.Module:
    torch.manual_seed(0)
    return Toy().eval()


def inputs(count: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, 1, 8, 8, 8, generator=generator) for _ in range(count)]


def text(base: str, term: str) -> str:
    return base + term if base.endswith("+") else f"{base} {term}"


def made(recipe: str, network: nn.Module | None = None) -> tuple[nn.Module, Receipt]:
    return quantize(network or toy(), Recipe.parse(recipe), inputs(12, seed=1))


def error(network: nn.Module, quantized: nn.Module, seen: list[torch.Tensor]) -> float:
    with torch.no_grad():
        missed = sum(float((quantized(x) - network(x)).square().sum()) for x in seen)
        return missed / sum(float(network(x).square().sum()) for x in seen)


def layers(network: nn.Module) -> dict[str, QuantizedLayer]:
    return {module.path: module for module in network.modules() if isinstance(module, QuantizedLayer)}


# ---- what comes out lies on the grid, and is told


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("base", BASES)
def test_every_weight_lies_on_the_grid_of_the_scale_that_it_had(base, term):
    learned, receipt = made(text(base, term))
    before = Recipe.parse(base.removesuffix("+"))
    start = quantize(toy(), before, inputs(12, seed=1) if needs_calibration(before) else None)[0]
    moved = 0
    for path, layer in layers(learned).items():
        other = layers(start)[path]
        rows, begun = (weight_groups(one.layer, one.kind) for one in (layer, other))
        if layer.channel_steps is not None:
            steps = layer.channel_steps.reshape(layer.kind.groups, 1, -1, 1)
            rows, begun = rows * steps, begun * steps
        rows, begun = rows.flatten(2), begun.flatten(2)
        levels = levels_of(IntegerGrid(BASES[base]))
        # The scale of a row is that with which both lie on integers.
        tried = begun.abs().amax(-1, keepdim=True) / levels[levels > 0][:, None, None, None]
        off = ((begun / tried).round() - begun / tried).abs().amax(-1, keepdim=True)
        off = off + ((rows / tried).round() - rows / tried).abs().amax(-1, keepdim=True)
        assert float(off.amin(0).max()) < 1e-3, path
        moved += int((rows - begun).abs().gt(1e-6).sum())
    assert moved or "gptq" in base  # which leaves little to move where layers are as small as these
    assert audit(learned, receipt) and take_image_step(learned) is None
    told = [line.transforms[-1] for line in receipt.lines]
    assert all("output error" in words or "kept: learned rounding brought" in words for words in told)


@pytest.mark.parametrize("recipe", ["mxfp4 qdrop(steps=30)", "w4a16 nf4 brecq(steps=30)", "nvfp4 adaround(steps=30)"])
def test_weights_of_a_format_stay_in_it(recipe):
    learned, receipt = made(recipe)
    start = quantize(toy(), Recipe.parse(recipe.rpartition(" ")[0]))[0]
    levels = levels_of(FORMATS[Recipe.parse(recipe).format].grid)
    nonzero = levels[levels.abs() > 0]
    for path in ("first.3", "mix", "up"):
        rows, begun = (weight_groups(layers(one)[path].layer, layers(one)[path].kind) for one in (learned, start))
        # All inputs of an output and position are one block here; the largest of a block is on a level with its scale.
        largest = begun.abs().amax(2, keepdim=True)
        scales = largest / nonzero.reshape(-1, 1, 1, 1, 1).abs()
        distance = ((rows / scales)[..., None] - levels).abs().amin(-1).amax(3, keepdim=True)
        assert float(distance.amin(0).max()) < 1e-3, path
    assert any("of before" in line.transforms[-1] for line in receipt.lines)


def test_blocks_and_layers_are_named_in_the_receipt():
    _, receipt = made("w2a4 engine clip+brecq(steps=40)")
    told = {line.path: line.transforms[-1] for line in receipt.lines}
    assert "block 'first': " in told["first.0"] and told["first.0"].split("; ")[-1] == told["first.3"].split("; ")[-1]
    assert "layer: " in told["up"]
    _, receipt = made("w2a4 engine clip+adaround(steps=40)")
    assert all("layer: " in line.transforms[-1] for line in receipt.lines)


# ---- what it is good for


@pytest.mark.parametrize(
    "nearest, others, term",
    [
        ("w2a16 per-channel", ("w2a16 per-channel clip", "w2a16 per-channel clip+gptq"), "brecq"),
        ("w2a4 engine", ("w2a4 engine clip",), "qdrop"),
    ],
)
def test_two_bits_are_nearer_on_inputs_not_seen_than_what_it_began_with(nearest, others, term):
    network, given, unseen = toy().first, inputs(16, seed=3), inputs(8, seed=4)

    def reached(recipe: str) -> float:
        parsed = Recipe.parse(recipe)
        return error(network, quantize(network, parsed, given if needs_calibration(parsed) else None)[0], unseen)

    assert reached(f"{others[-1]}+{term}(steps=100)") < min(map(reached, (nearest, *others)))


@pytest.mark.parametrize("term", TERMS)
def test_eight_bits_are_no_worse(term):
    before, after = (error(toy(), made(one)[0], inputs(6, seed=2)) for one in ("w8a8 engine", f"w8a8 engine {term}"))
    assert after < 1.02 * before


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("base", ["w2a2 engine", "w3a4 per-channel"])
def test_the_network_is_no_further_on_inputs_kept_aside_than_with_what_it_began_with(base, term):
    given = inputs(8, seed=7)
    needs = needs_calibration(Recipe.parse(base))
    start, _ = quantize(toy(), Recipe.parse(base), given if needs else None)
    learned, receipt = quantize(toy(), Recipe.parse(f"{base} {term}"), given)
    assert any("of before" in line.transforms[-1] for line in receipt.lines)
    assert error(toy(), learned, given[-2:]) < error(toy(), start, given[-2:])


def test_only_what_is_better_on_inputs_kept_aside_is_taken(monkeypatch):
    from medquanbench.quant.reconstruct import fit

    monkeypatch.setattr(fit, "RATE", 50.0)  # leaves nothing where it should be
    learned, receipt = made("w4a4 engine gptq+qdrop(steps=3)")
    start, _ = made("w4a4 engine gptq")
    kept = [line.path for line in receipt.lines if "kept: learned rounding brought" in line.transforms[-1]]
    assert len(kept) > 4
    for path in kept:
        assert torch.equal(layers(learned)[path].layer.weight, layers(start)[path].layer.weight)
        assert torch.equal(layers(learned)[path].placed, layers(start)[path].placed)


# ---- order, repetition, and what is left alone


def test_the_same_twice_and_the_float_network_is_left_as_it_was():
    before = [value.clone() for value in toy().state_dict().values()]
    state = torch.random.get_rng_state()
    one, two = (made("w3a3 engine qdrop(steps=20)") for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one[1] == two[1]
    assert all(torch.equal(*pair) for pair in zip(one[0].state_dict().values(), two[0].state_dict().values()))
    assert all(torch.equal(*pair) for pair in zip(before, toy().state_dict().values()))
    assert not any(value.requires_grad and value.grad is not None for value in one[0].parameters())


def test_learned_steps_are_static_ones_alone_and_a_branch_has_one():
    learned, _ = made("w3a3 engine branches+qdrop(steps=40)")
    start, _ = made("w3a3 engine branches")
    assert any(not torch.equal(layers(learned)[p].placed, layers(start)[p].placed) for p in layers(start))
    mix = layers(learned)["mix"]
    assert mix.sections == (6, 6) and len(mix.placed[0].unique()) == 2
    for path, layer in layers(learned).items():
        assert torch.equal(layer.placed[1:], layers(start)[path].placed[1:])  # integers: zero stays on the grid
    for recipe in ("w3a3 engine brecq(steps=20)", "w3a3 static-per-channel qdrop(steps=20)"):
        learned, _ = made(recipe)
        start, _ = made(" ".join(recipe.split()[:2]))
        several = [path for path, layer in layers(start).items() if layer.kind.inputs > 1]
        assert all(torch.equal(layers(learned)[path].placed, layers(start)[path].placed) for path in several)


def test_batches_and_a_single_input_will_do():
    given = [torch.cat(inputs(2, seed=5)), torch.cat(inputs(3, seed=6))]
    for calibration in (given, given[:1]):
        learned, receipt = quantize(toy(), Recipe.parse("w2a4 per-channel qdrop(steps=20)"), calibration)
        assert any("of before" in line.transforms[-1] for line in receipt.lines)
        with torch.no_grad():
            whole, single = learned(given[1]), torch.cat([learned(x[None]) for x in given[1]])
        torch.testing.assert_close(whole, single)


def test_a_layer_that_runs_twice_and_one_that_never_runs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.idle = nn.Conv3d(2, 2, 3, padding=1), nn.Conv3d(2, 2, 3)

        def forward(self, x):
            return self.conv(self.conv(x).relu())

    given = [torch.cat(inputs(2, seed=k)).movedim(0, 1) for k in range(6)]
    _, receipt = quantize(Twice(), Recipe.parse("w2a4 engine brecq(steps=20)"), given)
    told = {line.path: line.transforms[-1] for line in receipt.lines}
    assert told["conv"].startswith("weight: layer: ")
    assert told["idle"] == "weight: rounding not learned: no calibration input reached it"


# ---- what is refused


@pytest.mark.parametrize(
    "recipe, message",
    [
        ("w4a4 engine adaround(steps=0)", "steps is a whole number above 0"),
        ("w4a4 engine qdrop(steps=2.5)", "steps is a whole number above 0"),
        ("w4a4 engine qdrop(drop=1.5)", "drop is a number from 0 to 1"),
        ("w4a4 engine qdrop(drop=-0.1)", "drop is a number from 0 to 1"),
        ("w4a4 engine brecq(drop=0.5)", "drop"),
        ("w4a4 engine adaround+brecq", "a recipe has one"),
        ("w4a4 engine qdrop+qdrop", "twice"),
        ("w16a4 engine brecq", "w16 leaves weights in float"),
    ],
)
def test_what_cannot_be_asked_for(recipe, message):
    with pytest.raises(RequestError, match=message):
        check(toy(), Recipe.parse(recipe))


def test_calibration_is_needed_and_must_be_finite():
    with pytest.raises(RequestError, match="adaround looks at what layers read"):
        quantize(toy(), Recipe.parse("w4a16 per-channel adaround"))
    with pytest.raises(RequestError, match="has no inputs"):
        quantize(toy(), Recipe.parse("w4a16 per-channel adaround"), [])
    broken = inputs(2, seed=1)
    broken[1][0, 0, 3] = float("inf")
    with pytest.raises(RunError, match="NaN or infinity in what 'first'"):
        quantize(toy(), Recipe.parse("w4a16 per-channel brecq(steps=2)"), broken)
