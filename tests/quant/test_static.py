"""Static grids: what they hold, where calibration puts them, and that they are the same for every input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench.quant import audit, quantize
from medquanbench.quant.histogram import BINS, add, empty
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.ranges.mse import error
from medquanbench.quant.static import place
from medquanbench.values import Recipe, RequestError, RunError

STATIC = ("engine", "static-per-tensor", "static-per-channel")


def test_a_grid_by_hand():
    placed = place(torch.tensor(-1.0), torch.tensor(2.0), 2)  # step 1, zero point 1: -1, 0, 1, 2
    x = torch.tensor([-9.0, -1.4, -0.5, 0.0, 0.5, 1.5, 1.6, 9.0])
    assert placed.quantize(x).tolist() == [-1, -1, 0, 0, 0, 2, 2, 2]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("low", "high"), [(-1.3, 2.9), (0.5, 7.1), (-4.0, -1.0), (0.0, 0.0)])
def test_zero_is_on_every_grid_and_what_lies_on_it_stays(low, high, bits):
    placed = place(torch.tensor(low), torch.tensor(high), bits)
    assert placed.quantize(torch.zeros(3)).tolist() == [0, 0, 0]
    x = torch.linspace(min(low, 0) - 1, max(high, 0) + 1, 101)
    once = placed.quantize(x)
    assert torch.equal(placed.quantize(once), once)
    assert len(once.unique()) <= 2**bits
    inside = x[(x >= placed.lowest * placed.step) & (x <= placed.highest * placed.step)]
    assert (placed.quantize(inside) - inside).abs().max() <= placed.step / 2 * (1 + 1e-5)


def test_a_one_sided_tensor_gets_all_levels():
    placed = place(torch.tensor(0.0), torch.tensor(15.0), 4)
    assert placed.quantize(torch.arange(16.0)).tolist() == list(range(16))


def histogram_of(*rows: torch.Tensor):
    x = torch.stack(rows)
    made = empty(x.amin(1), x.amax(1))
    for group, row in enumerate(rows):
        add(made, group, row[: len(row) // 2])
        add(made, group, row[len(row) // 2 :])
    return made


def heavy(seed: int, values: int = 4000) -> torch.Tensor:
    """Mostly small values and a few large ones."""
    x = torch.randn(values, generator=torch.Generator().manual_seed(seed))
    x[:4] *= 30
    return x


def test_a_histogram_counts_every_value_once_and_at_its_place():
    x = torch.tensor([0.0, 0.0, 1.0, 2.0])
    made = histogram_of(x, -x)
    assert made.counts.shape == (2, BINS) and made.counts.sum(1).tolist() == [4, 4]
    assert (made.counts[0, 0], made.counts[0, BINS // 2], made.counts[0, -1]) == (2, 1, 1)
    assert (made.centres[0, 0], made.centres[1, -1]) == (1 / BINS, -1 / BINS)
    constant = histogram_of(torch.full((4,), 3.0))
    assert constant.counts.sum() == 4


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", RANGES)
def test_a_range_lies_within_what_was_seen_and_is_each_groups_own(name, bits):
    rows = heavy(0), heavy(1).abs(), torch.zeros(4000), heavy(2) * 100
    low, high = RANGES[name](histogram_of(*rows), bits)
    for position, row in enumerate(rows):
        # The grid takes in zero in any case, so that drawing a bound in may lead towards it.
        assert min(row.min(), 0) <= low[position] <= high[position] <= max(row.max(), 0)
        alone = RANGES[name](histogram_of(row), bits)
        assert (low[position], high[position]) == (alone[0][0], alone[1][0])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_mse_is_never_further_from_the_values_than_any_other_range(bits):
    values = histogram_of(heavy(0), heavy(1).abs(), torch.rand(4000))
    errors = {name: error(values, *found(values, bits), bits) for name, found in RANGES.items()}
    assert (errors["mse"] <= errors["absmax"]).all()
    assert (errors["mse"] <= 1.05 * errors["percentile"]).all() and (errors["mse"] <= 1.05 * errors["entropy"]).all()
    if bits == 4:  # four large values among 4000 small ones are not worth the levels
        assert errors["mse"][0] < 0.6 * errors["absmax"][0]


def test_percentile_leaves_out_the_tails():
    x = torch.linspace(-1, 1, 100_000)
    x[0], x[-1] = -50.0, 90.0
    low, high = RANGES["percentile"](histogram_of(x), 8)
    width = 140 / BINS
    assert -1 - width <= low <= -1 + width and 1 - width <= high <= 1 + width


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 4, 1), nn.Flatten(2), nn.Linear(64, 5))


def images(count: int, seed: int = 0) -> list[torch.Tensor]:
    return list(torch.randn(count, 1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("policy", STATIC)
def test_a_static_network_treats_every_sample_alike(policy):
    x = torch.cat(images(3, seed=7)) * torch.tensor([0.1, 1.0, 20.0]).reshape(-1, 1, 1, 1, 1)
    made, receipt = quantize(network(), Recipe.parse(f"w8a8 {policy} calib(2)"), images(2))
    with torch.no_grad():
        together, alone = made(x), torch.cat([made(one) for one in x.split(1)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    assert {line.activation.granularity for line in audit(made, receipt).lines} == {
        "static per-channel" if policy == "static-per-channel" else "static per-layer"
    }


@pytest.mark.parametrize("policy", STATIC)
def test_8_bits_cost_little_and_the_layers_read_what_the_grid_says(policy, quantized_inputs):
    float_network, calibration = network(), images(4)
    made, _ = quantize(float_network, Recipe.parse(f"w16a8 {policy}"), calibration)
    with torch.no_grad():
        expected = float_network(calibration[0])
        assert (made(calibration[0]) - expected).abs().max() < 0.03 * expected.abs().max()


def test_the_image_has_its_own_bits():
    recipe = Recipe.parse("w16a2 static-per-tensor input(8)")
    made, receipt = quantize(network(), recipe, images(3))
    with torch.no_grad():
        made(images(1)[0])
    lines = audit(made, receipt).lines
    assert [line.activation.bits for line in lines] == [8, 2, 2] and lines[0].reads_image
    _, highest = made[0].placed[1:].flatten().tolist()
    assert made[0].placed[2] - made[0].placed[1] == 255 and made[2].placed[2] - made[2].placed[1] == 3, highest


def test_calibration_leaves_no_trace_but_the_scales():
    made, receipt = quantize(network(), Recipe.parse("w4a4 engine smooth"), images(2))
    assert all(line.state == "quantized" and line.activation.elements_per_scale == 0 for line in receipt.lines)
    assert all(module.calls == 0 and module.watch is None for module in (made[0], made[2], made[4]))
    assert {line.state for line in audit(made, receipt).lines} == {"never-run"}


def test_a_static_network_goes_out_and_in():
    made, _ = quantize(network(), Recipe.parse("w4a4 engine"), images(2))
    other, _ = quantize(network(), Recipe.parse("w4a4 engine"), [image * 9 for image in images(2)])
    x = images(1, seed=5)[0]
    with torch.no_grad():
        assert not torch.equal(made(x), other(x))
        other.load_state_dict(made.state_dict())
        assert torch.equal(made(x), other(x))


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.usual, self.other = nn.Conv3d(1, 2, 1), nn.Conv3d(1, 2, 1)
        self.deep = False

    def forward(self, x):
        return self.other(x) if self.deep else self.usual(x)


def test_a_layer_that_no_calibration_input_reached_fails_when_it_is_called():
    made, _ = quantize(Branch(), Recipe.parse("w4a4 engine"), images(1))
    made(images(1)[0])
    made.deep = True
    with pytest.raises(RunError, match="layer 'other' has no static scale"):
        made(images(1)[0])


@pytest.mark.parametrize("text", ["engine", "per-channel smooth"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_calibration_with_nan_or_infinity_names_the_layer(text, bad):
    image = images(1)[0]
    image[0, 0, 1, 1, 1] = bad
    with pytest.raises(RunError, match="layer '0': NaN or infinity in what it reads of a calibration input"):
        quantize(network(), Recipe.parse(f"w4a4 {text}"), [image])


def test_nan_in_a_later_image_names_the_layer():
    made, _ = quantize(network(), Recipe.parse("w4a4 engine"), images(1))
    image = images(1)[0]
    image[0, 0, 1, 1, 1] = torch.nan
    with pytest.raises(RunError, match="layer '0': NaN"):
        made(image)


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
@pytest.mark.parametrize("policy", STATIC)
def test_a_constant_input_is_held(policy, value):
    layer = nn.Conv3d(2, 2, 1)
    x = torch.full((1, 2, 3, 3, 3), value)
    made, _ = quantize(layer, Recipe.parse(f"w16a8 {policy}"), [x])
    with torch.no_grad():
        torch.testing.assert_close(made(x), layer(x), rtol=1e-2, atol=1e-2)


def test_static_scales_need_calibration():
    with pytest.raises(RequestError, match="'w4a4 engine' needs calibration inputs: the scales of engine are static"):
        quantize(network(), Recipe.parse("w4a4 engine"))
    with pytest.raises(RequestError, match="has no inputs"):
        quantize(network(), Recipe.parse("w4a4 engine"), [])


def test_channel_scales_are_folded_into_the_weight_before_it_is_rounded():
    """So that a machine can run it: integers times integers, one scale for an output channel at the end."""
    layer = nn.Conv3d(4, 3, 1, bias=False)
    x = torch.randn(1, 4, 3, 3, 3) * torch.tensor([0.1, 1.0, 10.0, 100.0]).reshape(1, 4, 1, 1, 1)
    for text in ("", " gptq", " clip"):
        made, receipt = quantize(layer, Recipe.parse(f"w8a8 static-per-channel{text}"), [x])
        steps = made.placed[0].flatten()
        read: list[torch.Tensor] = []
        made.layer.register_forward_pre_hook(lambda module, inputs, read=read: read.append(inputs[0]))
        with torch.no_grad():
            answer = made(x)
        integers = read[0].double() / steps.double().reshape(1, 4, 1, 1, 1)
        folded = made.layer.weight.detach().double().reshape(3, 4) * steps.double()
        scale = folded.abs().amax(1) / 127
        if text == "":
            torch.testing.assert_close(folded / scale[:, None], (folded / scale[:, None]).round(), rtol=0, atol=1e-4)
        torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-4)
        exact = torch.einsum("oc,ncdhw->nodhw", folded, integers)
        torch.testing.assert_close(answer.double(), exact, rtol=1e-5, atol=1e-4)
        assert receipt.lines[0].hardware == "foldable"
        with torch.no_grad():
            assert (answer - layer(x)).abs().max() < 0.02 * layer(x).abs().max()


HARDWARE = {
    "w8a8 per-tensor": "gemm", "w4a4 per-channel": "simulation", "w4a4 engine": "gemm", "mxfp4": "block",
    "w4a4 static-per-tensor": "gemm", "w4a4 static-per-channel": "foldable", "w4a16 nf4": "simulation",
    "nvfp4": "block", "w4a4 adaptive": "gemm",
}  # fmt: skip


@pytest.mark.parametrize("text", HARDWARE)
def test_receipts_say_what_could_run_a_layer(text):
    layer = nn.Conv3d(64, 3, 1)
    recipe = Recipe.parse(text)
    x = torch.randn(1, 64, 3, 3, 3)
    _, receipt = quantize(layer, recipe, [x] if "engine" in text or "static" in text else None)
    (line,) = receipt.lines
    assert line.hardware == HARDWARE[text] and len(line.hardware_reason) > 10


@pytest.mark.parametrize("name", RANGES)
def test_a_recipe_may_name_the_observer(name):
    recipe = Recipe.parse(f"w4a4 engine calib(2,{name})")
    assert str(recipe) == f"w4a4 engine calib(2,{name})" and recipe.observer == name
    x = [heavy(seed, 2 * 512).reshape(1, 2, 8, 8, 8) for seed in range(2)]
    layer = nn.Conv3d(2, 2, 1)
    made, _ = quantize(layer, recipe, x)
    usual, _ = quantize(layer, Recipe.parse("w4a4 engine calib(2)"), x)
    assert torch.equal(made.placed, usual.placed) == (name == "mse")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w4a4 engine calib(2,median)", "no observer 'median' in medquanbench.quant; there is: absmax, entropy, mse"),
        ("w4a4 per-channel smooth calib(2,mse)", "asks an observer: its scales are dynamic"),
        ("w4a4 engine calib(mse)", "needs a whole number"),
        ("w4a4 engine calib(2,)", "the name of an observer is missing"),
    ],
)
def test_observers_that_do_not_fit(text, message):
    with pytest.raises(RequestError, match=message):
        quantize(nn.Conv3d(2, 2, 1), Recipe.parse(text), [torch.ones(1, 2, 2, 2, 2)])
