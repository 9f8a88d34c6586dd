"""The roads from image files to a label map on the image's own grid: one file and one line of the table each (floor 2).

A config's ``restore`` names its road, for it is the way back to the image's grid that tells roads apart.
"""

from medquanbench.roads.labels_inverted import labels_inverted
from medquanbench.roads.labels_nearest import labels_nearest
from medquanbench.roads.logits_linear import logits_linear
from medquanbench.roads.nnunet import nnunet, nnunet_volume
from medquanbench.roads.road import Begin, Network, Road, Watch

ROADS: dict[str, Road] = {
    "labels-nearest": Road(labels_nearest, "largest logit, carried to the image's own grid by nearest neighbour"),
    "labels-inverted": Road(
        labels_inverted,
        "largest logit, carried to the image's own grid by MONAI's inverse of the preprocessing, by nearest neighbour",
    ),
    "logits-linear": Road(
        logits_linear,
        "outputs carried to the image's own grid by MONAI's inverse of the preprocessing, interpolated as it does; the "
        "largest there",
    ),
    "nnunet": Road(
        nnunet,
        "logits carried to the image's own grid by nnU-Net's own resampling; the largest there",
        ("plan",),
        nnunet_volume,
    ),
}

__all__ = ["ROADS", "Begin", "Network", "Road", "Watch"]
