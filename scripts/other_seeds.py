#!/usr/bin/env python3
"""Train the demo networks from another random seed, run the study `seeds` on them, and publish it; for maintainers.

    python scripts/other_seeds.py --hippocampus Task04_Hippocampus --seed 1 [BUNDLE ...]

About twenty-five minutes a network on one quiet core. Each is trained as its shipped weights were, but for SHARE of
their time. The weights stay in runs/seed-N; their cards and the studies go to docs/results/seed-N. The same command
goes on where it stopped. Then: python scripts/study_tables.py
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from republish import BUNDLES, RESULTS, ROOT, Command, publish

SHARE = 0.4
DATASET, WEIGHTS = "msd-hippocampus", "demo-msd-hippocampus"


def training(bundle: str, seed: int, hippocampus: Path, out: Path) -> list[str | Path]:
    """The command that trains a network as the shipped one was, in SHARE of the time."""
    card = json.loads((ROOT / "bundles" / bundle / "models" / f"{WEIGHTS}.json").read_text())
    told = [*card.get("trainings_before", []), card["training"]]
    settings = {"--minutes": SHARE * sum(one["minutes"] for one in told)}
    settings |= {f"--{name}": told[-1][name] for name in ("batch", "rate")}
    return [
        sys.executable, ROOT / "scripts" / "train_demo.py", "--bundle", bundle, "--seed", str(seed), "--fresh",
        "--dataset", DATASET, "--data-root", hippocampus, "--out", out,
        *(str(word) for pair in settings.items() for word in pair),
    ]  # fmt: skip


def study(bundle: str, hippocampus: Path, weights: Path) -> Command:
    """The command that searches for recipes and evaluates them."""
    on = ["--dataset", DATASET, "--data-root", str(hippocampus), "--weights", str(weights)]
    return Command("medquanbench.sensitivity", ["--study", "seeds", "--bundle", bundle, *on], "study: ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--hippocampus", type=Path, required=True, help="folder of the Decathlon's Task04")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("bundles", nargs="*", help=f"default: {' '.join(BUNDLES)}")
    args = parser.parse_args()
    data, seed = args.hippocampus.resolve(), f"seed-{args.seed}"
    for bundle in args.bundles or BUNDLES:
        weights = ROOT / "runs" / seed / bundle / f"{WEIGHTS}.safetensors"
        card = weights.with_suffix(".json")  # written last
        if not card.is_file():
            subprocess.run(training(bundle, args.seed, data, weights.parent), cwd=ROOT, check=True)
        publish(f"{seed}/seeds-{bundle}-{DATASET}", study(bundle, data, weights))
        cards = RESULTS / seed / "weights"
        cards.mkdir(exist_ok=True)
        shutil.copyfile(card, cards / f"{bundle}.json")


if __name__ == "__main__":
    main()
