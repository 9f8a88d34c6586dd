#!/usr/bin/env python3
"""Train the demo weights of a bundle on a dataset, for maintainers.

    python scripts/train_demo.py --bundle nnunet --dataset msd-hippocampus --data-root DIR --minutes 20

Preprocessing, window and labels are those of the bundle's config for this set of weights. The learning rate follows the
work of a thread, so that `--minutes` is what it costs on a quiet machine. State is saved about every minute: the same
command goes on where it stopped. A new training starts from the shipped weights where there are any (`--fresh` starts
from nothing). The checkpoint is chosen on the calibration cases; the test cases are scored once, at the end, with the
half-precision weights that are shipped.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss

from medquanbench import __version__, shelf, weights
from medquanbench.bundle import build_network, merged_config, parse_preprocessing
from medquanbench.bundle_config import Window, window_of
from medquanbench.dataset import Dataset, open_dataset
from medquanbench.files import file_sha256
from medquanbench.images import read_labels
from medquanbench.infer import Volume, predict, preprocess
from medquanbench.matching import Outputs, Targets, match_labels
from medquanbench.metrics import dice
from medquanbench.restore import restore_labels
from medquanbench.values import Case


@dataclass(frozen=True)
class Sample:
    """A case in memory: image (1, x, y, z) and reference (x, y, z) on the network's grid."""

    image: torch.Tensor
    target: torch.Tensor


def load(cases: tuple[Case, ...], transform, targets: Targets, what: str) -> list[tuple[Volume, Sample, Case]]:
    loaded = []
    for number, case in enumerate(cases, 1):
        volume = preprocess(transform, case.inputs[0])
        reference = targets.renumber(read_labels(case.target))
        target = torch.from_numpy(restore_labels(reference.labels, reference.grid, volume.grid).astype(np.int64))
        loaded.append((volume, Sample(volume.tensor, target), case))
        print(f"\rreading {what} {number}/{len(cases)}", end="", flush=True)
    print()
    return loaded


def crop(sample: Sample, size: tuple[int, ...], random: np.random.Generator, classes: int) -> Sample:
    """A random window, two times in three around a voxel of a random structure; padded with zeros."""
    image, target = sample.image, sample.target
    short = [max(0, want - have) for want, have in zip(size, target.shape)]
    if any(short):
        before = [int(random.integers(0, s + 1)) for s in short]
        pads = [p for b, s in reversed(list(zip(before, short))) for p in (b, s - b)]
        # Sliding-window inference pads with zeros; so does training.
        image, target = torch.nn.functional.pad(image, pads), torch.nn.functional.pad(target, pads)
    start = [int(random.integers(0, have - want + 1)) for want, have in zip(size, target.shape)]
    if random.random() < 0.67:
        voxels = (target == int(random.integers(1, classes))).nonzero()
        if len(voxels):
            centre = voxels[int(random.integers(len(voxels)))].tolist()
            shift = [int(random.integers(-want // 4, want // 4 + 1)) for want in size]
            start = [min(max(c + s - w // 2, 0), h - w) for c, s, w, h in zip(centre, shift, size, target.shape)]
    where = tuple(slice(a, a + want) for a, want in zip(start, size))
    return Sample(image[(slice(None), *where)], target[where])


def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """A small affine change (rotation, scaling, one grid_sample) and a change of brightness, contrast and noise."""
    angles, zoom = random.uniform(-0.26, 0.26, 3), random.uniform(0.85, 1.18, 3)
    image, target = sample.image, sample.target
    if random.random() < 0.7:
        matrix = np.diag(zoom)
        extent = np.array(image.shape[1:], dtype=float)
        for axis, angle in enumerate(angles):
            a, b = [k for k in range(3) if k != axis]
            turn = np.eye(3)
            turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
            matrix = matrix @ turn
        matrix = matrix * extent[None, :] / extent[:, None]  # grid_sample counts each axis from -1 to 1
        theta = torch.tensor(matrix[::-1, ::-1].copy(), dtype=torch.float32)  # and its last axis first
        grid = torch.nn.functional.affine_grid(
            torch.cat([theta, torch.zeros(3, 1)], 1)[None], (1, 1, *image.shape[1:]), False
        )
        image = torch.nn.functional.grid_sample(image[None], grid, align_corners=False, padding_mode="border")[0]
        target = torch.nn.functional.grid_sample(target[None, None].float(), grid, "nearest", align_corners=False)[
            0, 0
        ].long()
    image = image * float(random.uniform(0.85, 1.15)) + float(random.uniform(-0.1, 0.1))
    if random.random() < 0.3:
        image = image + torch.randn(image.shape) * float(random.uniform(0, 0.1)) * image.std()
    return Sample(image, target)


def score(network, loaded, window: Window, targets: Targets) -> np.ndarray:
    """DSC (case, label) on the images' own grids, through the same road as the evaluation."""
    network.eval()
    rows, labels = [], tuple(label.index for label in targets.labels)
    for volume, _, case in loaded:
        reference = targets.renumber(read_labels(case.target))
        answer = restore_labels(predict(network, volume, window), volume.grid, reference.grid)
        rows.append(dice(reference.labels, answer, labels))
    return np.array(rows)


def _trainings(card: Path) -> list[dict]:
    """What a card says of the trainings so far, the first one first."""
    told = json.loads(card.read_text()) if card.is_file() else {}
    return [*told.get("trainings_before", []), *([told["training"]] if "training" in told else [])]


class Trainer:
    """Network, averaged network and clock; saved whole once a minute."""

    def __init__(self, args: argparse.Namespace, config: dict, folder: Path) -> None:
        self.args, self.config = args, config
        self.name = f"{args.variant}-{args.dataset}"
        self.shipped = (args.out or folder / "models") / f"{self.name}.safetensors"
        states = args.out or shelf.cache() / "training"
        self.state_file = states / f"{folder.name}-{self.name}.pt"
        self.network, self.average = build_network(config), build_network(config)
        self.skipped, self.before = 0, ()
        self.steps, self.seconds, self.best, self.started_from = 0, 0.0, -1.0, "random initialisation"
        if self.shipped.is_file() and not args.fresh:
            weights.load_into(self.network, weights.read(self.shipped), str(self.shipped))
            self.before = tuple(_trainings(self.shipped.with_suffix(".json")))
            self.started_from = f"shipped weights {file_sha256(self.shipped)[:12]}"
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=args.rate, weight_decay=1e-4)
        self.best_state = {k: v.clone() for k, v in self.average.state_dict().items()}
        if self.state_file.is_file() and not args.restart:
            self._resume()
        self.layout = torch.contiguous_format if args.contiguous else torch.channels_last_3d
        for parameter in self.network.parameters():
            if parameter.dim() == 5:  # Module.to asks it of 4-dimensional ones too, which have no such format
                parameter.data = parameter.data.contiguous(memory_format=self.layout)

    def _resume(self) -> None:
        state = torch.load(self.state_file, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_state, self.started_from = state["best_state"], state["started_from"]
        self.steps, self.seconds, self.best = state["steps"], state["seconds"], state["best"]
        print(f"going on from step {self.steps}, {self.seconds / 60:.1f} minutes done")

    def save(self) -> None:
        self.state_file.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "best_state": self.best_state,
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
            "best": self.best,
            "started_from": self.started_from,
        }
        temporary = self.state_file.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.state_file)

    def rate(self) -> float:
        """Warm-up over the first 3 % of the time, then a half cosine down to a hundredth."""
        done = min(1.0, self.seconds / (60 * self.args.minutes))
        return self.args.rate * min(1.0, done / 0.03 + 0.02) * (0.01 + 0.495 * (1 + math.cos(math.pi * done)))

    def step(self, samples: list[Sample], loss_of) -> float:
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        image = torch.stack([s.image for s in samples]).to(memory_format=self.layout)
        target = torch.stack([s.target for s in samples])[:, None]
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(image)
        loss = loss_of(logits.float(), target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        if not torch.isfinite(length):  # bfloat16 through a norm over few voxels; such a step is skipped
            self.skipped += 1
            return float("nan")
        self.optimizer.step()
        self.steps += 1
        decay = min(0.998, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values()):
                mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)
        return float(loss.detach())

    def choose(self, calibration, window: Window, targets: Targets) -> None:
        value = float(np.nanmean(score(self.average, calibration, window, targets)))
        mark = ""
        if value > self.best:
            self.best, self.best_state = value, {k: v.clone() for k, v in self.average.state_dict().items()}
            mark = "  best so far"
        print(f"{self.seconds / 60:6.1f} min  step {self.steps:6d}  calibration DSC {value:.4f}{mark}", flush=True)
        self.save()


def class_weights(samples: list[Sample], classes: int, power: float) -> torch.Tensor | None:
    """Weights of the classes in the loss, their frequency to the minus power, 1 for background; None for power 0."""
    if power == 0:
        return None
    counts = torch.stack([torch.bincount(s.target.flatten(), minlength=classes) for s in samples]).sum(0)
    return (counts[0] / counts.clamp(min=1)) ** power


def _busy() -> float:
    """Seconds of work of one thread: other programs on the machine take nothing from a training."""
    return time.process_time() / torch.get_num_threads()


def train(trainer: Trainer, samples: list[Sample], calibration, window: Window, targets: Targets) -> None:
    args, total = trainer.args, 60 * trainer.args.minutes
    classes = len(targets.labels) + 1
    weight = class_weights(samples, classes, args.balance)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True, weight=weight)
    random = np.random.default_rng([args.seed, trainer.steps])
    losses, saved = [], time.time()
    while trainer.seconds < total:
        began = _busy()
        picks = random.integers(0, len(samples), args.batch)
        batch = [augment(crop(samples[i], window.size, random, classes), random) for i in picks]
        losses.append(trainer.step(batch, loss_of))
        trainer.seconds += _busy() - began
        if len(losses) == 100:
            told = f"loss {np.nanmean(losses):.4f}  skipped {trainer.skipped}"
            print(f"{trainer.seconds / 60:6.1f} min  step {trainer.steps:6d}  {told}", flush=True)
            losses = []
        if time.time() - saved > max(60.0, total / 12):
            trainer.choose(calibration, window, targets)
            saved = time.time()
    trainer.choose(calibration, window, targets)


def ship(trainer: Trainer, dataset: Dataset, test, window: Window, targets: Targets) -> None:
    """Write the best checkpoint in half precision with its card; the test cases are scored here, once."""
    trainer.average.load_state_dict(trainer.best_state)
    trainer.shipped.parent.mkdir(parents=True, exist_ok=True)
    weights.pack(trainer.average, trainer.shipped)
    weights.load_into(trainer.average, weights.read(trainer.shipped), str(trainer.shipped))
    scores = score(trainer.average, test, window, targets)
    names = [label.name for label in targets.labels]
    args = trainer.args
    card = {
        "weights": trainer.name,
        "format": "half-precision safetensors, run in FP32",
        "sha256": file_sha256(trainer.shipped),
        "dataset": f"{dataset.name}/{dataset.version}",
        "phantom": dataset.phantom is not None,
        "data_licence": dataset.licence,
        "data_citation": dataset.citation,
        "parameters": sum(p.numel() for p in trainer.average.parameters()),
        "trainings_before": list(trainer.before),
        "training": {
            "script": "scripts/train_demo.py",
            "cases": len(dataset.names("train")),
            "minutes": round(trainer.seconds / 60, 1),
            "steps": trainer.steps,
            "batch": args.batch,
            "rate": args.rate,
            "balance": args.balance,
            "seed": args.seed,
            "started_from": trainer.started_from,
            "threads": torch.get_num_threads(),
            "arithmetic": "bfloat16 autocast on CPU",
            "medquanbench": __version__,
            "torch": str(torch.__version__),
            "chosen": f"on {len(dataset.names('calibration'))} calibration cases, DSC {trainer.best:.4f}",
        },
        "test": {
            "cases": len(test),
            "dsc": round(float(np.nanmean(np.nanmean(scores, axis=1))), 4),
            "dsc_by_label": {name: round(float(v), 4) for name, v in zip(names, np.nanmean(scores, axis=0))},
        },
    }
    trainer.shipped.with_suffix(".json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(card["test"], indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data-root")
    parser.add_argument("--variant", default="demo")
    parser.add_argument("--minutes", type=float, required=True, help="time of optimisation, scoring not counted")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--balance", type=float, default=0.0, help="rare classes weigh frequency^-BALANCE (default: 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="start from random weights, not from the shipped ones")
    parser.add_argument(
        "--out", type=Path, help="folder of the weights (default: the bundle's, where they are shipped)"
    )
    parser.add_argument("--restart", action="store_true", help="do not go on from a saved state")
    parser.add_argument("--contiguous", action="store_true", help="channels first in memory: group norm trains faster")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    folder = shelf.find(shelf.BUNDLES, "bundle", args.bundle)
    dataset = open_dataset(args.dataset, root=args.data_root)
    config = merged_config(folder, args.variant, f"{args.variant}-{args.dataset}")
    transform, window = parse_preprocessing(config), window_of(config)
    outputs = Outputs(f"the outputs of {args.bundle}", tuple(enumerate(config["labels"]))[1:])
    targets = match_labels(outputs, dataset)
    trainer = Trainer(args, config, folder)
    samples = [sample for _, sample, _ in load(dataset.cases("train", progress=print), transform, targets, "train")]
    calibration = load(dataset.cases("calibration", progress=print), transform, targets, "calibration")
    train(trainer, samples, calibration, window, targets)
    ship(trainer, dataset, load(dataset.cases("test", progress=print), transform, targets, "test"), window, targets)
    trainer.state_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
