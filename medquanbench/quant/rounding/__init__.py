"""Weights beyond rounding: onto which value of its grid each weight goes, by what that does to the layer's output.

All work on rows: a layer's weight as float32 (groups, outputs, inputs * kernel), each of its groups for itself.
"""

from medquanbench.quant.rounding.bias import bias_shift
from medquanbench.quant.rounding.clipping import clipped_scale
from medquanbench.quant.rounding.descent import descend
from medquanbench.quant.rounding.error import output_error
from medquanbench.quant.rounding.gptq import gptq
from medquanbench.quant.rounding.nearest import nearest
from medquanbench.quant.rounding.search import searched_scale

__all__ = ["bias_shift", "clipped_scale", "descend", "gptq", "nearest", "output_error", "searched_scale"]
