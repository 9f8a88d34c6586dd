"""Tables of compositions: the CSV adds up, cells are rounded as their headings say, names are escaped on the page."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys

import pytest

from medquanbench.composition import Composition, Layer, Profile
from medquanbench.report.composition_figure import composition_figure, group
from medquanbench.report.composition_page import composition_html
from medquanbench.report.composition_tables import (
    COLUMNS,
    ROW_HEADINGS,
    SUMMARY_HEADINGS,
    composition_csv,
    composition_json,
    composition_terminal,
    row_cells,
    summary_cells,
)

MADE = Composition(
    (96, 96, 64),
    2,
    (
        Layer("stem", "conv", (3, 3, 3), 1_500_000, 7_000_000_000, 2**20),
        Layer("flat", "conv", (1, 3, 3), 250_000, 1_500_000_000, 2**20),
        Layer("mlp", "linear", (), 250_000, 1_000_000_000, 2**19),
        Layer("mix", "attention product", (), 0, 500_000_000, 2**18),
        Layer("", "other", (), 0, 0, 2**21),
        Layer("dead", "never run", (), 1_000, 0, 0),
    ),
)
PROFILES = (Profile("net", "large", "Its window is a guess.", MADE), Profile("net", "<small>", "", MADE))
FIGURES = (
    "import hashlib, sys; sys.path.insert(0, 'tests/report')\n"
    "from test_composition_tables import PROFILES\n"
    "from medquanbench.report.composition_figure import composition_figure\n"
    "assert 'torch' not in sys.modules\n"
    "for form in ('svg', 'png'): print(hashlib.sha256(composition_figure(PROFILES, form)).hexdigest())"
)


def test_the_csv_has_a_row_a_kind_and_kernel_in_whole_numbers():
    rows = list(csv.DictReader(io.StringIO(composition_csv(PROFILES))))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2 * len(MADE.rows)
    assert rows[1] == {
        "bundle": "net", "variant": "large", "window": "96x96x64", "channels": "2", "kind": "conv", "kernel": "1x3x3",
        "layers": "1", "parameters": "250000", "multiply_adds": "1500000000", "activations": "1048576",
    }  # fmt: skip


def test_the_json_holds_every_layer_and_says_how_it_is_counted():
    content = json.loads(composition_json(PROFILES, "1.2.3"))
    assert content["medquanbench"] == "1.2.3" and len(content["conventions"]) == 4
    network = content["networks"][0]
    assert network["note"] == "Its window is a guess." and network["window"] == [96, 96, 64]
    assert network["layers"][1] == {
        "path": "flat", "kind": "conv", "kernel": [1, 3, 3], "parameters": 250_000, "multiply_adds": 1_500_000_000,
        "activations": 2**20,
    }  # fmt: skip
    assert sum(row["parameters"] for row in network["rows"]) == network["total"]["parameters"] == 2_001_000


def test_cells_are_in_the_units_of_their_headings():
    summary = dict(zip(SUMMARY_HEADINGS, summary_cells(PROFILES[0]), strict=True))
    assert summary == {
        "Network": "net large", "Window": "96x96x64", "Parameters (M)": "2.001", "Never run (M)": "0.001",
        "Multiply-adds (G)": "10.000", "Conv (%)": "85.0", "Linear (%)": "10.0", "Attention (%)": "5.0",
        "Activations (MiB)": "19.0",
    }  # fmt: skip
    row = dict(zip(ROW_HEADINGS, row_cells(PROFILES[0], MADE.rows[1]), strict=True))
    assert row == {
        "Kind": "conv", "Kernel": "1x3x3", "Layers": "1", "Parameters (M)": "0.250", "Multiply-adds (G)": "1.500",
        "Share (%)": "15.0", "Activations (M)": "1.049", "FP32 (MiB)": "4.0",
    }  # fmt: skip


def test_the_terminal_shows_a_summary_where_there_are_several():
    one, two = composition_terminal(PROFILES[:1]), composition_terminal(PROFILES)
    assert "Network" not in one and "Its window is a guess." in one
    assert [line.split()[:2] for line in two.splitlines()[2:4]] == [["net", "large"], ["net", "<small>"]]
    table = one.splitlines()[2:11]
    ends = {len(line) for line in table}
    assert len(table) == 9 and len(ends) == 1  # numbers stand flush right


def test_the_page_stands_alone_and_escapes_names():
    page = composition_html(PROFILES)
    assert page == composition_html(PROFILES) and "&lt;small&gt;" in page and "<small>" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count("<details>") == 2 and "data:image/svg+xml;base64," in page


def test_pictures_are_the_same_in_another_process_and_need_no_torch():
    here = [hashlib.sha256(composition_figure(PROFILES, form)).hexdigest() for form in ("svg", "png")]
    told = subprocess.run([sys.executable, "-c", FIGURES], capture_output=True, check=True, text=True)
    assert told.stdout.split() == here


@pytest.mark.parametrize(
    "kind, kernel, name",
    [
        ("conv", (3, 3, 3), "conv 3x3x3"),
        ("conv", (1, 3, 3), "conv 1x3x3 and the like"),
        ("conv", (3, 1, 3), "conv 1x3x3 and the like"),
        ("conv", (1, 1, 1), "conv 1x1x1"),
        ("conv", (7, 7, 7), "conv, other kernels"),
        ("conv depthwise", (3, 3, 3), "conv depthwise or grouped"),
        ("conv grouped", (1, 1, 1), "conv depthwise or grouped"),
        ("conv_transpose", (2, 2, 2), "conv_transpose"),
        ("linear", (), "linear"),
        ("attention product", (), "attention product"),
    ],
    ids=lambda value: value if isinstance(value, str) else "x".join(map(str, value)),
)
def test_the_colours_of_the_picture(kind, kernel, name):
    assert group(Composition((1,), 1, (Layer("", kind, kernel, 0, 1, 1),)).rows[0]) == name


def test_a_network_that_multiplies_nothing_can_be_drawn():
    nothing = Profile("net", "empty", "", Composition((4, 4, 4), 1, MADE.layers[-2:]))
    assert composition_figure((nothing,)).startswith(b"<?xml") and "0.0" in composition_terminal((nothing, nothing))
