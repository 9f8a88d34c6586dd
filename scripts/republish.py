#!/usr/bin/env python3
"""Run again all that docs/results holds, and copy what came out there; for maintainers, after a new version.

    python scripts/republish.py --hippocampus Task04_Hippocampus [NAME ...]

Runs of eval take three quarters of an hour on two quiet cores, those of study cards some hours. Finished runs stay in
runs/, so that the same command goes on. Then: python scripts/readme_tables.py; python scripts/study_tables.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
BUNDLES = ("nnunet", "stunet", "swinunetr", "unetr", "medformer", "unest")
STUDIES = ("best", "best-3-bits", "methods")
WITH_IMAGE_AT_8_BITS = ("nnunet", "swinunetr", "unetr")
README_COMMAND = "swinunetr-w4a4-adaptive"  # what it prints is in the README


@dataclass(frozen=True)
class Command:
    """A command line of the package, and the word in front of the file that it names in its last line."""

    module: str
    arguments: list[str]
    word: str


def commands(hippocampus: Path) -> dict[str, Command]:
    """Name of a published result -> the command that makes it."""
    phantom: list[str] = []
    real = ["--dataset", "msd-hippocampus", "--data-root", str(hippocampus)]
    image_8_bits = ["--w4a4", "per-channel", "--w4a4", "adaptive", "--input-bits", "8"]
    runs = {README_COMMAND: ["--bundle", "swinunetr", "--w4a4", "adaptive"]}
    cards: dict[str, list[str]] = {}
    for ending, data in (("btcv-phantom", phantom), ("msd-hippocampus", real)):
        for bundle in BUNDLES:
            runs[f"{bundle}-{ending}"] = ["--bundle", bundle, *data]
        for study in STUDIES:
            cards |= {f"{study}-{b}-{ending}": ["--study", study, "--bundle", b, *data] for b in BUNDLES}
        for study in ("table4", "redesign"):
            cards[f"{study}-medformer-{ending}"] = ["--study", study, "--bundle", "medformer", *data]
    for bundle in WITH_IMAGE_AT_8_BITS:
        runs[f"{bundle}-msd-hippocampus-input8"] = ["--bundle", bundle, *real, *image_8_bits]
    runs["unest-wholebrain-phantom"] = ["--bundle", "unest", "--dataset", "wholebrain-phantom"]
    cards["table12-segformer3d-btcv-phantom"] = ["--study", "table12", "--bundle", "segformer3d"]
    cards["calibration-size-nnunet-msd-hippocampus"] = ["--study", "calibration-size", "--bundle", "nnunet", *real]
    return {name: Command("medquanbench.eval", arguments, "report: ") for name, arguments in runs.items()} | {
        name: Command("medquanbench.sensitivity", arguments, "study: ") for name, arguments in cards.items()
    }


def publish(name: str, command: Command) -> None:
    """Run a command, or find its runs finished, and copy what came out."""
    print(f"\n{name}", flush=True)
    line = [sys.executable, "-m", command.module, *command.arguments]
    shown = subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(shown, flush=True)
    # The last line names a file in the folder of the run.
    run = ROOT / Path(shown.rsplit(command.word, 1)[1].split()[0]).parent
    copy = [sys.executable, ROOT / "scripts" / "publish_result.py", run, RESULTS / name]
    if name == README_COMMAND:
        output = run / "output.txt"
        output.write_text(shown)
        copy += ["--output", output]
    subprocess.run(copy, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--hippocampus", type=Path, required=True, help="folder of the Decathlon's Task04")
    parser.add_argument("names", nargs="*", help="published results (default: all)")
    args = parser.parse_args()
    known = commands(args.hippocampus.resolve())
    for name in args.names or known:
        publish(name, known[name])


if __name__ == "__main__":
    main()
