"""What the forward benchmark times: FP32, this package, NVIDIA ModelOpt and Brevitas, all from one float network.

Everybody gets the fastest way that its own documentation names: weights are put on their grid once, before the timing
(ours always; ModelOpt by ``fold_weight``, Brevitas by ``quant_inference_mode``), and static scales are found before it
too ("held"). The rows "as it comes" leave that out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from medquanbench.quant import audit, executed_layers, needs_calibration, quantize
from medquanbench.values import Recipe, State


@dataclass(frozen=True)
class Ready:
    """A forward to time, and how many of the network's layers have both weight and input on a grid in it."""

    forward: Callable[[torch.Tensor], torch.Tensor]
    quantized: int


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Attributes:
        tool: its distribution's name.
        scales: of the activations: ``dynamic`` ones are computed in every forward, ``static`` ones before.
        like: what it is compared with: rows of other tools that compute as much for their scales.
        make: (float network, small image to audit and calibrate with) -> what is timed; may raise anything.
    """

    name: str
    tool: str
    weights: str
    activations: str
    scales: str
    like: str
    make: Callable[[nn.Module, torch.Tensor], Ready]
    compiled: bool = False


def fp32(network: nn.Module, image: torch.Tensor) -> Ready:
    """The float network itself."""
    return Ready(network, 0)


def ours(recipe: str) -> Callable[[nn.Module, torch.Tensor], Ready]:
    """This package, audited on the small image as every run is."""

    def make(network: nn.Module, image: torch.Tensor) -> Ready:
        asked = Recipe.parse(recipe)
        quantized, receipt = quantize(network, asked, [image] if needs_calibration(asked) else None)
        quantized(image)
        return Ready(quantized, audit(quantized, receipt, executed_layers(network, image)).count(State.QUANTIZED))

    return make


def modelopt(activation: dict | None, weight: dict | None = None) -> Callable[[nn.Module, torch.Tensor], Ready]:
    """NVIDIA ModelOpt: its INT8 default as it comes (None), or held, with these attributes for activations."""

    def make(network: nn.Module, image: torch.Tensor) -> Ready:
        import modelopt.torch.quantization as mtq

        config = copy.deepcopy(mtq.INT8_DEFAULT_CFG)
        if activation is not None:
            config["quant_cfg"] += _modelopt_inputs(activation)
        if weight is not None:
            config["quant_cfg"].append({"quantizer_name": "*weight_quantizer", "cfg": weight})
        quantized = mtq.quantize(copy.deepcopy(network), config, lambda model: model(image))
        count = _executed(quantized, image, "input_quantizer", "weight_quantizer", "is_enabled")
        if activation is not None:
            mtq.fold_weight(quantized)
        return Ready(quantized, count)

    return make


def modelopt_blocks(block: int, scale_bits: tuple[int, int]) -> Callable[[nn.Module, torch.Tensor], Ready]:
    """NVIDIA ModelOpt: E2M1 in blocks along the last axis, as its MXFP4 and NVFP4 settings have it."""
    held = {"num_bits": (2, 1), "block_sizes": {-1: block, "type": "dynamic", "scale_bits": scale_bits}, "axis": None}
    return modelopt(held, held)


def _modelopt_inputs(activation: dict) -> list[dict]:
    def inputs(parent: str, **said: object) -> dict:
        return {"quantizer_name": "*input_quantizer", "parent_class": parent, **said}

    return [
        # Its default quantizes what enters these norms too, which nobody else does.
        *(inputs(f"nn.{norm}", enable=False) for norm in ("InstanceNorm3d", "LayerNorm")),
        *(inputs(f"nn.{layer}", cfg={"num_bits": 8, **activation}) for layer in ("Conv3d", "ConvTranspose3d")),
        # Along axis 1 only a convolution's input has its channels.
        inputs("nn.Linear", cfg={"num_bits": 8, **activation, "axis": None}),
    ]


def brevitas(layers: Callable[[], dict] | None) -> Callable[[nn.Module, torch.Tensor], Ready]:
    """Brevitas: its layerwise INT8 as it comes (None), or held, with these layers in the place of torch's."""

    def make(network: nn.Module, image: torch.Tensor) -> Ready:
        from brevitas.export.inference import quant_inference_mode
        from brevitas.graph.calibrate import calibration_mode
        from brevitas.graph.quantize import LAYERWISE_COMPUTE_LAYER_MAP, layerwise_quantize

        map_ = LAYERWISE_COMPUTE_LAYER_MAP if layers is None else layers()
        quantized = layerwise_quantize(copy.deepcopy(network), compute_layer_map=map_)
        with calibration_mode(quantized):
            quantized(image)
        count = _executed(quantized, image, "input_quant", "weight_quant", "is_quant_enabled")
        if layers is not None:
            quant_inference_mode(quantized, cache_quant_weight=True).__enter__()  # for good: this copy is only timed
        quantized(image)
        return Ready(quantized, count)

    return make


def _brevitas_static() -> dict:
    from brevitas.quant.scaled_int import Int8ActPerTensorFloat, Int8WeightPerChannelFloat

    return _brevitas_layers({"input_quant": Int8ActPerTensorFloat, "weight_quant": Int8WeightPerChannelFloat})


def _brevitas_dynamic() -> dict:
    from brevitas.quant.scaled_int import Int8WeightPerChannelFloat
    from brevitas_examples.common.generative.quantizers import Int8DynamicActPerTensorFloat

    return _brevitas_layers({"input_quant": Int8DynamicActPerTensorFloat, "weight_quant": Int8WeightPerChannelFloat})


def _brevitas_mxfp4() -> dict:
    from brevitas.quant.mx_quant_ocp import MXFloat8e4m3Act, MXFloat8e4m3Weight

    e2m1 = {"bit_width": 4, "exponent_bit_width": 2, "mantissa_bit_width": 1}
    bits = {f"{which}_{key}": value for which in ("input", "weight") for key, value in e2m1.items()}
    return _brevitas_layers({"input_quant": MXFloat8e4m3Act, "weight_quant": MXFloat8e4m3Weight, **bits})


def _brevitas_layers(options: dict) -> dict:
    from brevitas import nn as qnn

    options = {**options, "return_quant_tensor": False}
    return {
        nn.Conv3d: (qnn.QuantConv3d, options),
        nn.ConvTranspose3d: (qnn.QuantConvTranspose3d, options),
        nn.Linear: (qnn.QuantLinear, options),
    }


def _executed(network: nn.Module, image: torch.Tensor, inputs: str, weights: str, enabled: str) -> int:
    """Layers that a forward calls and whose two quantizers are on then."""
    called: set[int] = set()

    def note(module: nn.Module, _: tuple) -> None:
        if all(getattr(getattr(module, name), enabled) for name in (inputs, weights)):
            called.add(id(module))

    both = [m for m in network.modules() if hasattr(m, inputs) and hasattr(m, weights)]
    hooks = [module.register_forward_pre_hook(note) for module in both]
    network(image)
    for hook in hooks:
        hook.remove()
    return len(called)


_TENSOR, _CHANNEL = ("tensor, dynamic", "tensor, static"), ("channel, dynamic", "channel, static")
_TOKENS = "per channel / token"
# Policy: what a scale of activations is for, and what it is compared with.
_OUR_POLICIES = {
    "per-tensor": ("per sample", _TENSOR[0]),
    "per-channel": (_TOKENS, _CHANNEL[0]),
    "adaptive": (f"{_TOKENS} / voxel", _CHANNEL[0]),
    "per-voxel": ("per voxel / token", _CHANNEL[0]),
    "engine": ("per tensor, asymmetric", _TENSOR[1]),
    "static-per-tensor": ("per tensor, asymmetric", _TENSOR[1]),
    "static-per-channel": ("per channel, asymmetric", _CHANNEL[1]),
}
_PER_TENSOR_WEIGHTS = ("per-tensor", "static-per-tensor")


def _our_row(bits: int, policy: str) -> Contender:
    axes, like = _OUR_POLICIES[policy]
    weights = f"INT{bits} per {'tensor' if policy in _PER_TENSOR_WEIGHTS else 'channel'}"
    make = ours(f"w{bits}a{bits} {policy}")
    return Contender(
        f"ours w{bits}a{bits} {policy}", "medquanbench", weights, f"INT{bits} {axes}", like.split(", ")[1], like, make
    )


def _our_blocks(format: str, what: str) -> Contender:
    return Contender(f"ours {format}", "medquanbench", what, what, "dynamic", format, ours(format))


def _modelopt_row(name: str, activations: str, like: str, attributes: dict) -> Contender:
    scales = like.split(", ")[1]
    make = modelopt(attributes)
    return Contender(
        f"modelopt int8 held{name}", "nvidia-modelopt", "INT8 per channel", activations, scales, like, make
    )


_MXFP4, _NVFP4 = "E2M1, blocks of 32, E8M0", "E2M1, blocks of 16, E4M3"

EAGER = (
    Contender("fp32", "torch", "float", "float", "-", "", fp32),
    *(_our_row(8, policy) for policy in _OUR_POLICIES),
    *(_our_row(4, policy) for policy in ("per-tensor", "per-channel", "adaptive", "engine")),
    _our_blocks("mxfp4", _MXFP4),
    _our_blocks("nvfp4", _NVFP4),
    Contender(
        "modelopt int8 as it comes", "nvidia-modelopt", "INT8 per channel", "INT8 per tensor, norms too", "static", "",
        modelopt(None),
    ),
    _modelopt_row("", "INT8 per tensor", _TENSOR[1], {"axis": None}),
    _modelopt_row(" per-channel", "INT8 per channel (linear: tensor)", _CHANNEL[1], {"axis": 1}),
    _modelopt_row(" dynamic", "INT8 per tensor", _TENSOR[0], {"axis": None, "type": "dynamic"}),
    _modelopt_row(
        " per-channel dynamic", "INT8 per channel (linear: tensor)", _CHANNEL[0], {"axis": 1, "type": "dynamic"}
    ),
    Contender(
        "modelopt mxfp4 held", "nvidia-modelopt", _MXFP4, _MXFP4, "dynamic", "mxfp4", modelopt_blocks(32, (8, 0))
    ),
    Contender(
        "modelopt nvfp4 held", "nvidia-modelopt", _NVFP4, _NVFP4, "dynamic", "nvfp4", modelopt_blocks(16, (4, 3))
    ),
    Contender(
        "brevitas int8 as it comes", "brevitas", "INT8 per tensor", "INT8 per tensor", "static", "", brevitas(None)
    ),
    Contender(
        "brevitas int8 held", "brevitas", "INT8 per channel", "INT8 per tensor", "static", _TENSOR[1],
        brevitas(_brevitas_static),
    ),
    Contender(
        "brevitas int8 held dynamic", "brevitas", "INT8 per channel", "INT8 per tensor", "dynamic", _TENSOR[0],
        brevitas(_brevitas_dynamic),
    ),
    Contender("brevitas mxfp4 held", "brevitas", _MXFP4, _MXFP4, "dynamic", "mxfp4", brevitas(_brevitas_mxfp4)),
)  # fmt: skip

COMPILED = tuple(replace(row, name=f"{row.name} compiled", compiled=True) for row in EAGER)

CONTENDERS = {row.name: row for row in (*EAGER, *COMPILED)}

DEFAULT = (
    *(row.name for row in EAGER),
    "fp32 compiled",
    "ours w8a8 per-channel compiled",
    "ours w4a4 adaptive compiled",
)
