"""Methods: weights rounded beyond the nearest, as a part of a whole recipe."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench.quant import METHODS, audit, quantize
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.layers import weight_groups
from medquanbench.quant.rounding import nearest
from medquanbench.values import Recipe, RequestError, RunError

LAYERS = {
    "conv": (nn.Conv3d(6, 8, 3, padding=1), (6, 6, 5, 6)),
    "strided, dilated": (nn.Conv3d(6, 8, 3, padding=2, stride=2, dilation=2, bias=False), (6, 7, 8, 7)),
    "padded to the same": (nn.Conv3d(6, 8, (1, 3, 2), padding="same"), (6, 4, 6, 5)),
    "flat": (nn.Conv2d(6, 8, 3), (6, 7, 9)),
    "grouped": (nn.Conv3d(6, 8, 3, padding=1, groups=2), (6, 5, 5, 5)),
    "depthwise": (nn.Conv3d(6, 6, 3, padding=1, groups=6), (6, 5, 5, 5)),
    "transposed": (nn.ConvTranspose3d(6, 8, 2, stride=2), (6, 4, 4, 4)),
    "transposed, uneven": (nn.ConvTranspose3d(6, 8, 3, stride=2, padding=1, output_padding=1), (6, 4, 4, 4)),
    "linear": (nn.Linear(12, 8), (40, 12)),
}
TEXTS = ("gptq", "descend", "gptq+descend", "clip+gptq", "gptq+bias", "clip+gptq+descend(sweeps=3)+bias")


def inputs(shape: tuple[int, ...], count: int = 3) -> list[torch.Tensor]:
    """Inputs whose channels and neighbours are correlated, and whose mean is not zero."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(shape[0], shape[0], generator=generator)
    made = []
    for _ in range(count):
        x = torch.randn(1, *shape, generator=generator).cumsum(-1)
        x = (
            torch.einsum("nc...,cd->nd...", x, mix)
            if len(shape) > 2
            else x @ torch.ones(shape[-1], shape[-1]) * 0.1 + x
        )
        made.append(x + 0.5)
    return made


def error(layer: nn.Module, made: nn.Module, x: list[torch.Tensor], free_mean: bool = False) -> float:
    with torch.no_grad():
        differences = torch.cat([(made(one) - layer(one)).flatten(2) for one in x], 2 if x[0].dim() > 3 else 1)
    axis = (0, 2) if x[0].dim() > 3 else (0, 1)
    differences = differences - differences.mean(axis, keepdim=True) if free_mean else differences
    return float(differences.double().square().sum())


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_output_on_what_it_was_fitted_to_is_no_further_than_with_nearest_weights(name, text):
    layer, shape = LAYERS[name]
    x = inputs(shape)
    fitted, receipt = quantize(layer, Recipe.parse(f"w3a16 per-channel {text}"), x)
    clipped = "per-channel clip" if "clip" in text else "per-channel"
    plain, _ = quantize(layer, Recipe.parse(f"w3a16 {clipped}"))
    found, before = error(layer, fitted, x), error(layer, plain, x)
    assert found <= before * (1 + 1e-4)
    assert "bias" in text or "grouped" in name or name == "depthwise" or found < 0.95 * before
    told = receipt.lines[0].transforms[-1]
    assert "the output's squared error is" in told and ("bias corrected" in told) == ("bias" in text)


@pytest.mark.parametrize("name", LAYERS)
def test_weights_stay_on_the_grid_of_their_scales(name):
    layer, shape = LAYERS[name]
    fitted, _ = quantize(layer, Recipe.parse("w4a16 per-channel gptq+descend"), inputs(shape))
    rows = weight_groups(layer, fitted.kind).flatten(2)
    scale = rows.abs().amax(-1, keepdim=True) / 7
    found = weight_groups(fitted.layer, fitted.kind).flatten(2)
    torch.testing.assert_close(found, nearest(found, scale, IntegerGrid(4)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_a_corrected_bias_takes_the_mean_of_the_error_away(name):
    layer, shape = LAYERS[name]
    x = inputs(shape)
    made, _ = quantize(layer, Recipe.parse("w3a16 per-channel bias"), x)
    with torch.no_grad():
        difference = torch.cat([made(one) - layer(one) for one in x])
        plain = quantize(layer, Recipe.parse("w3a16 per-channel"))[0]
        before = torch.cat([plain(one) - layer(one) for one in x])
    axes = [i for i in range(difference.dim()) if i != (1 if len(shape) > 2 else difference.dim() - 1)]
    assert difference.mean(axes).abs().max() < 1e-3 * before.mean(axes).abs().max() + 1e-5


def test_clipping_is_told_and_never_further_from_the_weights():
    layer = nn.Conv3d(6, 8, 3)
    with torch.no_grad():
        layer.weight[:, 0, 0, 0, 0] *= 9
    for policy in ("per-channel", "per-tensor"):
        errors = []
        for text in ("", " clip"):
            made, receipt = quantize(layer, Recipe.parse(f"w4a16 {policy}{text}"))
            errors.append(float((made.layer.weight - layer.weight).square().sum()))
        assert errors[1] < 0.9 * errors[0]
        assert receipt.lines[0].transforms[0].startswith("weight: scales at ")


NORMS = {
    "instance norm": lambda: nn.InstanceNorm3d(8),
    "a group norm of single channels": lambda: nn.GroupNorm(8, 8),
}


@pytest.mark.parametrize("norm", NORMS)
def test_in_front_of_an_instance_norm_no_bias_is_corrected(norm):
    network, x = nn.Sequential(nn.Conv3d(6, 8, 3), NORMS[norm]()), inputs((6, 6, 6, 6))
    plain, _ = quantize(network, Recipe.parse("w3a16 per-channel"))
    made, receipt = quantize(network, Recipe.parse("w3a16 per-channel bias"), x)
    torch.testing.assert_close(made[0].layer.weight, plain[0].layer.weight, rtol=0, atol=1e-7)
    assert torch.equal(made[0].layer.bias, network[0].bias)
    assert receipt.lines[0].transforms[0].endswith(
        "no bias corrected: the instance norm behind takes any mean away"
    )  # fmt: skip


def test_in_front_of_an_instance_norm_the_error_counts_without_its_means():
    layer, x = nn.Conv3d(6, 8, 3), [one + 30 * torch.randn(1, 6, 1, 1, 1) for one in inputs((6, 8, 8, 8))]

    def centred(made: nn.Module) -> float:
        with torch.no_grad():
            errors = [made(one) - layer(one) for one in x]
        return sum(float((error - error.mean((2, 3, 4), keepdim=True)).double().square().sum()) for error in errors)

    alone, _ = quantize(layer, Recipe.parse("w3a16 per-channel gptq"), x)
    normed, _ = quantize(nn.Sequential(layer, nn.InstanceNorm3d(8)), Recipe.parse("w3a16 per-channel gptq"), x)
    assert error(layer, alone, x) < error(layer, normed[0], x)
    assert centred(normed[0]) < 0.9 * centred(alone)


class Norm(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.conv, self.norm, self.compute = nn.Conv3d(6, 6, 1), nn.InstanceNorm3d(6), forward

    def forward(self, x):
        return self.compute(self, self.conv(x))


WITH_MEANS = {
    "batch norm": lambda net, y: nn.functional.batch_norm(y, torch.zeros(6), torch.ones(6)),
    "group norm": lambda net, y: nn.functional.group_norm(y, 2),
    "something between": lambda net, y: net.norm(y.relu()),
    "another reader": lambda net, y: net.norm(y) + y,
    "the answer": lambda net, y: (net.norm(y), y),
    "known means": lambda net, y: nn.functional.instance_norm(
        y, torch.zeros(6), torch.ones(6), None, None, use_input_stats=False
    ),
}
WITHOUT = {
    "module": lambda net, y: net.norm(y),
    "function": lambda net, y: nn.functional.instance_norm(y),
    "twice": lambda net, y: net.norm(y) + nn.functional.instance_norm(y),
}


@pytest.mark.parametrize("name", [*WITH_MEANS, *WITHOUT])
def test_an_instance_norm_counts_where_nothing_else_reads_the_layer(name):
    x = inputs((6, 4, 4, 4))
    _, receipt = quantize(Norm((WITH_MEANS | WITHOUT)[name]), Recipe.parse("w3a16 per-channel bias"), x)
    assert ("no bias corrected" in receipt.lines[0].transforms[0]) == (name in WITHOUT)


def test_scales_are_searched_for_gptq():
    layer, x = nn.Conv3d(6, 8, 3), inputs((6, 8, 8, 8))
    errors = []
    for text in ("gptq", "clip+gptq"):
        made, receipt = quantize(layer, Recipe.parse(f"w2a16 per-channel {text}"), x)
        errors.append(error(layer, made, x))
    assert errors[1] < 0.85 * errors[0]
    assert receipt.lines[0].transforms[0].startswith("weight: scales for what gptq leaves, at ")
    _, receipt = quantize(layer, Recipe.parse("w2a16 per-channel clip+descend"), x)
    assert receipt.lines[0].transforms[0].startswith("weight: scales at ")


def test_what_cannot_be_fitted_is_rounded_to_nearest_and_says_so():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.mirrored = nn.Conv3d(2, 3, 3, padding=1, padding_mode="reflect")
            self.idle = nn.Conv3d(2, 3, 3)
            self.last = nn.Conv3d(3, 2, 1)

        def forward(self, x):
            return self.last(self.mirrored(x))

    network, x = Two(), inputs((2, 5, 5, 5))
    made, receipt = quantize(network, Recipe.parse("w4a16 per-channel gptq"), x)
    plain, _ = quantize(network, Recipe.parse("w4a16 per-channel"))
    told = [line.transforms[0] for line in receipt.lines]
    assert (
        told[0]
        == told[1]
        == ("weight: rounded to nearest: no calibration input reached it, or it pads otherwise than with zeros")
    )
    assert told[2].startswith("weight: the output's squared error is")
    torch.testing.assert_close(made.mirrored.layer.weight, plain.mirrored.layer.weight, rtol=0, atol=1e-7)
    torch.testing.assert_close(made.idle.layer.weight, plain.idle.layer.weight, rtol=0, atol=1e-7)
    with torch.no_grad():
        made(x[0])
    assert [line.state for line in audit(made, receipt).lines] == ["quantized", "never-run", "quantized"]


def test_passes_for_lack_of_memory_change_nothing(monkeypatch):
    network = nn.Sequential(*(nn.Conv3d(4, 4, 3, padding=1) for _ in range(5)))
    x = inputs((4, 25, 25, 25), count=4)
    forwards = []
    network.register_forward_hook(lambda *_: forwards.append(1))
    recipe = Recipe.parse("w4a16 per-channel gptq+bias")
    whole, _ = quantize(network, recipe, x)
    assert len(forwards) == 4
    monkeypatch.setattr("medquanbench.quant.moments.GRAM_BYTES", 2 * 4 * 378 * 16)
    made, receipt = quantize(network, recipe, x)
    assert len(forwards) == 4 + 3 * 4  # of two layers, two, and one
    for found, expected in zip(made, whole):
        assert torch.equal(found.layer.weight, expected.layer.weight)
        assert torch.equal(found.layer.bias, expected.layer.bias)
    assert all("the output's squared error" in line.transforms[0] for line in receipt.lines)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.needs_statistics])
def test_methods_that_look_at_inputs_need_some(name):
    with pytest.raises(RequestError, match=f"needs calibration inputs: {name} looks at what layers read"):
        quantize(nn.Conv3d(2, 2, 3), Recipe.parse(f"w4a4 per-channel {name}"))


@pytest.mark.parametrize("text", ["clip", "gptq", "bias"])
def test_a_weight_that_is_not_finite_names_its_layer(text):
    network = nn.Sequential(nn.Conv3d(2, 2, 1), nn.Conv3d(2, 2, 1))
    with torch.no_grad():
        network[1].weight[0, 0] = torch.inf
    with pytest.raises(RunError, match="weight of layer '1': NaN or infinity"):
        quantize(
            network, Recipe.parse(f"w4a4 per-channel {text}"), None if text == "clip" else [torch.ones(1, 2, 2, 2, 2)]
        )


def test_methods_follow_transforms_wherever_they_stand():
    layer, shape = LAYERS["conv"]
    x = inputs(shape)
    one, _ = quantize(layer, Recipe.parse("w4a16 per-channel gptq+smooth"), x)
    other, _ = quantize(layer, Recipe.parse("w4a16 per-channel smooth+gptq"), x)
    assert torch.equal(one.layer.weight, other.layer.weight)
