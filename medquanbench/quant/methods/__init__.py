"""Methods: how weights are moved onto their grid, beyond rounding to nearest. One file and one line here for each.

They stand among a recipe's transforms, and act after these whatever their place: clipping chooses the scales, then
gptq, descend or none of them round, then bias corrects, and at last one of adaround, brecq and qdrop learns.
"""

from medquanbench.quant.methods.adaround import adaround
from medquanbench.quant.methods.bias import bias
from medquanbench.quant.methods.brecq import brecq
from medquanbench.quant.methods.clip import clip
from medquanbench.quant.methods.descend import descend
from medquanbench.quant.methods.gptq import gptq
from medquanbench.quant.methods.method import NEAREST, Method, Rounding
from medquanbench.quant.methods.qdrop import qdrop

METHODS: dict[str, Method] = {
    "clip": clip,
    "gptq": gptq,
    "descend": descend,
    "bias": bias,
    "adaround": adaround,
    "brecq": brecq,
    "qdrop": qdrop,
}

__all__ = ["METHODS", "NEAREST", "Method", "Rounding"]
