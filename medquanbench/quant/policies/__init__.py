"""Policies: (module path, Kind) -> LayerSpec; no other code decides by kind. One file and one line here for each."""

from collections.abc import Callable

from medquanbench.quant.kind import Kind
from medquanbench.quant.policies.adaptive import adaptive
from medquanbench.quant.policies.block import block
from medquanbench.quant.policies.engine import engine
from medquanbench.quant.policies.per_channel import per_channel
from medquanbench.quant.policies.per_tensor import per_tensor
from medquanbench.quant.policies.per_voxel import per_voxel
from medquanbench.quant.policies.static_per_channel import static_per_channel
from medquanbench.quant.policies.static_per_tensor import static_per_tensor
from medquanbench.quant.spec import LayerSpec

Policy = Callable[[str, Kind], LayerSpec]

POLICIES: dict[str, Policy] = {
    "per-channel": per_channel,
    "per-tensor": per_tensor,
    "adaptive": adaptive,
    "per-voxel": per_voxel,
    "block": block,
    "engine": engine,
    "static-per-tensor": static_per_tensor,
    "static-per-channel": static_per_channel,
}
