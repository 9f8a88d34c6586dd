"""What a study calibrates on: how many cases for which recipes, and what other draws of cases give (floor 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from medquanbench import quant
from medquanbench.calibration import DEFAULT_CASES, WINDOWS_PER_CASE, calibration_cases
from medquanbench.dataset import Dataset
from medquanbench.values import Case, Draw, Recipe, Record, RequestError, Run


@dataclass(frozen=True)
class Calibration:
    """What a study calibrates on; nothing where no recipe needs it.

    Attributes:
        cases: every case that calibrates a run, once.
        sums: (case, checksums of its files).
        runs: the runs of a study that calibrate, once more on each draw after draw 0, draw by draw.
        assumed: recipes that got ``DEFAULT_CASES``, as the request gave no number.
    """

    cases: tuple[Case, ...] = ()
    sums: tuple[tuple[str, tuple[str, ...]], ...] = ()
    runs: tuple[Run, ...] = ()
    assumed: tuple[Recipe, ...] = ()

    @property
    def draws(self) -> int:
        """How often each run that calibrates is carried out; 1 where none does."""
        return 1 + max((run.draw.number for run in self.runs), default=0)

    def cases_of(self, run: Run) -> tuple[Case, ...]:
        """The cases that calibrate a run."""
        by_name = {case.name: case for case in self.cases}
        return tuple(by_name[name] for name in run.draw.cases)


def numbered(
    recipes: Sequence[Recipe], calibrated: int | None, draws: int
) -> tuple[tuple[Recipe, ...], tuple[Recipe, ...]]:
    """The recipes with a number of calibration cases wherever one is needed, and those of them that got the default.

    Raises:
        RequestError: a number below 1, or a number or draws where no recipe calibrates.
    """
    if calibrated is not None and calibrated < 1:
        raise RequestError(f"{calibrated} calibration cases are asked for; at least 1 is needed")
    if draws < 1:
        raise RequestError(f"{draws} draws of calibration cases are asked for; at least 1 is needed")
    open_ = [recipe for recipe in recipes if recipe.calibration is None and quant.needs_calibration(recipe)]
    count = DEFAULT_CASES if calibrated is None else calibrated
    with_number = tuple(replace(recipe, calibration=count) if recipe in open_ else recipe for recipe in recipes)
    if (calibrated is not None or draws > 1) and all(recipe.calibration is None for recipe in with_number):
        told = ", ".join(f"'{recipe}'" for recipe in recipes if not recipe.is_reference) or "no recipe"
        raise RequestError(f"calibration cases are asked for, and nothing uses them: the scales of {told} are dynamic")
    assumed = [number for recipe, number in zip(recipes, with_number) if recipe in open_ and calibrated is None]
    return with_number, tuple(assumed)


def observed(recipes: Sequence[Recipe], observer: str, calibrated: int) -> tuple[Recipe, ...]:
    """The recipes with an observer and a number of calibration cases wherever scales are static.

    Raises:
        RequestError: that is nowhere so.
    """
    static = [recipe for recipe in recipes if recipe.policy in quant.POLICIES and quant.is_static(recipe)]
    if not static:
        told = ", ".join(f"'{recipe}'" for recipe in recipes) or "no recipe"
        raise RequestError(f"the observer {observer} is asked for, and the scales of {told} are dynamic")
    return tuple(replace(r, observer=observer, calibration=calibrated) if r in static else r for r in recipes)


def cases_by_draw(
    dataset: Dataset, split: str, recipes: Iterable[Recipe], draws: int, progress: Callable[[str], None] | None
) -> dict[tuple[int, int], tuple[Case, ...]]:
    """(number of cases, number of the draw) -> cases, for all that the recipes ask for.

    Raises:
        RequestError: see :func:`medquanbench.calibration.calibration_cases`.
    """
    counts = {recipe.calibration for recipe in recipes if recipe.calibration is not None}
    return {
        (count, number): calibration_cases(dataset, count, number, split=split, progress=progress)
        for number in range(draws)
        for count in sorted(counts)
    }


def draw_of(recipe: Recipe, number: int, by_draw: dict[tuple[int, int], tuple[Case, ...]]) -> Draw | None:
    """What a recipe is calibrated on in a draw; None where it does not calibrate."""
    if recipe.calibration is None:
        return None
    return Draw(number, tuple(case.name for case in by_draw[recipe.calibration, number]), WINDOWS_PER_CASE)


@dataclass(frozen=True)
class Spread:
    """One metric of one recipe over the draws of its calibration cases; None where no case counts.

    ``means``: the mean over cases of each draw, draw 0 first.
    """

    recipe: Recipe
    metric: str
    means: tuple[float | None, ...]

    @property
    def mean(self) -> float | None:
        """Mean over draws."""
        return fmean(self._there) if self._there else None

    @property
    def least(self) -> float | None:
        """The lowest of the draws."""
        return min(self._there, default=None)

    @property
    def most(self) -> float | None:
        """The highest of the draws."""
        return max(self._there, default=None)

    @property
    def _there(self) -> list[float]:
        return [mean for mean in self.means if mean is not None]


def spreads(records: Sequence[Record], drawn: Sequence[Record]) -> tuple[Spread, ...]:
    """The spread of every recipe and metric over draws.

    Args:
        records: those of the rows, which are draw 0; drawn: those of the other draws, draw by draw.
    """
    recipes = dict.fromkeys(record.run.recipe for record in drawn)
    by_recipe = {recipe: [r for r in (*records, *drawn) if r.run.recipe == recipe] for recipe in recipes}
    return tuple(
        Spread(recipe, metric, tuple(record.mean(k) for record in found))
        for recipe, found in by_recipe.items()
        for k, metric in enumerate(found[0].metrics)
    )
