"""Pictures: same report, same bytes; outlines lie on mask edges; the saved arrays are the ones drawn."""

import csv
import hashlib
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medquanbench.report.figures import (
    _legend,
    _legend_columns,
    _legend_height,
    draw_outline,
    label_scores,
    per_label_figure,
    save_arrays,
    scene_figure,
)

DIGESTS = (
    "import hashlib, pickle, sys; from medquanbench.report import figures\n"
    "report = pickle.load(sys.stdin.buffer)\n"
    "for draw in (figures.per_label_figure, figures.scene_figure):\n"
    "    print(hashlib.sha256(draw(report)).hexdigest())"
)


def test_the_same_report_gives_the_same_pictures_in_another_process(small):
    here = [hashlib.sha256(draw(small)).hexdigest() for draw in (per_label_figure, scene_figure)]
    there = subprocess.run([sys.executable, "-c", DIGESTS], input=pickle.dumps(small), capture_output=True, check=True,
                           env=os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"})  # fmt: skip
    assert there.stdout.decode().split() == here


def test_pictures_have_their_formats_and_no_date(small):
    assert scene_figure(small).startswith(b"\x89PNG")
    plot = per_label_figure(small)
    assert b"<svg" in plot and b"dc:date" not in plot


@pytest.mark.parametrize(("n_labels", "n_configurations"), [(1, 0), (2, 12), (13, 1)])
def test_figures_of_any_size_can_be_drawn(make_report, n_labels, n_configurations):
    block = tuple(("fp32", 0.8) if i == 0 else (f"w4a4 policy{i}", 0.5) for i in range(n_configurations + 1))
    report = make_report(block=block, names=tuple(f"label ${i}^" for i in range(n_labels)), n_cases=1)
    assert per_label_figure(report) and scene_figure(report)


@pytest.mark.parametrize("letters", [4, 30, 60, 100])
def test_a_legend_lies_within_its_picture(letters):
    handles = [Line2D([], [], label="n" * letters) for _ in range(5)]
    columns = _legend_columns(handles, 9.4)
    figure = Figure((9.4, 3 + _legend_height(handles, columns)), layout="constrained")
    figure.add_subplot()
    _legend(figure, handles, columns)
    figure.draw_without_rendering()
    inside, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert inside.x0 >= whole.x0 and inside.x1 <= whole.x1 and inside.y0 >= whole.y0
    assert (columns == 5) == (letters == 4)


def test_the_page_of_a_phantom_and_of_patients_differ_in_the_picture(small):
    assert scene_figure(small) != scene_figure(replace(small, phantom=False))


def test_outlines_follow_pixel_edges_and_close_at_the_edge_of_the_image():
    axes = Figure().add_subplot()
    mask = np.zeros((5, 6), bool)
    mask[1:3, 0:2] = True
    draw_outline(axes, mask, "red", 1.0)
    (path,) = axes.collections[0].get_paths()
    assert path.get_extents().extents.tolist() == [-0.5, 0.5, 1.5, 2.5]  # left, top, right, bottom
    assert path.vertices[0].tolist() == path.vertices[-1].tolist()


def test_a_report_without_a_scene_has_no_picture_of_it(report, tmp_path):
    bare = replace(report, scene=None)
    with pytest.raises(ValueError, match="no scene"):
        scene_figure(bare)
    assert [file.name for file in save_arrays(bare, tmp_path)] == ["per_label.csv"]


def test_label_scores_are_means_over_counted_cases(report):
    row = report.rows[0]
    by_name = {score.name: score for score in label_scores(row)}
    values = [t.scores for case in row.record.cases for t in case.targets if t.name == "gallbladder"]
    counted = [score for score in values if score[0] is not None]
    assert 0 < by_name["gallbladder"].n_counted == len(counted) < 8
    assert by_name["gallbladder"].means == pytest.approx(np.mean(counted, axis=0))
    assert by_name["gallbladder"].label == 4


def test_saved_arrays_are_the_scene_and_the_plot(report, tmp_path):
    table, arrays = save_arrays(report, tmp_path)
    assert table == tmp_path / "figures" / "per_label.csv"
    lines = list(csv.DictReader(table.open()))
    assert len(lines) == 7 * 13
    assert lines[0].keys() == {"label", "name", "recipe", "dsc", "nsd", "n_counted"}
    assert float(lines[0]["dsc"]) == pytest.approx(label_scores(report.rows[0])[0].means[0], abs=1e-6)
    with np.load(arrays) as saved:
        np.testing.assert_array_equal(saved["image"], report.scene.image)
        np.testing.assert_array_equal(saved["predictions"][4], report.scene.predictions[4][1])
        assert saved["recipes"].tolist() == [text for text, _ in report.scene.predictions]
        assert saved["case"] == "case_000"


def test_saved_arrays_have_no_clock(report, tmp_path):
    first, second = (save_arrays(report, tmp_path / name) for name in ("a", "b"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    with zipfile.ZipFile(first[1]) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_importing_the_report_draws_in_neither_matplotlib_nor_torch():
    code = "import sys, medquanbench.report; print({'matplotlib', 'torch'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
