"""HTML as nested calls: every text is escaped unless it is markup already, so no name from outside can become a tag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

Attributes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Markup:
    """Text that is HTML already. Only this file and the style sheet make it from strings."""

    html: str


@dataclass(frozen=True)
class Cell(Markup):
    """A table cell, head or body."""


Content = Markup | str


def text(content: Content) -> str:
    """The HTML of some content; plain text is escaped, quotes included."""
    return content.html if isinstance(content, Markup) else escape(content)


def tag(name: str, *content: Content, css: str = "", attributes: Attributes = ()) -> Markup:
    """An element with its content; ``css`` is its class."""
    return Markup(f"<{name}{_attributes(css, attributes)}>{''.join(map(text, content))}</{name}>")


def image(source: str, alternative: str) -> Markup:
    """A picture; ``source`` is a data URI."""
    return Markup(f"<img{_attributes('', (('src', source), ('alt', alternative)))}>")


def join(parts: Iterable[Content]) -> Markup:
    """Parts one after another, a line each."""
    return Markup("\n".join(map(text, parts)))


def table(headings: Iterable[Content], rows: Iterable[Markup], css: str = "") -> Markup:
    """A table in a frame that scrolls sideways where the page is too narrow."""
    cells = (entry if isinstance(entry, Cell) else _heading(entry) for entry in headings)
    head = tag("thead", tag("tr", *cells))
    return tag("div", tag("table", head, tag("tbody", join(rows)), css=css), css="scroll")


def row(cells: Iterable[Content], css: str = "") -> Markup:
    """A table row; a cell that is no element yet becomes one."""
    return tag("tr", *(entry if isinstance(entry, Cell) else cell(entry) for entry in cells), css=css)


def cell(*content: Content, css: str = "") -> Cell:
    """A cell of a table's body."""
    return Cell(tag("td", *content, css=css).html)


def numeric(*content: Content) -> Cell:
    """A cell of a table's body that is set flush right."""
    return cell(*content, css="number")


def numeric_heading(content: Content) -> Cell:
    """The heading of a column of numbers."""
    return _heading(content, css="number")


def details(summary: Content, *content: Content) -> Markup:
    """A part that opens on a click."""
    return tag("details", tag("summary", summary), *content)


def definitions(pairs: Iterable[tuple[Content, Content]]) -> Markup:
    """Terms with their meanings."""
    return tag("dl", *(part for term, meaning in pairs for part in (tag("dt", term), tag("dd", meaning))))


def section(identity: str, heading: str, *content: Content) -> Markup:
    """A part of the page that links lead to."""
    return tag("section", tag("h2", heading), *content, attributes=(("id", identity),))


def _heading(content: Content, css: str = "") -> Cell:
    return Cell(tag("th", content, css=css, attributes=(("scope", "col"),)).html)


def _attributes(css: str, attributes: Attributes) -> str:
    pairs = ((("class", css),) if css else ()) + attributes
    return "".join(f' {name}="{escape(value)}"' for name, value in pairs)
