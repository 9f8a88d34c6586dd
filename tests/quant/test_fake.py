"""Fake quantization: laws, values worked by hand, and a second implementation in NumPy."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from medquanbench.quant.fake import fake_quantize, quantize_integers, scale_of
from medquanbench.quant.granularity import granularity
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import RunError

LAYOUT = ("a", "b", "c")
GRANULARITIES = ["", "a", "b", "c", "a b", "b c"]
BITS = range(2, 9)


def spec(bits: int, axes: str = "") -> TensorSpec:
    return TensorSpec(IntegerGrid(bits), granularity("any", axes), OBSERVERS["absmax"])


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bits_of(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy().view(np.int32)


def numpy_fake_quantize(x: np.ndarray, bits: int, axes: tuple[int, ...]) -> np.ndarray:
    """Eq. 1 in NumPy, float32 throughout: the second implementation."""
    largest = np.float32(2 ** (bits - 1) - 1)
    scale = np.abs(x).max(axis=axes, keepdims=True) / largest
    scale = np.where(scale > 0, scale, np.float32(1))
    return np.clip(np.rint(x / scale), -largest, largest) * scale


def test_integers_worked_by_hand():
    # max 7 at 4 bits: S = 1; halves go to even numbers.
    assert fake_quantize(torch.tensor([7.0, 0.5, 1.5, 2.5, -3.5]), ("a",), spec(4)).tolist() == [7, 0, 2, 2, -4]
    # max 3.5 at 4 bits: S = 0.5.
    assert fake_quantize(torch.tensor([-3.5, 0.25, 0.3, 1.25]), ("a",), spec(4)).tolist() == [-3.5, 0, 0.5, 1]
    # max 3 at 2 bits: S = 3, and the grid is -3, 0, 3.
    assert fake_quantize(torch.tensor([3.0, 1.5, 1.6, -2.0]), ("a",), spec(2)).tolist() == [3, 0, 3, -3]


def test_each_group_has_its_own_scale():
    x = torch.tensor([[7.0, 2.6], [0.7, 0.26]])
    rows = fake_quantize(x, ("a", "b"), spec(4, "a"))
    assert rows.tolist() == [[7, 3], [pytest.approx(0.7), pytest.approx(0.3)]]
    assert fake_quantize(x, ("a", "b"), spec(4)).tolist() == [[7, 3], [1, 0]]


@pytest.mark.parametrize("axes", ["", "a", "b", "c"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_second_implementation_agrees_bit_for_bit(bits, axes):
    x = gaussian(10, 1000, 100) * 10 ** gaussian(10, 1000, 1, seed=1)
    shared = tuple(i for i, axis in enumerate(LAYOUT) if axis not in axes.split())
    expected = numpy_fake_quantize(x.numpy(), bits, shared)
    assert expected.dtype == np.float32
    assert np.array_equal(bits_of(fake_quantize(x, LAYOUT, spec(bits, axes))), expected.view(np.int32))


def test_true_division():
    # S = 1/7. x / S is 1.5, so 2 by half to even; x * (1/S) is 1.4999999, so 1: a full step lower.
    x = torch.tensor([1.0, 0.21428572])
    scale = scale_of(x, ("a",), spec(4))
    assert (x[1] * (1 / scale)).round() == 1
    assert quantize_integers(x, scale, spec(4)).tolist() == [7, 2]


class Divisors(TorchDispatchMode):
    """Remembers what tensors are divided by."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function.overloadpacket is torch.ops.aten.div:
            self.found = [*getattr(self, "found", []), arguments[1]]
        return function(*arguments, **(keywords or {}))


def test_nothing_is_divided_by_a_python_number():
    # On CUDA torch multiplies by the reciprocal of one, and S would differ from the CPU's by an ulp.
    with Divisors() as divisors:
        fake_quantize(gaussian(4, 5), ("a", "b"), spec(4, "a"))
    assert len(divisors.found) == 2
    assert all(isinstance(divisor, torch.Tensor) for divisor in divisors.found)


@pytest.mark.parametrize("axes", GRANULARITIES)
@pytest.mark.parametrize("bits", BITS)
def test_the_error_is_at_most_half_a_step(bits, axes):
    x = gaussian(8, 9, 50) * torch.exp(3 * gaussian(8, 9, 1, seed=1))
    step = scale_of(x, LAYOUT, spec(bits, axes)).double()
    error = (fake_quantize(x, LAYOUT, spec(bits, axes)).double() - x.double()).abs()
    rounding = 127 * 2.0**-23  # of x / S and q S in float32
    assert (error <= step * (0.5 + rounding)).all()


@pytest.mark.parametrize("axes", GRANULARITIES)
@pytest.mark.parametrize("bits", BITS)
def test_quantizing_twice_is_quantizing_once(bits, axes):
    x = gaussian(8, 9, 50) * torch.exp(3 * gaussian(8, 9, 1, seed=1))
    once = fake_quantize(x, LAYOUT, spec(bits, axes))
    twice = fake_quantize(once, LAYOUT, spec(bits, axes))
    assert np.abs(bits_of(once) - bits_of(twice)).max() <= 1  # neighbouring floats


@pytest.mark.parametrize("bits", BITS)
def test_zeros_stay_zeros(bits):
    x = gaussian(4, 6, 20)
    x[:, ::2, ::3] = 0
    for axes in GRANULARITIES:
        assert (fake_quantize(x, LAYOUT, spec(bits, axes))[:, ::2, ::3] == 0).all()


def test_a_group_of_zeros_has_scale_one():
    x = torch.tensor([[0.0, 0.0], [7.0, 1.0]])
    assert scale_of(x, ("a", "b"), spec(4, "a")).tolist() == [[1.0], [1.0]]
    assert scale_of(torch.zeros(3), ("a",), spec(4)).tolist() == [1.0]
    assert fake_quantize(x, ("a", "b"), spec(4, "a")).tolist() == x.tolist()


@pytest.mark.parametrize("bits", BITS)
def test_the_grid_is_symmetric(bits):
    x = gaussian(4, 6, 20)
    assert torch.equal(fake_quantize(-x, LAYOUT, spec(bits)), -fake_quantize(x, LAYOUT, spec(bits)))


def test_a_power_of_two_passes_through():
    x = gaussian(4, 6, 20)
    for axes in GRANULARITIES:
        assert torch.equal(fake_quantize(8 * x, LAYOUT, spec(4, axes)), 8 * fake_quantize(x, LAYOUT, spec(4, axes)))


@pytest.mark.parametrize("axes", GRANULARITIES)
def test_the_shape_of_the_scale_is_the_granularity(axes):
    scale = scale_of(gaussian(2, 3, 5), LAYOUT, spec(4, axes))
    assert tuple(scale.shape) == tuple(n if axis in axes.split() else 1 for axis, n in zip(LAYOUT, (2, 3, 5)))


def test_more_bits_never_give_less_sqnr():
    x = gaussian(10, 100, 100)
    for axes in GRANULARITIES:
        noise = [(fake_quantize(x, LAYOUT, spec(bits, axes)) - x).square().sum().item() for bits in BITS]
        assert noise == sorted(noise, reverse=True)
        assert noise[0] > 100 * noise[-1] > 0


@pytest.mark.parametrize("largest", [1e-38, 1e-40, 3e-43, 1.4e-44, 1.4e-45])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_denormal_maxima(bits, largest):
    x = torch.linspace(-largest, largest, 101, dtype=torch.float64).float()
    found = fake_quantize(x, ("a",), spec(bits))
    assert np.array_equal(found.numpy(), numpy_fake_quantize(x.numpy(), bits, (0,)))
    step = scale_of(x, ("a",), spec(bits)).double()
    # S itself is rounded to a multiple of 2^-149: at most half of that for each of up to 127 steps.
    assert ((found.double() - x.double()).abs() <= torch.maximum(step / 2, torch.tensor(127 * 2.0**-150))).all()


def test_large_finite_values_are_no_error():
    x = torch.full((1000,), 3e38).unsqueeze(1).repeat(1, 2)  # the scales' sum overflows, no scale does
    assert torch.equal(fake_quantize(x, ("a", "b"), spec(2, "a")), x)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("axes", ["", "a", "b", "b c"])
def test_what_is_not_finite_is_an_error(value, axes):
    x = gaussian(5, 6, 7)
    x[3, 2, 6] = value
    with pytest.raises(RunError, match="NaN or infinity"):
        fake_quantize(x, LAYOUT, spec(4, axes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_type_and_input_are_kept(dtype):
    x = gaussian(4, 6, 20).to(dtype)
    before = x.clone()
    found = fake_quantize(x, LAYOUT, spec(4, "b"))
    assert found.dtype == dtype and found.shape == x.shape
    assert torch.equal(x, before)
    # The arithmetic is float32's whatever the type.
    assert torch.equal(found, fake_quantize(x.float(), LAYOUT, spec(4, "b")).to(dtype))
