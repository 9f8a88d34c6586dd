"""engine: what integer runtimes can execute: one static activation scale a layer, weights per output channel."""

from medquanbench.quant.granularity import granularity
from medquanbench.quant.kind import Kind
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.policies.per_channel import WEIGHT
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.spec import LayerSpec

LAYER = granularity("static per-layer", "")


def engine(path: str, kind: Kind) -> LayerSpec:
    """One asymmetric activation scale a layer, clipped by MSE on calibration inputs (DESIGN section 4)."""
    return LayerSpec(WEIGHT, LAYER, OBSERVERS["absmax"], RANGES["mse"])
