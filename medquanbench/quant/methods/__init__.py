"""Methods: how weights are moved onto their grid, beyond rounding to nearest. One file and one line here for each.

They stand among a recipe's transforms, and act after these whatever their place: clipping chooses the scales, then
gptq, descend or none of them round, then bias corrects.
"""

from medquanbench.quant.methods.bias import bias
from medquanbench.quant.methods.clip import clip
from medquanbench.quant.methods.descend import descend
from medquanbench.quant.methods.gptq import gptq
from medquanbench.quant.methods.method import NEAREST, Method, Rounding

METHODS: dict[str, Method] = {"clip": clip, "gptq": gptq, "descend": descend, "bias": bias}

__all__ = ["METHODS", "NEAREST", "Method", "Rounding"]
