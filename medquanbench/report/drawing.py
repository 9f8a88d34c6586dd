"""How every picture of a report is drawn and saved: the same numbers give the same bytes, on every machine."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# text.parse_math: a name may hold dollar signs. path.simplify: outlines of small structures must not lose corners.
_SETTINGS = {
    "svg.hashsalt": "medquanbench", "svg.fonttype": "path", "text.parse_math": False, "path.simplify": False,
    "font.size": 9, "font.family": "DejaVu Sans", "axes.unicode_minus": True,
}  # fmt: skip
# Dates and program versions would make equal pictures unequal files.
_UNSAID = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


@contextmanager
def drawing() -> Iterator[Callable[[tuple[float, float]], Figure]]:
    """Draw under matplotlib's own defaults, whatever the user's settings, and without its global state."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def new_figure(size_inches: tuple[float, float]) -> Figure:
        figure = Figure(figsize=size_inches, layout="constrained")
        FigureCanvasAgg(figure)
        return figure

    with style.context(["default", _SETTINGS]):
        yield new_figure


def saved(figure: Figure, form: str) -> bytes:
    """The bytes of a picture; ``form`` is svg or png."""
    data = io.BytesIO()
    figure.savefig(data, format=form, dpi=150, facecolor="white", metadata=_UNSAID[form])
    return data.getvalue()
