"""Blocks and formats: golden vectors worked out by hand from the specifications, and laws for every format."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from medquanbench.quant.formats import FORMATS, Format, format_quantize
from medquanbench.quant.formats.benford import log_uniform
from medquanbench.quant.formats.nf4 import NF4
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.scales import FLOAT32
from medquanbench.values import RequestError, RunError

every = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)


def quantized(name: str, *values: float) -> list[float]:
    return format_quantize(torch.tensor(values), 0, FORMATS[name]).tolist()


def test_names_are_keys():
    assert [format.name for format in FORMATS.values()] == list(FORMATS)


@pytest.mark.parametrize(
    ("name", "block", "bits"),
    [
        ("mxint8", 32, 8.25),
        ("mxfp8", 32, 8.25),
        ("mxfp8-e5m2", 32, 8.25),
        ("mxfp6", 32, 6.25),
        ("mxfp6-e3m2", 32, 6.25),
        ("mxfp4", 32, 4.25),
        ("nvfp4", 16, 4.5),
        ("nf4", 64, 4.5),
        ("benford", 64, 4.5),
    ],
)
def test_what_a_value_costs(name, block, bits):
    assert (FORMATS[name].block, FORMATS[name].effective_bits) == (block, bits)


# MX: the scale is the power of two below the largest magnitude, over the power of two below the grid's largest.
def test_mxfp4_by_hand():
    # Largest 7: S = 2^(2-2) = 1. 7 saturates to 6, 5 is a tie of 4 and 6, 0.25 one of 0 and 0.5, -2.6 goes to -3.
    assert quantized("mxfp4", 7.0, 5.0, 0.25, 0.26, -2.6) == [6.0, 4.0, 0.0, 0.5, -3.0]
    # Largest 0.1 = 1.6 * 2^-4: S = 2^-6, so that 0.1 = 6.4 S saturates to 6 S, and 0.03 = 1.92 S goes to 2 S.
    assert quantized("mxfp4", 0.1, 0.03) == [6 / 64, 2 / 64]


def test_mxfp6_by_hand():
    # Largest 7.9: S = 1. E2M3 steps by 0.5 from 4, by 0.125 below 2; E3M2 has S = 2^(2-4), so 7.9 = 31.6 S saturates.
    assert quantized("mxfp6", 7.9, 5.2, 1.3, 0.06) == [7.5, 5.0, 1.25, 0.0]
    assert quantized("mxfp6-e3m2", 7.9, 5.2, 1.3, 0.06) == [7.0, 5.0, 1.25, 0.0625]


def test_mxfp8_by_hand():
    # Largest 1.9: S = 2^-8 for E4M3, so 1.9 = 486.4 S saturates to 448 S = 1.75; for E5M2 2^-15, and 1.75 too.
    assert quantized("mxfp8", 1.9, 1.0625, 1.1875) == [1.75, 1.0, 1.25]  # ties of 1 and 1.125, 1.125 and 1.25
    assert quantized("mxfp8-e5m2", 1.9, 1.125, 1.375) == [1.75, 1.0, 1.5]


def test_mxint8_by_hand():
    # Largest 3: S = 2, steps of 2/64. -3.99 = -1.995 S saturates at -127/64 S in a block that holds it.
    assert quantized("mxint8", 3.0, 1 / 64, 3 / 64, 0.1) == [3.0, 0.0, 4 / 64, 6 / 64]
    assert quantized("mxint8", -3.99) == [-3.96875]


def test_nvfp4_by_hand():
    """Tensor 2688: S_tensor = 1. First block 448; second 7/6 -> 1.125, and 7 = 6.22 S saturates to 6 S = 6.75."""
    x = torch.zeros(32)
    x[:3] = torch.tensor([2688.0, -1000.0, 100.0])
    x[16:19] = torch.tensor([7.0, 5.0, 0.6])
    held = format_quantize(x, 0, FORMATS["nvfp4"])
    assert held[:3].tolist() == [2688.0, -896.0, 0.0]  # -1000 = -2.23 S goes to -2 S, 100 = 0.22 S to 0
    assert held[16:19].tolist() == [6.75, 4 * 1.125, 0.5 * 1.125]  # 5 = 4.44 S, 0.6 = 0.533 S


def test_nf4_by_hand():
    levels = NF4.grid.levels
    assert quantized("nf4", -2.0, 2.0, 0.0, 0.15, -1.0) == [-2.0, 2.0, 0.0, 2 * levels[8], 2 * levels[2]]


def test_nf4_is_the_construction_of_its_paper():
    """QLoRA, section 3: quantiles from 0.9677083 to a half, 8 positive and 7 negative, over the largest of them."""
    quantile = NormalDist().inv_cdf
    positive = [quantile(p) for p in np.linspace(0.9677083, 0.5, 9)[:-1]]
    negative = [-quantile(p) for p in np.linspace(0.9677083, 0.5, 8)[:-1]]
    levels = np.sort([*negative, 0.0, *positive]) / max(positive)
    assert np.abs(levels - NF4.grid.levels).max() < 2e-7


def test_a_log_uniform_grid_by_hand():
    # 3 bits, epsilon 1/16: positive 1/16, 1/4, 1; negative without the one nearest zero; zero.
    assert log_uniform(3, 1 / 16).levels == pytest.approx((-1, -0.25, 0, 1 / 16, 0.25, 1), rel=1e-6)


@pytest.mark.parametrize("bits", range(3, 9))
def test_log_uniform_levels(bits):
    levels = np.array(log_uniform(bits).levels)
    positive, negative = levels[levels > 0], -levels[levels < 0][::-1]
    assert len(levels) == 2**bits - 2 and 0.0 in levels
    assert positive[0] == pytest.approx(0.1) and positive[-1] == 1.0
    assert np.ptp(np.diff(np.log(positive))) < 1e-6  # equal ratios
    assert np.array_equal(negative, positive[1:])


def test_one_decade_of_a_fine_log_uniform_grid_follows_benford():
    """What the name is about: first digits of the levels from 0.1 to 1 come up as log10(1 + 1/d)."""
    levels = np.array(log_uniform(8).levels)
    digits = np.floor(levels[(levels > 0) & (levels < 1)] * 10 + 1e-9)
    for digit in range(1, 10):
        assert (digits == digit).mean() == pytest.approx(math.log10(1 + 1 / digit), abs=0.01)


@pytest.mark.parametrize(("bits", "epsilon", "sentence"), [(2, 0.1, "3 to 8"), (9, 0.1, "3 to 8"), (4, 1.0, "between")])
def test_log_uniform_grids_that_there_are_not(bits, epsilon, sentence):
    with pytest.raises(RequestError, match=sentence):
        log_uniform(bits, epsilon)


@every
def test_blocks_are_on_their_own(format):
    """Each block of a row is what it would be alone; NVFP4 with the same largest magnitude of the whole tensor."""
    x = torch.randn(4, 3 * format.block)
    x[0, :: format.block] = 5.0  # in each block
    blocks = torch.cat([format_quantize(part, 1, format) for part in x.split(format.block, 1)], 1)
    assert torch.equal(format_quantize(x, 1, format), blocks)


@every
def test_a_short_last_block_is_filled_up_with_zeros(format):
    x = torch.randn(3, format.block + 5)
    padded = torch.cat([x, torch.zeros(3, format.block - 5)], 1)
    assert torch.equal(format_quantize(x, 1, format), format_quantize(padded, 1, format)[:, : format.block + 5])


@every
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_any_axis(format, axis):
    x = torch.randn(70, 70, 70)
    wanted = format_quantize(x.movedim(axis, 0).contiguous(), 0, format).movedim(0, axis)
    assert torch.equal(format_quantize(x, axis, format), wanted)


@every
@pytest.mark.parametrize("size", [2.0**-60, 1.0, 2.0**60])
def test_twice_is_once(format, size):
    """What is on the grid stays; NVFP4 where no block is 2^14 times smaller than the largest: its scale is normal.

    The largest magnitude, 448 * 6, makes NVFP4's scale of the tensor exact; else the law holds up to its rounding.
    """
    x = torch.randn(50, 200)
    x[0, 0] = 448 * 6
    once = format_quantize(x * size, 1, format)
    assert torch.equal(format_quantize(once, 1, format), once)


def test_twice_is_once_up_to_rounding_for_any_scale_of_the_tensor():
    once = format_quantize(torch.randn(50, 200), 1, FORMATS["nvfp4"])
    torch.testing.assert_close(format_quantize(once, 1, FORMATS["nvfp4"]), once, rtol=1e-6, atol=0)


@every
def test_zeros_stay_zeros(format):
    x = torch.randn(2, 2 * format.block)
    x[0, : format.block] = 0
    assert not format_quantize(x, 1, format)[0, : format.block].any()
    assert not format_quantize(torch.zeros(3, 5), 1, format).any()


@every
def test_signs_and_order_are_kept(format):
    x, _ = (torch.randn(20, format.block)).sort(1)
    held = format_quantize(x, 1, format)
    assert (held.diff(dim=1) >= 0).all() and (held * x >= 0).all()


# Half the coarsest step over the largest magnitude of a block. MX: what saturates loses more; the largest is below
# 2^(emax+1) S, so it loses less than (2^(emax+1) - largest of the grid) S, of at least 2^emax S.
BOUNDS = {
    "mxint8": 1 / 128,
    "mxfp8": 64 / 512,
    "mxfp8-e5m2": 8192 / 65536,
    "mxfp6": 0.5 / 8,
    "mxfp6-e3m2": 4 / 32,
    "mxfp4": 2 / 8,
    "nvfp4": 1 / 6 * 17 / 16 + 1 / 17,
    "nf4": (1 - 0.6961928009986877) / 2,
    "benford": (1 - 0.1 ** (1 / 6)) / 2,
}


@every
def test_the_error_is_bounded_by_the_largest_magnitude_of_the_block(format):
    x = torch.randn(2000, format.block) * torch.exp(torch.randn(2000, 1))
    error = (format_quantize(x, 1, format) - x).abs().amax(1) / x.abs().amax(1)
    assert error.max() <= BOUNDS[format.name] + 1e-6
    assert error.max() > BOUNDS[format.name] / 2  # the bound is no empty one


def test_more_bits_are_better_on_normal_values():
    x = torch.randn(200, 640)

    def error(name: str) -> float:
        return float((format_quantize(x, 1, FORMATS[name]) - x).square().mean())

    assert error("mxint8") < error("mxfp8") < error("mxfp8-e5m2") < error("mxfp4")
    assert error("mxfp6") < error("mxfp6-e3m2") < error("nf4") < error("nvfp4") < error("mxfp4")
    assert error("nf4") < error("benford")


def test_one_block_of_integers_is_the_ordinary_scale():
    x = torch.randn(64)
    scale = x.abs().max() / 7
    assert torch.equal(
        format_quantize(x, 0, Format("any", IntegerGrid(4), FLOAT32, 64)), torch.round(x / scale) * scale
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@every
def test_the_dtype_is_kept(format, dtype):
    x = torch.randn(3, 40).to(dtype)
    held = format_quantize(x, 1, format)
    assert held.dtype == dtype and torch.equal(held, format_quantize(x.float(), 1, format).to(dtype))


@every
def test_the_input_is_left_as_it_was(format):
    x = torch.randn(2, format.block)
    before = x.clone()
    format_quantize(x, 1, format)
    assert torch.equal(x, before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@every
def test_nan_and_infinity_are_refused(format, bad):
    with pytest.raises(RunError, match=f"NaN or infinity.*{format.name}"):
        format_quantize(torch.tensor([1.0, bad]), 0, format)


@every
def test_nothing_is_nothing(format):
    assert format_quantize(torch.zeros(0, 3), 0, format).shape == (0, 3)


def by_definition(tensor: torch.Tensor, axis: int, format: Format) -> torch.Tensor:
    """Blocks filled up with zeros, side by side on the last axis."""
    single = tensor.movedim(axis, -1)
    size = single.shape[-1]
    blocks = torch.nn.functional.pad(single, (0, -size % format.block)).unflatten(-1, (-1, format.block))
    largest = blocks.abs().amax(-1, keepdim=True)
    scale = format.scales.scale(largest, format.grid, largest.amax())
    return (format.grid.round_(blocks / scale) * scale).flatten(-2)[..., :size].movedim(-1, axis)


@every
@pytest.mark.parametrize("size", [5, 64, 100, 128, 200])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_along_any_axis_and_in_any_memory_it_is_what_the_definition_says(format, size, axis):
    shape = [3, 4, 5]
    shape[axis] = size
    x = torch.randn(shape, generator=torch.Generator().manual_seed(size)) * torch.logspace(-6, 6, shape[-1])
    expected = by_definition(x, axis, format)
    out = torch.full_like(x, 7.0)
    assert format_quantize(x, axis, format, out) is out
    assert torch.equal(out, expected) and torch.equal(format_quantize(x, axis, format), expected)
    turned = x.transpose(0, 2)  # not contiguous
    place = {0: 2, 1: 1, -1: 0}[axis]
    assert torch.equal(format_quantize(turned, place, format), expected.transpose(0, 2))
