"""Quantization of networks: grids, granularities, kinds, observers, policies, layers. Never hears of images."""

from medquanbench.quant.apply import check, needs_calibration, quantize
from medquanbench.quant.audit import audit, executed_layers, take_image_step
from medquanbench.quant.methods import METHODS
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.transforms import TRANSFORMS

__all__ = [
    "METHODS", "POLICIES", "TRANSFORMS", "audit", "check", "executed_layers", "needs_calibration", "quantize",
    "take_image_step",
]  # fmt: skip
