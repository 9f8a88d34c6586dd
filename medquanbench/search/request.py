"""From a request like ``w4a4 best`` to the recipe that it stands for (floor 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from medquanbench import __version__, quant, shelf
from medquanbench.bundle import Bundle
from medquanbench.calibration import DEFAULT_CASES, Patches, calibration_cases, calibration_patches, held_out_cases
from medquanbench.dataset import Dataset
from medquanbench.parts import Parts
from medquanbench.run import case_sha256, config_in_key
from medquanbench.search.search import Search, Windows, first_recipes
from medquanbench.study_plan import check_opened, look_at
from medquanbench.values import Case, Choice, Recipe, RequestError

BEST = "best"
"""Stands in a policy's place."""
BUDGET_MIN = 10.0
JUDGED_CASES, JUDGED_WINDOWS = 8, 2


@dataclass(frozen=True)
class Terms:
    """What a search may take.

    Attributes:
        budget_min: minutes.
        float_budget: part of the multiply-adds that may be held at 8 bits, 0 to 1.
        calibrated: cases to calibrate on where a recipe does not say.
    """

    budget_min: float = BUDGET_MIN
    float_budget: float = 0.0
    calibrated: int | None = None
    split: str = "test"
    seed: int = 0
    device: str = "cpu"


def resolved(
    bundle: Bundle,
    dataset: Dataset,
    recipes: Sequence[Recipe],
    terms: Terms,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[tuple[Recipe, ...], tuple[Choice, ...]]:
    """The recipes with what was found in the place of each ``best``, and how that was found; each recipe once.

    What a search has found is kept in the cache: the same request finds the same recipe again.

    Raises:
        RequestError: something is wrong with any of the recipes; nothing was searched.
        RunError: no recipe could be carried out.
    """
    if terms.calibrated is not None and terms.calibrated < 1:
        raise RequestError(f"{terms.calibrated} calibration cases are asked for; at least 1 is needed")
    asked = [replace(r, calibration=_count(r, terms)) if r.policy == BEST else r for r in recipes]
    requests = list(dict.fromkeys(recipe for recipe in asked if recipe.policy == BEST))
    if not requests:
        return tuple(recipes), ()
    _check(requests, terms)
    others = [recipe for recipe in asked if recipe.policy != BEST]
    check_opened(bundle, dataset, tuple(others))
    for request in requests:
        check_opened(bundle, dataset, first_recipes(request))
    found = {request: _choice(bundle, dataset, request, terms, progress) for request in requests}
    # What was found may stand among the others, which may not have been given their number of cases yet.
    given = [replace(one, calibration=_count(one, terms)) for one in others if quant.needs_calibration(one)]
    wanted = [found[one].recipe if one in found and found[one].recipe not in given else one for one in asked]
    return tuple(dict.fromkeys(one for one in wanted if one not in found)), tuple(found.values())


def _count(recipe: Recipe, terms: Terms) -> int:
    if recipe.calibration is not None:
        return recipe.calibration
    return DEFAULT_CASES if terms.calibrated is None else terms.calibrated


def _check(requests: Sequence[Recipe], terms: Terms) -> None:
    for request in requests:
        if request.transforms or request.format or request.observer:
            what = request.transform if request.transforms else request.format or request.observer
            raise RequestError(f"'{request}': {BEST} finds transforms, rounding and ranges by itself; leave out {what}")
        if max(request.weight_bits, request.activation_bits) > 8:
            raise RequestError(f"'{request}': {BEST} is found for 2 to 8 bits of weights and of activations")
    if not 0 < terms.budget_min < float("inf"):
        raise RequestError(f"the search is given {terms.budget_min:g} minutes; a number above 0 is needed")
    if not 0 <= terms.float_budget <= 1:
        raise RequestError(f"the float budget is {100 * terms.float_budget:g}%; 0% to 100% of multiply-adds can be")


def _choice(bundle: Bundle, dataset: Dataset, request: Recipe, terms: Terms, progress: Callable[[str], None]) -> Choice:
    fitted = calibration_cases(dataset, request.calibration, split=terms.split, progress=progress)
    judged = held_out_cases(dataset, request.calibration, JUDGED_CASES, split=terms.split, progress=progress)
    look_at((*fitted, *judged), bundle, dataset, progress)
    parts = Parts(shelf.cache() / BEST / _key(bundle, dataset, request, terms, (*fitted, *judged)))
    kept = parts.read(Choice, "choice")
    if kept is not None:
        return kept

    def fitting(count: int) -> Patches:
        return calibration_patches(bundle, dataset, fitted[:count], seed=(terms.seed, 0), device=terms.device)

    # Other windows than the same cases would give to calibrate on.
    judging = calibration_patches(
        bundle, dataset, judged, JUDGED_WINDOWS, seed=(terms.seed, 1), device=terms.device
    )  # fmt: skip
    windows = Windows(fitting, judging, _names(fitted), _names(judged))
    search = Search(
        bundle, request, windows, 60 * terms.budget_min, terms.float_budget, parts, terms.device, progress
    )  # fmt: skip
    choice = search.choice()
    parts.write(choice, "choice")
    return choice


def _names(cases: tuple[Case, ...]) -> tuple[str, ...]:
    return tuple(case.name for case in cases)


def _key(bundle: Bundle, dataset: Dataset, request: Recipe, terms: Terms, cases: tuple[Case, ...]) -> str:
    parts = [
        __version__, bundle.weights_sha256, dataset.card_sha256, config_in_key(bundle), str(request), terms.split,
        terms.seed, terms.budget_min, terms.float_budget, [(case.name, case_sha256(case)) for case in cases],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
