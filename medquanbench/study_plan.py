"""A study before it is run: what is asked, checked as far as that goes, and the keys of its runs (floor 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from medquanbench import quant
from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.run import case_sha256, plan_run
from medquanbench.study_calibration import Calibration, cases_by_draw, draw_of, numbered
from medquanbench.tasks import TASKS, Targets, Task
from medquanbench.values import Case, Choice, Recipe, RequestError, Run, not_found

TABLE_1 = tuple(f"{bits} {policy}" for bits in ("w8a8", "w4a4") for policy in ("per-channel", "per-tensor", "adaptive"))
"""The block of the paper's Table 1, beside the reference."""


@dataclass(frozen=True)
class Plan:
    """A study before it is run: open things, cases with their checksums, and the runs with their keys.

    ``margins``: (metric, accepted loss) where the user gave one. The runs are the rows, on draw 0 where they calibrate.
    ``choices``: how recipes among them were found, where the request left that open.
    """

    bundle: Bundle
    dataset: Dataset
    split: str
    cases: tuple[Case, ...]
    sums: tuple[tuple[str, tuple[str, ...]], ...]
    runs: tuple[Run, ...]
    margins: tuple[tuple[str, float], ...]
    seed: int
    key: str
    calibration: Calibration = Calibration()
    choices: tuple[Choice, ...] = ()

    @property
    def task(self) -> Task:
        """What the dataset asks for."""
        return TASKS[self.dataset.task]

    @property
    def targets(self) -> Targets:
        """What is scored."""
        return self.task.targets(self.bundle, self.dataset)

    def margin_of(self, metric: str, recipe: Recipe) -> float:
        """The loss of a metric that is accepted of a recipe: as the user said, else as the task says."""
        given = dict(self.margins)
        return given[metric] if metric in given else self.task.margin(recipe.weight_bits, recipe.activation_bits)

    @property
    def default_folder(self) -> Path:
        """Where the study goes that is given no folder, so that the same command finds its own."""
        return Path("runs") / f"{self.bundle.name}-{self.bundle.variant}-{self.dataset.name}-{self.key[:8]}"


@dataclass(frozen=True)
class Conduct:
    """What changes no score: device, what is kept beside scores, the command as typed, who hears of progress.

    ``progress`` is called as (what is being done, cases done, cases in all), counted over all runs.
    """

    device: str = "cpu"
    save_predictions: bool = False
    command: tuple[str, ...] = ()
    progress: Callable[[str, int, int], None] = lambda text, done, total: None


def prepare(
    bundle: Bundle,
    dataset: Dataset,
    recipes: Iterable[Recipe | str],
    *,
    cases: int | None = None,
    seed: int = 0,
    split: str = "test",
    margins: tuple[tuple[str, float], ...] = (),
    calibrated: int | None = None,
    draws: int = 1,
    choices: tuple[Choice, ...] = (),
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Look at everything that can be wrong with a request before anything is run, and name the runs.

    Args:
        calibrated: number of calibration cases for the recipes that need some and do not say how many.
        draws: how often each run that calibrates is carried out, each time on other cases.
        choices: how some of the recipes were found.

    Raises:
        RequestError: see :func:`evaluate`.
    """
    wanted, assumed = numbered(_recipes(recipes), calibrated, draws)
    _check_numbers(margins, seed)
    check_opened(bundle, dataset, wanted)
    chosen = _choose(dataset, split, cases, progress)
    by_draw = cases_by_draw(dataset, split, wanted, draws, progress)
    shown = tuple(dict.fromkeys(case for cases in by_draw.values() for case in cases))
    look_at((*chosen, *shown), bundle, dataset, progress or (lambda text: None))
    sums = {case.name: case_sha256(case) for case in chosen}
    shown_sums = {case.name: case_sha256(case) for case in shown}

    def run_of(recipe: Recipe, number: int) -> Run:
        return plan_run(bundle, dataset, split, sums, recipe, seed, draw_of(recipe, number, by_draw), shown_sums)

    runs = tuple(run_of(recipe, 0) for recipe in wanted)
    calibrating = [recipe for recipe in wanted if recipe.calibration is not None]
    drawn = tuple(run_of(recipe, number) for number in range(1, draws) for recipe in calibrating)
    parts = [[run.key for run in (*runs, *drawn)], margins]
    parts += [[(str(one.request), one.budget_s, one.float_budget) for one in choices]] if choices else []
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    calibration = Calibration(shown, tuple(shown_sums.items()), drawn, assumed)
    return Plan(bundle, dataset, split, chosen, tuple(sums.items()), runs, margins, seed, key, calibration, choices)


def _recipes(recipes: Iterable[Recipe | str]) -> tuple[Recipe, ...]:
    parsed = [Recipe.parse(recipe) if isinstance(recipe, str) else recipe for recipe in recipes]
    return (Recipe(), *(recipe for recipe in parsed if not recipe.is_reference))


def _check_numbers(margins: tuple[tuple[str, float], ...], seed: int) -> None:
    for metric, margin in margins:
        if not 0 < margin < 1:
            wanted_margin = f"a difference in {metric.upper()} above 0 and below 1"
            raise RequestError(f"the margin is {margin}; {wanted_margin} is needed")
    if not 0 <= seed < 2**32:
        raise RequestError(f"the seed is {seed}; a whole number from 0 to {2**32 - 1} is needed")


def check_opened(bundle: Bundle, dataset: Dataset, wanted: tuple[Recipe, ...]) -> None:
    """See that bundle and dataset fit together, and that every recipe can be carried out.

    Raises:
        RequestError: they do not, or one cannot.
    """
    double = [str(recipe) for recipe in wanted if wanted.count(recipe) > 1]
    if double:
        raise RequestError(f"'{double[0]}' is asked for twice")
    if dataset.task not in TASKS:
        raise not_found("task", dataset.task, f"the card of {dataset.name}", list(TASKS))
    TASKS[dataset.task].targets(bundle, dataset)
    network = bundle.network()
    for recipe in wanted:
        quant.check(network, recipe)
    bundle.preprocessing()


def _choose(
    dataset: Dataset, split: str, count: int | None, progress: Callable[[str], None] | None
) -> tuple[Case, ...]:
    names = dataset.names(split)
    if not names:
        raise RequestError(f"the split '{split}' of {dataset.name} has no cases")
    if count is not None and not 1 <= count <= len(names):
        raise RequestError(f"{count} cases are asked for; the split '{split}' of {dataset.name} has {len(names)}")
    return dataset.cases(split, count, progress)


def look_at(cases: tuple[Case, ...], bundle: Bundle, dataset: Dataset, progress: Callable[[str], None]) -> None:
    """Look at the files of all cases before anything is computed: all headers first, in a moment, then all voxels.

    Raises:
        RequestError: files are wrong; the first three are named.
    """
    task = TASKS[dataset.task]
    for case in cases:
        if len(case.inputs) != bundle.channels:
            raise RequestError(
                f"{bundle.name} takes {bundle.channels} images a case; the case {case.name} of {dataset.name} has "
                f"{len(case.inputs)}"
            )
    _refuse([problem for case in cases for problem in task.headers(case)], dataset)
    problems = []
    for number, case in enumerate(cases, 1):
        progress(f"looking at the images of case {number}/{len(cases)}")
        problems.extend(task.voxels(case, dataset))
    _refuse(problems, dataset)


def _refuse(problems: list[str], dataset: Dataset) -> None:
    if len(problems) == 1:
        raise RequestError(problems[0])
    if problems:
        first = "; ".join(problems[:3])
        raise RequestError(f"{len(problems)} files of {dataset.name} are wrong, first {first}")
