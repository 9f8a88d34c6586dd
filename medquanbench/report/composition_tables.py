"""What networks are made of, as text: composition.csv, composition.json, and the tables that a terminal shows."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Sequence

from medquanbench.composition import CONVOLUTIONS, Profile, Row

COLUMNS = (
    "bundle", "variant", "window", "channels", "kind", "kernel", "layers", "parameters", "multiply_adds", "activations",
)  # fmt: skip
CONVENTIONS = (
    "One forward pass of one window, counted as it runs. A multiply-add is one multiplication with its addition (two "
    "FLOPs); padding and masked places count too. Norms and all else add none here, as in torch.utils.flop_counter. "
    "Share: of all multiply-adds.",
    "Convolutions by kernel shape, in the order of the network's axes. An attention product multiplies two "
    "activations; a product with a weight is linear.",
    "Parameters count once, however many names they have. Never run: those that the forward pass does not read.",
    "Activations: the numbers that outputs hold, all together and not at one time; FP32 takes 4 bytes each. Other: "
    "activation functions, sums, copies, interpolation, and the parameters that such operations read.",
)
"""How it is counted, a sentence or two each."""
SUMMARY_HEADINGS = (
    "Network", "Window", "Parameters (M)", "Never run (M)", "Multiply-adds (G)", "Conv (%)", "Linear (%)",
    "Attention (%)", "Activations (MiB)",
)  # fmt: skip
WORDS = ("Network", "Window", "Kind", "Kernel")
"""Columns that hold no numbers."""
_LEFT_OUT = ("Window", "Activations (MiB)")
"""Columns for which a terminal has no room; each network's own table tells them."""
ROW_HEADINGS = (
    "Kind", "Kernel", "Layers", "Parameters (M)", "Multiply-adds (G)", "Share (%)", "Activations (M)",
    "FP32 (MiB)",
)  # fmt: skip
WIDTH = 100


def composition_csv(profiles: Sequence[Profile]) -> str:
    """The text of composition.csv: a row a network, kind and kernel, in whole numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for profile in profiles:
        window, channels = window_text(profile), profile.composition.channels
        for row in profile.composition.rows:
            names = (profile.bundle, profile.variant, window, channels, row.kind, row.kernel_text)
            writer.writerow((*names, *_numbers(row)))
    return text.getvalue()


def _numbers(row: Row) -> tuple[int, ...]:
    return row.layers, row.parameters, row.multiply_adds, row.activations


def composition_json(profiles: Sequence[Profile], version: str) -> str:
    """The text of composition.json: the rows of the CSV with totals, and every layer with its module's path."""
    content = {
        "schema": 1,
        "medquanbench": version,
        "conventions": list(CONVENTIONS),
        "networks": [_as_json(profile) for profile in profiles],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _as_json(profile: Profile) -> dict[str, object]:
    names = COLUMNS[6:]
    made = profile.composition
    return {
        "bundle": profile.bundle,
        "variant": profile.variant,
        "note": profile.note,
        "window": list(made.window),
        "channels": made.channels,
        "total": dict(zip(names, _numbers(made.total))),
        "rows": [{"kind": row.kind, "kernel": list(row.kernel)} | dict(zip(names, _numbers(row))) for row in made.rows],
        "layers": [
            {
                "path": layer.path,
                "kind": layer.kind,
                "kernel": list(layer.kernel),
                "parameters": layer.parameters,
                "multiply_adds": layer.multiply_adds,
                "activations": layer.activations,
            }
            for layer in made.layers
        ],
    }


def window_text(profile: Profile) -> str:
    """``96x96x96``."""
    return "x".join(map(str, profile.composition.window))


def summary_cells(profile: Profile) -> tuple[str, ...]:
    """A network in one line, as SUMMARY_HEADINGS say."""
    made = profile.composition
    dead = sum(row.parameters for row in made.rows if row.kind == "never run")
    return (
        f"{profile.bundle} {profile.variant}",
        window_text(profile),
        scaled(made.total.parameters, 6),
        scaled(dead, 6),
        scaled(made.total.multiply_adds, 9),
        *(f"{100 * made.share(*kinds):.1f}" for kinds in (CONVOLUTIONS, ("linear",), ("attention product",))),
        mebibytes(made.total.activations),
    )


def row_cells(profile: Profile, row: Row) -> tuple[str, ...]:
    """A row of a network's own table, as ROW_HEADINGS say."""
    total = profile.composition.total.multiply_adds
    share = f"{100 * row.multiply_adds / total:.1f}" if row.multiply_adds else "-"
    layers, products = str(row.layers or "-"), scaled(row.multiply_adds, 9) if row.multiply_adds else "-"
    tail = (scaled(row.activations, 6), mebibytes(row.activations))
    return row.kind, row.kernel_text or "-", layers, scaled(row.parameters, 6), products, share, *tail


def scaled(number: int, power: int) -> str:
    """A count in units of 10^power, with three decimals."""
    return f"{number / 10**power:,.3f}"


def mebibytes(numbers: int) -> str:
    """What so many numbers take at 4 bytes each, in MiB."""
    return f"{4 * numbers / 2**20:,.1f}"


def composition_terminal(profiles: Sequence[Profile]) -> str:
    """A table for each network; where there are several, one line for each before."""
    blocks = [_columns(*_shortened(profiles))] if len(profiles) > 1 else []
    for profile in profiles:
        made = profile.composition
        title = f"{profile.bundle} {profile.variant}: window {window_text(profile)}, channels {made.channels}"
        note = f"\n{textwrap.fill(profile.note, WIDTH)}" if profile.note else ""
        lines = [row_cells(profile, row) for row in (*made.rows, made.total)]
        blocks.append(f"{title}{note}\n{_columns(ROW_HEADINGS, lines)}")
    said = "\n".join(textwrap.fill(sentence, WIDTH) for sentence in CONVENTIONS)
    return "\n\n".join((*blocks, said)) + "\n"


def _shortened(profiles: Sequence[Profile]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings and lines of the summary, without the columns that are left out."""
    kept = [position for position, heading in enumerate(SUMMARY_HEADINGS) if heading not in _LEFT_OUT]
    headings, *lines = (tuple(cells[i] for i in kept) for cells in (SUMMARY_HEADINGS, *map(summary_cells, profiles)))
    return headings, lines


def _columns(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns of words flush left, of numbers flush right; units stand below their headings."""
    above = [heading.partition(" (")[0] for heading in headings]
    units = [heading[len(name) :].strip() for heading, name in zip(headings, above)]
    columns = zip(headings, zip(above, units, *lines))
    aligned = [_column(cells, is_words=heading in WORDS) for heading, cells in columns]
    return "\n".join("  ".join(row).rstrip() for row in zip(*aligned))


def _column(cells: Sequence[str], is_words: bool) -> list[str]:
    width = max(map(len, cells))
    return [cell.ljust(width) if is_words else cell.rjust(width) for cell in cells]
