"""Colours: of labels on grey images, and of configurations on white."""

from __future__ import annotations

# Greedy maximin over the sRGB cube for colours light enough on a dark image: any two are at least 15 apart in CIE Lab
# under simulated protanopia and deuteranopia (Machado et al., IEEE TVCG 2009;15(6):1291), 30 in normal vision.
_LABELS = (
    "#dd9900", "#55aaee", "#8811ff", "#22ffbb", "#bb2266", "#337722", "#6655cc", "#ddee88",
    "#dd8877", "#aaff00", "#00ddff", "#ee1133", "#cc88bb", "#33dd44", "#bb0099", "#66ccaa",
)  # fmt: skip

# Okabe and Ito, "Color Universal Design" (2008), without yellow, which is too light on white.
_PRECISIONS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*")
REFERENCE = "#000000"


def label_colour(index: int) -> str:
    """The colour of a label, which depends on its index alone; it repeats after 16."""
    return _LABELS[(index - 1) % len(_LABELS)]


def precision_colour(position: int) -> str:
    """The colour of the position-th precision of a report."""
    return _PRECISIONS[position % len(_PRECISIONS)]


def marker(position: int) -> str:
    """The mark (matplotlib's letter) of the position-th configuration of a precision."""
    return _MARKERS[position % len(_MARKERS)]
