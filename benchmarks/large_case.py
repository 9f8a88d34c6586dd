"""Memory of one whole-body case: 512 x 512 x 400 voxels, 118 outputs, windows of 128^3 that overlap by half.

    python benchmarks/large_case.py [--threads N]

The network is a stand-in: cheap, the same on every machine, with an answer that depends on where its window lies, so
that what is measured is the blending. First the large case, whose peak is the largest resident memory of this process
up to then; then the same code beside MONAI's sliding_window_inference + argmax: the time on a middle volume, and every
bit of the blended logits on small ones. README.md beside this file says how to read the result.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from machine import machine
from monai.inferers import sliding_window_inference

from medquanbench.bundle_config import Window
from medquanbench.images import Grid
from medquanbench.infer import Volume, predict
from medquanbench.sliding import Index
from medquanbench.spill import Store

OVERLAP, MODE = 0.5, "gaussian"
RSS_BYTES = 1 if sys.platform == "darwin" else 1024
"""What one unit of ru_maxrss is worth."""


@dataclass(frozen=True)
class Shape:
    """What is asked: a volume, the edge of a window, how many classes; all cases overlap by half, Gaussian."""

    voxels: Index
    window: int
    classes: int

    @property
    def logits_bytes(self) -> int:
        """What the blended logits of the whole volume take."""
        return 4 * self.classes * int(np.prod(self.voxels))


@dataclass(frozen=True)
class Large:
    """The large case. Bytes put aside: the most at a time in all, of that in memory, and all that was ever written."""

    shape: Shape
    seconds: float
    network_seconds: float
    peak_bytes: int
    before_bytes: int
    logits_bytes: int
    most_bytes: int
    most_held_bytes: int
    spilled_bytes: int
    classes_found: int


@dataclass(frozen=True)
class Beside:
    """Seconds of the processor, all threads: this package and MONAI, and the part of each that the network took."""

    shape: Shape
    ours_seconds: float
    ours_network_seconds: float
    monai_seconds: float
    monai_network_seconds: float
    labels_differ: int


@dataclass(frozen=True)
class Equal:
    """Voxels whose label, and logits of which a bit, is not MONAI's."""

    shape: Shape
    budget_bytes: int
    spilled_bytes: int
    labels_differ: int
    logits_differ: int
    logits: int


class StandIn:
    """Class c wins where a smoothed voxel is nearest to the c-th of evenly spaced levels, by the lines 2 a x - a^2.

    Smoothing sees zeros beyond the window, and the window's mean is added: overlapping windows disagree, as a real
    network's do.
    """

    def __init__(self, classes: int, windows: int = 0) -> None:
        self.level = torch.linspace(-2, 2, classes).view(-1, 1, 1, 1, 1)
        self.bias = -(self.level.flatten() ** 2)
        self.windows, self.seen = windows, 0
        self.wall_seconds = self.processor_seconds = 0.0

    def __call__(self, window: torch.Tensor) -> torch.Tensor:
        wall, processor = time.perf_counter(), time.process_time()
        smooth = torch.nn.functional.avg_pool3d(window, 3, 1, 1) + 0.3 * window.mean()
        answer = torch.nn.functional.conv3d(smooth, 2 * self.level, self.bias)
        self.wall_seconds += time.perf_counter() - wall
        self.processor_seconds += time.process_time() - processor
        self.seen += 1
        if self.windows and self.seen % 10 == 0:
            print(f"  window {self.seen} of {self.windows}", file=sys.stderr, flush=True)
        return answer


def volume_of(voxels: Index) -> Volume:
    """Slow waves along each axis, from -2 to 2, and noise."""
    tensor = torch.rand((1, *voxels), generator=torch.Generator().manual_seed(0)).sub_(0.5).mul_(0.4)
    for axis, size in enumerate(voxels):
        wave = torch.sin(torch.arange(size) * (2 * torch.pi / (37 + 20 * axis))) * (0.9 - 0.2 * axis)
        tensor += wave.view([-1 if other == axis else 1 for other in range(3)])
    return Volume(tensor, Grid(voxels, np.eye(4)))


def window_of(shape: Shape) -> Window:
    return Window((shape.window,) * 3, OVERLAP, MODE, 1)


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_BYTES


def measure_large(shape: Shape) -> Large:
    """Label the large volume; nothing else big may have been in this process before."""
    step = max(shape.window // 2, 1)
    windows = int(np.prod([-(-max(size - shape.window, 0) // step) + 1 for size in shape.voxels]))
    network, volume, store = StandIn(shape.classes, windows), volume_of(shape.voxels), Store()
    before, began = peak_bytes(), time.perf_counter()
    labels = predict(network, volume, window_of(shape), store=store)
    seconds = time.perf_counter() - began
    return Large(
        shape, seconds, network.wall_seconds, peak_bytes(), before, shape.logits_bytes,
        store.most_bytes, store.most_held_bytes, store.spilled_bytes, len(np.unique(labels)),
    )  # fmt: skip


def monai(network: Callable, volume: Volume, window: Window) -> torch.Tensor:
    """Blended logits (class, x, y, z) of the whole volume; windows contiguous, as a mean of others rounds otherwise."""
    with torch.inference_mode():
        return sliding_window_inference(
            volume.tensor[None], window.size, 1, lambda view: network(view.contiguous()),
            overlap=window.overlap, mode=window.mode,
        )[0]  # fmt: skip


def measure_beside(shape: Shape, rounds: int) -> Beside:
    """The least processor time of some rounds in turn; MONAI's with argmax and a look for NaN, plane by plane."""
    volume, times = volume_of(shape.voxels), {"ours": [], "monai": []}
    for _ in range(rounds):
        network, began = StandIn(shape.classes), time.process_time()
        ours = predict(network, volume, window_of(shape))
        times["ours"].append((time.process_time() - began, network.processor_seconds))
        network, began = StandIn(shape.classes), time.process_time()
        logits, theirs = monai(network, volume, window_of(shape)), np.empty(shape.voxels, np.uint16)
        for x, plane in enumerate(logits.unbind(dim=1)):
            if not torch.isfinite(plane).all():
                raise SystemExit("NaN or infinity")
            theirs[x] = plane.argmax(dim=0).numpy()
        times["monai"].append((time.process_time() - began, network.processor_seconds))
        del logits
    best = [min(each, key=lambda pair: pair[0] - pair[1]) for each in times.values()]
    return Beside(shape, *best[0], *best[1], int((ours != theirs).sum()))


def measure_equal(shape: Shape, budget_bytes: int) -> Equal:
    """Compare labels, and all bits of the logits, with MONAI's."""
    volume, store, differ, seen = volume_of(shape.voxels), Store(budget_bytes), 0, 0
    theirs = monai(StandIn(shape.classes), volume, window_of(shape))

    def watch(first: Index, logits: torch.Tensor) -> None:
        nonlocal differ, seen
        box = tuple(slice(low, low + size) for low, size in zip(first, logits.shape[1:], strict=True))
        same = logits.contiguous().view(torch.int32) == theirs[:, *box].contiguous().view(torch.int32)
        differ, seen = differ + int((~same).sum()), seen + same.numel()

    ours = predict(StandIn(shape.classes), volume, window_of(shape), watch=watch, store=store)
    labels_differ = int((ours != theirs.argmax(dim=0).numpy()).sum())
    return Equal(shape, budget_bytes, store.spilled_bytes, labels_differ, differ, seen)


def markdown(result: dict) -> str:
    """The JSON result as a page."""
    large, beside, equal, machine = (result[part] for part in ("large", "beside", "equal", "machine"))
    lines = [
        "# One large case: bounded memory of the sliding window",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['system']}; torch "
        f"{machine['torch']}, monai {machine['monai']}. Stand-in network, overlap {OVERLAP}, {MODE}.",
        "",
        f"| {_size(large['shape'])} | |",
        "|---|---|",
        f"| Logits of the whole volume, as MONAI's would be (computed) | {_gb(large['logits_bytes'])} |",
        f"| Peak resident memory of the process | {_gb(large['peak_bytes'])} |",
        f"| of that, before the first window (image, Python, torch) | {_gb(large['before_bytes'])} |",
        f"| Logits put aside at a time, at most | {_gb(large['most_bytes'])} |",
        f"| of these in memory, at most | {_gb(large['most_held_bytes'])} |",
        f"| Written to the temporary file, in all | {_gb(large['spilled_bytes'])} |",
        f"| Time, s | {large['seconds']:.0f} |",
        f"| of that in the stand-in network, s | {large['network_seconds']:.0f} |",
        f"| Classes in the answer | {large['classes_found']} |",
        "",
        f"Processor time, s, {_size(beside['shape'])}; labels that differ: {beside['labels_differ']}",
        "",
        "| | all | network | all but the network |",
        "|---|---|---|---|",
        *(_times(name, beside[f"{part}_seconds"], beside[f"{part}_network_seconds"])
          for name, part in (("this package", "ours"), ("MONAI + argmax", "monai"))),
        "",
        "| Equality with MONAI | Budget | Spilled | Labels that differ | Logits with a bit that differs | of |",
        "|---|---|---|---|---|---|",
        *(f"| {_size(row['shape'])} | {_gb(row['budget_bytes'])} | {_gb(row['spilled_bytes'])} | "
          f"{row['labels_differ']} | {row['logits_differ']} | {row['logits']} |" for row in equal),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _size(shape: dict) -> str:
    return f"{' x '.join(map(str, shape['voxels']))}, {shape['classes']} classes, windows of {shape['window']}^3"


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def _times(name: str, seconds: float, network: float) -> str:
    return f"| {name} | {seconds:.1f} | {network:.1f} | {seconds - network:.1f} |"


def _machine() -> dict:
    return machine() | {"threads": torch.get_num_threads(), "torch": version("torch"), "monai": version("monai")}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    volume = {"nargs": 3, "type": int, "metavar": ("X", "Y", "Z")}
    parser.add_argument("--large", **volume, default=(512, 512, 400), help="voxels of the large case")
    parser.add_argument("--beside", **volume, default=(256, 256, 200), help="of the one that is timed beside MONAI")
    parser.add_argument("--equal", **volume, default=(72, 100, 160), help="of the ones compared bit for bit")
    parser.add_argument("--windows", nargs=3, type=int, default=(128, 96, 48), help="edges, for these three")
    parser.add_argument("--classes", type=int, default=118)
    parser.add_argument("--rounds", type=int, default=1, help="of the one that is timed")
    parser.add_argument("--threads", type=int, help="default: torch's own choice")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "large_case", help="less suffix"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    volumes = map(tuple, (options.large, options.beside, options.equal))
    large, beside, equal = (Shape(*both, options.classes) for both in zip(volumes, options.windows, strict=True))
    turned = [Shape(voxels, equal.window, 5) for voxels in sorted({*itertools.permutations(equal.voxels)})]
    result = {"schema": 1, "machine": _machine(), "large": asdict(measure_large(large))}
    result["beside"] = asdict(measure_beside(beside, options.rounds))
    cases = [(equal, 1 << 40), (equal, 0), *((shape, 1 << 20) for shape in turned)]
    result["equal"] = [asdict(measure_equal(shape, budget_bytes)) for shape, budget_bytes in cases]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
