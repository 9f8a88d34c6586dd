"""per-tensor: one scale for a layer's weight, one for its activation (of a sample, over all its windows)."""

from medquanbench.quant.granularity import PER_SAMPLE, PER_WEIGHT
from medquanbench.quant.kind import Kind
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.spec import LayerSpec


def per_tensor(path: str, kind: Kind) -> LayerSpec:
    """One scale a tensor for every layer (paper Fig. 2, top row)."""
    return LayerSpec(PER_WEIGHT, PER_SAMPLE, OBSERVERS["absmax"])
