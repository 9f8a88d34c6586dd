#!/usr/bin/env python3
"""Count every variant on the shelf and fill docs/composition.md from it; --check says whether the page is up to date.

    python scripts/composition_page.py

Writes docs/composition.csv, the picture docs/composition.png (published variants), and the page's two tables, which
stand between `<!-- NAME -->` and `<!-- end -->`. Half a minute.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from medquanbench.composition import CONVOLUTIONS, Composition, Layer, Profile, by_size  # noqa: E402
from medquanbench.report.composition_figure import COLOURS, composition_figure, group  # noqa: E402
from medquanbench.report.composition_tables import (  # noqa: E402
    composition_csv,
    mebibytes,
    scaled,
    window_text,
)

PAGE, COUNTED, PUBLISHED = (ROOT / "docs" / f"composition{end}" for end in (".md", ".csv", "_published.csv"))
PICTURE = ROOT / "docs" / "composition.png"
DEMO = "demo"
NEAR = 0.03
"""Variants of a bundle whose multiply-adds differ by less than this part differ in their outputs alone."""
_BETWEEN = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def counted_anew() -> list[Profile]:
    """Every variant of every bundle on the shelf."""
    from medquanbench import shelf
    from medquanbench.composition_bundle import profile, variants_of

    return by_size(profile(subject) for name in shelf.names(shelf.BUNDLES) for subject in variants_of(name))


def read_counted() -> list[Profile]:
    """What docs/composition.csv holds, without the paths of the layers."""
    found: dict[tuple[str, ...], list[Layer]] = {}
    with open(COUNTED, newline="") as handle:
        for row in csv.DictReader(handle):
            name = (row["bundle"], row["variant"], row["window"], row["channels"])
            kernel = tuple(map(int, row["kernel"].split("x"))) if row["kernel"] else ()
            numbers = (int(row[column]) for column in ("parameters", "multiply_adds", "activations"))
            found.setdefault(name, []).append(Layer("", row["kind"], kernel, *numbers))
    return [
        Profile(bundle, variant, "", Composition(tuple(map(int, window.split("x"))), int(channels), tuple(layers)))
        for (bundle, variant, window, channels), layers in found.items()
    ]


def known() -> dict[tuple[str, str], dict[str, str]]:
    """What is told elsewhere of a bundle's variant."""
    with open(PUBLISHED, newline="") as handle:
        return {(row["bundle"], row["variant"]): row for row in csv.DictReader(handle)}


def shown(profiles: list[Profile]) -> list[Profile]:
    """The published variants for the picture: of a bundle's nearly equal ones one, if possible one of which is told."""
    told, kept = known(), []
    for profile in sorted(profiles, key=lambda p: (p.bundle, p.variant) not in told):
        size = profile.composition.total.multiply_adds
        near = (
            p for p in kept if p.bundle == profile.bundle and abs(p.composition.total.multiply_adds / size - 1) < NEAR
        )
        if not profile.variant.startswith(DEMO) and next(near, None) is None:
            kept.append(profile)
    return sorted(kept, key=lambda p: (p.bundle, p.composition.total.multiply_adds))


def sizes(profiles: list[Profile]) -> str:
    """Networks with their sizes, the counted beside the official ones."""
    told = known()
    titles = ("Network", "Window", "Parameters (M)", "Never run (M)", "Official (M)", "Multiply-adds (G)",
              "Activations (MiB)")  # fmt: skip
    lines = []
    for profile in profiles:
        made, row = profile.composition, told.get((profile.bundle, profile.variant))
        dead = sum(layer.parameters for layer in made.layers if layer.kind == "never run")
        total = made.total
        official = f"{row['parameters_million']} ({row['source']})" if row else "-"
        numbers = (scaled(total.parameters, 6), scaled(dead, 6), official, scaled(total.multiply_adds, 9))
        lines.append((name_of(profile), window_text(profile), *numbers, mebibytes(total.activations)))
    return table(titles, lines, words=2)


def shares(profiles: list[Profile]) -> str:
    """The picture in numbers: the share of each of its colours, and of all convolutions together."""
    lines = []
    for profile in profiles:
        made, parts = profile.composition, dict.fromkeys(COLOURS, 0.0)
        for row in made.rows:
            if row.multiply_adds:
                parts[group(row)] += 100 * row.multiply_adds / made.total.multiply_adds
        cells = (f"{part:.1f}" if part else "-" for part in (100 * made.share(*CONVOLUTIONS), *parts.values()))
        lines.append((name_of(profile), *cells))
    return table(("Network", "All convolutions (%)", *COLOURS), lines, words=1)


def name_of(profile: Profile) -> str:
    return f"{profile.bundle} {profile.variant}"


def table(titles: tuple[str, ...], lines: list[tuple[str, ...]], words: int) -> str:
    """A table in Markdown; its first columns hold words, the others numbers."""
    rule = "---|" * words + "--:|" * (len(titles) - words)
    return "\n".join((f"| {' | '.join(titles)} |", f"|{rule}", *(f"| {' | '.join(line)} |" for line in lines))) + "\n"


def filled(text: str, profiles: list[Profile]) -> str:
    """The page with its tables made anew."""
    makers = {"sizes": sizes, "shares": shares}
    return _BETWEEN.sub(lambda match: match[1] + makers[match[2]](profiles) + match[3], text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="whether the page's tables are those of the CSV")
    args = parser.parse_args()
    old = PAGE.read_text()
    if args.check:
        return int(filled(old, read_counted()) != old)
    profiles = counted_anew()
    COUNTED.write_text(composition_csv(profiles))
    PICTURE.write_bytes(composition_figure(shown(profiles), "png"))
    PAGE.write_text(filled(old, read_counted()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
