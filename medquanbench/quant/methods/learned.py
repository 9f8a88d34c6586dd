"""Terms that have the rounding learned: what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from medquanbench.quant.methods.method import Method, Rounding
from medquanbench.quant.reconstruct import Reconstruction
from medquanbench.quant.transforms.transform import whole
from medquanbench.values import RequestError

STEPS = 100
"""Of descent for each layer or block, where a term gives no number."""


def learning(make: Callable[[dict[str, float]], Reconstruction], **defaults: float) -> Method:
    """A method that has the rounding learned, with ``steps`` and what else it has defaults for."""

    def change(rounding: Rounding, values: dict[str, float]) -> Rounding:
        if rounding.learned is not None:
            raise RequestError("adaround, brecq and qdrop each learn the rounding of all weights: a recipe has one")
        return replace(rounding, learned=make(values))

    return Method(change, {"steps": STEPS, **defaults}, _allowed, needs_statistics=True)


def _allowed(values: dict[str, float]) -> str:
    if not whole(values["steps"]):
        return "steps is a whole number above 0"
    return "" if 0 <= values.get("drop", 0) <= 1 else "drop is a number from 0 to 1"
