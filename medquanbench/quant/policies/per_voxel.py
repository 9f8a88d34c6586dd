"""per-voxel: activations per spatial position on every ungrouped convolution; everything else as per-channel."""

from dataclasses import replace

from medquanbench.quant.granularity import granularity
from medquanbench.quant.kind import Kind, Linear
from medquanbench.quant.policies.per_channel import per_channel
from medquanbench.quant.spec import LayerSpec

VOXEL = granularity("per-voxel", "n k d h w l")


def per_voxel(path: str, kind: Kind) -> LayerSpec:
    """One activation scale a voxel, over its channels (paper Fig. 2c). Grouped convolutions have too few for that."""
    base = per_channel(path, kind)
    return base if isinstance(kind, Linear) or kind.groups > 1 else replace(base, activation=VOXEL)
