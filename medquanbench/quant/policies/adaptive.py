"""adaptive: per-voxel activations where the kernel is 1 on every axis, per-channel everywhere else."""

from medquanbench.quant.kind import Kind
from medquanbench.quant.policies.per_channel import per_channel
from medquanbench.quant.policies.per_voxel import per_voxel
from medquanbench.quant.spec import LayerSpec


def adaptive(path: str, kind: Kind) -> LayerSpec:
    """The paper's adaptive stratification (section 3.1); transposed convolutions too, grouped ones per-channel."""
    return per_voxel(path, kind) if kind.pointwise else per_channel(path, kind)
