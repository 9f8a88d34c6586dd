"""Time and peak memory of quantizing whole full-size networks, with each transform and each method in turn.

    python benchmarks/fullsize.py --threads 2

One window of random values is the calibration, and weights are random: what is measured is work, no accuracy. Each row
is a process of its own, which first runs the float network on that window once. Finished rows are kept in --out and not
measured again (--again measures all). README.md beside this file says how to read the result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from machine import Peak, environment, machine, resident_mb, versions
from written import write

from medquanbench import shelf
from medquanbench.bundle import build_network, merged_config
from medquanbench.quant import METHODS, TRANSFORMS, needs_calibration, quantize
from medquanbench.values import Recipe

NETWORKS = {"nnunet/totalsegmentator-organs": 128, "swinunetr/base": 96}
"""Networks by default, and the edge of their window in voxels."""
TOOLS = ("torch", "monai")
TARGET_S, TARGET_MB, TARGET = 300, 2000, "smooth+branches+clip+gptq"
TOGETHER = ("clip+gptq", "gptq+bias", "gptq+descend", TARGET)
DYNAMIC = ("asymmetric",)
"""Transforms that change nothing where scales are static."""


@dataclass(frozen=True)
class Row:
    """One recipe on one network; memory in units of 10^6 bytes, of the whole process.

    Attributes:
        start_mb: resident before anything ran: Python, its libraries, and the float network.
        forward_seconds, forward_peak_mb: of one plain forward of the float network.
        seconds, cpu_seconds, peak_mb: of ``quantize``; processor time is that of all threads.
        reason: why there are no numbers, else empty.
    """

    network: str
    recipe: str
    size_voxels: int
    threads: int
    start_mb: float = 0.0
    forward_seconds: float = 0.0
    forward_peak_mb: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    reason: str = ""

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.network, self.recipe, self.size_voxels, self.threads


def recipes() -> list[str]:
    """Rounding to nearest, every transform and method by itself, and some of them together."""
    alone = ["", *TRANSFORMS, *METHODS]
    policy = {term: "per-tensor" if term in DYNAMIC else "engine" for term in alone}
    texts = [f"w4a4 {policy.get(term, 'engine')} {term}".strip() for term in (*alone, *TOGETHER)]
    return [f"{text} calib(1)" if needs_calibration(Recipe.parse(text)) else text for text in texts]


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if options.measure:
        print(json.dumps(asdict(measure(options.network[0], options.recipe[0], options.size, options.threads))))
        return 0
    rows = {} if options.again else _finished(options.out)
    for name in options.network or NETWORKS:
        size = options.size or NETWORKS.get(name, 64)
        for recipe in options.recipe or recipes():
            wanted = Row(name, recipe, size, options.threads)
            if wanted.key not in rows:
                print(f"{name} {recipe} ...", end=" ", flush=True)
                rows[wanted.key] = _in_a_process(wanted, options.timeout)
                row = rows[wanted.key]
                print(row.reason or f"{row.seconds:.1f} s, peak {row.peak_mb:.0f} MB", flush=True)
                _write(rows, options.out, show=False)
    _write(rows, options.out, show=True)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", action="append", help="BUNDLE/VARIANT; repeat. Default: " + ", ".join(NETWORKS))
    parser.add_argument("--recipe", action="append", help="repeat. Default: " + "; ".join(recipes()))
    parser.add_argument("--size", type=int, help="edge of the window in voxels; default: the network's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one row")
    parser.add_argument("--again", action="store_true", help="measure finished rows again")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fullsize", help="less suffix")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _finished(out: Path) -> dict[tuple[str, str, int, int], Row]:
    """Rows of an earlier run that were measured; what failed is tried again."""
    file = out.with_suffix(".json")
    found = [Row(**row) for row in json.loads(file.read_text())["rows"]] if file.exists() else []
    return {row.key: row for row in found if not row.reason}


def _in_a_process(wanted: Row, timeout: float) -> Row:
    command = [sys.executable, __file__, "--measure", "--network", wanted.network, "--recipe", wanted.recipe,
               "--size", str(wanted.size_voxels), "--threads", str(wanted.threads)]  # fmt: skip
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return Row(*wanted.key, reason=f"not done after {timeout:.0f} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return Row(*wanted.key, reason=last[:200])
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def measure(name: str, recipe: str, size: int, threads: int) -> Row:
    """Quantize a network in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    bundle, _, variant = name.partition("/")
    network = build_network(merged_config(shelf.find(shelf.BUNDLES, "bundle", bundle), variant, None)).eval()
    image, asked = torch.randn(1, 1, size, size, size), Recipe.parse(recipe)
    start = resident_mb()
    with Peak() as forward, torch.inference_mode():
        began = time.perf_counter()
        network(image)
        forward_seconds = time.perf_counter() - began
    with Peak() as whole:
        began, cpu_began = time.perf_counter(), time.process_time()
        quantize(network, asked, [image] if needs_calibration(asked) else None)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Row(name, recipe, size, threads, start, forward_seconds, forward.mb, seconds, cpu_seconds, whole.mb)


def _write(rows: dict[tuple[str, str, int, int], Row], out: Path, show: bool) -> None:
    about = machine() | {"capability": torch.backends.cpu.get_cpu_capability()}
    found = [asdict(row) for row in rows.values()]
    result = {"schema": 1, "machine": about, "versions": versions(TOOLS), "rows": found}
    write(result, markdown(result), out, show)


def markdown(result: dict) -> str:
    """The JSON result as a page."""
    about, tools = result["machine"], ", ".join(f"{tool} {number}" for tool, number in result["versions"].items())
    lines = [
        "# Quantizing whole full-size networks",
        "",
        f"{about['cpu']}, {about['cores']} cores, {about['capability']}; {tools}. Random weights, one random window as "
        "calibration; each row a process of its own. Peak: largest resident memory of the process in MB of 10^6 bytes; "
        "above start: less Python, libraries and the float network; above forward: less the peak of one plain forward "
        "of the float network on that window.",
    ]
    rows = [Row(**row) for row in result["rows"]]
    for about in dict.fromkeys((row.network, row.size_voxels, row.threads) for row in rows):
        lines += ["", *_section([row for row in rows if (row.network, row.size_voxels, row.threads) == about])]
    return "\n".join(lines) + "\n"


def _section(rows: list[Row]) -> list[str]:
    first, done = rows[0], [row for row in rows if not row.reason]
    edge = " x ".join([str(first.size_voxels)] * 3)
    lines = [f"## {first.network}, {edge}, {first.threads} thread{'s' if first.threads > 1 else ''}", ""]
    if done:
        forward, start = min(row.forward_seconds for row in done), min(row.start_mb for row in done)
        peak = max(row.forward_peak_mb for row in done)
        lines += [f"One plain forward: {forward:.1f} s, peak {peak:.0f} MB, of which {start:.0f} MB at the start.", ""]
    lines += ["| Recipe | s | CPU s | peak MB | above start | above forward |", "|---" * 6 + "|"]
    for row in rows:
        if row.reason:
            lines.append(f"| {row.recipe} | - | - | - | - | {row.reason.replace('|', '/')} |")
            continue
        lines.append(
            f"| {row.recipe} | {row.seconds:.1f} | {row.cpu_seconds:.1f} | {row.peak_mb:.0f} | "
            f"{row.peak_mb - row.start_mb:.0f} | {row.peak_mb - row.forward_peak_mb:.0f} |"
        )
    for row in done:
        if f" {TARGET} " in row.recipe:
            lines += ["", f"The target of {TARGET}: {_holds(row)}."]
    return lines


def _holds(row: Row) -> str:
    words = ["is missed", "holds"]
    time_, memory = words[row.seconds < TARGET_S], words[row.peak_mb - row.start_mb < TARGET_MB]
    return f"less than {TARGET_S} s {time_}, less than {TARGET_MB} MB above start {memory}"


if __name__ == "__main__":
    sys.exit(main())
