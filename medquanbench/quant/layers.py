"""The layers of torch that are quantized, and their weights. No other file knows torch's layer classes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvTransposeNd

from medquanbench.quant.kind import Convolution, Kind, Linear
from medquanbench.quant.taps import Geometry

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# They use their children's weights without calling them (an encoder layer does so in its fast path for inference).
_OPAQUE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.RNNBase, nn.RNNCellBase)
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
# What they compute, whichever class of torch's computes it.
_AFFINE = (nn.BatchNorm3d.forward, nn.InstanceNorm3d.forward, nn.GroupNorm.forward, nn.LayerNorm.forward)
_PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


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


def weight_groups(layer: nn.Module, kind: Kind) -> torch.Tensor:
    """A copy of a layer's weight as float32 (group, output, input, kernel position), whatever torch's own order is."""
    weight = layer.weight.detach().float().reshape(kind.weight_shape)
    if isinstance(kind, Convolution) and kind.transposed:
        weight = weight.transpose(1, 2)
    inputs, outputs = kind.inputs // kind.groups, kind.outputs // kind.groups
    return weight.reshape(kind.groups, outputs, inputs, -1).clone()


def hold_weight(layer: nn.Module, kind: Kind, groups: torch.Tensor) -> None:
    """Give a layer the weight of :func:`weight_groups`' form."""
    layer.weight = nn.Parameter(in_torchs_order(layer, kind, groups).contiguous(), requires_grad=False)


def in_torchs_order(layer: nn.Module, kind: Kind, groups: torch.Tensor) -> torch.Tensor:
    """A weight of :func:`weight_groups`' form, in the shape and dtype of the layer's own."""
    if isinstance(kind, Convolution) and kind.transposed:
        groups = groups.transpose(1, 2)
    return groups.reshape(layer.weight.shape).to(layer.weight.dtype)


def shift_bias(layer: nn.Module, shift: torch.Tensor) -> None:
    """Add to a layer's bias, an entry an output; a layer without one gets one."""
    bias = shift if layer.bias is None else layer.bias.detach().float() + shift
    layer.bias = nn.Parameter(bias.to(layer.weight), requires_grad=False)


def divide_outputs(layer: nn.Module, kind: Kind, factors: torch.Tensor) -> None:
    """Divide what a layer answers by a factor for each of its output channels, in weight and bias."""
    hold_weight(layer, kind, weight_groups(layer, kind) / factors.reshape(kind.groups, -1, 1, 1))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach() / factors.to(layer.bias), requires_grad=False)


def is_norm(module: nn.Module) -> bool:
    """True for norms of torch that multiply each channel by a number of its own, or would if they had been asked to."""
    own = type(module).forward in _AFFINE and "forward" not in vars(module) and "weight" in module._parameters
    return own and (not isinstance(module, nn.LayerNorm) or len(module.normalized_shape) == 1)


def norm_channels(norm: nn.Module) -> int:
    """Channels of a norm for which :func:`is_norm` holds."""
    if isinstance(norm, nn.LayerNorm):
        return norm.normalized_shape[0]
    return norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features


def divide_norm(norm: nn.Module, factors: torch.Tensor) -> None:
    """Divide what a norm answers by a factor for each channel; one that had no weight gets one."""
    for name in ("weight", "bias"):
        old = getattr(norm, name)
        if old is not None:
            setattr(norm, name, nn.Parameter(old.detach() / factors.to(old), requires_grad=False))
    if norm.weight is None:
        norm.weight = nn.Parameter(1 / factors, requires_grad=False)


def takes_means_away(module: nn.Module) -> bool:
    """True for a norm that subtracts each channel's mean over each sample, so that it is blind to a layer's bias."""
    if not is_norm(module):
        return False
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == module.num_channels
    return type(module).forward is nn.InstanceNorm3d.forward and not module.track_running_stats


def geometry_of(layer: nn.Module) -> Geometry | None:
    """How a layer's kernel moves over its input; None where it does not pad with zeros."""
    if isinstance(layer, nn.Linear):
        return Geometry()
    if layer.padding_mode != "zeros":
        return None
    stride, dilation = tuple(layer.stride), tuple(layer.dilation)
    if isinstance(layer, _ConvTransposeNd):
        before = tuple(layer.padding)
        after = tuple(p - o for p, o in zip(layer.padding, layer.output_padding))
    elif isinstance(layer.padding, str):
        whole = [d * (k - 1) if layer.padding == "same" else 0 for d, k in zip(dilation, layer.kernel_size)]
        before, after = tuple(w // 2 for w in whole), tuple(w - w // 2 for w in whole)
    else:
        before = after = tuple(layer.padding)
    return Geometry(stride, dilation, before, after)


class LowRank(nn.Module):
    """A layer of low rank beside another one: two layers in a row, without bias."""

    def __init__(self, first: nn.Module, second: nn.Module, sized: bool) -> None:
        super().__init__()
        self.first, self.second, self.sized = first, second, sized

    def forward(self, x: torch.Tensor, output_size: list[int] | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(the input as it came, what is to be added to the layer's output)."""
        middle = self.first(x)
        return x, self.second(middle, output_size) if self.sized and output_size is not None else self.second(middle)


def low_rank(layer: nn.Module, kind: Kind, rank: int) -> tuple[LowRank, torch.Tensor]:
    """The best approximation of a layer by one of a rank in each group, and the weight that is left over.

    A convolution becomes one with rank outputs a group and a 1x1x1 convolution after it, a transposed one a 1x1x1
    convolution and a transposed one after it (SVDQuant, Li et al. 2024, section 4.2, for linear layers).

    Returns:
        the two layers; the rest, of the form of :func:`weight_groups`.
    """
    weight = weight_groups(layer, kind)
    g, o, i, k = weight.shape
    turned = isinstance(kind, Convolution) and kind.transposed  # the kernel belongs to the factor of the outputs
    matrix = (weight.transpose(1, 2).reshape(g, i, o * k) if turned else weight.reshape(g, o, i * k)).double()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    left, right = left[..., :rank] * values[:, None, :rank], right[:, :rank]
    rest = matrix - left @ right
    rest = rest.reshape(g, i, o, k).transpose(1, 2) if turned else rest.reshape(g, o, i, k)
    if turned:
        first = _pointwise(layer, g, left.transpose(1, 2))
        second = _like(layer, right.reshape(g * rank, o, *kind.kernel))
    else:
        first = _like(layer, right.reshape(g * rank, i, *getattr(kind, "kernel", ())))
        second = _pointwise(layer, g, left)
    return LowRank(first, second, turned), rest.float()


def _like(layer: nn.Module, weight: torch.Tensor) -> nn.Module:
    """A layer that computes as another one does, with another weight and no bias."""
    if isinstance(layer, nn.Linear):
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        return _with_weight(made, weight, layer)
    turned = isinstance(layer, _ConvTransposeNd)
    base = next(c for c in _CONVOLUTIONS if isinstance(layer, c))
    inputs = weight.shape[0] if turned else weight.shape[1] * layer.groups
    outputs = weight.shape[1] * layer.groups if turned else weight.shape[0]
    settings = {"output_padding": layer.output_padding} if turned else {}
    made = base(
        inputs, outputs, layer.kernel_size, layer.stride, layer.padding, dilation=layer.dilation, groups=layer.groups,
        bias=False, padding_mode=layer.padding_mode, device="meta", **settings,
    )  # fmt: skip
    return _with_weight(made, weight, layer)


def _pointwise(layer: nn.Module, groups: int, matrices: torch.Tensor) -> nn.Module:
    """The layer with a kernel of 1 that multiplies by matrices (group, output, input), where another layer stands."""
    _, outputs, inputs = matrices.shape
    if isinstance(layer, nn.Linear):
        made, shape = nn.Linear(inputs, outputs, bias=False, device="meta"), (outputs, inputs)
    else:
        rank = len(layer.kernel_size)
        made = _PLAIN[rank](groups * inputs, groups * outputs, 1, groups=groups, bias=False, device="meta")
        shape = (groups * outputs, inputs, *[1] * rank)
    return _with_weight(made, matrices.reshape(shape), layer)


def _with_weight(made: nn.Module, weight: torch.Tensor, layer: nn.Module) -> nn.Module:
    weight = weight.to(device=layer.weight.device, dtype=layer.weight.dtype).contiguous()
    made.weight = nn.Parameter(weight, requires_grad=False)
    return made
