"""A study carried out: every row with its scores, and what they say beside the baseline (floor 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from medquanbench import stats
from medquanbench.analysis.plan import PlannedRow, StudyOutline
from medquanbench.stats import Gap
from medquanbench.study import Study, carry_out
from medquanbench.study_calibration import Spread, spreads
from medquanbench.study_plan import Conduct, Plan
from medquanbench.values import Recipe, Record, Row


@dataclass(frozen=True)
class AnsweredRow:
    """A row of a study with what came out.

    Attributes:
        row: its line of results.csv; None where it could not be carried out.
        gap: how much of the baseline's loss against FP32 it closes, in the primary metric; None where that is no
            question.
        spread: of the primary metric over draws of calibration cases; None with one draw.
    """

    planned: PlannedRow
    row: Row | None = None
    gap: Gap | None = None
    spread: Spread | None = None


@dataclass(frozen=True)
class Answer:
    """A study with its rows, in the order of the card; ``metric`` is the one that differences are about."""

    outline: StudyOutline
    metric: str
    rows: tuple[AnsweredRow, ...]

    @property
    def baseline(self) -> AnsweredRow | None:
        """The row with which others are compared."""
        name = self.outline.card.baseline
        return next((entry for entry in self.rows if entry.planned.row.name == name), None)

    def reference_of(self, entry: AnsweredRow) -> Row | None:
        """The FP32 row of the same network, where the study has one as a row of its own."""
        return next(
            (
                other.row
                for other in self.rows
                if other.row is not None
                and other.planned.variant == entry.planned.variant
                and other.row.record.run.recipe.is_reference
            ),
            None,
        )


def carry_out_study(outline: StudyOutline, folder: Path, conduct: Conduct) -> Answer:
    """Carry out every plan of a study, each in a folder with the name of its variant.

    Raises:
        RequestError, RunError: as :func:`medquanbench.study.carry_out`; what was finished is kept.
    """
    rows: dict[str, AnsweredRow] = {entry.row.name: AnsweredRow(entry) for entry in outline.rows}
    for number, plan in enumerate(outline.plans, 1):
        where = f"{plan.bundle.variant} ({number}/{len(outline.plans)}), " if len(outline.plans) > 1 else ""
        study = carry_out(plan, folder / plan.bundle.variant, replace(conduct, progress=_prefixed(conduct, where)))
        rows |= _answered(outline, plan, study)
    return Answer(outline, outline.plans[0].task.primary, tuple(rows[entry.row.name] for entry in outline.rows))


def _prefixed(conduct: Conduct, where: str) -> Callable[[str, int, int], None]:
    return lambda text, done, total: conduct.progress(f"{where}{text}", done, total)


def _answered(outline: StudyOutline, plan: Plan, study: Study) -> dict[str, AnsweredRow]:
    """The rows of one variant, by name."""
    by_recipe = {row.record.run.recipe: row for row in study.rows}
    spread_of = {one.recipe: one for one in spreads(study.records, study.draws) if one.metric == plan.task.primary}
    members = [
        entry for entry in outline.rows if entry.variant == plan.bundle.variant and entry.recipe is not None
    ]  # fmt: skip
    base = next((by_recipe[entry.recipe] for entry in members if entry.row.name == outline.card.baseline), None)
    found = {}
    for entry in members:
        row = by_recipe[entry.recipe]
        is_compared = base is not None and row is not base and not entry.recipe.is_reference
        gap = _gap(study.rows[0].record, base.record, row.record, plan) if is_compared else None
        found[entry.row.name] = AnsweredRow(entry, row, gap, spread_of.get(_recipe(row)))
    return found


def _recipe(row: Row) -> Recipe:
    return row.record.run.recipe


def _gap(reference: Record, base: Record, other: Record, plan: Plan) -> Gap:
    """Over patients, of the cases that count in all three runs."""
    metric = reference.metrics.index(plan.task.primary)
    means = [record.case_means(metric) for record in (reference, base, other)]
    counted = [k for k, scores in enumerate(zip(*means)) if None not in scores]
    patients = [plan.dataset.patient_of(reference.cases[k].case) for k in counted]
    return stats.gap_closed(
        *(stats.patient_means([scores[k] for k in counted], patients) for scores in means), seed=plan.seed
    )
