"""Time and peak memory of whole evaluations of a real CT, at its own 3 mm and resampled to 0.75 mm.

    python benchmarks/large_volumes.py --data-root DIR

DIR holds the two files that datasets/totalsegmentator-samples.toml names. Each row is a command of its own (FP32 and
W4A4 adaptive of one bundle on one grid); its peak is the largest resident memory of that process. Finished rows are
kept in --out and not measured again (--again measures all). The table goes into docs/large-volumes.md, between its
markers.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
CARD = ROOT / "datasets" / "totalsegmentator-samples.toml"
PAGE = ROOT / "docs" / "large-volumes.md"
BEGIN, END = "<!-- table: large-volumes -->", "<!-- end -->"
WEIGHTS, FINER = "demo-btcv-phantom", 4


@dataclass(frozen=True)
class Row:
    """One command: bundle, grid, what it cost, and what it scored."""

    bundle: str
    shape: tuple[int, ...]
    spacing_mm: float
    float_seconds: float
    quantized_seconds: float
    command_seconds: float
    peak_mib: int
    float_dsc: float
    quantized_dsc: float
    threads: int


def refine(affine: np.ndarray, factor: int) -> np.ndarray:
    """The affine of a grid whose voxels are each cut into factor**3: the first centre moves towards the corner."""
    inner = np.diag([1 / factor] * 3 + [1])
    inner[:3, 3] = (1 / factor - 1) / 2
    return affine @ inner


def make_finer(source: Path, target: Path, factor: int) -> None:
    """Write the card's case on a finer grid under the same names: the image linearly, the labels by nearest voxel."""
    (pair,) = tomllib.loads(CARD.read_text())["pairs"]
    target.mkdir(parents=True, exist_ok=True)
    image, label = (nibabel.load(source / pair[part]) for part in ("image", "label"))
    affine = refine(image.affine, factor)
    grey = np.asarray(image.dataobj, dtype=np.float32)
    grey = ndimage.zoom(grey, factor, order=1, mode="nearest", grid_mode=True)
    nibabel.save(nibabel.Nifti1Image(np.rint(grey).astype(np.int16), affine), target / pair["image"])
    labels = np.asarray(label.dataobj)
    for axis in range(3):
        labels = labels.repeat(factor, axis)
    nibabel.save(nibabel.Nifti1Image(labels, affine), target / pair["label"])


def measure(bundle: str, data: Path, out: Path) -> Row:
    """Run one command in an empty folder and see what it took."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "medquanbench.eval", "--bundle", bundle, "--weights", WEIGHTS, "--dataset",
               CARD, "--data-root", data, "--w4a4", "adaptive", "--out", out, "--save-predictions"]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with code {process.returncode}")
    record = json.loads((out / "record.json").read_text())
    with open(out / "results.csv", newline="") as handle:
        dsc = [float(row["dsc"]) for row in csv.DictReader(handle)]
    times = [sum(cases.values()) for cases in record["times"].values()]
    (pair,) = tomllib.loads(CARD.read_text())["pairs"]
    image = nibabel.load(data / pair["image"])
    spacing_mm = float(image.header.get_zooms()[0])
    return Row(
        bundle, image.shape, spacing_mm, *times, seconds, usage.ru_maxrss // 1024, *dsc, record["host"]["threads"]
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| Bundle | Grid | FP32, s | W4A4 adaptive, s | whole command, s | Peak memory, GiB | DSC, FP32 | DSC, W4A4 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        grid = f"{' x '.join(map(str, row.shape))}, {row.spacing_mm:g} mm"
        seconds = " | ".join(f"{s:.0f}" for s in (row.float_seconds, row.quantized_seconds, row.command_seconds))
        lines.append(f"| {row.bundle} | {grid} | {seconds} | {row.peak_mib / 1024:.2f} | {row.float_dsc:.3f} | "
                     f"{row.quantized_dsc:.3f} |")  # fmt: skip
    threads = ", ".join(sorted({str(row.threads) for row in rows}))
    return "\n".join(lines) + f"\n\nThreads: {threads}. Seconds are of one case: image, network, labels back, scores.\n"


def into_page(text: str) -> None:
    """Put the table between the markers of the page."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN, 1)
    PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, type=Path, help="folder of the CT and its labels")
    parser.add_argument("--bundles", nargs="+", default=["swinunetr", "nnunet", "unetr"])
    parser.add_argument("--out", type=Path, default=Path("runs/large-volumes"), help="folder of rows and runs")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    args = parser.parse_args()
    out, rows = args.out.resolve(), []
    data = {"3mm": args.data_root.resolve(), "0.75mm": out / "data-0.75mm"}
    if not data["0.75mm"].is_dir():
        make_finer(data["3mm"], data["0.75mm"], FINER)
    for bundle in args.bundles:
        for grid, folder in data.items():
            kept = out / f"{bundle}-{grid}.json"
            if args.again or not kept.is_file():
                row = measure(bundle, folder, out / f"{bundle}-{grid}")
                kept.write_text(json.dumps(asdict(row)))
            row = json.loads(kept.read_text())
            rows.append(Row(**{**row, "shape": tuple(row["shape"])}))
    print(table(rows))
    into_page(table(rows))


if __name__ == "__main__":
    main()
