"""QuantizedLayer: what stands in a layer's place, and quantizes what comes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from medquanbench.quant.batch import Batch
from medquanbench.quant.fake import place_of, quantize_integers, scale_of
from medquanbench.quant.formats import Format, format_quantize
from medquanbench.quant.granularity import PER_SAMPLE
from medquanbench.quant.kind import Kind, channel_axis
from medquanbench.quant.price import SCALE_BITS, block_note, elements_per_scale, or_coarser, tensor_note
from medquanbench.quant.slabs import in_slabs
from medquanbench.quant.spec import LayerSpec, StaticSpec, TensorSpec
from medquanbench.quant.static import Placed
from medquanbench.quant.steps import Divide
from medquanbench.values import FLOAT, RunError, TensorNote

Watch = Callable[[torch.Tensor, tuple[str, ...], torch.Tensor | None], None]
"""Told of every input of a layer in a pass over calibration inputs: the tensor with its leading axis split, the names
of its axes, and what the tensor is to be divided by, which broadcasts to it; None: nothing."""


Held = TensorSpec | StaticSpec | Format
"""How an input is held: on a grid with dynamic scales, on a static one, or in the blocks of a format."""


@dataclass(frozen=True)
class Activation:
    """How a layer holds its input: as any tensor, and where that is the image. None is float."""

    usual: Held | None
    image: Held | None


HELD_FLOAT = Activation(None, None)


class QuantizedLayer(nn.Module):
    """Stands in a layer's place: moves the input onto its grid, then calls the layer, whose weight is on one already.

    Scales are dynamic, each of one sample of the present input, unless :meth:`fix` has been told where a static grid
    lies. Before its grid the input goes through ``steps``, what transforms have put there: each takes (input,
    output_size) and returns the input that the next one sees and what is to be added to the layer's output, or None.
    """

    def __init__(self, layer: nn.Module, path: str, kind: Kind, batch: Batch) -> None:
        super().__init__()
        self.layer, self.path, self.kind, self.batch = layer, path, kind, batch
        self.activation = HELD_FLOAT
        self.steps = nn.ModuleList()
        self.watch: Watch | None = None
        self.sections: tuple[int, ...] = ()  # neighbouring channels that share a scale, where not all do
        self.asymmetric = self.static = self.own_channels = False
        self.joined: tuple[int, ...] | None = None
        self.register_buffer("placed", None)
        # weight_taken: by the network, in a forward; it may compute with it and never call the layer.
        self.forget()
        self.train(layer.training)

    def __getattr__(self, name: str):
        # Networks ask their layers for weight, bias, in_features: the layer inside answers.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            if name == "weight":
                self.weight_taken |= self.batch.is_open
            return getattr(super().__getattr__("layer"), name)

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """What the layer computes from an input on its grid; ``output_size`` as in torch's transposed convolutions."""
        if torch.compiler.is_compiling():
            # Only the arithmetic is compiled; what is read and how often, an eager forward has noted before.
            reads_image, first = self._known_to_read_image(), False
        else:
            reads_image, first = self._note_call(input)
        spec = self.activation.image if reads_image else self.activation.usual
        if self.batch.joins is not None and spec is None:
            return self._observed(input, output_size)
        input, added = self.stepped(input, output_size)
        if spec is not None and input.numel():
            input = self._quantize(input, spec, reads_image, first)
        output = self.layer(input) if output_size is None else self.layer(input, output_size)
        for more in added:
            output = output + more
        return output

    def stepped(self, input: torch.Tensor, output_size: list[int] | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """An input behind all steps, and what is to be added to the output."""
        added = []
        for step in self.steps:
            input, more = step(input, output_size)
            added += [] if more is None else [more]
        return input, added

    def _observed(self, input: torch.Tensor, output_size: list[int] | None) -> torch.Tensor:
        """A forward in a pass over calibration inputs, in float. It spares memory, and divides no whole input."""
        if self.watch is not None:
            self._note_joined(self.batch.joins.sections(input, channel_axis(self.kind)))
        alone = len(self.steps) == 1 and isinstance(self.steps[0], Divide) and output_size is None
        divisor = self.steps[0].factors if alone else None
        added = []
        if not alone:
            input, added = self.stepped(input, output_size)
        if self.watch is not None and input.numel():
            split, layout = self._split(input)
            self.watch(input.float().reshape(split), layout, divisor)
        if output_size is None:
            output = in_slabs(self.layer, self.kind, input, divisor)
        else:
            output = self.layer(input, output_size)
        for more in added:
            output = output + more
        return output

    def expect(self, spec: LayerSpec) -> None:
        """What a policy has decided, as far as transforms ask for it."""
        self.own_channels, self.static = "c" in spec.activation.axes, spec.static is not None

    def planned(self) -> TensorNote:
        """What a receipt says of the input before a forward."""
        spec = self.activation.usual
        if spec is None:
            return FLOAT
        if isinstance(spec, Format):
            return block_note(spec, self.kind.inputs)
        bits = spec.bits if isinstance(spec, StaticSpec) else spec.grid.bits
        return TensorNote(bits, spec.granularity.name, 0, float(bits))

    def hold(self, x: torch.Tensor, reads_image: bool) -> torch.Tensor:
        """An input as a forward holds it, with nothing noted of it."""
        spec = self.activation.image if reads_image else self.activation.usual
        return self._quantize(x, spec, reads_image=False, first=False) if spec is not None and x.numel() else x

    def fix(self, placed: Placed) -> None:
        """Hold every input on this static grid; its tensors broadcast to a split input (n, k, c, ...)."""
        self.placed = torch.stack(torch.broadcast_tensors(placed.step, placed.lowest, placed.highest))

    @property
    def channel_steps(self) -> torch.Tensor | None:
        """Steps of static grids that each input channel has for itself, float32 (C,); None without."""
        if self.placed is None or not self.own_channels or self.kind.inputs == 1:
            return None
        return self.placed[0].flatten()

    def forget(self) -> None:
        """Begin anew with what is noted of calls."""
        self.calls, self.seen = 0, FLOAT
        self.reads_image = self.reads_other = self.weight_taken = False

    def _note_call(self, x: torch.Tensor) -> tuple[bool, bool]:
        """(whether x is the image, whether this is the first call)."""
        reads_image = self.batch.is_image(x)
        self.reads_image |= reads_image
        self.reads_other |= not reads_image
        self.calls += 1
        return reads_image, self.calls == 1

    def _note_joined(self, sections: tuple[int, ...]) -> None:
        self.joined = sections if self.joined in (None, sections) else ()

    def _known_to_read_image(self) -> bool:
        if self.activation.image != self.activation.usual and self.reads_image == self.reads_other:
            raise RunError(
                f"layer '{self.path}' cannot be compiled: run the network once before, so that it is known what reads "
                "the image; a layer that reads the image and something else too, never can"
            )
        return self.reads_image

    @torch.no_grad()
    def _quantize(self, x: torch.Tensor, spec: Held, reads_image: bool, first: bool) -> torch.Tensor:
        shape, (split, layout) = x.shape, self._split(x)
        if isinstance(spec, StaticSpec):
            return self._quantize_static(x, split, spec, reads_image, first)
        if isinstance(spec, Format):
            return self._quantize_blocks(x, split, layout, spec, first)
        spec, note = or_coarser(split, layout, spec, PER_SAMPLE)
        if first:
            self.seen = self._seen(split, layout, spec, note)
        if elements_per_scale(split, layout, spec) < 2:
            return x
        single = x.reshape(split).float()
        if self._has_sections(spec):
            axis = layout.index("c")
            parts = [self._on_grid(part, layout, spec, reads_image) for part in single.split(self.sections, axis)]
            return torch.cat(parts, axis).to(x.dtype).reshape(shape)
        return self._on_grid(single, layout, spec, reads_image).to(x.dtype).reshape(shape)

    def _on_grid(
        self, single: torch.Tensor, layout: tuple[str, ...], spec: TensorSpec, reads_image: bool
    ) -> torch.Tensor:
        if self.asymmetric:
            placed = place_of(single, layout, spec, self.path)
            scale = placed.step
        else:
            scale, placed = scale_of(single, layout, spec, self.path), None
        if reads_image and not torch.compiler.is_compiling():
            # A group of nothing but zeros has no error, and its scale of 1 is no step of the image.
            held = spec.observer(single, spec.granularity.shared(layout)) > 0
            self.batch.note_image_step(float((scale * held).max()))
        room = self._room_for(single)
        if placed is not None:
            return placed.quantize(single, room)
        return quantize_integers(single, scale, spec, room).mul_(scale)

    def _seen(self, split: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec, note: str) -> TensorNote:
        if self._has_sections(spec):
            smallest = min(self.sections)
            split = tuple(smallest if axis == "c" else size for size, axis in zip(split, layout))
            note = "; ".join(filter(None, (note, self._sections_note())))
        return tensor_note(split, layout, spec, note, SCALE_BITS + spec.grid.bits * self.asymmetric)

    def _has_sections(self, spec: TensorSpec) -> bool:
        return bool(self.sections) and "c" not in spec.granularity.axes

    def _sections_note(self) -> str:
        return f"a scale for each of {len(self.sections)} sections of channels" if self.sections else ""

    def _quantize_static(
        self, x: torch.Tensor, split: tuple[int, ...], spec: StaticSpec, reads_image: bool, first: bool
    ) -> torch.Tensor:
        if self.placed is None:
            raise RunError(f"layer '{self.path}' has no static scale: no calibration input reached it")
        placed = Placed(*self.placed)
        if first:
            # A scale that holds for every input costs nothing a value.
            elements = x.numel() // placed.step.numel()
            self.seen = TensorNote(
                spec.bits, spec.granularity.name, elements, float(spec.bits), self._sections_note()
            )  # fmt: skip
        single = x.reshape(split).float()
        held = placed.quantize(single, self._room_for(single))
        if not torch.compiler.is_compiling():
            _refuse_nan(held, self.path)
            if reads_image:
                self.batch.note_image_step(float(placed.step.max()))
        return held.to(x.dtype).reshape(x.shape)

    def _quantize_blocks(
        self, x: torch.Tensor, split: tuple[int, ...], layout: tuple[str, ...], spec: Format, first: bool
    ) -> torch.Tensor:
        if first:
            self.seen = block_note(spec, self.kind.inputs)
        axis = layout.index("c") - 1  # of one sample
        single = x.reshape(split).float()
        room = self._room_for(single)
        held = torch.empty_like(single) if room is None else room
        try:
            for sample, place in zip(single, held):
                format_quantize(sample, axis, spec, place)
        except RunError as error:
            raise RunError(f"layer '{self.path}': {error}") from None
        return held.to(x.dtype).reshape(x.shape)

    def _room_for(self, single: torch.Tensor) -> torch.Tensor | None:
        return None if torch.compiler.is_compiling() else self.batch.room_for(single)

    def _split(self, x: torch.Tensor) -> tuple[tuple[int, ...], tuple[str, ...]]:
        # An input without a batch axis (a bare vector, one unbatched volume) is one sample.
        bare = x.dim() == 1 if self.kind.spatial_rank == 0 else x.dim() == self.kind.spatial_rank + 1
        shape = (1, *x.shape) if bare else tuple(x.shape)
        samples = self.batch.groups(shape[0])
        return (samples, shape[0] // samples, *shape[1:]), self.kind.activation_layout(len(shape))


def _refuse_nan(held: torch.Tensor, path: str) -> None:
    # Infinity is clipped to the grid's end as any other value; NaN comes through.
    if torch.isnan(held.sum()):
        raise RunError(f"layer '{path}': NaN in the tensor that is to be quantized")
