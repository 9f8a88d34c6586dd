"""A study: many runs of one bundle on one dataset, the reference first, and what is written about them (floor 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.files import write_whole
from medquanbench.parts import FloatAnswers
from medquanbench.report.figures import save_arrays
from medquanbench.report.html import report_html
from medquanbench.report.model import Scene, StudyReport
from medquanbench.report.tables import cases_csv, labels_csv, results_csv
from medquanbench.run import Job, Outcome, execute
from medquanbench.scene import Frame, frame
from medquanbench.study_folder import claimed
from medquanbench.study_plan import Conduct, Plan, prepare
from medquanbench.study_record import facts, notes, record_json
from medquanbench.study_statistics import judged_rows
from medquanbench.values import Recipe, Record, Row


@dataclass(frozen=True)
class Study:
    """What came out: rows in the order asked for, the reference first, and the report made of them."""

    key: str
    rows: tuple[Row, ...]
    report: StudyReport

    @property
    def records(self) -> tuple[Record, ...]:
        """The record of every run, the reference first."""
        return tuple(row.record for row in self.rows)

    def to_csv(self, path: str | Path) -> None:
        """Write results.csv, a row a run."""
        write_whole(Path(path), results_csv(self.rows).encode())


def evaluate(
    bundle: Bundle,
    dataset: Dataset,
    recipes: Iterable[Recipe | str],
    *,
    cases: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: str | Path | None = None,
) -> Study:
    """Evaluate a bundle on a dataset: the float network, then each recipe, over the same cases of the test split.

    Args:
        recipes: recipes or their texts; the reference is added in front where it is missing.
        cases: how many cases of the split, from its beginning; None for all.
        seed: of the bootstrap; a phantom's data never depends on it.
        device: ``cpu`` or ``cuda``.
        out: folder for the tables, record.json, report.html and finished cases; None writes nothing.

    Raises:
        RequestError: the request is wrong; nothing was run.
        RunError: a run failed; what was finished is kept in ``out``.
    """
    plan = prepare(bundle, dataset, recipes, cases=cases, seed=seed)
    return carry_out(plan, Path(out) if out is not None else None, Conduct(device=device))


def carry_out(plan: Plan, folder: Path | None, conduct: Conduct) -> Study:
    """Run what is not finished yet and write the outputs.

    Raises:
        RequestError: the folder belongs to another study, or another command is at work in it.
        RunError: a run failed; what was finished is kept.
    """
    with claimed(folder, plan):
        shown = frame(plan.cases[0], plan.dataset, plan.targets)
        answers = FloatAnswers(folder / "parts" / plan.runs[0].key if folder is not None else None)
        outcomes = tuple(_run(plan, number, folder, shown, conduct, answers) for number in range(len(plan.runs)))
        study = _study(plan, outcomes, shown, conduct)
        if folder is not None:
            _write(plan, study, folder, conduct)
        return study


def _run(
    plan: Plan, number: int, folder: Path | None, shown: Frame, conduct: Conduct, answers: FloatAnswers
) -> Outcome:
    run, count = plan.runs[number], len(plan.cases)

    def progress(done: int, total: int) -> None:
        text = f"run {number + 1}/{len(plan.runs)}, {run.recipe}: case {done}/{total}"
        conduct.progress(text, number * count + done, len(plan.runs) * count)

    predictions = folder / "predictions" if folder is not None and conduct.save_predictions else None
    parts = folder / "parts" if folder is not None else None
    return execute(
        run,
        Job(plan.bundle, plan.dataset, plan.cases, conduct.device, parts, shown, predictions, progress, answers),
    )


def _study(plan: Plan, outcomes: tuple[Outcome, ...], shown: Frame, conduct: Conduct) -> Study:
    cases = len(plan.runs) * len(plan.cases)

    def progress(done: int, total: int) -> None:
        conduct.progress(f"statistics: comparison {done}/{total}", cases, cases)

    rows = judged_rows([outcome.record for outcome in outcomes], plan, progress)
    scene = Scene(
        case=shown.case,
        axis_note=f"axial slice {shown.index + 1} of {shown.depth} from the feet up, patient's right on the left",
        image=shown.image,
        pixel_mm=shown.pixel_mm,
        reference=shown.reference,
        predictions=tuple((str(outcome.record.run.recipe), outcome.slice) for outcome in outcomes),
    )
    dataset, bundle = plan.dataset, plan.bundle
    report = StudyReport(
        title=f"{bundle.name}, variant {bundle.variant}, on {dataset.name}",
        phantom=dataset.phantom is not None,
        facts=facts(plan),
        rows=rows,
        label_names=tuple((label.index, label.name) for label in plan.targets.labels),
        tolerances=dataset.tolerance_source,
        intensity_unit=bundle.intensity.unit,
        intensity_per_value=bundle.intensity.per_value,
        scene=scene,
        notes=notes(plan, rows),
        reference_origin=dataset.reference,
    )
    return Study(plan.key, rows, report)


def _write(plan: Plan, study: Study, folder: Path, conduct: Conduct) -> None:
    study.to_csv(folder / "results.csv")
    write_whole(folder / "cases.csv", cases_csv(study.rows).encode())
    write_whole(folder / "labels.csv", labels_csv(study.rows).encode())
    save_arrays(study.report, folder)
    write_whole(folder / "report.html", report_html(study.report).encode())
    write_whole(folder / "record.json", record_json(plan, conduct, study.rows).encode())
