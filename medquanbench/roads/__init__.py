"""The roads from image files to a label map on the image's own grid: one file and one line of the table each (floor 2).

A config's ``restore`` names its road, for it is the way back to the image's grid that tells roads apart.
"""

from medquanbench.roads.labels_inverted import labels_inverted
from medquanbench.roads.labels_nearest import labels_nearest
from medquanbench.roads.logits_linear import logits_linear
from medquanbench.roads.nnunet import nnunet
from medquanbench.roads.road import Begin, Network, Road, Watch

ROADS: dict[str, Road] = {
    "labels-nearest": labels_nearest,
    "labels-inverted": labels_inverted,
    "logits-linear": logits_linear,
    "nnunet": nnunet,
}

__all__ = ["ROADS", "Begin", "Network", "Road", "Watch"]
