"""The layers of torch that are quantized, and what stands in their place. No other file knows torch's layer classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvTransposeNd

from medquanbench.quant.batch import Batch
from medquanbench.quant.fake import fake_quantize, quantize_integers, scale_of
from medquanbench.quant.granularity import PER_SAMPLE, PER_WEIGHT, Granularity
from medquanbench.quant.kind import Convolution, Kind, Linear
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import FLOAT, RunError, TensorNote

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# They use their children's weights without calling them (an encoder layer does so in its fast path for inference).
_OPAQUE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.RNNBase, nn.RNNCellBase)
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
SCALE_BITS = 32


def is_layer(module: nn.Module) -> bool:
    """True for convolutions, transposed convolutions and linear layers of torch and what derives from them."""
    return isinstance(module, (nn.Linear, *_CONVOLUTIONS))


def is_opaque(module: nn.Module) -> bool:
    """True for modules whose inner layers must be left alone, since they are not called as layers."""
    return isinstance(module, _OPAQUE)


def kind_of(module: nn.Module) -> Kind:
    """The Kind of a layer."""
    if isinstance(module, nn.Linear):
        return Linear(module.in_features, module.out_features)
    return Convolution(
        module.in_channels,
        module.out_channels,
        tuple(module.kernel_size),
        module.groups,
        transposed=isinstance(module, _ConvTransposeNd),
    )


def obstacle(module: nn.Module) -> str:
    """Why a module cannot be quantized although it multiplies by weights; empty where it can, or has none."""
    name = type(module).__name__
    if is_layer(module):
        base = next(c for c in (nn.Linear, *_CONVOLUTIONS) if isinstance(module, c))
        if not all(_inherits(module, base, method) for method in ("forward", "_conv_forward")):
            return f"{name} computes something else than {base.__name__}"
        if "weight" not in module._parameters:
            return "its weight is made anew at every forward (parametrization, weight norm, pruning)"
        if module._forward_pre_hooks:
            return "a hook runs before it and may change what it reads"
        return ""
    if is_opaque(module):
        return f"{name} uses the weights inside it without calling them as layers"
    own = [key for key, value in module.named_parameters(recurse=False) if value.dim() > 1]
    if own and not isinstance(module, _NORMS):
        return f"parameters that belong to no layer stay float: {', '.join(own)}"
    return ""


def _inherits(module: nn.Module, base: type[nn.Module], method: str) -> bool:
    own = getattr(type(module), method, None)
    return own is getattr(base, method, None) and method not in vars(module)


def quantize_weight(layer: nn.Module, kind: Kind, spec: TensorSpec) -> TensorNote:
    """Put a layer's weight on its grid, once and for all; the layer keeps its class and its bias.

    Raises:
        RunError: NaN or infinity in the weight.
    """
    shape, layout = kind.weight_shape, kind.weight_layout
    chosen, note = _or_coarser(shape, layout, spec, PER_WEIGHT)
    weight = layer.weight.detach()
    if _elements_per_scale(shape, layout, chosen) >= 2:
        weight = fake_quantize(weight.reshape(shape), layout, chosen).reshape(weight.shape)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return tensor_note(shape, layout, chosen, note)


def _or_coarser(
    shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec, coarse: Granularity
) -> tuple[TensorSpec, str]:
    """The spec; or, where its groups would hold a single value (which is lossless), a coarser one and why."""
    if _elements_per_scale(shape, layout, spec) >= 2:
        return spec, ""
    return replace(spec, granularity=coarse), f"{spec.granularity.name} would give each value its own scale"


def tensor_note(shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec, note: str) -> TensorNote:
    """What a receipt says of a tensor: bits, granularity, values a scale and their price. A group of one is float."""
    elements = _elements_per_scale(shape, layout, spec)
    if elements < 2:
        return replace(FLOAT, note="a single value: a scale of its own would be lossless, so it counts as float")
    bits = spec.grid.bits
    return TensorNote(bits, spec.granularity.name, elements, bits + SCALE_BITS / elements, note)


def _elements_per_scale(shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec) -> int:
    return prod([shape[i] for i in spec.granularity.shared(layout)])


@dataclass(frozen=True)
class Activation:
    """How a layer holds its input: as any tensor, and where that is the image. None is float."""

    usual: TensorSpec | None
    image: TensorSpec | None


class QuantizedLayer(nn.Module):
    """Stands in a layer's place: moves the input onto its grid, then calls the layer, whose weight is on one already.

    Scales are dynamic: each belongs to one sample of the present input.
    """

    def __init__(self, layer: nn.Module, path: str, kind: Kind, activation: Activation, batch: Batch) -> None:
        super().__init__()
        self.layer, self.path, self.kind, self.activation, self.batch = layer, path, kind, activation, batch
        self.calls = 0
        self.seen = FLOAT
        self.reads_image = self.reads_other = False
        self.weight_taken = False  # by the network, in a forward: it may compute with it and never call the layer
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
        if spec is not None and input.numel():
            input = self._quantize(input, spec, reads_image, first)
        return self.layer(input) if output_size is None else self.layer(input, output_size)

    def _note_call(self, x: torch.Tensor) -> tuple[bool, bool]:
        """(whether x is the image, whether this is the first call)."""
        reads_image = self.batch.is_image(x)
        self.reads_image |= reads_image
        self.reads_other |= not reads_image
        self.calls += 1
        return reads_image, self.calls == 1

    def _known_to_read_image(self) -> bool:
        if self.activation.image != self.activation.usual and self.reads_image == self.reads_other:
            raise RunError(
                f"layer '{self.path}' cannot be compiled: run the network once before, so that it is known what reads "
                "the image; a layer that reads the image and something else too, never can"
            )
        return self.reads_image

    @torch.no_grad()
    def _quantize(self, x: torch.Tensor, spec: TensorSpec, reads_image: bool, first: bool) -> torch.Tensor:
        shape, (split, layout) = x.shape, self._split(x)
        spec, note = _or_coarser(split, layout, spec, PER_SAMPLE)
        if first:
            self.seen = tensor_note(split, layout, spec, note)
        if _elements_per_scale(split, layout, spec) < 2:
            return x
        single = x.reshape(split).float()
        scale = scale_of(single, layout, spec, self.path)
        if reads_image and not torch.compiler.is_compiling():
            # A group of nothing but zeros has no error, and its scale of 1 is no step of the image.
            held = spec.observer(single, spec.granularity.shared(layout)) > 0
            self.batch.note_image_step(float((scale * held).max()))
        room = None if torch.compiler.is_compiling() else self.batch.room_for(single)
        return quantize_integers(single, scale, spec, room).mul_(scale).to(x.dtype).reshape(shape)

    def _split(self, x: torch.Tensor) -> tuple[tuple[int, ...], tuple[str, ...]]:
        # An input without a batch axis (a bare vector, one unbatched volume) is one sample.
        bare = x.dim() == 1 if self.kind.spatial_rank == 0 else x.dim() == self.kind.spatial_rank + 1
        shape = (1, *x.shape) if bare else tuple(x.shape)
        samples = self.batch.groups(shape[0])
        return (samples, shape[0] // samples, *shape[1:]), self.kind.activation_layout(len(shape))
