"""static-per-tensor: one scale for a layer's weight and one for its input, which calibration has fixed."""

from medquanbench.quant.granularity import PER_WEIGHT
from medquanbench.quant.kind import Kind
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.policies.engine import LAYER
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.spec import LayerSpec


def static_per_tensor(path: str, kind: Kind) -> LayerSpec:
    """Activations on an asymmetric grid over all that calibration has shown; nothing clipped."""
    return LayerSpec(PER_WEIGHT, LAYER, OBSERVERS["absmax"], RANGES["absmax"])
