"""The page of what networks are made of: one HTML file that holds its picture and opens offline."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence

from medquanbench.composition import Profile
from medquanbench.report.composition_figure import composition_figure
from medquanbench.report.composition_tables import (
    CONVENTIONS,
    ROW_HEADINGS,
    SUMMARY_HEADINGS,
    WORDS,
    row_cells,
    summary_cells,
    window_text,
)
from medquanbench.report.markup import Markup, details, image, join, numeric, numeric_heading, row, section, table, tag
from medquanbench.report.page import page

_TITLE = "What the networks are made of"
_CAPTION = (
    "Share of the multiply-adds by kind, one forward pass of one window each; at the right multiply-adds in G (10^9) "
    "and parameters in M (10^6). After Figure 1(a) of the MedQuanBench paper."
)
_FOOTER = "Made by medquanbench. The files beside this page hold the numbers (composition.csv, composition.json)."


def composition_html(profiles: Sequence[Profile]) -> str:
    """The page as text; it needs nothing outside itself, and the same networks give the same text."""
    source = f"data:image/svg+xml;base64,{b64encode(composition_figure(profiles)).decode()}"
    figure = tag("figure", image(source, _CAPTION), tag("figcaption", _CAPTION))
    summary = _table(SUMMARY_HEADINGS, map(summary_cells, profiles))
    kinds = (details(f"{profile.bundle} {profile.variant}", *_network(profile)) for profile in profiles)
    counted = tag("ul", *(tag("li", sentence) for sentence in CONVENTIONS))
    body = join(
        (
            tag("header", tag("h1", _TITLE)),
            tag(
                "main",
                section("networks", "Networks", figure, summary),
                section("kinds", "By kind and kernel", *kinds),
                section("counting", "How it is counted", counted),
            ),
            tag("footer", _FOOTER),
        )
    )
    return page(_TITLE, body)


def _network(profile: Profile) -> tuple[Markup, ...]:
    made = profile.composition
    lines = (row_cells(profile, entry) for entry in (*made.rows, made.total))
    lead = f"Window {window_text(profile)} voxels, channels {made.channels}. {profile.note}".rstrip()
    return tag("p", lead), _table(ROW_HEADINGS, lines)


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> Markup:
    heads = [heading if heading in WORDS else numeric_heading(heading) for heading in headings]
    cells = ((text if head in WORDS else numeric(text) for head, text in zip(headings, line)) for line in lines)
    return table(heads, map(row, cells), css="scores")
