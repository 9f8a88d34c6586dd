"""How often the 95 % interval of medquanbench.stats.paired holds the true mean difference, beside BCa and Student's t.

Differences of known mean are drawn again and again. Their true mean is exactly minus the margin, so that a verdict
"non-inferior" is false, and so is "inferior". README.md beside this file says how to read the result.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from written import write

import medquanbench
from medquanbench.stats import paired

MARGIN = 0.01
SIZES = (6, 20, 100)
BCA_RESAMPLES, BCA_BATCH = 1999, 50
Samples = NDArray[np.float64]  # (replicates, n)
Interval = tuple[NDArray[np.float64], NDArray[np.float64]]  # lower and upper ends, (replicates,)


@dataclass(frozen=True)
class Differences:
    """Differences of true mean -MARGIN. ``limit``: no interval of the mean can be right here; no target is set."""

    text: str
    draw: Callable[[np.random.Generator, tuple[int, int]], Samples]
    limit: bool = False


def _rare(generator: np.random.Generator, shape: tuple[int, int], share: float, loss: Samples) -> Samples:
    return np.where(generator.random(shape) < share, -loss, 0.0)


DIFFERENCES = {
    "normal": Differences(
        "every patient loses a little more or less, normal with standard deviation 0.03",
        lambda g, shape: g.normal(-MARGIN, 0.03, shape),
    ),
    "lognormal": Differences(
        "every patient loses, few lose much: lognormal with sigma 1, skewness 6.2",
        lambda g, shape: -MARGIN * np.exp(g.normal(0, 1, shape) - 0.5),
    ),
    "mostly zero": Differences(
        "9 in 10 patients lose nothing, the tenth loses 0.1 on average, exponential",
        lambda g, shape: _rare(g, shape, 0.1, g.exponential(10 * MARGIN, shape)),
    ),
    "total losses": Differences(
        "1 in 20 patients loses 0.2, the others nothing",
        lambda g, shape: _rare(g, shape, 0.05, np.full(shape, 20 * MARGIN)),
    ),
    "hidden": Differences(
        "as mostly zero, but the 9 in 10 vary by 0.001: a sample without a loss looks like a normal one",
        lambda g, shape: _rare(g, shape, 0.1, g.exponential(10 * MARGIN, shape)) + g.normal(0, 0.001, shape),
        limit=True,
    ),
}


def ours(samples: Samples) -> Interval:
    """As the study calls it, a sample at a time."""
    found = [paired(sample, MARGIN) for sample in samples]
    return np.array([f.ci_low for f in found]), np.array([f.ci_high for f in found])


def student_t(samples: Samples) -> Interval:
    """Mean and t quantile times standard error."""
    n, mean = samples.shape[1], samples.mean(axis=1)
    half = scipy.stats.t.ppf(0.975, n - 1) * samples.std(axis=1, ddof=1) / n**0.5
    return mean - half, mean + half


def bca(samples: Samples) -> Interval:
    """scipy.stats.bootstrap, bias-corrected and accelerated. Equal differences, where it has none, are their mean."""
    ends = []
    for start in range(0, len(samples), BCA_BATCH):
        block = samples[start : start + BCA_BATCH]
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore")  # of equal differences
            found = scipy.stats.bootstrap(
                (block,), np.mean, axis=-1, n_resamples=BCA_RESAMPLES, method="BCa", vectorized=True,
                random_state=np.random.default_rng(start),
            ).confidence_interval  # fmt: skip
        mean = block.mean(axis=1)
        ends.append([np.where(np.isnan(end), mean, end) for end in (found.low, found.high)])
    low, high = np.concatenate(ends, axis=1)
    return low, high


METHODS: dict[str, Callable[[Samples], Interval]] = {"ours": ours, "BCa": bca, "Student's t": student_t}


def measure(name: str, n: int, replicates: int, seed: int) -> list[dict]:
    """A row a method: shares of replicates, and the mean width, of one distribution and sample size."""
    generator = np.random.default_rng([seed, list(DIFFERENCES).index(name), n])
    samples, true_mean, rows = DIFFERENCES[name].draw(generator, (replicates, n)), -MARGIN, []
    for method, interval in METHODS.items():
        low, high = interval(samples)
        rows.append({
            "differences": name, "n": n, "method": method,
            "coverage": float(np.mean((low <= true_mean) & (true_mean <= high))),
            "mean_width": float(np.mean(high - low)),
            "false_non_inferior": float(np.mean(low > -MARGIN)),
            "false_inferior": float(np.mean(high < -MARGIN)),
        })  # fmt: skip
    return rows


def markdown(result: dict) -> str:
    """The JSON result as a page."""
    about, versions = result["settings"], ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    lines = [
        "# Coverage of the 95 % interval",
        "",
        f"{about['replicates']} samples a cell, seed {about['seed']}, true mean exactly -{about['margin']:g} and "
        f"margin {about['margin']:g}; {versions}. The simulation error of a share near 5 % is about "
        f"{100 * (0.05 * 0.95 / about['replicates']) ** 0.5:.1f} points.",
    ]  # fmt: skip
    for name, text in result["differences"].items():
        rows = [row for row in result["rows"] if row["differences"] == name]
        lines += ["", f"## {name}: {text}", "", *_table(rows)]
    lines += ["", "## Targets", "", *(f"- {sentence}" for sentence in _targets(result["rows"]))]
    return "\n".join(lines) + "\n"


def _table(rows: list[dict]) -> list[str]:
    lines = [
        "| n | Interval | Coverage | Mean width | False non-inferior | False inferior |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = [f"{100 * row[key]:.1f} %" for key in ("coverage", "false_non_inferior", "false_inferior")]
        cells = (str(row["n"]), row["method"], shares[0], f"{row['mean_width']:.4f}", *shares[1:])
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _targets(rows: list[dict]) -> list[str]:
    """Whether the interval does what was asked of it, a sentence each."""
    own = [row for row in rows if row["method"] == "ours" and not DIFFERENCES[row["differences"]].limit]
    normal = [row["coverage"] for row in own if row["differences"] == "normal"]
    others = [row["coverage"] for row in own if row["differences"] != "normal" and row["n"] == max(SIZES)]
    false = [row["false_non_inferior"] for row in own]
    said = []
    if normal:
        said.append(f"Coverage on normal differences: {100 * min(normal):.1f} to {100 * max(normal):.1f} %; from 93 to "
                    f"97 % {_holds(0.93 <= min(normal) and max(normal) <= 0.97)}.")  # fmt: skip
    if others:
        said.append(f"Coverage on the others at n = {max(SIZES)}: at least {100 * min(others):.1f} %; 91 % "
                    f"{_holds(min(others) >= 0.91)}.")  # fmt: skip
    said.append(
        f"False non-inferior: at most {100 * max(false, default=0):.1f} %; 5 % {_holds(max(false, default=0) <= 0.05)}."
    )
    return said


def _holds(it: bool) -> str:
    return "holds" if it else "is missed"


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    rows, began = [], time.perf_counter()
    for name in DIFFERENCES:
        for n in SIZES:
            rows += measure(name, n, options.replicates, options.seed)
            told = ", ".join(f"{row['method']} {100 * row['coverage']:.1f} %" for row in rows[-len(METHODS) :])
            print(f"{name}, n = {n}: {told} ({time.perf_counter() - began:.0f} s)", flush=True)
    result = {
        "schema": 1,
        "versions": {
            "python": platform.python_version(), "medquanbench": medquanbench.__version__,
            "numpy": version("numpy"), "scipy": version("scipy"),
        },
        "settings": {"replicates": options.replicates, "seed": options.seed, "margin": MARGIN},
        "differences": {name: differences.text for name, differences in DIFFERENCES.items()},
        "rows": rows,
    }  # fmt: skip
    write(result, markdown(result), options.out)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=10_000, help="samples a cell (default: 10000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "coverage", help="less suffix")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
