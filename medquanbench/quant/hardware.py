"""Hardware model: which kind of arithmetic unit could run a layer's quantized product, told from the named axes alone.

A unit adds up products of small numbers and multiplies the sum by scales at the end. So a scale may stand only where it
comes out of the sum: along the axes of the output (samples, tokens, voxels, output channels), not along the axes that
the product sums over. Two ways around that exist: units that know scales of blocks along the summed channels (MX,
NVFP4), and constants that are multiplied into the other factor beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from medquanbench.quant.formats.format import Format
from medquanbench.quant.grid import Grid
from medquanbench.quant.grids.codebook import Codebook
from medquanbench.quant.grids.fixed_point import MX_INT8
from medquanbench.quant.grids.minifloat import E2M1, E2M3, E3M2, E4M3, E5M2, Minifloat
from medquanbench.quant.kind import KERNEL, SPATIAL, Kind
from medquanbench.quant.scales import E8M0, TWO_LEVEL, ScaleFormat
from medquanbench.quant.spec import StaticSpec, TensorSpec

Held = TensorSpec | StaticSpec | Format


class Tag(StrEnum):
    """What could run the product."""

    GEMM = "gemm"
    """A matrix product of small numbers, with scales at its end."""
    BLOCK = "block"
    """A matrix product whose unit knows scales of blocks along the summed axis."""
    FOLDABLE = "foldable"
    """``gemm``, once static scales of input channels are multiplied into the weight before it is quantized."""
    SIMULATION = "simulation"
    """Nothing but float arithmetic on rounded values."""


@dataclass(frozen=True)
class Hardware:
    """What could run a layer's product, and a short sentence why."""

    tag: Tag
    reason: str


@dataclass(frozen=True)
class _BlockUnit:
    """A unit that multiplies blocks, any of its grids by any other: all that it needs to be told is the scales."""

    scales: ScaleFormat
    block: int
    grids: tuple[Grid, ...]

    def takes(self, format: Format) -> bool:
        return (format.scales, format.block) == (self.scales, self.block) and format.grid in self.grids


_BLOCK_UNITS = (
    _BlockUnit(E8M0, 32, (E2M1, E2M3, E3M2, E4M3, E5M2)),
    _BlockUnit(E8M0, 32, (MX_INT8,)),
    _BlockUnit(TWO_LEVEL, 16, (E2M1,)),
)


def summed_axes(kind: Kind) -> frozenset[str]:
    """Axes of activation and weight that one output value sums over.

    Channels ``c`` and ``i`` where a group has more than one; and along each spatial axis on which the kernel is larger
    than 1, the positions of the input and the taps of the kernel. A transposed convolution counts as one whose windows
    overlap: if its stride is no smaller than its kernel they do not, but a Kind does not know the stride.
    """
    axes = {"c", "i"} if kind.inputs // kind.groups > 1 else set()
    if kind.spatial_rank:
        named = zip(SPATIAL[kind.spatial_rank], KERNEL[kind.spatial_rank], kind.kernel, strict=True)
        for position, tap, size in named:
            axes |= {position, tap} if size > 1 else set()
    return frozenset(axes)


def hardware(kind: Kind, weight: Held | None, activation: Held | None, static: bool) -> Hardware:
    """What could run the product of a layer whose weight and input are held like this.

    Args:
        weight, activation: grid and granularity, or a block format; None: it stays float.
        static: the scales of the activation are constants, found on calibration cases.
    """
    if weight is None or activation is None:
        which = "weight and input stay" if weight is activation else "weight stays" if weight is None else "input stays"
        return Hardware(Tag.SIMULATION, f"the {which} float, and so does the product")
    if isinstance(weight, Format) or isinstance(activation, Format):
        return _of_blocks(kind, weight, activation)
    arithmetic = {_arithmetic(weight), _arithmetic(activation)}
    if len(arithmetic) > 1:
        return Hardware(Tag.SIMULATION, f"no unit multiplies {' by '.join(sorted(arithmetic))}")
    if arithmetic == {_LOOKED_UP}:
        return Hardware(Tag.SIMULATION, f"no unit multiplies {_LOOKED_UP}")
    return _of_axes(kind, weight, activation, static)


_INTEGERS, _FLOATS, _LOOKED_UP = "integers", "floating-point numbers", "values that are looked up in a table"


def _arithmetic(held: TensorSpec | StaticSpec) -> str:
    grid = None if isinstance(held, StaticSpec) else held.grid
    return _LOOKED_UP if isinstance(grid, Codebook) else _FLOATS if isinstance(grid, Minifloat) else _INTEGERS


def _of_axes(kind: Kind, weight: TensorSpec, activation: TensorSpec | StaticSpec, static: bool) -> Hardware:
    summed = summed_axes(kind)
    of_weight, of_activation = weight.granularity.axes & summed, activation.granularity.axes & summed
    if of_weight:
        return Hardware(Tag.SIMULATION, _different("weight", of_weight))
    if not of_activation:
        return Hardware(
            Tag.GEMM,
            f"scales stand outside the sums: {weight.granularity.name} weights, "
            f"{activation.granularity.name} activations",
        )
    if static and of_activation == {"c"}:
        return Hardware(
            Tag.FOLDABLE, "scales of input channels are constants: fold them into the weight, then round it"
        )
    return Hardware(Tag.SIMULATION, _different("activation", of_activation))


def _different(which: str, axes: frozenset[str]) -> str:
    return f"{which} scales differ along {' '.join(sorted(axes))}, over which the product sums"


def _of_blocks(kind: Kind, weight: Held, activation: Held) -> Hardware:
    for held in (weight, activation):
        if isinstance(held, Format) and not any(unit.takes(held) for unit in _BLOCK_UNITS):
            return Hardware(Tag.SIMULATION, f"no unit multiplies blocks of {held.name}")
    if not (isinstance(weight, Format) and isinstance(activation, Format)):
        return Hardware(Tag.SIMULATION, "no unit multiplies blocks by values that are held otherwise")
    if not any(unit.takes(weight) and unit.takes(activation) for unit in _BLOCK_UNITS):
        return Hardware(Tag.SIMULATION, f"no unit multiplies {weight.name} by {activation.name}")
    channels = kind.inputs // kind.groups
    if kind.groups > 1 and channels % activation.block:
        return Hardware(
            Tag.SIMULATION, f"blocks of {activation.block} channels reach across groups of {channels}, summed apart"
        )
    return Hardware(Tag.BLOCK, f"{weight.block} neighbours along the summed channels share a scale")
