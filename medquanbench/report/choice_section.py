"""What a search has chosen in the place of ``best``: the recipe, what it costs, what was tried, which layers gain."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from medquanbench.report import wording
from medquanbench.report.markup import Markup, details, numeric, numeric_heading, row, section, table, tag
from medquanbench.report.model import StudyReport
from medquanbench.values import Choice, LayerGain, Trial

_READING = (
    "Recipes were fitted on some calibration cases and judged on others, by how far the network's answers move from "
    "the float network's: the divergence is the mean of KL(p || q) over the voxels of each structure, over structures, "
    "over windows; the agreement is the mean Dice of its labels with the float network's. The least geometric mean of "
    "divergence and disagreement wins. The evaluated cases were not looked at, and no reference was."
)
_LISTED = 12
_COLUMNS = ("request", "trial", "question", "recipe", "divergence", "agreement", "seconds", "chosen", "problem")


def choice_section(report: StudyReport) -> Markup:
    """A part for each request that left a recipe open."""
    parts = [part for choice in report.choices for part in _choice(choice)]
    return section("best", "What the search chose", tag("p", _READING), *parts)


def choices_csv(choices: Sequence[Choice]) -> str:
    """best.csv: a row a trial."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for choice in choices:
        for number, trial in enumerate(choice.trials, 1):
            chosen = "yes" if trial.recipe == choice.recipe else ""
            scores = ("" if value is None else f"{value:.6f}" for value in (trial.divergence, trial.agreement))
            writer.writerow((choice.request, number, trial.question, trial.recipe, *scores, f"{trial.seconds:.1f}",
                             chosen, trial.problem))  # fmt: skip
    return text.getvalue()


def in_short(choice: Choice) -> str:
    """The choice in two sentences."""
    words = [
        f"'{choice.request}' stands for '{choice.recipe}', found in {choice.seconds / 60:.1f} of "
        f"{choice.budget_s / 60:g} minutes and {wording.counted(len(choice.trials), 'trial')} on "
        f"{wording.counted(len(choice.fitted), 'calibration case')}, judged on {len(choice.judged)} others"
    ]
    plain, chosen = choice.plain, choice.of_recipe
    if plain and chosen and None not in (plain.divergence, chosen.divergence):
        words.append(f": divergence from the float network {plain.divergence:.4f} without it, {chosen.divergence:.4f}")
        words.append(
            f" with it; Dice of labels with the float network's {plain.agreement:.4f} and {chosen.agreement:.4f}"
        )
    return "".join(words) + f". {_cost(choice)}"


def _cost(choice: Choice) -> str:
    shares = ", ".join(f"{share.bits} {100 * share.multiply_adds:.2f} %" for share in choice.cost.shares)
    bits, plain = choice.cost.weight_bits, choice.cost.plain_weight_bits
    more = f" ({100 * (bits / plain - 1):+.1f} %)" if bits != plain else ""
    return f"Multiply-adds of the layers: {shares}; {bits:.2f} bits a weight{more}."


def _choice(choice: Choice) -> list[Markup]:
    headings = ("Trial", "Question", "Recipe", *map(numeric_heading, ("Divergence", "Agreement", "Seconds")), "")
    rows = [_trial(number, trial, choice) for number, trial in enumerate(choice.trials, 1)]
    count = wording.counted(len(choice.trials), "trial")
    parts = [
        tag("h3", str(choice.request)),
        tag("p", in_short(choice)),
        details(f"{count}, in their order", table(headings, rows, css="scores")),
    ]
    if choice.layers:
        raised = [layer for layer in choice.layers if layer.raised]
        share = 100 * sum(layer.multiply_adds for layer in raised)
        told = (
            f"Float budget {100 * choice.float_budget:g} % of multiply-adds: "
            f"{wording.counted(len(raised), 'layer')} of {len(choice.layers)} that it could pay, {share:.2f} %"
        )
        kept = "" if choice.recipe.at8 else "; with them the network was no nearer, so none was raised"
        shown = [layer for place, layer in enumerate(choice.layers) if layer.raised or place < _LISTED]
        columns = ("Layer", *map(numeric_heading, ("Gain at 8 bits", "Multiply-adds", "Weights")), "Raised")
        parts.append(details(told + kept, table(columns, map(_layer, shown), css="scores")))
    return parts


def _trial(number: int, trial: Trial, choice: Choice) -> Markup:
    chosen = trial.recipe == choice.recipe
    return row(
        [
            numeric(str(number)),
            trial.question,
            tag("code", str(trial.recipe)),
            numeric(wording.number(trial.divergence, 4)),
            numeric(wording.number(trial.agreement, 4)),
            numeric(wording.number(trial.seconds, 1)),
            trial.problem or ("chosen" if chosen else ""),
        ],
        css="reference" if chosen else "",
    )


def _layer(layer: LayerGain) -> Markup:
    return row([
        tag("code", layer.path),
        numeric(wording.signed(layer.gain, 5)),
        numeric(f"{100 * layer.multiply_adds:.2f} %"),
        numeric(f"{100 * layer.weights:.2f} %"),
        "yes" if layer.raised else "",
    ])  # fmt: skip
