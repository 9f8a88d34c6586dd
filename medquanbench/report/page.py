"""The frame of every page: one HTML file with its own style sheet."""

from __future__ import annotations

from medquanbench.report.markup import Markup, join, tag
from medquanbench.report.style import CSS


def page(title: str, body: Markup) -> str:
    """A whole page as text."""
    head = join(
        (
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", title),
            tag("style", Markup(CSS)),
        )
    )
    whole = tag("html", tag("head", head), tag("body", body), attributes=(("lang", "en"),))
    return f"<!DOCTYPE html>\n{whole.html}\n"
