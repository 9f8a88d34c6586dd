"""A study card on one bundle and dataset: which rows can be carried out, and the plans for them (floor 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from medquanbench.analysis.blame import Released, blame, check_layer, most_sensitive
from medquanbench.analysis.card import CardRow, StudyCard
from medquanbench.bundle import Bundle, open_bundle
from medquanbench.calibration import calibration_names
from medquanbench.dataset import Dataset
from medquanbench.run import rehearse, without_methods
from medquanbench.search import BEST, Terms, resolved
from medquanbench.study_calibration import numbered
from medquanbench.study_plan import Plan, prepare
from medquanbench.values import Choice, Recipe, RequestError

Say = Callable[[str], None]


@dataclass(frozen=True)
class StudyRequest:
    """What a study is asked of. ``layer`` is the most sensitive layer, where that is given and need not be found."""

    bundle: str
    variant: str | None = None
    weights: str | None = None
    split: str = "test"
    cases: int | None = None
    layer: str | None = None
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class PlannedRow:
    """A row of a card, as it is asked of one network.

    Attributes:
        variant: of the bundle; "-" where the bundle has no such.
        layer: the layer on which it acts, or "".
        recipe: None where it cannot be carried out.
        reason: why not, or "".
    """

    row: CardRow
    variant: str
    layer: str = ""
    recipe: Recipe | None = None
    reason: str = ""


@dataclass(frozen=True)
class StudyOutline:
    """A study before it is run.

    Attributes:
        rows: in the order of the card.
        plans: of each variant of which a row can be carried out.
        layers: of each variant whose most sensitive layer was sought, all layers.
    """

    card: StudyCard
    rows: tuple[PlannedRow, ...]
    plans: tuple[Plan, ...]
    layers: tuple[tuple[str, tuple[Released, ...]], ...]

    @property
    def default_folder(self) -> Path:
        """Where the study goes that is given no folder, so that the same command finds its own."""
        key = hashlib.sha256(json.dumps([self.card.sha256, [plan.key for plan in self.plans]]).encode()).hexdigest()
        first = self.plans[0]
        return Path("runs") / f"{self.card.name}-{first.bundle.name}-{first.dataset.name}-{key[:8]}"


def outline(card: StudyCard, dataset: Dataset, request: StudyRequest, say: Say) -> StudyOutline:
    """Look at everything that can be wrong with a study before anything is run.

    A row that a bundle cannot carry out, or whose variant it does not have, is there with the reason.

    Raises:
        RequestError: the request is wrong, or no row can be carried out.
    """
    rows: dict[str, PlannedRow] = {}
    plans, found = [], []
    for variant in dict.fromkeys(row.variant for row in card.rows):
        members = [row for row in card.rows if row.variant == variant]
        try:
            bundle = _open(request, variant, dataset)
        except RequestError as error:
            if variant is None:
                raise
            rows |= {row.name: PlannedRow(row, "-", reason=str(error)) for row in members}
            continue
        layer, layers = _layer(card, members, bundle, dataset, request, say)
        found += [(bundle.variant, layers)] if layers else []
        trials = _Trials(bundle, request.device, card.search)
        planned = [_planned(row, layer, trials, dataset, request, say) for row in members]
        rows |= {entry.row.name: entry for entry in planned}
        recipes = dict.fromkeys(entry.recipe for entry in planned if entry.recipe is not None)
        if recipes:
            plans.append(_prepared(card, trials, dataset, tuple(recipes), request, say))
    if not plans:
        told = "; ".join(dict.fromkeys(entry.reason for entry in rows.values()))
        raise RequestError(f"{request.bundle} can carry out no row of the study {card.name}: {told}")
    return StudyOutline(card, tuple(rows[row.name] for row in card.rows), tuple(plans), tuple(found))


def _open(request: StudyRequest, variant: str | None, dataset: Dataset) -> Bundle:
    if variant is None:
        return open_bundle(
            request.bundle, variant=request.variant, weights=request.weights, dataset=dataset.name
        )  # fmt: skip
    return open_bundle(request.bundle, variant=variant, dataset=dataset.name)


def _layer(
    card: StudyCard, rows: list[CardRow], bundle: Bundle, dataset: Dataset, request: StudyRequest, say: Say
) -> tuple[str | None, tuple[Released, ...]]:
    """The most sensitive layer where a row needs it, and the others where it was sought."""
    if not any(row.needs_layer for row in rows):
        return None, ()
    if request.layer is not None:
        return check_layer(bundle, card.rule.recipe, request.layer, request.device), ()
    layers = blame(
        bundle, dataset, card.rule, split=request.split, seed=request.seed, device=request.device, progress=say
    )
    return most_sensitive(layers), layers


class _Trials:
    """Recipes rehearsed on a bundle, each once: rows that differ in the rounding of weights share theirs."""

    def __init__(self, bundle: Bundle, device: str, search: Terms) -> None:
        self.bundle, self.device, self.search = bundle, device, search
        self._reasons: dict[Recipe, str] = {}
        self.choices: dict[Recipe, Choice] = {}  # recipes that were searched

    def reason(self, recipe: Recipe) -> str:
        """Why the bundle cannot carry out a recipe; empty where it can."""
        plain = without_methods(recipe)
        if plain not in self._reasons:
            try:
                rehearse(self.bundle, recipe, self.device)
                self._reasons[plain] = ""
            except RequestError as error:
                self._reasons[plain] = str(error)
        return self._reasons[plain]


def _planned(
    row: CardRow, layer: str | None, trials: _Trials, dataset: Dataset, request: StudyRequest, say: Say
) -> PlannedRow:
    say(f"trying {row.name}")
    bundle = trials.bundle
    acts_on = (layer or "") if row.needs_layer else ""
    recipe = row.recipe(layer)
    if row.at_most:
        there = len(calibration_names(dataset, request.split))
        recipe = replace(recipe, calibration=min(recipe.calibration, there))
    if recipe.policy == BEST:
        terms = replace(trials.search, split=request.split, seed=request.seed, device=request.device)
        (recipe,), (choice,) = resolved(bundle, dataset, [recipe], terms, say)
        trials.choices[recipe] = choice
    if reason := trials.reason(recipe):
        return PlannedRow(row, bundle.variant, acts_on, reason=reason)
    (recipe,), _ = numbered([recipe], None, 1)
    return PlannedRow(row, bundle.variant, acts_on, recipe)


def _prepared(
    card: StudyCard, trials: _Trials, dataset: Dataset, recipes: tuple[Recipe, ...], request: StudyRequest, say: Say
) -> Plan:
    calibrates = any(recipe.calibration is not None for recipe in recipes)
    return prepare(
        trials.bundle,
        dataset,
        recipes,
        cases=request.cases,
        seed=request.seed,
        split=request.split,
        draws=card.draws if calibrates else 1,
        choices=tuple(trials.choices.values()),
        progress=say,
    )
