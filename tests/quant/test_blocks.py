"""Formats as a part of a whole recipe: blocks along the channels, and what holds tensors without blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench.quant import audit, quantize
from medquanbench.quant.formats import FORMATS, format_quantize
from medquanbench.quant.layers import weight_groups
from medquanbench.values import FLOAT_BITS, WEIGHT_FORMATS, Recipe, RequestError, RunError
from medquanbench.values.recipe import FORMATS as WORDS

LAYERS = {
    "conv": (nn.Conv3d(40, 6, 3, padding=1), (2, 40, 4, 4, 4), 1),
    "pointwise": (nn.Conv3d(16, 6, 1), (2, 16, 3, 4, 4), 1),
    "transposed": (nn.ConvTranspose3d(40, 6, 2, stride=2), (2, 40, 3, 3, 3), 1),
    "linear": (nn.Linear(70, 6), (2, 5, 70), -1),
}
BOTH = [name for name in FORMATS if name not in WEIGHT_FORMATS]


def test_the_grammar_knows_the_formats_and_their_bits():
    assert WORDS == {name: format.grid.bits for name, format in FORMATS.items()}


def read_in(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    network.layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(x)
    return seen


@pytest.mark.parametrize("format", BOTH)
@pytest.mark.parametrize("name", LAYERS)
def test_weights_and_activations_are_in_the_format_sample_by_sample(name, format):
    layer, shape, axis = LAYERS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 300.0]).reshape(
        -1, *[1] * (len(shape) - 1)
    )
    made, receipt = quantize(layer, Recipe.parse(format))
    assert receipt.recipe == f"w{WORDS[format]}a{WORDS[format]} block {format}"
    (seen,) = read_in(made, x)
    for sample, found in zip(x, seen):
        assert torch.equal(found, format_quantize(sample, axis - 1 if axis > 0 else axis, FORMATS[format]))
    expected = format_quantize(weight_groups(layer, made.kind), 2, FORMATS[format])
    assert torch.equal(weight_groups(made.layer, made.kind), expected)
    (line,) = audit(made, receipt).lines
    chosen = FORMATS[format]
    elements = min(chosen.block, made.kind.inputs)
    assert line.weight == line.activation and line.weight.bits == WORDS[format]
    assert line.weight.effective_bits == WORDS[format] + chosen.scales.bits / elements


@pytest.mark.parametrize("format", WEIGHT_FORMATS)
@pytest.mark.parametrize("text", ["w4a16 {}", "w4a8 per-tensor {}"])
def test_formats_of_weights_leave_activations_to_the_policy(format, text):
    layer, shape, _ = LAYERS["conv"]
    made, receipt = quantize(layer, Recipe.parse(text.format(format)))
    x = torch.randn(shape)
    (seen,) = read_in(made, x)
    assert torch.equal(made.layer.weight, format_quantize(layer.weight.detach(), 1, FORMATS[format]))
    (line,) = audit(made, receipt).lines
    assert line.activation.bits == (32 if "a16" in text else 8)
    assert torch.equal(seen, x) == ("a16" in text)


@pytest.mark.parametrize("format", BOTH)
def test_groups_and_single_channels_have_no_blocks(format):
    network = nn.Sequential(nn.Conv3d(1, 8, 3), nn.Conv3d(8, 8, 3, groups=8), nn.Conv3d(8, 4, 1))
    made, receipt = quantize(network, Recipe.parse(format))
    with torch.no_grad():
        made(torch.randn(1, 1, 7, 7, 7))
    image, depthwise, last = audit(made, receipt).lines
    assert (image.activation.granularity, image.weight.granularity) == ("per-channel", "per-output-channel")
    assert (depthwise.activation.granularity, depthwise.weight.granularity) == ("per-channel", "per-output-channel")
    assert last.activation.granularity == last.weight.granularity == f"{format} blocks of {FORMATS[format].block}"
    # Without blocks the values still lie on the format's grid, no finer.
    values = made[1].layer.weight / (made[1].layer.weight.flatten(1).abs().amax(1).reshape(-1, 1, 1, 1, 1))
    levels = 2 ** FORMATS[format].grid.bits
    assert all(len(row.unique()) <= levels for row in values)


def test_the_image_may_have_other_bits():
    network = nn.Sequential(nn.Conv3d(1, 8, 3), nn.Conv3d(8, 4, 1))
    made, receipt = quantize(network, Recipe.parse("mxfp4 input(8)"))
    with torch.no_grad():
        made(torch.randn(1, 1, 5, 5, 5))
    assert [line.activation.bits for line in audit(made, receipt).lines] == [8, 4]


@pytest.mark.parametrize("method", ["clip", "gptq", "gptq+descend"])
def test_weights_in_blocks_are_fitted_too(method):
    layer, shape, _ = LAYERS["conv"]
    x = [torch.randn(1, *shape[1:], generator=torch.Generator().manual_seed(0)).cumsum(-1) for _ in range(2)]
    errors = []
    for text in ("", method):
        recipe = Recipe.parse(f"w4a16 nf4 {text}".strip())
        made, receipt = quantize(layer, recipe, x if "gptq" in text else None)
        with torch.no_grad():
            errors.append(float(sum((made(one) - layer(one)).square().sum() for one in x)))
    assert errors[1] <= errors[0] * 1.0001 and (method == "clip" or errors[1] < 0.9 * errors[0])
    assert ("blocks keep their scales" in receipt.lines[0].transforms[-1]) == (method == "clip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w4a4 block", "the policy block needs a format; there is: mxint8"),
        ("w8a8 mxfp4", "mxfp4 has 4 bits, not w8a8"),
        ("w4a4 adaptive mxfp4", "mxfp4 holds activations in blocks, so that its policy is block"),
        ("w4a4 nf4", f"nf4 holds weights alone: name the activations' policy, or wNa{FLOAT_BITS}"),
        ("w3a16 nf4", "nf4 has 4 bits, not w3a16"),
        ("nf4", "must begin with wNaM"),
    ],
)
def test_formats_that_do_not_fit_are_sentences(text, message):
    with pytest.raises(RequestError, match=message):
        Recipe.parse(text)


@pytest.mark.parametrize(
    ("text", "written", "precision"),
    [
        ("mxfp4", "w4a4 block mxfp4", "MXFP4"),
        ("NVFP4 keep(a)", "w4a4 block nvfp4 keep(a)", "NVFP4"),
        ("w4a16 nf4", "w4a16 block nf4", "W4A16 NF4"),
        ("w4a8 per-channel nf4 gptq calib(4)", "w4a8 per-channel nf4 gptq calib(4)", "W4A8 NF4"),
        ("w8a16 mxint8", "w8a16 block mxint8", "W8A16 MXINT8"),
    ],
)
def test_formats_in_a_recipes_text(text, written, precision):
    recipe = Recipe.parse(text)
    assert (str(recipe), recipe.precision) == (written, precision)
    assert Recipe.parse(written) == recipe


@pytest.mark.parametrize("format", BOTH)
def test_nan_names_the_layer(format):
    made, _ = quantize(nn.Sequential(nn.Conv3d(4, 4, 1)), Recipe.parse(format))
    with pytest.raises(RunError, match="layer '0': NaN or infinity"):
        made(torch.full((1, 4, 2, 2, 2), torch.nan))
