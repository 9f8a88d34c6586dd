"""Weights beyond rounding: laws on random problems, values by hand, and GPTQ a second time as it is in the paper."""

import pytest
import torch
from torch import nn

from medquanbench.quant.gram import Centre, Gram
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.kind import Convolution, Linear
from medquanbench.quant.rounding import (
    bias_shift,
    clipped_scale,
    descend,
    gptq,
    nearest,
    output_error,
    searched_scale,
)
from medquanbench.quant.rounding.gptq import nearest_plane
from medquanbench.quant.taps import Geometry
from medquanbench.values import RunError

HALVES = Geometry((2,) * 3, (1,) * 3, (0,) * 3, (0,) * 3)
SAME = Geometry((1,) * 3, (1,) * 3, (1,) * 3, (1,) * 3)


def problem(*batch: int, rows: int = 20, columns: int = 30, samples: int = 200, spread: int = 6):
    """(weight, H): inputs that depend on each other, as a network's do."""
    mixed = torch.randn(*batch, samples, spread) @ torch.randn(*batch, spread, columns)
    inputs = (mixed + 0.3 * torch.randn(*batch, samples, columns)).relu()
    return torch.randn(*batch, rows, columns), inputs.mT @ inputs


def absmax(weight: torch.Tensor, grid: IntegerGrid) -> torch.Tensor:
    return weight.abs().amax(-1, keepdim=True) / grid.largest


class Uneven:
    """A grid that is no ladder of equal steps: -4, -1, 0, 1, 4."""

    name, bits, largest = "uneven", 3, 4.0

    def round_(self, scaled: torch.Tensor) -> torch.Tensor:
        values = scaled.new_tensor([-4.0, -1.0, 0.0, 1.0, 4.0])
        return values[(scaled[..., None] - values).abs().argmin(-1)]


GRIDS = [IntegerGrid(2), IntegerGrid(3), IntegerGrid(4), Uneven()]


def assert_on_grid(found: torch.Tensor, scale: torch.Tensor, grid):
    assert torch.allclose(nearest(found, scale, grid), found, atol=1e-6)


def optimal_brain_quantization(weight, gram, scale, grid, damp, order):
    """Equations 2 and 3 of Frantar et al., row by row with the inverse of what is left of H; float64."""
    hessian = gram.double() + damp * gram.diagonal().mean().double() * torch.eye(len(gram), dtype=torch.float64)
    found = weight.double().clone()
    for row in range(len(weight)):
        left = list(order)
        while left:
            inverse = torch.linalg.inv(hessian[left][:, left])
            column, step = left[0], scale[row].double()
            value = grid.round_((found[row, column] / step).float()).double() * step
            error = (found[row, column] - value) / inverse[0, 0]
            found[row, left] -= error * inverse[0]
            found[row, column] = value
            left = left[1:]
    return found.float()


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
@pytest.mark.parametrize("falling", [True, False])
def test_gptq_is_optimal_brain_quantization_in_a_fixed_order(grid, falling):
    weight, gram = problem(rows=8, columns=20)
    scale = 0.7 * absmax(weight, grid)
    order = gram.diagonal().argsort(descending=True) if falling else torch.arange(20)
    expected = optimal_brain_quantization(weight, gram, scale, grid, 0.01, order.tolist())
    plain = nearest(weight, scale, grid)
    worse = (output_error(weight - expected, gram) >= output_error(weight - plain, gram))[:, 0]
    assert worse.sum() < 4
    found = gptq(weight, gram, scale, grid, falling=falling)
    assert torch.allclose(found, torch.where(worse[:, None], plain, expected), atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
@pytest.mark.parametrize("columns", [30, 300])
def test_the_error_that_comes_with_the_rounding_is_that_with_damping(grid, columns):
    weight, gram = problem(3, columns=columns)
    scale = 0.7 * absmax(weight, grid)
    found, error = nearest_plane(weight, gram, scale, grid, damp=0.03)
    ridge = 0.03 * gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    expected = output_error(weight - found, gram + ridge[:, None, None] * torch.eye(columns))
    torch.testing.assert_close(error, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
@pytest.mark.parametrize("fraction", [1.0, 0.3])
@pytest.mark.parametrize("samples", [200, 12])
def test_no_row_is_ever_worse(grid, fraction, samples):
    weight, gram = problem(rows=300, samples=samples)  # 12 samples in 30 dimensions: H has no inverse
    scale = fraction * absmax(weight, grid)
    plain, by_gptq = nearest(weight, scale, grid), gptq(weight, gram, scale, grid)
    by_descent = descend(weight, by_gptq, gram, scale, grid)
    from_plain = descend(weight, plain, gram, scale, grid)
    rounding = 1e-5 * output_error(weight, gram)
    for worse, better in ((plain, by_gptq), (by_gptq, by_descent), (plain, from_plain)):
        assert_on_grid(better, scale, grid)
        errors = [output_error(weight - found, gram) for found in (worse, better)]
        assert (errors[1] <= errors[0] + rounding).all()
        assert errors[1].sum() < errors[0].sum()


def test_a_lazy_block_is_the_same_as_none():
    weight, gram = problem(rows=5, columns=300, samples=2000, spread=40)
    grid = IntegerGrid(4)
    scale = absmax(weight, grid)
    order = torch.arange(300).tolist()
    expected = optimal_brain_quantization(weight[:1], gram, scale, grid, 0.01, order)
    assert torch.allclose(gptq(weight, gram, scale, grid, falling=False)[:1], expected, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_independent_inputs_are_rounded_to_nearest(grid):
    weight, scale = torch.randn(40, 17), torch.rand(40, 1) + 0.1
    for gram in (torch.eye(17), torch.diag(torch.rand(17)), torch.zeros(17, 17)):
        expected = nearest(weight, scale, grid)
        assert torch.equal(gptq(weight, gram, scale, grid), expected)
        assert torch.equal(descend(weight, expected, gram, scale, grid), expected)


def test_worked_by_hand():
    # Both columns read the same input: 0.4 + 0.4 is nearest to 1 + 0, and rounding each to nearest gives 0.
    weight, gram, one = torch.tensor([[0.4, 0.4]]), torch.ones(2, 2), torch.ones(1, 1)
    grid = IntegerGrid(4)
    assert nearest(weight, one, grid).tolist() == [[0, 0]]
    assert sorted(gptq(weight, gram, one, grid)[0].tolist()) == [0, 1]
    assert sorted(descend(weight, torch.zeros(1, 2), gram, one, grid)[0].tolist()) == [0, 1]
    assert output_error(weight - torch.tensor([[1.0, 0.0]]), gram).item() == pytest.approx(0.04)


def test_groups_are_problems_of_their_own():
    weight, gram = problem(7, rows=3, columns=9)
    grid = IntegerGrid(3)
    scale = absmax(weight, grid)
    together = gptq(weight, gram, scale, grid)
    improved = descend(weight, together, gram, scale, grid)
    for group in range(7):
        alone = gptq(weight[group], gram[group], scale[group], grid)
        assert torch.allclose(together[group], alone, atol=1e-6)
        assert torch.allclose(
            improved[group], descend(weight[group], alone, gram[group], scale[group], grid), atol=1e-6
        )


def test_a_scale_for_each_value():
    weight, gram = problem(rows=10, columns=24)
    grid = IntegerGrid(3)
    scale = (weight.unflatten(1, (3, 8)).abs().amax(-1, keepdim=True) / grid.largest).expand(-1, -1, 8).flatten(1)
    found = gptq(weight, gram, scale, grid)
    assert_on_grid(found, scale, grid)
    assert (
        output_error(weight - found, gram).sum() < 0.7 * output_error(weight - nearest(weight, scale, grid), gram).sum()
    )


def test_columns_that_nothing_reaches_are_rounded_to_nearest():
    weight, gram = problem(rows=10, columns=8)
    gram[[2, 5]] = 0
    gram[:, [2, 5]] = 0
    grid, scale = IntegerGrid(4), torch.full((10, 1), 0.3)
    found = gptq(weight, gram, scale, grid)
    assert torch.equal(found[:, [2, 5]], nearest(weight, scale, grid)[:, [2, 5]])
    live = [0, 1, 3, 4, 6, 7]
    assert torch.equal(found[:, live], gptq(weight[:, live], gram[live][:, live], scale, grid, damp=0.01 * 6 / 8))
    wild = found.clone()
    wild[:, 2] = 99 * 0.3
    assert (descend(weight, wild, gram, scale, grid)[:, 2] == wild[:, 2]).all()


def test_what_is_not_finite_is_an_error():
    weight, gram = problem(columns=4)
    for broken in ((weight / 0, gram), (weight, gram * float("nan"))):
        with pytest.raises(RunError, match="NaN or infinity"):
            gptq(*broken, torch.ones(20, 1), IntegerGrid(4))
    with pytest.raises(RunError, match="far from positive semidefinite"):
        gptq(weight, torch.eye(4) - 1e9 * torch.ones(4, 4).fill_diagonal_(0), torch.ones(20, 1), IntegerGrid(4))


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_clipping_is_never_worse_than_absmax(grid):
    weight = torch.randn(200, 50) * torch.exp(torch.randn(200, 1))
    for importance in (torch.ones(50), torch.rand(50) ** 4):
        found, whole = clipped_scale(weight, grid, importance), absmax(weight, grid)
        before, after = (
            ((nearest(weight, scale, grid) - weight) ** 2 * importance).sum(-1) for scale in (whole, found)
        )
        assert found.shape == (200, 1) and (found <= whole).all()
        assert (after <= before).all() and after.sum() < before.sum()
    assert torch.equal(clipped_scale(weight, grid), clipped_scale(weight, grid, torch.ones(50)))


def test_clipping_worked_by_hand():
    # 2 bits, values -S, 0, S. Absmax holds the 10 and loses nine ones: 9. S = 3 is the smallest scale there is, and
    # loses 7^2 + 9 * 1; an importance of nothing for the 10 takes it.
    weight = torch.tensor([[10.0, *[1.0] * 9]])
    assert clipped_scale(weight, IntegerGrid(2)).item() == 10
    unimportant = torch.tensor([0.0, *[1.0] * 9])
    assert clipped_scale(weight, IntegerGrid(2), unimportant, smallest=0.1).item() == pytest.approx(1)
    assert clipped_scale(torch.zeros(3, 4), IntegerGrid(4)).tolist() == [[1.0]] * 3


def filled_gram(kind, geometry: Geometry, x: torch.Tensor, largest: int = 4096) -> Gram:
    gram = Gram(kind, geometry, largest)
    gram.add(x)
    return gram


def convolution(outputs: int = 8, size: int = 10):
    """(layer, its Gram, an input whose channels depend on each other and have means of their own)."""
    layer = nn.Conv3d(6, outputs, 3, padding=1)
    x = torch.nn.functional.avg_pool3d(torch.randn(2, 6, size + 2, size + 2, size + 2), 3, 1)
    x = (torch.einsum("ij,njdhw->nidhw", torch.randn(6, 6), x) + 2 * torch.randn(2, 6, 1, 1, 1)).relu()
    return layer, filled_gram(Convolution(6, outputs, (3, 3, 3)), SAME, x), x


def rounded_by_blocks(rows: torch.Tensor, gram: Gram, scale: torch.Tensor, grid, centre=Centre.NOTHING) -> torch.Tensor:
    """GPTQ and descent of a whole layer."""
    found = torch.empty_like(rows)
    for block in gram.blocks(centre):
        part = rows[..., block.columns]
        found[..., block.columns] = descend(part, gptq(part, block.gram, scale, grid), block.gram, scale, grid)
    return found


@torch.no_grad()
def outputs_with(layer: nn.Module, rows: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv3d(x, rows.reshape(layer.weight.shape), padding=1)


def test_each_centre_is_the_error_of_what_it_says():
    layer, gram, x = convolution()
    grid, rows = IntegerGrid(3), layer.weight.detach().flatten(1)[None]
    scale = absmax(rows, grid)
    noise = {
        Centre.NOTHING: lambda error: error,
        Centre.MEAN: lambda error: error - error.mean((0, 2, 3, 4), keepdim=True),
        Centre.SAMPLE_MEANS: lambda error: error - error.mean((2, 3, 4), keepdim=True),
    }
    found = {centre: rounded_by_blocks(rows, gram, scale, grid, centre) for centre in noise}
    for centre, part in noise.items():
        measured = {}
        for other, rounded in found.items():
            error = part(outputs_with(layer, rows - rounded, x)).double().square().sum((0, 2, 3, 4))
            measured[other] = error.sum().item()
            if other is centre:
                (block,) = gram.blocks(centre)
                assert torch.allclose(output_error(rows - rounded, block.gram)[0, :, 0].double(), error, rtol=1e-3)
        # What minimises something else is not as good at it, but that the descent ends where it ends.
        assert measured[centre] <= 1.1 * min(measured.values())
        assert measured[centre] < 0.6 * part(outputs_with(layer, rows - nearest(rows, scale, grid), x)).square().sum()


def test_a_shifted_bias_gives_every_channel_its_mean():
    layer, gram, x = convolution()
    rows = layer.weight.detach().flatten(1)[None]
    rounded = nearest(rows, absmax(rows, IntegerGrid(2)), IntegerGrid(2))
    shift = bias_shift(rows, rounded, gram.mean())
    error = outputs_with(layer, rounded - rows, x) + shift.reshape(-1, 1, 1, 1)
    assert shift.shape == (8,) and shift.abs().max() > 0.01
    assert torch.allclose(error.mean((0, 2, 3, 4)), torch.zeros(8), atol=1e-5)


def test_an_instance_norm_takes_any_shift_of_the_bias_away():
    layer, gram, x = convolution()
    rows = layer.weight.detach().flatten(1)[None]
    rounded = nearest(rows, absmax(rows, IntegerGrid(3)), IntegerGrid(3))
    shift = bias_shift(rows, rounded, gram.mean()).reshape(-1, 1, 1, 1)
    norm = torch.nn.functional.instance_norm
    assert torch.allclose(
        norm(outputs_with(layer, rounded, x) + shift), norm(outputs_with(layer, rounded, x)), atol=1e-4
    )


@pytest.mark.parametrize("largest", [4096, 60])
@pytest.mark.parametrize(
    "kind, geometry, size",
    [
        (Convolution(6, 8, (3, 3, 3)), SAME, (7, 6, 5)),
        (Convolution(6, 12, (3, 3, 3), groups=6), SAME, (7, 6, 5)),
        (Convolution(6, 8, (2, 2, 2), groups=2, transposed=True), HALVES, (4, 5, 6)),
        (Linear(70, 5), Geometry(), ()),
    ],
    ids=str,
)  # fmt: skip
def test_layers_of_every_kind(kind, geometry, size, largest):
    x = torch.randn(1, 200, kind.inputs) if not size else torch.randn(2, kind.inputs, *size)
    gram = filled_gram(kind, geometry, x.relu(), largest)
    columns = sum(len(block.columns) for block in gram.blocks())
    weight = torch.randn(kind.groups, kind.outputs // kind.groups, columns)
    grid = IntegerGrid(3)
    scale = absmax(weight, grid)
    found, plain = rounded_by_blocks(weight, gram, scale, grid), nearest(weight, scale, grid)
    assert_on_grid(found, scale, grid)
    errors = [
        sum(output_error(weight[..., b.columns] - q[..., b.columns], b.gram).sum() for b in gram.blocks())
        for q in (found, plain)
    ]
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("shape", [(1, 8, 1), (1, 1, 1)])
@pytest.mark.parametrize("bits", [2, 4])
def test_a_searched_scale_is_never_worse_than_the_largest(bits, shape):
    layer, gram, _ = convolution(outputs=8)
    grid, rows = IntegerGrid(bits), layer.weight.detach().flatten(1)[None]
    largest = rows.abs().amax() / grid.largest * torch.ones(shape)
    found = searched_scale(rows, gram, largest, grid)
    assert found.shape == shape and (found <= largest).all()
    (block,) = gram.blocks()
    before, after = (nearest_plane(rows, block.gram, scale, grid)[1].sum_to_size(shape) for scale in (largest, found))
    assert (after <= before * (1 + 1e-5)).all()
    assert bits > 2 or after.sum() < 0.8 * before.sum()
