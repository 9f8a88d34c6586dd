"""gptq: columns of the weight are rounded in turn, each making up for those before (Frantar et al. 2022)."""

from dataclasses import replace

from medquanbench.quant.methods.method import Method
from medquanbench.quant.rounding.gptq import DAMP


def _allowed(values: dict[str, float]) -> str:
    return "" if 0 <= values["damp"] <= 1 else "damp is a number from 0 to 1"


gptq = Method(
    lambda rounding, values: replace(rounding, damp=values["damp"]), {"damp": DAMP}, _allowed, needs_statistics=True
)
