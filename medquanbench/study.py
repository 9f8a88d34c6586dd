"""A study: many runs of one bundle on one dataset, the reference first, and what is written about them (floor 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medquanbench.bundle import Bundle
from medquanbench.calibration import Patches, calibration_patches
from medquanbench.dataset import Dataset
from medquanbench.files import write_whole
from medquanbench.parts import FloatAnswers
from medquanbench.report.choice_section import choices_csv
from medquanbench.report.figures import save_arrays
from medquanbench.report.html import report_html
from medquanbench.report.model import Scene, StudyReport
from medquanbench.report.tables import cases_csv, draws_csv, labels_csv, results_csv
from medquanbench.run import Job, Outcome, execute, is_begun, rehearse, without_methods
from medquanbench.scene import frame
from medquanbench.search import Terms, resolved
from medquanbench.study_folder import claimed
from medquanbench.study_plan import Conduct, Plan, prepare
from medquanbench.study_record import facts, notes, record_json
from medquanbench.study_statistics import judged_rows
from medquanbench.values import Draw, Recipe, Record, Row, Run


@dataclass(frozen=True)
class Study:
    """What came out: rows in the order asked for, the reference first, and the report made of them.

    ``draws``: records of the draws after draw 0, which the rows are.
    """

    key: str
    rows: tuple[Row, ...]
    report: StudyReport
    draws: tuple[Record, ...] = ()

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
    draws: int = 1,
    out: str | Path | None = None,
) -> Study:
    """Evaluate a bundle on a dataset: the float network, then each recipe, over the same cases of the test split.

    Args:
        recipes: recipes or their texts; the reference is added in front where it is missing. ``calib(N)`` calibrates on
            N cases of the card's lists (:func:`medquanbench.calibration.calibration_cases`); 8 where one is needed and
            none is said.
        cases: how many cases of the split, from its beginning; None for all.
        seed: of the bootstrap and of the windows to calibrate on; a phantom's data never depends on it.
        draws: how often each run that calibrates is carried out, each time on other cases.
        device: ``cpu`` or ``cuda``.
        out: folder for the tables, record.json, report.html and finished cases; None writes nothing.

    Raises:
        RequestError: the request is wrong; nothing was run.
        RunError: a run failed; what was finished is kept in ``out``.
    """
    asked = [Recipe.parse(recipe) if isinstance(recipe, str) else recipe for recipe in recipes]
    wanted, choices = resolved(bundle, dataset, asked, Terms(seed=seed, device=device))
    plan = prepare(bundle, dataset, wanted, cases=cases, seed=seed, draws=draws, choices=choices)
    folder, conduct = Path(out) if out is not None else None, Conduct(device=device)
    try_transforms(plan, folder, conduct)
    return carry_out(plan, folder, conduct)


def try_transforms(plan: Plan, folder: Path | None, conduct: Conduct) -> None:
    """Have transforms refused that the network cannot take before the float network takes its hours, not after.

    Raises:
        RequestError: one of them changes no layer; nothing was written.
    """
    parts = folder / "parts" if folder is not None else None
    new = {without_methods(run.recipe): run.recipe for run in plan.runs if not is_begun(run, parts)}
    for recipe in (recipe for plain, recipe in new.items() if plain.transforms):
        conduct.progress(f"trying {recipe}", 0, len(plan.runs) * len(plan.cases))
        rehearse(plan.bundle, recipe, conduct.device)


def carry_out(plan: Plan, folder: Path | None, conduct: Conduct) -> Study:
    """Run what is not finished yet and write the outputs.

    Raises:
        RequestError: the folder belongs to another study, or another command is at work in it.
        RunError: a run failed; what was finished is kept.
    """
    with claimed(folder, plan):
        work = _Work(plan, folder, conduct)
        outcomes = [work.outcome(number) for number in range(len(work.runs))]
        study = _study(work, outcomes[: len(plan.runs)], [outcome.record for outcome in outcomes[len(plan.runs) :]])
        if folder is not None:
            _write(plan, study, folder, conduct)
        return study


class _Work:
    """A plan being carried out: what its runs share."""

    def __init__(self, plan: Plan, folder: Path | None, conduct: Conduct) -> None:
        self.plan, self.folder, self.conduct = plan, folder, conduct
        self.runs = (*plan.runs, *plan.calibration.runs)
        self.shown = frame(plan.cases[0], plan.dataset, plan.targets)
        self.answers = FloatAnswers(folder / "parts" / plan.runs[0].key if folder is not None else None)
        self.cases_done, self.cases_in_all = 0, len(self.runs) * len(plan.cases)
        self.draw: tuple[Draw, Patches] | None = None

    def outcome(self, number: int) -> Outcome:
        """Carry out one of the runs. Of further draws only scores are wanted: no slice, no answers."""
        plan, folder, run, is_row = self.plan, self.folder, self.runs[number], number < len(self.plan.runs)

        def progress(done: int, total: int) -> None:
            draw = f", draw {run.draw.number}" * (not is_row) if run.draw else ""
            self.cases_done = number * len(plan.cases) + done
            self.tell(f"run {number + 1}/{len(self.runs)}, {run.recipe}{draw}: case {done}/{total}")

        keeps_answers = folder is not None and self.conduct.save_predictions and is_row
        job = Job(
            plan.bundle,
            plan.dataset,
            plan.cases,
            self.conduct.device,
            folder / "parts" if folder is not None else None,
            self.shown if is_row else None,
            folder / "predictions" if keeps_answers else None,
            progress,
            self.answers if is_row else None,
            self._patches(run),
        )
        return execute(run, job)

    def tell(self, text: str) -> None:
        """What is being done now."""
        self.conduct.progress(text, self.cases_done, self.cases_in_all)

    def _patches(self, run: Run) -> Patches | None:
        """What a run is calibrated on; the runs of one draw share it, and it is made when it is first looked at."""
        if run.draw is None:
            return None
        if self.draw is None or self.draw[0] != run.draw:
            plan, seed = self.plan, (self.plan.seed, run.draw.number)
            cases = plan.calibration.cases_of(run)
            patches = calibration_patches(
                plan.bundle, plan.dataset, cases, seed=seed, device=self.conduct.device, progress=self.tell
            )
            self.draw = (run.draw, patches)
        return self.draw[1]


def _study(work: _Work, outcomes: Sequence[Outcome], drawn: Sequence[Record]) -> Study:
    plan, shown = work.plan, work.shown

    def progress(done: int, total: int) -> None:
        work.tell(f"statistics: comparison {done}/{total}")

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
        notes=notes(plan, rows, drawn),
        reference_origin=dataset.reference,
        choices=plan.choices,
    )
    return Study(plan.key, rows, report, tuple(drawn))


def _write(plan: Plan, study: Study, folder: Path, conduct: Conduct) -> None:
    study.to_csv(folder / "results.csv")
    write_whole(folder / "cases.csv", cases_csv(study.rows).encode())
    write_whole(folder / "labels.csv", labels_csv(study.rows).encode())
    if plan.choices:
        write_whole(folder / "best.csv", choices_csv(plan.choices).encode())
    if study.draws:
        write_whole(folder / "draws.csv", draws_csv(study.records, study.draws).encode())
    save_arrays(study.report, folder)
    write_whole(folder / "report.html", report_html(study.report).encode())
    write_whole(folder / "record.json", record_json(plan, conduct, study.rows, study.draws).encode())
