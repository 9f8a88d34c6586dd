"""How long a fake-quantized forward takes against FP32 and other tools, all in one run on one machine.

Weights are random and so is the image: what is timed is arithmetic, no accuracy. One forward of each contender, then
the next round in turned order; the minimum counts, since whatever else the machine does only adds to a time.
README.md beside this file says how to read the result.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
import torch._dynamo
from contenders import CONTENDERS, DEFAULT, Contender, Ready
from machine import machine, versions
from table import markdown
from written import write

from medquanbench import shelf
from medquanbench.bundle import build_network, merged_config
from medquanbench.quant import executed_layers

SIZES = {"nnunet/totalsegmentator-organs": 128, "swinunetr/base": 96}
"""Networks by default, and the edge of their patch in voxels."""
SMALL = 64
"""Edge of the image on which layers are counted and static scales calibrated: the smallest that both networks take."""
TOOLS = ("torch", "monai", "nvidia-modelopt", "brevitas")
MATTER = ("OMP_", "KMP_", "MKL_", "MALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES", "THP_")
"""Beginnings of the environment variables that change how fast torch computes or finds memory."""


@dataclass(frozen=True)
class Row:
    """A contender and its times in seconds; none where it could not be run, with the reason."""

    contender: Contender
    quantized: int
    seconds: tuple[float, ...]
    reason: str = ""


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    chosen = _chosen(options.contenders)
    result = {"schema": 1, "machine": _machine(), "versions": versions(TOOLS), "rounds": options.rounds, "networks": []}
    for name in options.network or SIZES:
        with torch.inference_mode():
            result["networks"].append(_measure(name, options.size or SIZES.get(name, SMALL), chosen, options.rounds))
        gc.collect()
    write(result, markdown(result), options.out)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", action="append", help="BUNDLE/VARIANT; repeat. Default: " + ", ".join(SIZES))
    parser.add_argument("--size", type=int, help="edge of the cubic patch in voxels; default: the network's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: torch's own choice")
    parser.add_argument(
        "--contenders", action="append", help="name or glob; repeat. There are: " + ", ".join(CONTENDERS)
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "forward", help="less suffix")
    return parser.parse_args(arguments)


def _chosen(globs: list[str] | None) -> list[Contender]:
    wanted = globs or list(DEFAULT)
    for glob in wanted:
        if not any(fnmatchcase(name, glob) for name in CONTENDERS):
            sys.exit(f"no contender '{glob}'; there is: {', '.join(CONTENDERS)}")
    names = [name for name in CONTENDERS if name == "fp32" or any(fnmatchcase(name, glob) for glob in wanted)]
    return [CONTENDERS[name] for name in names]  # the float network is always there: ratios are against it


def _measure(name: str, size: int, contenders: list[Contender], rounds: int) -> dict:
    torch.manual_seed(0)
    bundle, _, variant = name.partition("/")
    network = build_network(merged_config(shelf.find(shelf.BUNDLES, "bundle", bundle), variant, None)).eval()
    small, image = torch.randn(1, 1, *[min(SMALL, size)] * 3), torch.randn(1, 1, size, size, size)
    layers = len(executed_layers(network, small))
    print(f"{name}, {size}^3, {layers} layers, {torch.get_num_threads()} threads", flush=True)
    # Compiled contenders share code, and torch counts how often it compiled that: nobody may fall back to eager for it.
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 64
    ready, reasons = _build(network, small, image, contenders)
    seconds = _time(ready, image, rounds)
    rows = [
        Row(
            c,
            ready[c.name].quantized if c.name in ready else 0,
            tuple(seconds.get(c.name, ())),
            reasons.get(c.name, ""),
        )
        for c in contenders
    ]
    parameters = sum(p.numel() for p in network.parameters())
    about = {"network": name, "size_voxels": size, "parameters": parameters, "layers": layers}
    return about | {"rows": [_as_json(row) for row in rows]}


def _build(
    network: torch.nn.Module, small: torch.Tensor, image: torch.Tensor, contenders: list[Contender]
) -> tuple[dict[str, Ready], dict[str, str]]:
    """What can be timed, and why the others cannot. Compiled ones last, as Brevitas forgets all that is compiled."""
    bases, ready, reasons = {}, {}, {}
    for contender in sorted(contenders, key=lambda c: c.compiled):
        began, base = time.perf_counter(), contender.name.removesuffix(" compiled")
        try:
            if base not in bases:
                bases[base] = contender.make(network, small)
            ready[contender.name] = _compiled(bases[base], image) if contender.compiled else bases[base]
        except ImportError as error:
            reasons[contender.name] = f"not installed: {error}"
        except Exception as error:  # another tool's failure is a row, not the end
            reasons[contender.name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        done = reasons.get(contender.name) or f"built in {time.perf_counter() - began:.1f} s"
        print(f"  {contender.name}: {done}", flush=True)
    return ready, reasons


def _compiled(base: Ready, image: torch.Tensor) -> Ready:
    compiled = torch.compile(base.forward)
    compiled(image)
    return Ready(compiled, base.quantized)


def _time(ready: dict[str, Ready], image: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for round_ in range(rounds):
        names = list(ready)
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            began = time.perf_counter()
            ready[name].forward(image)
            seconds[name].append(time.perf_counter() - began)
        print(f"  round {round_ + 1} of {rounds}: {', '.join(f'{s[-1]:.2f}' for s in seconds.values())} s", flush=True)
    return seconds


def _as_json(row: Row) -> dict:
    c, times = row.contender, row.seconds
    return {
        "contender": c.name, "tool": c.tool, "weights": c.weights, "activations": c.activations, "scales": c.scales,
        "like": c.like, "compiled": c.compiled, "quantized_layers": row.quantized, "seconds": list(times),
        "min_seconds": min(times, default=None), "median_seconds": statistics.median(times) if times else None,
        "reason": row.reason,
    }  # fmt: skip


def _machine() -> dict:
    settings = {key: Path(value).name for key, value in sorted(os.environ.items()) if key.startswith(MATTER)}
    capability = torch.backends.cpu.get_cpu_capability()
    return machine() | {"threads": torch.get_num_threads(), "capability": capability, "environment": settings}


if __name__ == "__main__":
    sys.exit(main())
