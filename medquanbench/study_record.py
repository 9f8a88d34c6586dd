"""What a study says about itself: the facts and notes of its report, and record.json (floor 4)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import sys
from dataclasses import dataclass

import torch

from medquanbench import __version__
from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.metrics import METRICS
from medquanbench.tasks import TASKS
from medquanbench.values import SCHEMA, Fact, Presence, Row, to_plain

_PACKAGES = (
    "torch",
    "monai",
    "dynamic-network-architectures",
    "numpy",
    "scipy",
    "nibabel",
    "safetensors",
    "surface-distance",
)


@dataclass(frozen=True)
class Context:
    """What was asked and what was opened for it.

    Attributes:
        sums: (case, checksums of its images and its reference), in the order of evaluation.
        command: the arguments as typed; they may name folders, so they stand under ``host``.
    """

    study_key: str
    bundle: Bundle
    dataset: Dataset
    split: str
    sums: tuple[tuple[str, tuple[str, ...]], ...]
    seed: int
    margin: float | None
    device: str
    command: tuple[str, ...]


def facts(context: Context) -> tuple[Fact, ...]:
    """The lines under "what was run" of a report."""
    bundle, dataset, window = context.bundle, context.dataset, context.bundle.window
    size = " x ".join(map(str, window.size))
    source = f"made by the generator {dataset.phantom}" if dataset.phantom else dataset.source
    return (
        Fact("Bundle", f"{bundle.name}, variant {bundle.variant}"),
        Fact("Weights", f"{bundle.weights} (SHA-256 {bundle.weights_sha256[:16]})"),
        Fact("Dataset", f"{dataset.title} ({dataset.name}, card version {dataset.version}), {source}"),
        Fact("Licence of the data", " ".join(f"{dataset.licence}. {dataset.citation}".split())),
        Fact("Cases", f"{len(context.sums)} of split '{context.split}'"),
        Fact("Sliding window", f"{size} voxels, overlap {window.overlap:g}, {window.mode} blending"),
        Fact("Answer", "largest logit, carried to the image's own grid by nearest neighbour"),
        Fact("Versions", ", ".join(f"{name} {version}" for name, version in versions())),
        Fact("Study key", context.study_key),
    )


def notes(rows: tuple[Row, ...]) -> tuple[str, ...]:
    """What a reader of the table must know beside it."""
    counts = [(row.record.count(Presence.HALLUCINATED), row.record.count(Presence.LOST)) for row in rows]
    if not any(map(any, counts)):
        return ()
    listed = "; ".join(f"{row.record.run.recipe}: {made}, {lost}" for row, (made, lost) in zip(rows, counts))
    return (f"Structures hallucinated, lost (over all cases; each scores 0): {listed}.",)


def versions() -> tuple[tuple[str, str], ...]:
    """Name and version of what the numbers were computed with."""
    found = [("medquanbench", __version__), ("python", platform.python_version())]
    return tuple(found + [(name, importlib.metadata.version(name)) for name in _PACKAGES])


def record_json(context: Context, rows: tuple[Row, ...]) -> str:
    """record.json: all that a repeat needs; what a repeat may change stands in ``times``, ``memory`` and ``host``."""
    bundle, dataset = context.bundle, context.dataset
    record = {
        "schema": SCHEMA,
        "study": {"key": context.study_key, "seed": context.seed, "margin": context.margin, "split": context.split},
        "bundle": {
            "name": bundle.name,
            "variant": bundle.variant,
            "weights": bundle.weights,
            "weights_sha256": bundle.weights_sha256,
            "config": json.loads(bundle.config),
        },
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "phantom": dataset.phantom,
            "licence": dataset.licence,
            "card_sha256": dataset.card_sha256,
            "case_sha256": {name: list(sums) for name, sums in context.sums},
        },
        "conventions": _conventions(dataset),
        "versions": dict(versions()),
        "results": [_result(row) for row in rows],
        "times": {str(row.record.run.recipe): {c.case: c.seconds for c in row.record.cases} for row in rows},
        "memory": {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)},
        "host": _host(context),
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _conventions(dataset: Dataset) -> dict:
    names = TASKS[dataset.task].metrics
    return {
        "metrics": {name: METRICS[name].definition for name in names},
        "tolerance_mm": {label.name: label.tolerance_mm for label in dataset.labels},
        "tolerance_source": dataset.tolerance_source,
        "spacing": "the reference's own voxel spacing, on the image's own grid",
        "empty": {presence.name.lower(): presence.value for presence in Presence},
        "mean": "over counted labels of a case, then over cases",
    }


def _result(row: Row) -> dict:
    plain = to_plain(row)
    for case in plain["record"]["cases"]:
        del case["seconds"]  # under "times"
    return plain


def _host(context: Context) -> dict:
    return {
        "command": list(context.command),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": context.device,
        "python": sys.executable,
        "weights_file": str(context.bundle.weights_file),
        "data_root": str(context.dataset.root),
        "window_batch": context.bundle.window.batch,
    }
