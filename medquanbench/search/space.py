"""What a search may choose from: questions, each with answers, and the recipe that a set of answers makes (floor 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from medquanbench.values import Recipe

POLICY = "engine"
"""What is found can be exported: the one policy that integer runtimes execute."""


@dataclass(frozen=True)
class Question:
    """One decision: answers are parts of a recipe's text, "" for nothing; the first is what a search begins with."""

    name: str
    answers: tuple[str, ...]


OBSERVERS = Question("range of activations", ("mse", "percentile", "entropy", "absmax"))
# In the order in which their answers stand in a recipe. svd is not asked: its branch is float arithmetic, and with as
# few outputs as these networks' layers have it costs more multiply-adds than any float budget.
TERMS = (
    Question("smoothing", ("smooth", "smooth(alpha=0.25)", "smooth(alpha=0.75)", "")),
    Question("rotation", ("", "hadamard")),
    Question("skip branches", ("branches", "")),
    Question("scales of weights", ("clip", "")),
    Question("rounding of weights", ("", "gptq", "gptq+descend")),
    Question("mean of the error", ("", "bias")),
    Question("learned rounding", ("", "qdrop(drop=0)", "qdrop", "brecq", "adaround")),
)
QUESTIONS = {question.name: question for question in (OBSERVERS, *TERMS)}
LEARNED = "learned rounding"
ORDER = (
    Question(OBSERVERS.name, ("percentile",)),
    *(QUESTIONS[name] for name in ("smoothing", "skip branches", "rounding of weights", "scales of weights")),
)
"""The order of asking: activations first, since rounding weights costs several times as much. ``LEARNED`` is asked
when all else is settled."""
SELDOM = (
    Question(OBSERVERS.name, ("entropy", "absmax")),
    *(QUESTIONS[name] for name in ("mean of the error", "rotation")),
)
"""Asked where learned rounding leaves time: in the published searches (best.csv) these were seldom better than what
came before them, and learned rounding mostly was."""


@dataclass(frozen=True)
class Candidate:
    """An answer to every question; ``terms`` in the order of ``TERMS``."""

    observer: str
    terms: tuple[str, ...]

    def answered(self, question: str, answer: str) -> Candidate:
        """The same with another answer to one question."""
        if question == OBSERVERS.name:
            return replace(self, observer=answer)
        places = [one.name for one in TERMS]
        return replace(
            self, terms=tuple(answer if name == question else old for name, old in zip(places, self.terms))
        )  # fmt: skip

    def answer(self, question: str) -> str:
        """What it answers."""
        return dict(zip([OBSERVERS.name, *(one.name for one in TERMS)], [self.observer, *self.terms]))[question]

    def recipe(self, request: Recipe, cases: int) -> Recipe:
        """The recipe, with the bits of a request and what it says beside them, calibrated on so many cases."""
        text = f"w{request.weight_bits}a{request.activation_bits} {POLICY} {'+'.join(filter(None, self.terms))}"
        observer = None if self.observer == OBSERVERS.answers[0] else self.observer  # the policy's own
        return replace(
            Recipe.parse(text),
            keep=request.keep,
            at8=request.at8,
            input_bits=request.input_bits,
            calibration=cases,
            observer=observer,
        )


FIRST = Candidate(OBSERVERS.answers[0], tuple(question.answers[0] for question in TERMS))
PLAIN = Candidate(OBSERVERS.answers[0], ("",) * len(TERMS))
