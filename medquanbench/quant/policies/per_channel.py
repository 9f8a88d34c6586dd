"""per-channel: weights per output channel or row, activations per input channel (convolution) or per token (linear)."""

from medquanbench.quant.granularity import granularity
from medquanbench.quant.kind import Kind, Linear
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.spec import LayerSpec

WEIGHT = granularity("per-output-channel", "g o")
TOKEN = granularity("per-token", "n k l")
CHANNEL = granularity("per-channel", "n c")


def per_channel(path: str, kind: Kind) -> LayerSpec:
    """The paper's per-channel/token (Fig. 2, bottom row); transposed convolutions scale per (group, output channel)."""
    return LayerSpec(WEIGHT, TOKEN if isinstance(kind, Linear) else CHANNEL, OBSERVERS["absmax"])
