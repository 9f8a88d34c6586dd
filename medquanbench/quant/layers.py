"""The layers of torch that are quantized, and what stands in their place; the only file that knows torch's layer classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from medquanbench.quant.fake import fake_quantize, quantize_integers, scale_of
from medquanbench.quant.granularity import PER_SAMPLE, PER_WEIGHT
from medquanbench.quant.kind import Convolution, Kind, Linear
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import FLOAT, RunError, TensorNote

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_OPAQUE = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)  # they use their children's weights without calling them
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
        module.in_channels, module.out_channels, tuple(module.kernel_size), module.groups,
        transposed=isinstance(module, _ConvTransposeNd),
    )


def obstacle(module: nn.Module) -> str:
    """Why a module cannot be quantized although it multiplies by weights; empty where it can, or has none."""
    name = type(module).__name__
    if is_layer(module):
        base = next(c for c in (nn.Linear, *_CONVOLUTIONS) if isinstance(module, c))
        if type(module).forward is not base.forward:
            return f"{name} computes something else than {base.__name__}"
        if torch.nn.utils.parametrize.is_parametrized(module) or module._forward_pre_hooks:
            return "its weight is made anew at every forward (parametrization or hook)"
        return ""
    if is_opaque(module):
        return f"{name} uses the weights inside it without calling them as layers"
    own = [key for key, value in module.named_parameters(recurse=False) if value.dim() > 1]
    if own and not isinstance(module, (*_NORMS, _ConvNd)):
        return f"parameters that belong to no layer stay float: {', '.join(own)}"
    return ""


def quantize_weight(layer: nn.Module, kind: Kind, spec: TensorSpec) -> TensorNote:
    """Put a layer's weight on its grid, once and for all; the layer keeps its class and its bias.

    Raises:
        RunError: NaN or infinity in the weight.
    """
    shape, layout = kind.weight_shape, kind.weight_layout
    note, chosen = "", spec
    if _elements_per_scale(shape, layout, spec) < 2:
        note, chosen = f"{spec.granularity.name} would give each value its own scale", replace(spec, granularity=PER_WEIGHT)
    weight = layer.weight.detach()
    layer.weight = nn.Parameter(fake_quantize(weight.reshape(shape), layout, chosen).reshape(weight.shape), False)
    return tensor_note(shape, layout, chosen, note)


def tensor_note(shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec, note: str) -> TensorNote:
    """What a receipt says of a tensor: bits, granularity, values a scale and their price. A group of one is float."""
    elements = _elements_per_scale(shape, layout, spec)
    if elements < 2:
        return replace(FLOAT, note="a single value: a scale of its own would be lossless, so it counts as float")
    bits = spec.grid.bits
    return TensorNote(bits, spec.granularity.name, elements, bits + SCALE_BITS / elements, note)


def _elements_per_scale(shape: tuple[int, ...], layout: tuple[str, ...], spec: TensorSpec) -> int:
    return prod(shape[i] for i in spec.granularity.shared(layout))


class Batch:
    """What one forward of the root says to all layers in it: how many samples there are, and which tensor is the image."""

    def __init__(self) -> None:
        self.samples: int | None = None
        self.image_step = 0.0
        self._image: tuple[int, int] | None = None

    def begin(self, image: torch.Tensor) -> None:
        self.samples, self._image = image.shape[0] if image.dim() else 1, (image.data_ptr(), image.numel())

    def end(self) -> None:
        self.samples = self._image = None

    def is_image(self, tensor: torch.Tensor) -> bool:
        return self._image == (tensor.data_ptr(), tensor.numel())

    def groups(self, leading: int) -> int:
        """Samples on a leading axis of k*B: B. Outside a forward of the root every entry is a sample."""
        if self.samples is None:
            return leading
        # What does not grow with the batch (a table, a prompt) belongs to no sample: one group.
        return self.samples if leading % self.samples == 0 else 1


@dataclass(frozen=True)
class Activation:
    """How a layer holds its input: as any tensor, and where that is the image. None is float."""

    usual: TensorSpec | None
    image: TensorSpec | None


class QuantizedLayer(nn.Module):
    """Stands in a layer's place: moves the input onto its grid, then calls the layer, whose weight is on its own already.

    Scales are dynamic: each belongs to one sample of the present input.
    """

    def __init__(self, layer: nn.Module, path: str, kind: Kind, activation: Activation, batch: Batch) -> None:
        super().__init__()
        self.layer, self.path, self.kind, self.activation, self.batch = layer, path, kind, activation, batch
        self.calls = 0
        self.seen = FLOAT
        self.reads_image = False

    def __getattr__(self, name: str):
        # Networks ask their layers for weight, bias, in_features: the layer inside answers.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        reads_image = self.batch.is_image(x)
        spec = self.activation.image if reads_image else self.activation.usual
        first, self.calls = self.calls == 0, self.calls + 1
        self.reads_image |= reads_image
        if spec is not None:
            x = self._quantize(x, spec, reads_image, first)
        return self.layer(x)

    def _quantize(self, x: torch.Tensor, spec: TensorSpec, reads_image: bool, first: bool) -> torch.Tensor:
        shape, (split, layout) = x.shape, self._split(x)
        note = ""
        if _elements_per_scale(split, layout, spec) < 2:
            note, spec = f"{spec.granularity.name} would give each value its own scale", replace(spec, granularity=PER_SAMPLE)
        if first:
            self.seen = tensor_note(split, layout, spec, note)
        if _elements_per_scale(split, layout, spec) < 2:
            return x
        single = x.reshape(split).float()
        try:
            scale = scale_of(single, layout, spec)
        except RunError as error:
            raise RunError(f"layer '{self.path}': {error}") from None
        if reads_image:
            self.batch.image_step = max(self.batch.image_step, float(scale.max()))
        return quantize_integers(single, scale, spec).mul_(scale).to(x.dtype).reshape(shape)

    def _split(self, x: torch.Tensor) -> tuple[tuple[int, ...], tuple[str, ...]]:
        # An input without a batch axis (a bare vector, one unbatched volume) is one sample.
        bare = x.dim() == 1 if self.kind.spatial_rank == 0 else x.dim() == self.kind.spatial_rank + 1
        shape = (1, *x.shape) if bare else tuple(x.shape)
        samples = self.batch.groups(shape[0])
        return (samples, shape[0] // samples, *shape[1:]), self.kind.activation_layout(len(shape))
