"""Quantization of networks: grids, granularities, kinds, observers, policies, layers. Never hears of images."""

from medquanbench.quant.apply import audit, check, executed_layers, quantize, take_image_step
from medquanbench.quant.policies import POLICIES

__all__ = ["POLICIES", "audit", "check", "executed_layers", "quantize", "take_image_step"]
