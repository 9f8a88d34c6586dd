"""What holding a tensor on a grid costs: values that share a scale, bits a value, and scales that would be lossless."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from medquanbench.quant.formats import Format
from medquanbench.quant.granularity import Granularity
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import FLOAT, TensorNote

SCALE_BITS = 32


def or_coarser(
    shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec, coarse: Granularity
) -> tuple[TensorSpec, str]:
    """The spec; or, where its groups would hold a single value (which is lossless), a coarser one and why."""
    if elements_per_scale(shape, layout, spec) >= 2:
        return spec, ""
    return replace(spec, granularity=coarse), f"{spec.granularity.name} would give each value its own scale"


def tensor_note(
    shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec, note: str, scale_bits: int = SCALE_BITS
) -> TensorNote:
    """What a receipt says of a tensor: bits, granularity, values a scale and their price. A group of one is float."""
    elements = elements_per_scale(shape, layout, spec)
    if elements < 2:
        return replace(FLOAT, note="a single value: a scale of its own would be lossless, so it counts as float")
    bits = spec.grid.bits
    return TensorNote(bits, spec.granularity.name, elements, bits + scale_bits / elements, note)


def elements_per_scale(shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec) -> int:
    """How many values of a tensor share a scale."""
    return prod([shape[i] for i in spec.granularity.shared(layout)])


def block_note(format: Format, channels: int) -> TensorNote:
    """What a receipt says of a tensor that is held in blocks along so many channels."""
    elements = min(format.block, channels)
    bits = format.grid.bits
    return TensorNote(bits, f"{format.name} blocks of {format.block}", elements, bits + format.scales.bits / elements)
