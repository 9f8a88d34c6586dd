"""Quantization of networks: grids, granularities, kinds, observers, policies, layers. Never hears of images."""

from medquanbench.quant.apply import check, is_static, needs_calibration, quantize
from medquanbench.quant.audit import audit, executed_layers, take_image_step
from medquanbench.quant.exchange import held_as_in
from medquanbench.quant.methods import METHODS
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.transforms import TRANSFORMS

__all__ = [
    "METHODS", "POLICIES", "RANGES", "TRANSFORMS", "audit", "check", "executed_layers", "held_as_in", "is_static",
    "needs_calibration", "quantize", "take_image_step",
]  # fmt: skip
