"""descend: the rounded weight improved column by column, until nothing moves (QuantEase, Behdin et al. 2023)."""

from dataclasses import replace

from medquanbench.quant.methods.method import Method
from medquanbench.quant.rounding.descent import SWEEPS
from medquanbench.quant.transforms.transform import whole


def _allowed(values: dict[str, float]) -> str:
    return "" if whole(values["sweeps"]) else "sweeps is a whole number above 0"


descend = Method(
    lambda rounding, values: replace(rounding, sweeps=int(values["sweeps"])), {"sweeps": SWEEPS}, _allowed,
    needs_statistics=True,
)  # fmt: skip
