"""The weight of a layer, moved onto its grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from medquanbench.quant.fake import fake_quantize
from medquanbench.quant.formats import Format, format_quantize
from medquanbench.quant.gram import Centre, Gram
from medquanbench.quant.granularity import PER_WEIGHT
from medquanbench.quant.grid import Grid
from medquanbench.quant.kind import Kind
from medquanbench.quant.layers import hold_weight, shift_bias, weight_groups
from medquanbench.quant.methods import NEAREST, Rounding
from medquanbench.quant.price import block_note, elements_per_scale, or_coarser, tensor_note
from medquanbench.quant.rounding import bias_shift, clipped_scale, descend, gptq, nearest, output_error, searched_scale
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import RunError, TensorNote


@dataclass(frozen=True, eq=False)
class OnGrid:
    """Where a layer's weight lies now.

    Attributes:
        note: what a receipt says of it.
        words: how the methods of the rounding went.
        scale: float32, broadcasts to rows (group, output, input * kernel); None where the weight stays float.
        grid: of the weight divided by ``scale``.
    """

    note: TensorNote
    words: str = ""
    scale: torch.Tensor | None = None
    grid: Grid | None = None

    def adding(self, words: str) -> OnGrid:
        """The same place, with more words."""
        return replace(self, words="; ".join(filter(None, (self.words, words))))


def quantize_weight(
    layer: nn.Module,
    kind: Kind,
    spec: TensorSpec | Format,
    rounding: Rounding = NEAREST,
    gram: Gram | None = None,
    folded: torch.Tensor | None = None,
    is_normed: bool = False,
) -> OnGrid:
    """Put a layer's weight on its grid, once and for all; the layer keeps its class.

    Args:
        folded: static steps of the input channels, (C,): the weight times these is what lies on the grid, since a
            machine multiplies it by integers and knows no other scale of an input channel; ``gram`` is then of inputs
            divided by them.
        gram: what the layer reads of calibration inputs, where the rounding needs it; None rounds to nearest.
        is_normed: an instance norm, and nothing else, reads what the layer answers: means of samples do not matter.

    Raises:
        RunError: NaN or infinity in the weight.
    """
    if folded is not None:
        steps = folded.reshape(kind.groups, 1, -1, 1)
        hold_weight(layer, kind, weight_groups(layer, kind) * steps)
        told = quantize_weight(layer, kind, spec, rounding, gram, is_normed=is_normed)
        hold_weight(layer, kind, weight_groups(layer, kind) / steps)
        return told
    if isinstance(spec, Format):
        note = block_note(spec, kind.inputs)
        if rounding == NEAREST:
            weight = weight_groups(layer, kind)
            hold_weight(layer, kind, format_quantize(weight, 2, spec))
            return OnGrid(note, "", _block_scale(weight, spec).flatten(2), spec.grid)
        return _round(layer, kind, spec, rounding, gram, note, is_normed)
    shape, layout = kind.weight_shape, kind.weight_layout
    chosen, reason = or_coarser(shape, layout, spec, PER_WEIGHT)
    note = tensor_note(shape, layout, chosen, reason)
    weight = layer.weight.detach()
    scale = None
    if elements_per_scale(shape, layout, chosen) >= 2:
        if rounding != NEAREST:
            return _round(layer, kind, chosen, rounding, gram, note, is_normed)
        scale = _scale(weight_groups(layer, kind), chosen, NEAREST, None, Centre.NOTHING)[0]
        weight = fake_quantize(weight.reshape(shape), layout, chosen).reshape(weight.shape)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return OnGrid(note, "", scale, chosen.grid)


def _round(
    layer: nn.Module,
    kind: Kind,
    spec: TensorSpec | Format,
    rounding: Rounding,
    gram: Gram | None,
    note: TensorNote,
    is_normed: bool,
) -> OnGrid:
    """Round a weight as asked."""
    weight = weight_groups(layer, kind)
    if not torch.isfinite(weight).all():
        raise RunError("NaN or infinity in the tensor that is to be quantized")
    rows = weight.flatten(2)
    # What the bias makes up for must not be made up for twice.
    centre = Centre.SAMPLE_MEANS if is_normed else Centre.MEAN if rounding.bias else Centre.NOTHING
    scale, words = _scale(weight, spec, rounding, gram, centre)
    rounded = nearest(rows, scale, spec.grid)
    if gram is not None:
        rounded, reached = _fitted(rows, rounded, scale, spec, rounding, gram, centre)
        words.append(reached)
        if rounding.bias and is_normed:
            words.append("no bias corrected: the instance norm behind takes any mean away")
        elif rounding.bias:
            shift_bias(layer, bias_shift(rows, rounded, gram.mean()))
            words.append("bias corrected")
    elif rounding.needs_inputs:
        words.append("rounded to nearest: no calibration input reached it, or it pads otherwise than with zeros")
    hold_weight(layer, kind, rounded.reshape(weight.shape))
    return OnGrid(note, "; ".join(words), scale, spec.grid)


def _scale(
    weight: torch.Tensor, spec: TensorSpec | Format, rounding: Rounding, gram: Gram | None, centre: Centre
) -> tuple[torch.Tensor, list[str]]:
    """Scales that broadcast to rows (group, output, input * kernel), and what clipping did."""
    rows = weight.flatten(2)
    if isinstance(spec, Format):
        return _block_scale(weight, spec).flatten(2), ["blocks keep their scales"] if rounding.clip else []
    held = rows if "o" in spec.granularity.axes else rows.reshape(1, 1, -1)
    whole = held.abs().amax(-1, keepdim=True) / held.new_full((), spec.grid.largest)
    whole = torch.where(whole > 0, whole, 1.0)
    if not rounding.clip:
        return whole, []
    if rounding.damp is not None and gram is not None:
        scale, what = (
            searched_scale(rows, gram, whole, spec.grid, centre, rounding.damp),
            "scales for what gptq leaves,",
        )
    else:
        scale, what = clipped_scale(held, spec.grid), "scales"
    parts = 100 * scale / whole
    return scale, [f"{what} at {float(parts.min()):.0f} to {float(parts.max()):.0f} % of the largest weights'"]


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
    centre: Centre,
) -> tuple[torch.Tensor, str]:
    """The rounding that changes the layer's output least, block by block of its columns, and its share of the error."""
    before = after = 0.0
    steps, rounded = scale.expand(rows.shape), rounded.clone()
    for block in gram.blocks(centre):
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
