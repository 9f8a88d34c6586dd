"""How numbers and findings are worded, alike in the terminal and on the page."""

from __future__ import annotations

import re

from medquanbench.report.model import StudyReport
from medquanbench.stats import MIN_CASES, Verdict
from medquanbench.values import Judgement, Receipt, Row, State

REFERENCE = Verdict.REFERENCE
_LIST = re.compile(r"\b(keep|at8)\(([^()]+)\)")
FEW_CASES, SOME_CASES = MIN_CASES, 20
PHANTOM = "PHANTOM: generated images, not patients"
REAL = "real images"

VERDICTS: tuple[tuple[str, str], ...] = (
    (Verdict.NON_INFERIOR,
     "The whole 95 % interval lies above minus the margin: any loss is smaller than what was declared "
     "acceptable."),
    (Verdict.INFERIOR,
     "The whole 95 % interval lies below minus the margin: the loss is larger than what was declared "
     "acceptable."),
    (Verdict.INCONCLUSIVE,
     "The interval contains minus the margin, or there are too few cases for an interval. This is not "
     "evidence that nothing was lost."),
    (REFERENCE, "The float network that the other rows are compared with, case by case."),
)  # fmt: skip
"""Each verdict with its meaning, in the order in which they are explained."""


EVERY_LABEL = (
    "Non-inferior where each structure by itself is non-inferior, judged by the largest p of all. This one claim about "
    "all needs no correction for their number; to name single structures, read their p (Holm)."
)
"""What the claim about every structure says, and what it does not."""


def number(value: float | None, decimals: int) -> str:
    """A number with fixed decimals, never ``-0.0``; ``n/a`` for None."""
    return "n/a" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def signed(value: float | None, decimals: int) -> str:
    """A number with its sign, none at zero; ``n/a`` for None."""
    if value is None:
        return "n/a"
    rounded = round(value, decimals)
    return f"{rounded:+.{decimals}f}" if rounded else number(0.0, decimals)


def drop(row: Row, drop_pct: float | None) -> str:
    """The relative loss against FP32 as the paper's tables print it, ``-`` in the reference's own row."""
    if row.verdict == REFERENCE:
        return "-"
    return "n/a" if drop_pct is None else f"{number(drop_pct, 1)}%"


def difference(said: Judgement) -> str:
    """The paired difference and its interval, ``-0.0020 [-0.0031, -0.0010]``."""
    if said.verdict == REFERENCE:
        return "-"
    if said.ci_low is None or said.ci_high is None:
        return f"{signed(said.difference, 4)} [no interval]"
    return f"{signed(said.difference, 4)} [{signed(said.ci_low, 4)}, {signed(said.ci_high, 4)}]"


def p_value(value: float | None) -> str:
    if value is None:
        return "n/a"
    return "< 0.001" if value < 0.001 else number(value, 3)


def extras(row: Row) -> str:
    """What a recipe says beyond bits and policy: transforms, layers kept, calibration, image bits; empty if nothing."""
    return " ".join(str(row.record.run.recipe).split()[2:])


def configuration(row: Row) -> str:
    """A configuration in one line, ``W4A4 adaptive smooth``; ``FP32`` for the reference. Long lists are cut."""
    recipe = row.record.run.recipe
    return " ".join(filter(None, (recipe.precision, recipe.policy, _LIST.sub(_cut, extras(row)))))


def _cut(found: re.Match) -> str:
    """``at8(a,b,c,d)`` as ``at8(a and 3 more)``: a search may raise twenty layers."""
    first, *more = found[2].split(",")
    return f"{found[1]}({first} and {len(more)} more)" if len(more) > 1 else found[0]


def few_cases_warning(report: StudyReport) -> str:
    """What the number of patients does not allow, as a sentence; empty from 20 on."""
    n = report.compared_patients
    cases = counted(n, "case" if n == report.compared_cases else "patient")
    if n < FEW_CASES:
        return (f"Only {cases}: no interval and no test is given below {FEW_CASES}, and every verdict is inconclusive. "
                "The means describe these cases and no others.")  # fmt: skip
    if n < SOME_CASES:
        return (f"Only {cases}: with fewer than {SOME_CASES}, intervals are wide and depend on single cases. "
                "Read them as a first impression.")  # fmt: skip
    return ""


def machines(receipt: Receipt) -> str:
    """How many quantized layers which kind of machine could run, ``18 gemm, 2 simulation``; "-" where none is."""
    tags = [line.hardware for line in receipt.lines if line.state is State.QUANTIZED and line.hardware]
    counts = {tag: tags.count(tag) for tag in sorted(set(tags))}
    return ", ".join(f"{count} {tag}" for tag, count in counts.items()) or "-"


def machine_reasons(receipt: Receipt) -> tuple[tuple[str, str], ...]:
    """(tag, reason) of what could run the quantized layers, each once, tags in order."""
    lines = [line for line in receipt.lines if line.state is State.QUANTIZED and line.hardware]
    return tuple(sorted({(line.hardware, line.hardware_reason) for line in lines}))


def counted(n: int, noun: str) -> str:
    """``1 layer``, ``3 layers``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
