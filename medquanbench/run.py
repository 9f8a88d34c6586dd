"""One run: where bundle, dataset and recipe meet (floor 3). Finished cases are kept, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medquanbench import __version__, quant
from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.files import file_sha256
from medquanbench.parts import Parts
from medquanbench.scene import Frame, cut
from medquanbench.tasks import TASKS
from medquanbench.values import Case, CaseResult, Receipt, Recipe, Record, Run

_RECEIPT = ".receipt"  # no case may have a name with a leading dot
_NOT_IN_KEY = ("device", "bundle_root", "dataset_dir", "output_dir")  # where and how, not what


@dataclass(frozen=True)
class Job:
    """All that running needs beside the Run itself: open things, files, and where finished cases are kept.

    Attributes:
        parts: folder of finished cases, or None to keep nothing.
        frame: the slice to cut from one case's answer for the report's picture, or None.
        predictions: folder for the answers themselves, or None.
        progress: called as (cases done, cases in all).
    """

    bundle: Bundle
    dataset: Dataset
    cases: tuple[Case, ...]
    device: str
    parts: Path | None
    frame: Frame | None
    predictions: Path | None
    progress: Callable[[int, int], None]


@dataclass(frozen=True)
class Outcome:
    """A record, with the slice of the frame's case as this run labelled it (None without a frame)."""

    record: Record
    slice: np.ndarray | None


def case_sha256(case: Case) -> tuple[str, ...]:
    """Checksums of a case's images and reference, in that order."""
    return tuple(map(file_sha256, case.files))


def plan_run(
    bundle: Bundle, dataset: Dataset, split: str, sums: dict[str, tuple[str, ...]], recipe: Recipe, seed: int
) -> Run:
    """The Run of one recipe; its key hashes package version, weights, card, config, cases, recipe and seed.

    Args:
        sums: case name -> checksums of its files, in the order of evaluation.
    """
    config = {key: value for key, value in json.loads(bundle.config).items() if key not in _NOT_IN_KEY}
    config["inferer"] = {key: value for key, value in config["inferer"].items() if key != "sw_batch_size"}
    parts = [
        __version__,
        bundle.weights_sha256,
        dataset.card_sha256,
        config,
        list(sums.items()),
        str(recipe),
        split,
        seed,
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    phantom = dataset.phantom is not None
    return Run(
        bundle.name, bundle.variant, bundle.weights, dataset.name, split, phantom, tuple(sums), recipe, seed, key
    )


def execute(run: Run, job: Job) -> Outcome:
    """Run what is not finished yet, and gather all.

    Raises:
        RequestError, RunError: see the layers below; finished cases stay.
    """
    torch.manual_seed(run.seed)
    parts = Parts(job.parts / run.key if job.parts else None)
    receipt = parts.read(Receipt, _RECEIPT)
    found = {case.name: _finished(run, job, case, parts) for case in job.cases}
    done = {name: finished for name, finished in found.items() if finished is not None}
    job.progress(len(done), len(job.cases))
    if receipt is None or len(done) < len(job.cases):
        network, receipt = _prepare(run, job)
        parts.write(receipt, _RECEIPT)
        for case in (case for case in job.cases if case.name not in done):
            done[case.name] = _one_case(run, job, network, case, parts)
            job.progress(len(done), len(job.cases))
    results = tuple(done[case.name].result for case in job.cases)
    record = Record(run, TASKS[job.dataset.task].metrics, results, receipt)
    return Outcome(record, done[job.frame.case].slice if job.frame else None)


@dataclass(frozen=True)
class _Finished:
    """One finished case; the slice is None but for the frame's case."""

    result: CaseResult
    slice: np.ndarray | None


def _is_framed(job: Job, case: Case) -> bool:
    return job.frame is not None and job.frame.case == case.name


def _finished(run: Run, job: Job, case: Case, parts: Parts) -> _Finished | None:
    """What is on disk of a case; None where anything that is wanted of it is missing."""
    result = parts.read(CaseResult, case.name)
    slice_ = parts.read_slice(case.name) if _is_framed(job, case) else None
    lacks_slice = slice_ is None and _is_framed(job, case)
    lacks_answer = job.predictions is not None and not any(_answer_file(run, job, case).parent.glob(f"{case.name}.*"))
    return None if result is None or lacks_slice or lacks_answer else _Finished(result, slice_)


def _answer_file(run: Run, job: Job, case: Case) -> Path:
    return job.predictions / str(run.recipe).replace(" ", "_").replace("*", "x") / case.name


def _prepare(run: Run, job: Job) -> tuple[torch.nn.Module, Receipt]:
    float_network = job.bundle.network().to(job.device)
    # One window of noise shows which layers run and what their inputs look like: the receipt hangs on no image.
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn((1, job.bundle.channels, *job.bundle.window.size), generator=generator).to(job.device)
    executed = quant.executed_layers(float_network, probe)
    network, receipt = quant.quantize(float_network, run.recipe)
    with torch.inference_mode():
        network(probe)
    quant.take_image_step(network)
    receipt = quant.audit(network, receipt, executed)
    return network, receipt


def _one_case(run: Run, job: Job, network: torch.nn.Module, case: Case, parts: Parts) -> _Finished:
    task, began = TASKS[job.dataset.task], time.perf_counter()
    answer = task.answer(network, job.bundle, case, job.device)
    measured = task.measure(answer, case, job.dataset)
    step, seconds = quant.take_image_step(network), time.perf_counter() - began
    result = CaseResult(case.name, measured.spacing_mm, measured.targets, step, seconds)
    if job.predictions is not None:
        task.save(answer, _answer_file(run, job, case))
    slice_ = cut(answer, job.frame) if _is_framed(job, case) else None
    parts.write_slice(slice_, case.name)
    parts.write(result, case.name)
    return _Finished(result, slice_)
