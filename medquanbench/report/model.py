"""What a report shows: rows with their records, a slice with its outlines, and the facts of the study."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray

from medquanbench.values import Choice, Fact, Row


@dataclass(frozen=True, eq=False)
class Scene:
    """One slice of one case, on one grid, as it is drawn: row 0 on top.

    Attributes:
        case: name of the case.
        axis_note: which slice, and from where it is seen, e.g. ``axial slice 23 of 42, seen from the feet``.
        image: grey values (rows, columns), from 0 to 1.
        pixel_mm: height and width of a pixel in mm, (row, column).
        reference: integer label map (rows, columns).
        predictions: (recipe text, integer label map) in row order, FP32 first.
    """

    case: str
    axis_note: str
    image: NDArray
    pixel_mm: tuple[float, float]
    reference: NDArray
    predictions: tuple[tuple[str, NDArray], ...]

    def __post_init__(self) -> None:
        for what, array in (("reference", self.reference), *self.predictions):
            if array.shape != self.image.shape or array.ndim != 2:
                shapes = f"{array.shape} and the image {self.image.shape}"
                raise ValueError(f"{what} has shape {shapes}; they must be on one 2-D grid")


@dataclass(frozen=True, eq=False)
class StudyReport:
    """All that the tables and pages of one study show.

    Attributes:
        title: heading of the page.
        phantom: the images are generated, not patients.
        facts: what was run, a heading and a sentence each.
        rows: FP32 first, then the configurations in the order given.
        label_names: (index, name) in label order.
        tolerances: the tolerances of the surface metric, as a sentence.
        intensity_unit: unit of the image before normalisation, ``HU`` or ``sigma``.
        intensity_per_value: that unit per unit of the network's input; an ``image_step`` times this is in that unit.
        scene: the slice to show, if there is one.
        reference_origin: what the reference is where no expert drew it, as a phrase; empty else.
        choices: how recipes were found that the request left open.
        notes: warnings worth reading. The warning about few cases is the report's own.
    """

    title: str
    phantom: bool
    facts: tuple[Fact, ...]
    rows: tuple[Row, ...]
    label_names: tuple[tuple[int, str], ...]
    tolerances: str
    intensity_unit: str
    intensity_per_value: float
    scene: Scene | None = None
    notes: tuple[str, ...] = ()
    reference_origin: str = ""
    choices: tuple[Choice, ...] = ()

    def __post_init__(self) -> None:
        if not self.rows or not self.rows[0].record.run.recipe.is_reference:
            raise ValueError("a report begins with the row of the FP32 reference; the rows given do not")

    @property
    def reference(self) -> Row:
        """The FP32 row."""
        return self.rows[0]

    @property
    def quantized(self) -> tuple[Row, ...]:
        """All rows but the first."""
        return self.rows[1:]

    @property
    def primary(self) -> str:
        """The metric of the per-label plot, of results.csv's interval and verdict."""
        return self.reference.primary.metric

    @property
    def compared_cases(self) -> int:
        """Cases whose primary score counts in every row: those of the paired comparison."""
        scores = [row.record.case_means(row.record.metrics.index(self.primary)) for row in self.rows]
        return sum(None not in case for case in zip(*scores))

    @property
    def compared_patients(self) -> int:
        """Patients of the paired comparison, in the row that has fewest: its n."""
        return min(row.primary.n_patients for row in self.rows)


def metric_value(row: Row, values: tuple[float | None, ...], metric: str) -> float | None:
    """The entry of ``row.means`` or ``row.drops_pct`` that belongs to a metric; None where the record lacks it."""
    metrics = row.record.metrics
    return values[metrics.index(metric)] if metric in metrics else None
