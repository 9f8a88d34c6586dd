"""Time and memory of GPTQ on one 3D convolution, from its input to its weight at 4 bits: ours and Brevitas' in turn.

Each measurement is a process of its own, so that its peak memory is its own. README.md beside this file says how to
read the result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from machine import Peak, environment, machine, resident_mb, versions
from torch import nn
from written import write

from medquanbench.quant.gram import LARGEST_BLOCK, Gram
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.kind import Convolution
from medquanbench.quant.rounding import descend, gptq, nearest, searched_scale
from medquanbench.quant.taps import Geometry

BITS = 4
LAYERS = ("32,32,64", "320,320,8")
"""Inputs, outputs and edge of the map in voxels; the kernel is 3 x 3 x 3, padded by one."""
TARGET_MB, TARGET_LAYER = 300, "32,32,64"
TOOLS = ("torch", "brevitas")
SAME = Geometry((1,) * 3, (1,) * 3, (1,) * 3, (1,) * 3)


@dataclass(frozen=True)
class Measured:
    """One contender on one layer.

    Attributes:
        above_start_mb: peak resident memory less that before the work began, in units of 10^6 bytes.
        error: squared error of the layer's output on another input, over that of rounding to nearest with max|w| / 7
            as the scale.
        reason: why it could not be run, else empty.
    """

    contender: str
    layer: str
    seconds: float | None = None
    above_start_mb: float | None = None
    error: float | None = None
    reason: str = ""


def ours(
    layer: nn.Conv3d, x: torch.Tensor, search: bool = False, sweeps: int = 0, largest: int = LARGEST_BLOCK
) -> torch.Tensor:
    kind = Convolution(layer.in_channels, layer.out_channels, layer.kernel_size)
    gram, grid, rows = Gram(kind, SAME, largest), IntegerGrid(BITS), layer.weight.detach().flatten(1)[None]
    gram.add(x)
    scale = rows.abs().amax(-1, keepdim=True) / grid.largest
    if search:
        scale = searched_scale(rows, gram, scale, grid)
    found = torch.empty_like(rows)
    for block in gram.blocks():
        part = rows[..., block.columns]
        rounded = gptq(part, block.gram, scale, grid)
        if sweeps:
            rounded = descend(part, rounded, block.gram, scale, grid, sweeps=sweeps)
        found[..., block.columns] = rounded
    return found.reshape(layer.weight.shape)


def brevitas(layer: nn.Conv3d, x: torch.Tensor) -> torch.Tensor:
    from brevitas import nn as qnn
    from brevitas.graph.gptq import gptq_mode
    from brevitas.quant.scaled_int import Int8WeightPerChannelFloat

    held = qnn.QuantConv3d(
        layer.in_channels, layer.out_channels, layer.kernel_size, padding=1, bias=False,
        weight_quant=Int8WeightPerChannelFloat, weight_bit_width=BITS, input_quant=None,
        # Its default takes the scale of each column that GPTQ asks for from that column alone, which is lossless and
        # changes nothing.
        weight_scaling_impl_type="parameter_from_stats",
    )  # fmt: skip
    held.weight.data = layer.weight.detach().clone()
    network = nn.Sequential(held).eval()
    held.quant_weight()  # which finds the scales
    with torch.no_grad(), gptq_mode(network, act_order=True, create_weight_orig=False) as mode:
        for _ in range(mode.num_layers):
            mode.model(x)
            mode.update()
    return held.quant_weight().value.detach()


CONTENDERS: dict[str, Callable[[nn.Conv3d, torch.Tensor], torch.Tensor]] = {
    "ours: GPTQ": ours,
    "ours: GPTQ, H whole": lambda layer, x: ours(layer, x, largest=10**6),
    "ours: GPTQ, descent": lambda layer, x: ours(layer, x, sweeps=3),
    "ours: searched scales, GPTQ, descent": lambda layer, x: ours(layer, x, search=True, sweeps=3),
    "Brevitas: GPTQ": brevitas,
}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if options.measure:
        print(json.dumps(asdict(measure(options.measure, options.layer[0], options.threads))))
        return 0
    rows = []
    for layer in options.layer or LAYERS:
        for contender in CONTENDERS:
            print(f"{layer}: {contender} ...", end=" ", flush=True)
            rows.append(_in_a_process(contender, layer, options))
            row = rows[-1]
            print(row.reason or f"{row.seconds:.2f} s, {row.above_start_mb:.0f} MB", flush=True)
    about = machine() | {"threads": options.threads, "capability": torch.backends.cpu.get_cpu_capability()}
    result = {"schema": 1, "machine": about, "versions": versions(TOOLS), "bits": BITS, "rounds": options.rounds,
              "rows": [asdict(row) for row in rows]}  # fmt: skip
    write(result, markdown(result), options.out)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layer", action="append", help="INPUTS,OUTPUTS,EDGE; repeat. Default: " + " ".join(LAYERS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="processes of each contender; the fastest one counts")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one process")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gptq", help="less suffix")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _in_a_process(contender: str, layer: str, options: argparse.Namespace) -> Measured:
    command = [sys.executable, __file__, "--measure", contender, "--layer", layer, "--threads", str(options.threads)]
    found = []
    for _ in range(options.rounds):
        try:
            done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=options.timeout)
        except subprocess.TimeoutExpired:
            return Measured(contender, layer, reason=f"not done after {options.timeout:.0f} s")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
            return Measured(contender, layer, reason=last[:200])
        found.append(Measured(**json.loads(done.stdout.splitlines()[-1])))
    return min(found, key=lambda row: row.seconds)


def measure(contender: str, layer: str, threads: int) -> Measured:
    """Run one contender in this process, after a small layer for which everything is loaded and made."""
    torch.set_num_threads(threads)
    CONTENDERS[contender](*_problem("4,4,6")[:2])
    module, x, unseen = _problem(layer)
    before, began = resident_mb(), time.perf_counter()
    with Peak() as peak:
        found = CONTENDERS[contender](module, x)
    seconds = time.perf_counter() - began
    return Measured(contender, layer, seconds, peak.mb - before, _error(module, found, unseen))


def _problem(layer: str) -> tuple[nn.Conv3d, torch.Tensor, torch.Tensor]:
    """A convolution with random weights and two inputs: one-sided, smooth, their channels depending on each other."""
    inputs, outputs, edge = map(int, layer.split(","))
    torch.manual_seed(0)
    module = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
    mixed = torch.randn(inputs, inputs) @ torch.diag(torch.logspace(0, -2, inputs))
    noise = nn.functional.avg_pool3d(torch.randn(2, inputs, *[edge + 2] * 3), 3, 1)
    first, second = torch.einsum("ij,njdhw->nidhw", mixed, noise).relu().split(1)
    return module, first.clone(), second.clone()


@torch.no_grad()
def _error(layer: nn.Conv3d, found: torch.Tensor, x: torch.Tensor) -> float:
    weight = layer.weight
    grid = IntegerGrid(BITS)
    scale = weight.abs().amax((1, 2, 3, 4), keepdim=True) / grid.largest
    changes = (found - weight, nearest(weight, scale, grid) - weight)
    error, plain = (nn.functional.conv3d(x, change, padding=1).double().square().sum() for change in changes)
    return float(error / plain)


def markdown(result: dict) -> str:
    """The JSON result as a page."""
    about, tools = result["machine"], ", ".join(f"{tool} {number}" for tool, number in result["versions"].items())
    lines = [
        "# GPTQ of one 3 x 3 x 3 convolution: medquanbench, Brevitas",
        "",
        f"{about['cpu']}, {about['threads']} threads, {about['capability']}; {tools}. INT{result['bits']} per "
        f"output channel, one input of batch 1, random weights and a smooth random input; the fastest of "
        f"{result['rounds']} processes each. `/ ours`: over the first row of the same table. Error: of the layer's "
        "output on another input, in the square, over that of rounding to nearest.",
    ]
    layers = dict.fromkeys(row["layer"] for row in result["rows"])
    for layer in layers:
        lines += ["", *_section(layer, [row for row in result["rows"] if row["layer"] == layer])]
    return "\n".join(lines) + "\n"


def _section(layer: str, rows: list[dict]) -> list[str]:
    inputs, outputs, edge = layer.split(",")
    first = rows[0]
    lines = [
        f"## {inputs} to {outputs} channels, {edge} x {edge} x {edge} voxels",
        "",
        "| Contender | s | / ours | peak MB above start | / ours | error |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        if row["reason"] or first["reason"]:
            lines.append(f"| {row['contender']} | - | - | - | - | {row['reason'].replace('|', '/') or '-'} |")
            continue
        ratios = (row[key] / max(first[key], 1e-9) for key in ("seconds", "above_start_mb"))
        time_ratio, memory_ratio = (f"{ratio:.1f}" for ratio in ratios)
        lines.append(
            f"| {row['contender']} | {row['seconds']:.2f} | {time_ratio} | {row['above_start_mb']:.0f} | "
            f"{memory_ratio} | {row['error']:.3f} |"
        )
    if layer == TARGET_LAYER and not first["reason"]:
        holds = "holds" if first["above_start_mb"] < TARGET_MB else "is missed"
        lines += ["", f"The target of less than {TARGET_MB} MB for GPTQ {holds}."]
    return lines


if __name__ == "__main__":
    sys.exit(main())
