"""The pictures of a report, and the arrays that they are made of. The same report gives the same bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medquanbench.files import write_whole
from medquanbench.report import wording
from medquanbench.report.drawing import drawing, saved
from medquanbench.report.model import Scene, StudyReport
from medquanbench.report.palette import REFERENCE, label_colour, marker, precision_colour
from medquanbench.values import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _INCHES_A_MARK, _BAND_GAP = 9.4, 0.09, 1.4
_PANELS_A_ROW, _PANEL_INCHES = 4, 2.9


@dataclass(frozen=True)
class LabelScore:
    """Mean score of one label under one configuration, over the cases in which it counts; None where there is none."""

    label: int
    name: str
    recipe: str
    means: tuple[float | None, ...]
    n_counted: int


def label_scores(row: Row) -> tuple[LabelScore, ...]:
    """The means of each label of a row over its cases, in the order in which the labels first appear."""
    record = row.record
    means = [dict(record.label_means(metric)) for metric in range(len(record.metrics))]
    targets = [target for case in record.cases for target in case.targets]
    labels = {target.name: target.label for target in targets}
    primary = record.metrics.index(row.primary.metric)
    counts = {name: sum(t.name == name and t.scores[primary] is not None for t in targets) for name in labels}
    recipe = str(record.run.recipe)
    return tuple(
        LabelScore(label, name, recipe, tuple(mean[name] for mean in means), counts[name])
        for name, label in labels.items()
    )


def per_label_figure(report: StudyReport) -> bytes:
    """Mean Dice of each label, one mark a configuration, a line from FP32's value to it; SVG."""
    with drawing() as new_figure:
        n_labels, n_marks = len(label_scores(report.reference)), max(1, len(report.quantized))
        band = n_marks + _BAND_GAP
        figure = new_figure((_WIDTH, 1))
        axes = figure.add_subplot()
        _draw_bands(axes, report, band)
        handles = _draw_marks(axes, report, band)
        columns = min(4, _legend_columns(handles, _WIDTH))
        around = max(1.25, 0.85 + _legend_height(handles, columns))
        figure.set_size_inches(_WIDTH, around + max(2.0, n_labels * band * _INCHES_A_MARK))
        axes.set(xlim=(-0.015, 1.015), ylim=(n_labels * band - _BAND_GAP / 2, -_BAND_GAP / 2))
        axes.set_xlabel("Dice similarity coefficient, mean over cases (1 is perfect)")
        axes.set_xticks(np.linspace(0, 1, 11))
        axes.grid(axis="x", color="#d9dde1", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        _legend(figure, handles, columns)
        return saved(figure, "svg")


def scene_figure(report: StudyReport) -> bytes:
    """The slice: grey image with outlines, a panel for the reference and for each configuration; PNG.

    Raises:
        ValueError: the report has no scene.
    """
    scene = report.scene
    if scene is None:
        raise ValueError("this report has no scene to draw")
    panels = (("Reference", scene.reference), *((_heading(report, text), labels) for text, labels in scene.predictions))
    rows_of_panels = -(-len(panels) // _PANELS_A_ROW)
    columns = min(len(panels), _PANELS_A_ROW)
    height_mm, width_mm = (size * pixel for size, pixel in zip(scene.image.shape, scene.pixel_mm))
    panel_height = min(max(_PANEL_INCHES * height_mm / width_mm, 1.2), 2 * _PANEL_INCHES) + 0.32
    with drawing() as new_figure:
        handles = _scene_handles(report, scene)
        legend_columns = _legend_columns(handles, columns * _PANEL_INCHES)
        legend_height = _legend_height(handles, legend_columns) + 0.15
        figure = new_figure((columns * _PANEL_INCHES, rows_of_panels * panel_height + legend_height))
        for position, (title, labels) in enumerate(panels):
            axes = figure.add_subplot(rows_of_panels, columns, position + 1)
            _draw_panel(axes, scene, title, labels, is_reference=position == 0)
            if report.phantom:
                axes.text(0.98, 0.02, "PHANTOM", transform=axes.transAxes, color="white", ha="right", va="bottom",
                          fontsize=7, fontweight="bold")  # fmt: skip
        _legend(figure, handles, legend_columns)
        return saved(figure, "png")


def save_arrays(report: StudyReport, folder: Path) -> tuple[Path, ...]:
    """Write what the pictures are made of: ``figures/per_label.csv``, and ``figures/scene.npz`` where there is a scene.

    scene.npz holds image (rows, columns), pixel_mm (2,), reference (rows, columns), recipes (n,), predictions
    (n, rows, columns), case and axis_note.

    Args:
        folder: the folder of the study's output, in which ``figures`` is made.

    Returns:
        The files written.
    """
    figures = folder / "figures"
    table, arrays = figures / "per_label.csv", figures / "scene.npz"
    write_whole(table, _per_label_csv(report).encode())
    if report.scene is None:
        return (table,)
    scene = report.scene
    archive = io.BytesIO()
    np.savez_compressed(  # numpy dates the files in the archive 1980: the same arrays give the same bytes
        archive,
        image=scene.image, pixel_mm=np.array(scene.pixel_mm), reference=scene.reference,
        recipes=np.array([text for text, _ in scene.predictions]),
        predictions=np.stack([labels for _, labels in scene.predictions]),
        case=np.array(scene.case), axis_note=np.array(scene.axis_note),
    )  # fmt: skip
    write_whole(arrays, archive.getvalue())
    return table, arrays


def _per_label_csv(report: StudyReport) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("label", "name", "recipe", *report.reference.record.metrics, "n_counted"))
    for score in (score for row in report.rows for score in label_scores(row)):
        means = ("" if mean is None else wording.number(mean, 6) for mean in score.means)
        writer.writerow((score.label, score.name, score.recipe, *means, score.n_counted))
    return text.getvalue()


def _legend(figure: Figure, handles: list, columns: int) -> None:
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8,
                      handletextpad=0.5, columnspacing=1.6)  # fmt: skip


def _legend_columns(handles: list, width: float) -> int:
    """As many as the longest name leaves room for: 0.065 inches a letter, half an inch for the line and the gap."""
    widest = 0.5 + 0.065 * max((len(handle.get_label()) for handle in handles), default=0)
    return max(1, min(len(handles), int(width / widest)))


def _legend_height(handles: list, columns: int) -> float:
    """Inches."""
    return 0.2 * -(-len(handles) // columns)


def _draw_bands(axes: Axes, report: StudyReport, band: float) -> None:
    """A grey band behind every second label, its name, and FP32's value as a black bar."""
    scores = label_scores(report.reference)
    primary = report.reference.record.metrics.index(report.primary)
    middle = (band - _BAND_GAP - 1) / 2 + 0.5
    axes.set_yticks([i * band + middle for i in range(len(scores))], [score.name for score in scores])
    for i, score in enumerate(scores):
        top = i * band - _BAND_GAP / 2
        if i % 2 == 0:
            axes.axhspan(top, top + band, color="#f3f5f7", linewidth=0, zorder=0)
        if (value := score.means[primary]) is not None:
            axes.plot([value, value], [top + 0.25, top + band - 0.25], color=REFERENCE, linewidth=1.6, zorder=3)


def _draw_marks(axes: Axes, report: StudyReport, band: float) -> list:
    """The marks of all configurations; their legend entries, FP32 first."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=REFERENCE, linewidth=1.6, label="FP32")]
    primary = report.reference.record.metrics.index(report.primary)
    floats = {score.name: score.means[primary] for score in label_scores(report.reference)}
    for position, (row, colour, shape) in enumerate(_styles(report)):
        for i, score in enumerate(label_scores(row)):
            value, start, y = score.means[primary], floats.get(score.name), i * band + position + 0.5
            if value is None:
                axes.text(0, y, "not counted", fontsize=6, color="#6b7280", va="center")
                continue
            if start is not None:
                axes.plot([start, value], [y, y], color=colour, linewidth=0.9, alpha=0.55, zorder=2)
            axes.plot([value], [y], shape, color=colour, markersize=4.6, markeredgewidth=0, zorder=4, clip_on=False)
        handles.append(
            Line2D([], [], color=colour, marker=shape, markersize=5, markeredgewidth=0, linewidth=0.9,
                   label=wording.configuration(row))
        )  # fmt: skip
    return handles


def _styles(report: StudyReport) -> Iterator[tuple[Row, str, str]]:
    """Each quantized row with its colour (its precision) and its mark (its place within the precision)."""
    members: dict[str, int] = {}
    for row in report.quantized:
        precision = row.record.run.recipe.precision
        members[precision] = members.get(precision, -1) + 1
        yield row, precision_colour(list(members).index(precision)), marker(members[precision])


def _heading(report: StudyReport, recipe: str) -> str:
    rows = {str(row.record.run.recipe): row for row in report.rows}
    return wording.configuration(rows[recipe]) if recipe in rows else recipe


def _draw_panel(axes: Axes, scene: Scene, title: str, labels: NDArray, is_reference: bool) -> None:
    import textwrap

    axes.imshow(scene.image, cmap="gray", vmin=0, vmax=1, interpolation="nearest",
                aspect=scene.pixel_mm[0] / scene.pixel_mm[1])  # fmt: skip
    axes.set_axis_off()
    axes.set_title("\n".join(textwrap.wrap(title, 34)), fontsize=9, fontweight="bold" if is_reference else "normal")
    if not is_reference:
        for index in _indices(scene.reference):
            draw_outline(axes, scene.reference == index, "white", width=0.8)
    # The prediction lies on top: white that can be seen is disagreement.
    for index in _indices(labels):
        draw_outline(axes, labels == index, label_colour(index), width=1.5)
    if is_reference:
        _number_structures(axes, labels)


def draw_outline(axes: Axes, mask: NDArray, colour: str, width: float) -> None:
    """Outline a boolean mask (rows, columns) along its pixels' edges; what touches the image's edge is closed there."""
    padded = np.pad(mask.astype(np.float64), 1)
    rows, columns = (np.arange(-1, size + 1) for size in mask.shape)
    axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], linewidths=[width])


def _number_structures(axes: Axes, labels: NDArray) -> None:
    """The index of each structure at a pixel of it that is nearest to its middle."""
    from matplotlib.patheffects import withStroke

    for index in _indices(labels):
        pixels = np.argwhere(labels == index)
        row, column = pixels[np.argmin(((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1))]
        axes.text(column, row, str(index), color="white", fontsize=6.5, ha="center", va="center", fontweight="bold",
                  path_effects=[withStroke(linewidth=1.6, foreground="black")])  # fmt: skip


def _indices(labels: NDArray) -> list[int]:
    return [int(index) for index in np.unique(labels) if index > 0]


def _scene_handles(report: StudyReport, scene: Scene) -> list:
    from matplotlib.lines import Line2D

    maps = (scene.reference, *(labels for _, labels in scene.predictions))
    shown = {index for labels in maps for index in _indices(labels)}
    names = dict(report.label_names)
    return [
        Line2D([], [], color=label_colour(index), linewidth=2.4, label=f"{index} {names.get(index, 'unnamed')}")
        for index in sorted(shown)
    ]
