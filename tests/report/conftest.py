"""Reports built by hand: a few rows whose numbers are made up on purpose and stand for no measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from medquanbench.report import Scene, StudyReport
from medquanbench.values import (
    CaseResult,
    EveryLabel,
    Fact,
    Findings,
    Judgement,
    LabelJudgement,
    Line,
    Presence,
    Receipt,
    Recipe,
    Record,
    Row,
    Run,
    State,
    Tails,
    Target,
    TensorNote,
)

BLOCK = (
    ("fp32", 0.87), ("w8a8 per-channel", 0.869), ("w8a8 per-tensor", 0.868), ("w8a8 adaptive", 0.869),
    ("w4a4 per-channel", 0.33), ("w4a4 per-tensor", 0.0), ("w4a4 adaptive", 0.81),
)  # fmt: skip
NAMES = (
    "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
    "inferior vena cava", "portal and splenic veins", "pancreas", "right adrenal gland", "left adrenal gland",
)  # fmt: skip
FALLBACK = "per-voxel would give each value its own scale"
RECEIPT_PATHS = ("encoder.0.conv", "encoder.1.attention.qkv", "decoder.0.up", "decoder.0.squeeze", "heads.1", "head")


def _target(rng: np.random.Generator, index: int, name: str, level: float) -> Target:
    if level == 0:
        return Target(index, name, Presence.LOST, 900, 0, (0.0, 0.0))
    chance = rng.random()
    if index == 4 and chance < 0.3:
        return Target(index, name, Presence.NEITHER, 0, 0, (None, None))
    if index == 4 and chance < 0.5:
        return Target(index, name, Presence.HALLUCINATED, 0, 17, (0.0, 0.0))
    score = float(np.clip(level - 0.012 * index + rng.normal(0, 0.02), 0, 1))
    return Target(index, name, Presence.BOTH, 900, 880, (score, score**1.2))


def _receipt(recipe: Recipe) -> Receipt:
    def line(i: int, path: str, kind: str, state: State, reason: str) -> Line:
        weight = TensorNote(recipe.weight_bits, "per-output-channel", 864, recipe.weight_bits + 32 / 864)
        activation = TensorNote(recipe.activation_bits, "per-channel", 4096, recipe.activation_bits + 32 / 4096)
        made = Line(path, (), kind, state, reason, 1000 * (i + 1))
        return replace(made, weight=weight, activation=activation) if state is State.QUANTIZED else made

    if recipe.is_reference:
        lines = [line(i, path, "conv 3x3x3", State.KEPT, "reference") for i, path in enumerate(RECEIPT_PATHS)]
        return Receipt(str(recipe), tuple(lines))
    lines = [line(i, path, "conv 3x3x3", State.QUANTIZED, "") for i, path in enumerate(RECEIPT_PATHS)]
    lines[0] = replace(lines[0], reads_image=True, activation=TensorNote(
        recipe.activation_bits, "per-sample", 96**3, recipe.activation_bits + 32 / 96**3, FALLBACK
    ))  # fmt: skip
    lines[3] = line(3, RECEIPT_PATHS[3], "MultiheadAttention", State.UNSUPPORTED, "uses the weights inside it")
    lines[4] = line(4, RECEIPT_PATHS[4], "conv 1x1x1", State.NEVER_RUN, "no forward has called it")
    lines[5] = line(5, RECEIPT_PATHS[5], "conv 1x1x1", State.KEPT, "keep(head)")
    return Receipt(str(recipe), tuple(lines), image=lines[0].activation)


def make_row(recipe_text: str, level: float, names: tuple[str, ...], n_cases: int, reference: Row | None) -> Row:
    """A row with random scores around a level; its interval is a made-up one, none below 6 cases."""
    recipe, rng = Recipe.parse(recipe_text), np.random.default_rng(7)
    cases = tuple(
        CaseResult(f"case_{k:03d}", (1.5, 1.5, 2.0), tuple(_target(rng, i + 1, n, level) for i, n in enumerate(names)),
                   None if recipe.is_reference else 0.07 + 0.001 * k, 1.0)
        for k in range(n_cases)
    )  # fmt: skip
    run = Run("swinunetr", "demo", "demo-btcv-phantom.safetensors", "btcv-phantom", "test", True,
              tuple(case.case for case in cases), recipe, 0, "0123456789abcdef")  # fmt: skip
    record = Record(run, ("dsc", "nsd"), cases, _receipt(recipe))
    means = (record.mean(0), record.mean(1))
    if reference is None:
        own = tuple(_own(metric, mean, n_cases) for metric, mean in zip(record.metrics, means))
        return Row(record, means, (None, None), Findings(own, _labels(names, None, own)))
    drops = tuple(100 * (r - m) / r for r, m in zip(reference.means, means))
    margin = 0.002 if recipe.weight_bits == 8 else 0.01
    judged = tuple(
        _judged(metric, mean, float_mean, n_cases, margin)
        for metric, mean, float_mean in zip(record.metrics, means, reference.means)
    )
    every = tuple(EveryLabel(j.metric, j.p_value, names if n_cases < 6 else (), j.verdict) for j in judged)
    tails = tuple(Tails(j.metric, -0.0654, names[0], j.difference, 3) for j in judged)
    return Row(record, means, drops, Findings(judged, _labels(names, 2, judged), every, tails, 17))


def _own(metric: str, mean: float, n_cases: int) -> Judgement:
    return Judgement(metric, n_cases, n_cases, mean, mean, *(None,) * 8, "reference")


def _judged(metric: str, mean: float, reference: float, n_cases: int, margin: float) -> Judgement:
    """A judgement around a difference; its interval is a made-up one, none below 6 cases."""
    difference = mean - reference
    without = Judgement(metric, n_cases, n_cases, mean, reference, difference, *(None,) * 6, margin, "inconclusive")
    if n_cases < 6:
        return without
    low, high = difference - 0.0008, difference + 0.0007
    verdict = "non-inferior" if low > -margin else "inferior" if high < -margin else "inconclusive"
    p = 0.0001 if verdict == "non-inferior" else 0.9876
    return replace(without, ci_low=low, ci_high=high, p_value=p, p_holm=min(1.0, 6 * p), p_wilcoxon=0.0312,
                   ni_bound=max(0.0, -low), verdict=verdict)  # fmt: skip


def _labels(names: tuple[str, ...], collapsed: int | None, judged: tuple[Judgement, ...]) -> tuple[LabelJudgement, ...]:
    return tuple(LabelJudgement(i, name, 1, 2, collapsed, judged) for i, name in enumerate(names, start=1))


def make_scene(names: tuple[str, ...], recipes: tuple[str, ...], shape: tuple[int, int] = (84, 108)) -> Scene:
    """Ellipses in a grey body; predictions are the reference, shifted more with every row."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    body = ((rows - shape[0] / 2) / (0.45 * shape[0])) ** 2 + ((columns - shape[1] / 2) / (0.47 * shape[1])) ** 2 < 1
    reference, rng = np.zeros(shape, np.uint8), np.random.default_rng(3)
    for index in range(1, len(names) + 1):
        angle, far = 2.4 * index, 0.07 + 0.02 * index
        row, column = shape[0] * (0.5 + far * np.sin(angle)), shape[1] * (0.5 + far * np.cos(angle))
        size = 2.5 + (index * 7) % 9
        reference[((rows - row) / size) ** 2 + ((columns - column) / (1.3 * size)) ** 2 < 1] = index
    image = np.clip(body * (0.45 + 0.03 * (reference % 5)) + rng.normal(0, 0.03, shape), 0, 1)
    shifted = [np.roll(reference, (k // 2, k), (0, 1)) if k != 5 else 0 * reference for k in range(len(recipes))]
    return Scene("case_000", "axial slice 23 of 42, seen from the feet", image, (2.9, 2.9), reference,
                 tuple(zip(recipes, shifted)))  # fmt: skip


def _make_report(
    block: tuple[tuple[str, float], ...] = BLOCK,
    names: tuple[str, ...] = NAMES,
    n_cases: int = 8,
    phantom: bool = True,
    scene: bool = True,
) -> StudyReport:
    rows: list[Row] = []
    for text, level in block:
        rows.append(make_row(text, level, names, n_cases, rows[0] if rows else None))
    return StudyReport(
        title="swinunetr (demo) on btcv-phantom",
        phantom=phantom,
        facts=(Fact("Weights", "demo-btcv-phantom.safetensors, SHA-256 0123..."), Fact("Command", "python -m ...")),
        rows=tuple(rows),
        label_names=tuple(enumerate(names, start=1)),
        tolerances="2 to 5 mm, a value a structure, as on the dataset's card.",
        intensity_unit="HU",
        intensity_per_value=425.0,
        scene=make_scene(names, tuple(text for text, _ in block)) if scene else None,
        notes=("5 structures were hallucinated.",),
    )


@pytest.fixture(scope="session")
def make_report() -> Callable[..., StudyReport]:
    return _make_report


@pytest.fixture(scope="session")
def report() -> StudyReport:
    """13 labels, 7 rows, 8 cases, a phantom, a scene."""
    return _make_report()


@pytest.fixture(scope="session")
def small() -> StudyReport:
    """2 labels, 2 rows, 8 cases, a phantom, a scene: drawn in no time."""
    return _make_report(block=BLOCK[::5], names=NAMES[:2])
