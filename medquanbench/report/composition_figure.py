"""The picture of what networks are made of, after the paper's Figure 1(a): a bar a network, a colour a kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medquanbench.composition import Profile, Row
from medquanbench.report.composition_tables import scaled
from medquanbench.report.drawing import drawing, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Convolutions in blues and greens, transformers in reds: the eye divides a bar in two first. Neighbours differ in
# lightness, too, for those who see no colours.
COLOURS = {
    "conv 3x3x3": "#0b4f8a",
    "conv 1x3x3 and the like": "#2f8fd0",
    "conv 1x1x1": "#9ccbee",
    "conv, other kernels": "#4a5f73",
    "conv depthwise or grouped": "#1f9d76",
    "conv_transpose": "#a9dcc3",
    "linear": "#e8792b",
    "attention product": "#a11d33",
}
"""Every group of rows with its colour, in the order in which a bar shows them."""
_OF_KIND = {
    "conv depthwise": "conv depthwise or grouped",
    "conv grouped": "conv depthwise or grouped",
    "conv_transpose": "conv_transpose",
    "linear": "linear",
    "attention product": "attention product",
}
_PALE = ("conv 1x1x1", "conv_transpose")
_BAR_INCHES, _WRITTEN_FROM = 0.27, 6.0
_NUMBERS_AT = (72.0, 134.0)
"""Where the columns of numbers end, in points to the right of the bars."""


def group(row: Row) -> str:
    """The colour's name of a row that multiplies."""
    if row.kind in _OF_KIND:
        return _OF_KIND[row.kind]
    edges = set(row.kernel)
    if edges == {1}:
        return "conv 1x1x1"
    if edges == {3}:
        return "conv 3x3x3"
    return "conv 1x3x3 and the like" if edges == {1, 3} else "conv, other kernels"


def composition_figure(profiles: Sequence[Profile], form: str = "svg") -> bytes:
    """Shares of the multiply-adds, a bar a network with its totals beside it; ``form`` is svg or png."""
    from matplotlib.patches import Patch

    with drawing() as new_figure:
        figure = new_figure((9.4, 1.5 + _BAR_INCHES * len(profiles)))
        axes = figure.add_subplot()
        shown = {name for position, profile in enumerate(profiles) for name in _draw_bar(axes, position, profile)}
        axes.set_yticks(range(len(profiles)), [f"{profile.bundle} {profile.variant}" for profile in profiles])
        axes.set(xlim=(0, 100), ylim=(len(profiles) - 0.4, -1.2), xlabel="share of the multiply-adds (%)")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        for points, text in zip(_NUMBERS_AT, ("multiply-adds", "parameters")):
            _write(axes, points, -0.75, text)
        handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items() if name in shown]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        return saved(figure, form)


def _draw_bar(axes: Axes, position: int, profile: Profile) -> list[str]:
    """Draw one network's bar; the names of the colours in it."""
    total, shares, left = profile.composition.total, dict.fromkeys(COLOURS, 0.0), 0.0
    for row in profile.composition.rows:
        if row.multiply_adds:
            shares[group(row)] += 100 * row.multiply_adds / total.multiply_adds
    for name, share in shares.items():
        axes.barh(position, share, left=left, color=COLOURS[name], height=0.74)
        if share >= _WRITTEN_FROM:
            colour = "black" if name in _PALE else "white"
            axes.text(left + share / 2, position, f"{share:.0f}", color=colour, ha="center", va="center", fontsize=7.5)
        left += share
    for points, text in zip(_NUMBERS_AT, (f"{scaled(total.multiply_adds, 9)} G", f"{scaled(total.parameters, 6)} M")):
        _write(axes, points, position, text)
    return [name for name, share in shares.items() if share]


def _write(axes: Axes, points: float, position: float, text: str) -> None:
    """Text beside the bars, which ends so many points to the right of them."""
    axes.annotate(text, (1, position), (points, 0), ("axes fraction", "data"), "offset points", ha="right",
                  va="center", fontsize=8, annotation_clip=False)  # fmt: skip
