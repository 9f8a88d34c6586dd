"""static-per-channel: as per-channel, with activation scales of each input channel that calibration has fixed."""

from medquanbench.quant.granularity import granularity
from medquanbench.quant.kind import Kind
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.policies.per_channel import WEIGHT
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.spec import LayerSpec

CHANNEL = granularity("static per-channel", "c")


def static_per_channel(path: str, kind: Kind) -> LayerSpec:
    """Asymmetric scales of input channels, of linear layers too (tokens have none that would hold); nothing clipped."""
    return LayerSpec(WEIGHT, CHANNEL, OBSERVERS["absmax"], RANGES["absmax"])
