"""The weight of a layer, moved onto its grid."""

from __future__ import annotations

import torch
from torch import nn

from medquanbench.quant.fake import fake_quantize
from medquanbench.quant.formats import Format, format_quantize
from medquanbench.quant.gram import Centre, Gram
from medquanbench.quant.granularity import PER_WEIGHT
from medquanbench.quant.kind import Kind
from medquanbench.quant.layers import hold_weight, shift_bias, weight_groups
from medquanbench.quant.methods import NEAREST, Rounding
from medquanbench.quant.price import block_note, elements_per_scale, or_coarser, tensor_note
from medquanbench.quant.rounding import bias_shift, clipped_scale, descend, gptq, nearest, output_error
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import RunError, TensorNote


def quantize_weight(
    layer: nn.Module,
    kind: Kind,
    spec: TensorSpec | Format,
    rounding: Rounding = NEAREST,
    gram: Gram | None = None,
    folded: torch.Tensor | None = None,
) -> tuple[TensorNote, str]:
    """Put a layer's weight on its grid, once and for all; the layer keeps its class.

    Args:
        folded: static steps of the input channels, (C,): the weight times these is what lies on the grid, since a
            machine multiplies it by integers and knows no other scale of an input channel; ``gram`` is then of inputs
            divided by them.
        gram: what the layer reads of calibration inputs, where the rounding needs it; None rounds to nearest.

    Returns:
        what a receipt says of the weight; how the methods of the rounding went, in words.

    Raises:
        RunError: NaN or infinity in the weight.
    """
    if folded is not None:
        steps = folded.reshape(kind.groups, 1, -1, 1)
        hold_weight(layer, kind, weight_groups(layer, kind) * steps)
        told = quantize_weight(layer, kind, spec, rounding, gram)
        hold_weight(layer, kind, weight_groups(layer, kind) / steps)
        return told
    if isinstance(spec, Format):
        note = block_note(spec, kind.inputs)
        if rounding == NEAREST:
            hold_weight(layer, kind, format_quantize(weight_groups(layer, kind), 2, spec))
            return note, ""
        return note, _round(layer, kind, spec, rounding, gram)
    shape, layout = kind.weight_shape, kind.weight_layout
    chosen, reason = or_coarser(shape, layout, spec, PER_WEIGHT)
    note = tensor_note(shape, layout, chosen, reason)
    weight = layer.weight.detach()
    if elements_per_scale(shape, layout, chosen) >= 2:
        if rounding != NEAREST:
            return note, _round(layer, kind, chosen, rounding, gram)
        weight = fake_quantize(weight.reshape(shape), layout, chosen).reshape(weight.shape)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return note, ""


def _round(layer: nn.Module, kind: Kind, spec: TensorSpec | Format, rounding: Rounding, gram: Gram | None) -> str:
    """Round a weight as asked; returns how that went."""
    weight = weight_groups(layer, kind)
    if not torch.isfinite(weight).all():
        raise RunError("NaN or infinity in the tensor that is to be quantized")
    rows = weight.flatten(2)
    scale, words = _scale(weight, spec, rounding.clip)
    rounded = nearest(rows, scale, spec.grid)
    if gram is not None:
        rounded, reached = _fitted(rows, rounded, scale, spec, rounding, gram)
        words.append(reached)
        if rounding.bias:
            shift_bias(layer, bias_shift(rows, rounded, gram.mean()))
            words.append("bias corrected")
    elif rounding.needs_inputs:
        words.append("rounded to nearest: no calibration input reached it, or it pads otherwise than with zeros")
    hold_weight(layer, kind, rounded.reshape(weight.shape))
    return "; ".join(words)


def _scale(weight: torch.Tensor, spec: TensorSpec | Format, clip: bool) -> tuple[torch.Tensor, list[str]]:
    """Scales that broadcast to rows (group, output, input * kernel), and what clipping did."""
    rows = weight.flatten(2)
    if isinstance(spec, Format):
        return _block_scale(weight, spec).flatten(2), ["blocks keep their scales"] if clip else []
    held = rows if "o" in spec.granularity.axes else rows.reshape(1, 1, -1)
    whole = held.abs().amax(-1, keepdim=True) / held.new_full((), spec.grid.largest)
    whole = torch.where(whole > 0, whole, 1.0)
    if not clip:
        return whole, []
    scale = clipped_scale(held, spec.grid)
    parts = 100 * scale / whole
    return scale, [f"scales at {float(parts.min()):.0f} to {float(parts.max()):.0f} % of the largest weights'"]


def _block_scale(weight: torch.Tensor, format: Format) -> torch.Tensor:
    inputs = weight.shape[2]
    blocks = nn.functional.pad(weight, (0, 0, 0, -inputs % format.block)).unflatten(2, (-1, format.block))
    largest = blocks.abs().amax(3, keepdim=True)
    scale = format.scales.scale(largest, format.grid, largest.amax()).expand(blocks.shape)
    return scale.flatten(2, 3)[:, :, :inputs]


def _fitted(
    rows: torch.Tensor,
    rounded: torch.Tensor,
    scale: torch.Tensor,
    spec: TensorSpec | Format,
    rounding: Rounding,
    gram: Gram,
) -> tuple[torch.Tensor, str]:
    """The rounding that changes the layer's output least, block by block of its columns, and its share of the error."""
    before = after = 0.0
    steps, rounded = scale.expand(rows.shape), rounded.clone()
    # What the bias makes up for must not be made up for twice.
    for block in gram.blocks(Centre.MEAN if rounding.bias else Centre.NOTHING):
        columns = block.columns
        weight, plain, step = rows[..., columns], rounded[..., columns], steps[..., columns]
        found = plain if rounding.damp is None else gptq(weight, block.gram, step, spec.grid, rounding.damp)
        if rounding.sweeps:
            found = descend(weight, found, block.gram, step, spec.grid, sweeps=rounding.sweeps)
        before += float(output_error(weight - plain, block.gram).sum())
        after += float(output_error(weight - found, block.gram).sum())
        rounded[..., columns] = found
    return (
        rounded,
        f"the output's squared error is {100 * after / before if before else 100:.0f} % of nearest rounding's",
    )
