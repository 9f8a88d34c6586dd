"""The search behind ``w4a4 best``: a recipe found on calibration cases alone, within a time budget (floor 4).

Recipes are fitted on some calibration cases and judged on others, by how far the network's answers move from the float
network's (:mod:`medquanbench.search.judge`); neither the evaluated split nor a reference is looked at. Questions are
asked one after the other, each of the best recipe so far, on few cases: what is quickly tried, then rounding, what
seldom helps if there is much time and, where a float budget allows, single layers at 8 bits. The best candidate is
fitted on all cases too; learned rounding is tried upon what is best by then, if there is time left. The least distance
wins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from medquanbench import quant
from medquanbench.bundle import Bundle
from medquanbench.calibration import Patches
from medquanbench.parts import Parts
from medquanbench.search.cost import cost, multiply_adds
from medquanbench.search.judge import Judge
from medquanbench.search.layers import layer_gains
from medquanbench.search.space import FIRST, LEARNED, ORDER, PLAIN, QUESTIONS, SELDOM, Candidate, Question
from medquanbench.values import Choice, Cost, LayerGain, Receipt, Recipe, RequestError, RunError, Trial

QUICK_CASES = 2
"""On which a recipe is fitted that is only tried."""
ENOUGH = 0.99
"""An answer is taken whose distance is below this part of the best so far: less is noise."""
_QUESTIONS_UNTIL, _LAYERS_UNTIL = 0.6, 1.0
"""Parts of the time at which stages of the search must end, where what the end needs is set aside."""
_LEARNED_COSTS = 5
"""Times as long as the same without it takes learned rounding, about."""


@dataclass(frozen=True)
class Windows:
    """What a search looks at: windows to fit on, by number of cases, and windows to judge on."""

    fitting: Callable[[int], Patches]
    judging: Patches
    fitted: tuple[str, ...]
    judged: tuple[str, ...]


class Search:
    """One search. What it has tried is kept in ``parts``, so that it goes on where it was stopped.

    Args:
        request: ``w4a4 best calib(8)`` with what else was said.
        budget_s: seconds that the search may take; the first two trials and the last are made in any case.
        float_budget: part of the multiply-adds that may be held at 8 bits, 0 to 1.
        tell: hears what is being done.
    """

    def __init__(
        self,
        bundle: Bundle,
        request: Recipe,
        windows: Windows,
        budget_s: float,
        float_budget: float,
        parts: Parts,
        device: str,
        tell: Callable[[str], None],
    ) -> None:
        self.bundle, self.request, self.windows = bundle, request, windows
        self.budget_s, self.float_budget = budget_s, float_budget
        self.parts, self.device, self.tell = parts, device, tell
        self.trials: list[Trial] = []
        self.layers: tuple[LayerGain, ...] = ()
        self.best = PLAIN
        self.spent = 0.0
        self.quick = min(QUICK_CASES, len(windows.fitted))

    def choice(self) -> Choice:
        """Search, and say what was found.

        Raises:
            RunError: no recipe could be carried out.
        """
        self._try(PLAIN, "nothing beside the policy", self.quick)
        if self._try(FIRST, "to begin with", self.quick):
            self.best = min((PLAIN, FIRST), key=self._distance)
        self._ask(ORDER, 0)
        self._ask(SELDOM, _LEARNED_COSTS)
        if self.float_budget and self._has_time(_LAYERS_UNTIL, 0.0):
            self.layers = self._gains(self.best)
        recipe = self._learned(self._final()).recipe
        return Choice(
            self.request, recipe, self.budget_s, self.spent, self.float_budget, self.windows.fitted,
            self.windows.judged, len(self.judge.windows), tuple(self.trials), self.layers, self._cost(recipe),
        )  # fmt: skip

    def _ask(self, questions: Iterable[Question], then: float) -> None:
        """Ask all questions that there is time for, each of the best candidate so far, leaving so many trials' time."""
        for question in questions:
            slowest = max(trial.seconds for trial in self.trials)
            for answer in question.answers:
                other = self.best.answered(question.name, answer)
                if other == self.best or not self._has_time(_QUESTIONS_UNTIL, slowest + then * self._few):
                    continue
                better = ENOUGH * self._distance(self.best)
                if self._try(other, question.name, self.quick) and self._distance(other) < better:
                    self.best = other

    def _final(self) -> Trial:
        """The best candidate with the layers that gain at 8 bits, on few cases and on all: the best judged of these."""
        raised = tuple(layer.path for layer in self.layers if layer.raised)
        few, all_ = (self.best.recipe(self.request, cases) for cases in (self.quick, len(self.windows.fitted)))
        found = [self._trial(few, "on few cases")]
        if raised:
            found.append(self._trial(_raised(few, raised), "layers at 8 bits, on few cases"))
            all_ = _raised(all_, raised)
        found.append(self._trial(all_, "layers at 8 bits, on all cases" if raised else "on all cases"))
        judged = [trial for trial in found if trial.divergence is not None]
        if not judged:
            raise RunError(f"no recipe for '{self.request}' could be carried out: {found[0].problem}")
        return min(judged, key=lambda trial: trial.distance)

    def _learned(self, best: Trial) -> Trial:
        """Learned rounding upon the best trial, as far as there is time: it takes longest, and layers gain more."""
        costs = _LEARNED_COSTS * best.seconds
        for answer in filter(None, QUESTIONS[LEARNED].answers):
            if self.spent + costs > self.budget_s:
                break
            other = self.best.answered(LEARNED, answer).recipe(self.request, best.recipe.calibration)
            trial = self._trial(replace(other, at8=best.recipe.at8), LEARNED)
            if trial.divergence is not None and trial.distance < ENOUGH * best.distance:
                best = trial
        return best

    @property
    def _few(self) -> float:
        """Seconds that a trial of the best candidate takes on few cases."""
        quick = self.best.recipe(self.request, self.quick)
        return next(trial.seconds for trial in self.trials if trial.recipe == quick)

    def _has_time(self, until: float, needed: float) -> bool:
        at_the_end = self._few * len(self.windows.fitted) / self.quick
        if self.float_budget:
            at_the_end += self._few
        return self.spent + needed <= until * (self.budget_s - min(at_the_end, self.budget_s / 2))

    def _distance(self, candidate: Candidate) -> float:
        recipe = candidate.recipe(self.request, self.quick)
        return next((trial.distance for trial in self.trials if trial.recipe == recipe), math.inf)

    def _try(self, candidate: Candidate, question: str, cases: int) -> bool:
        """True where the candidate could be carried out."""
        return self._trial(candidate.recipe(self.request, cases), question).divergence is not None

    def _trial(self, recipe: Recipe, question: str) -> Trial:
        """Carry out a recipe and judge it, or find that in what was kept."""
        done = next((trial for trial in self.trials if trial.recipe == recipe), None)
        if done is not None:
            return done
        minutes = f"{self.spent / 60:.1f} of {self.budget_s / 60:g} minutes"
        self.tell(f"{self.request}: trial {len(self.trials) + 1}, {minutes}: {recipe}")
        trial = self.parts.read(Trial, f"trial-{len(self.trials) + 1}")
        if trial is None or trial.recipe != recipe:
            trial = self._carried_out(recipe, question)
            self.parts.write(trial, f"trial-{len(self.trials) + 1}")
        self.trials.append(trial)
        self.spent += trial.seconds
        return trial

    def _carried_out(self, recipe: Recipe, question: str) -> Trial:
        began = time.perf_counter()
        try:
            verdict = self.judge.verdict(self._quantized(recipe)[0])
        except (RequestError, RunError) as error:  # a transform that changes nothing here, say
            return Trial(question, recipe, None, None, time.perf_counter() - began, str(error))
        return Trial(question, recipe, verdict.divergence, verdict.agreement, time.perf_counter() - began)

    def _quantized(self, recipe: Recipe) -> tuple[torch.nn.Module, Receipt]:
        return quant.quantize(self.network, recipe, self.windows.fitting(recipe.calibration))

    def _gains(self, best: Candidate) -> tuple[LayerGain, ...]:
        """What single layers gain at 8 bits, as far as there is time."""
        began, recipe = time.perf_counter(), best.recipe(self.request, self.quick)
        kept = self.parts.read(_Gains, "layers")
        if kept is not None and kept.recipe == recipe:
            self.spent += kept.seconds
            return kept.layers

        def goes_on(done: int, total: int) -> bool:
            self.tell(f"{self.request}: holding single layers at 8 bits, {done} of {total}")
            return self._has_time(_LAYERS_UNTIL, time.perf_counter() - began)

        low, receipt = self._observed(recipe)
        # At 8 bits it makes no difference how weights are rounded, and the transforms must be the same.
        plain = tuple(term for term in recipe.transforms if term.name in quant.TRANSFORMS)
        high = self._quantized(replace(recipe.raised, transforms=plain))[0]
        layers = layer_gains(low, high, receipt, self.products, self.float_budget, self.judge, goes_on)
        seconds = time.perf_counter() - began
        self.parts.write(_Gains(recipe, seconds, layers), "layers")
        self.spent += seconds
        return layers

    def _cost(self, recipe: Recipe) -> Cost:
        self.tell(f"{self.request}: counting bits")
        bare = replace(recipe, transforms=(), calibration=self.quick)
        receipt = self._observed(bare)[1]
        plain = self._observed(replace(bare, at8=()))[1] if bare.at8 else receipt
        return cost(receipt, plain, self.products)

    def _observed(self, recipe: Recipe) -> tuple[torch.nn.Module, Receipt]:
        """A quantized network and its receipt after a forward."""
        network, receipt = self._quantized(recipe)
        self.judge.verdict(network, 1)
        return network, quant.audit(network, receipt)

    @cached_property
    def network(self) -> torch.nn.Module:
        """The float network."""
        return self.bundle.network().to(self.device)

    @cached_property
    def judge(self) -> Judge:
        """The float network's answers to the windows that are judged on."""
        return Judge(self.network, self.windows.judging)

    @cached_property
    def products(self) -> dict[str, int]:
        """Multiply-adds of the layers."""
        return multiply_adds(self.network, self.bundle)


def _raised(recipe: Recipe, paths: tuple[str, ...]) -> Recipe:
    return replace(recipe, at8=(*recipe.at8, *paths))


@dataclass(frozen=True)
class _Gains:
    """Gains of layers, as they are kept."""

    recipe: Recipe
    seconds: float
    layers: tuple[LayerGain, ...]


def first_recipes(request: Recipe) -> Iterable[Recipe]:
    """What a search tries in any case, for a look at what is wrong with a request before anything is run."""
    return tuple(candidate.recipe(request, request.calibration) for candidate in (PLAIN, FIRST))
