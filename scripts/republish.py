#!/usr/bin/env python3
"""Run again all that docs/results holds, and copy what came out there; for maintainers, after a new version.

    python scripts/republish.py --hippocampus Task04_Hippocampus [NAME ...]

Three quarters of an hour on two quiet cores. Finished runs stay in runs/, so that the same command goes on. Then:
python scripts/readme_tables.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
BUNDLES = ("nnunet", "stunet", "swinunetr", "unetr", "medformer", "unest")
WITH_IMAGE_AT_8_BITS = ("nnunet", "swinunetr", "unetr")
README_COMMAND = "swinunetr-w4a4-adaptive"  # what it prints is in the README


def studies(hippocampus: Path) -> dict[str, list[str]]:
    """Name of a published study -> arguments of its eval command."""
    real = ["--dataset", "msd-hippocampus", "--data-root", str(hippocampus)]
    image_8_bits = ["--w4a4", "per-channel", "--w4a4", "adaptive", "--input-bits", "8"]
    found = {README_COMMAND: ["--bundle", "swinunetr", "--w4a4", "adaptive"]}
    for bundle in BUNDLES:
        found[f"{bundle}-btcv-phantom"] = ["--bundle", bundle]
        found[f"{bundle}-msd-hippocampus"] = ["--bundle", bundle, *real]
    for bundle in WITH_IMAGE_AT_8_BITS:
        found[f"{bundle}-msd-hippocampus-input8"] = ["--bundle", bundle, *real, *image_8_bits]
    found["unest-wholebrain-phantom"] = ["--bundle", "unest", "--dataset", "wholebrain-phantom"]
    return found


def publish(name: str, arguments: list[str]) -> None:
    """Run a study, or find it finished, and copy what came out."""
    print(f"\n{name}", flush=True)
    command = [sys.executable, "-m", "medquanbench.eval", *arguments]
    shown = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(shown, flush=True)
    # The last line names the report, which lies in the run's folder.
    run = ROOT / Path(shown.split("report: ")[1].split()[0]).parent
    copy = [sys.executable, ROOT / "scripts" / "publish_result.py", run, RESULTS / name]
    if name == README_COMMAND:
        output = run / "output.txt"
        output.write_text(shown)
        copy += ["--output", output]
    subprocess.run(copy, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--hippocampus", type=Path, required=True, help="folder of the Decathlon's Task04")
    parser.add_argument("names", nargs="*", help="published studies (default: all)")
    args = parser.parse_args()
    known = studies(args.hippocampus.resolve())
    for name in args.names or known:
        publish(name, known[name])


if __name__ == "__main__":
    main()
