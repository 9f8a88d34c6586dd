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

from medquanbench.quant import audit, executed_layers, quantize
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
        make: (float network, small image to audit and calibrate with) -> what is timed; may raise anything.
    """

    name: str
    tool: str
    weights: str
    activations: str
    scales: str
    make: Callable[[nn.Module, torch.Tensor], Ready]
    compiled: bool = False


def fp32(network: nn.Module, image: torch.Tensor) -> Ready:
    """The float network itself."""
    return Ready(network, 0)


def ours(recipe: str) -> Callable[[nn.Module, torch.Tensor], Ready]:
    """This package, audited on the small image as every run is."""

    def make(network: nn.Module, image: torch.Tensor) -> Ready:
        quantized, receipt = quantize(network, Recipe.parse(recipe))
        quantized(image)
        return Ready(quantized, audit(quantized, receipt, executed_layers(network, image)).count(State.QUANTIZED))

    return make


def modelopt(activation: dict | None) -> Callable[[nn.Module, torch.Tensor], Ready]:
    """NVIDIA ModelOpt: its INT8 default as it comes (None), or held, with these attributes for activations."""

    def make(network: nn.Module, image: torch.Tensor) -> Ready:
        import modelopt.torch.quantization as mtq

        config = copy.deepcopy(mtq.INT8_DEFAULT_CFG)
        if activation is not None:
            config["quant_cfg"] += _modelopt_inputs(activation)
        quantized = mtq.quantize(copy.deepcopy(network), config, lambda model: model(image))
        count = _executed(quantized, image, "input_quantizer", "weight_quantizer", "is_enabled")
        if activation is not None:
            mtq.fold_weight(quantized)
        return Ready(quantized, count)

    return make


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


def brevitas(activation: str | None) -> Callable[[nn.Module, torch.Tensor], Ready]:
    """Brevitas: its layerwise INT8 as it comes (None), or per-channel weights held and a named activation quantizer."""

    def make(network: nn.Module, image: torch.Tensor) -> Ready:
        from brevitas.export.inference import quant_inference_mode
        from brevitas.graph.calibrate import calibration_mode
        from brevitas.graph.quantize import LAYERWISE_COMPUTE_LAYER_MAP, layerwise_quantize

        layers = LAYERWISE_COMPUTE_LAYER_MAP if activation is None else _brevitas_layers(activation)
        quantized = layerwise_quantize(copy.deepcopy(network), compute_layer_map=layers)
        with calibration_mode(quantized):
            quantized(image)
        count = _executed(quantized, image, "input_quant", "weight_quant", "is_quant_enabled")
        if activation is not None:
            quant_inference_mode(quantized, cache_quant_weight=True).__enter__()  # for good: this copy is only timed
        quantized(image)
        return Ready(quantized, count)

    return make


def _brevitas_layers(activation: str) -> dict:
    from brevitas import nn as qnn
    from brevitas.quant.scaled_int import Int8ActPerTensorFloat, Int8WeightPerChannelFloat
    from brevitas_examples.common.generative.quantizers import Int8DynamicActPerTensorFloat

    inputs = {"static": Int8ActPerTensorFloat, "dynamic": Int8DynamicActPerTensorFloat}[activation]
    options = {"input_quant": inputs, "weight_quant": Int8WeightPerChannelFloat, "return_quant_tensor": False}
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


def _our_rows() -> list[Contender]:
    activations = {
        "per-tensor": "per sample",
        "per-channel": "per channel / token",
        "adaptive": "per channel / token / voxel",
    }
    return [
        Contender(
            f"ours w{bits}a{bits} {policy}",
            "medquanbench",
            f"INT{bits} per {'tensor' if policy == 'per-tensor' else 'channel'}",
            f"INT{bits} {axes}",
            "dynamic",
            ours(f"w{bits}a{bits} {policy}"),
        )
        for bits in (8, 4)
        for policy, axes in activations.items()
    ]


EAGER = (
    Contender("fp32", "torch", "float", "float", "-", fp32),
    *_our_rows(),
    Contender(
        "modelopt int8 as it comes", "nvidia-modelopt", "INT8 per channel", "INT8 per tensor, norms too", "static",
        modelopt(None),
    ),
    Contender(
        "modelopt int8 held", "nvidia-modelopt", "INT8 per channel", "INT8 per tensor", "static",
        modelopt({"axis": None}),
    ),
    Contender(
        "modelopt int8 held per-channel", "nvidia-modelopt", "INT8 per channel", "INT8 per channel (linear: tensor)",
        "static", modelopt({"axis": 1}),
    ),
    Contender(
        "modelopt int8 held dynamic", "nvidia-modelopt", "INT8 per channel", "INT8 per tensor", "dynamic",
        modelopt({"axis": None, "type": "dynamic"}),
    ),
    Contender("brevitas int8 as it comes", "brevitas", "INT8 per tensor", "INT8 per tensor", "static", brevitas(None)),
    Contender("brevitas int8 held", "brevitas", "INT8 per channel", "INT8 per tensor", "static", brevitas("static")),
    Contender(
        "brevitas int8 held dynamic", "brevitas", "INT8 per channel", "INT8 per tensor", "dynamic", brevitas("dynamic")
    ),
)  # fmt: skip

COMPILED = tuple(replace(row, name=f"{row.name} compiled", compiled=True) for row in EAGER)

CONTENDERS = {row.name: row for row in (*EAGER, *COMPILED)}

DEFAULT = (
    *(row.name for row in EAGER),
    "fp32 compiled",
    "ours w8a8 per-channel compiled",
    "ours w4a4 adaptive compiled",
)
