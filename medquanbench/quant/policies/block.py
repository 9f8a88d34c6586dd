"""block: weights and activations in the blocks of a format; as per-channel where there are no blocks to make."""

from dataclasses import replace

from medquanbench.quant.kind import Kind
from medquanbench.quant.policies.per_channel import per_channel
from medquanbench.quant.spec import LayerSpec


def block(path: str, kind: Kind) -> LayerSpec:
    """Blocks along the input channels, but not in grouped convolutions (what blocks would join is summed apart) nor of
    a single channel (a scale of its own would be lossless)."""
    return replace(per_channel(path, kind), blocks=kind.groups == 1 and kind.inputs > 1)
