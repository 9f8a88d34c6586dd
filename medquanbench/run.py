"""One run: where bundle, dataset and recipe meet (floor 3). Finished cases are kept, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medquanbench import __version__, quant
from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.device import is_out_of_memory
from medquanbench.files import file_sha256
from medquanbench.parts import FloatAnswers, Parts
from medquanbench.scene import Frame, cut
from medquanbench.tasks import TASKS
from medquanbench.values import FLOAT_BITS, Case, CaseResult, Draw, Receipt, Recipe, Record, RequestError, Run, RunError

# No case may have a name with a leading dot.
_RECEIPT, _ANSWER = ".receipt", ".answer.{case}"
_NOT_IN_KEY = ("device", "bundle_root", "dataset_dir", "output_dir")  # where and how, not what


@dataclass(frozen=True)
class Job:
    """All that running needs beside the Run itself: open things, files, and where finished cases are kept.

    Attributes:
        parts: folder of finished cases, or None to keep nothing.
        frame: the slice to cut from one case's answer for the report's picture, or None.
        predictions: folder for the answers themselves, or None.
        progress: called as (cases done, cases in all).
        float_answers: where the reference run leaves its answers and other runs find them; None compares nothing.
        calibration: inputs of the network to calibrate on, where the run does.
    """

    bundle: Bundle
    dataset: Dataset
    cases: tuple[Case, ...]
    device: str
    parts: Path | None
    frame: Frame | None
    predictions: Path | None
    progress: Callable[[int, int], None]
    float_answers: FloatAnswers | None = None
    calibration: Iterable[torch.Tensor] | None = None


@dataclass(frozen=True)
class Outcome:
    """A record, with the slice of the frame's case as this run labelled it (None without a frame)."""

    record: Record
    slice: np.ndarray | None


def case_sha256(case: Case) -> tuple[str, ...]:
    """Checksums of a case's images and reference, in that order."""
    return tuple(map(file_sha256, case.files))


def config_in_key(bundle: Bundle) -> dict:
    """The part of a bundle's config that a score may depend on."""
    config = {key: value for key, value in json.loads(bundle.config).items() if key not in _NOT_IN_KEY}
    config["inferer"] = {key: value for key, value in config["inferer"].items() if key != "sw_batch_size"}
    return config


def plan_run(
    bundle: Bundle,
    dataset: Dataset,
    split: str,
    sums: dict[str, tuple[str, ...]],
    recipe: Recipe,
    seed: int,
    draw: Draw | None = None,
    calibration_sums: dict[str, tuple[str, ...]] | None = None,
) -> Run:
    """The Run of one recipe; its key hashes package version, weights, card, config, cases, recipe, seed and draw.

    Args:
        sums: case name -> checksums of its files, in the order of evaluation.
        calibration_sums: the same of the draw's cases and maybe of others.
    """
    parts = [
        __version__,
        bundle.weights_sha256,
        dataset.card_sha256,
        config_in_key(bundle),
        list(sums.items()),
        str(recipe),
        split,
        seed,
    ]
    if draw is not None:
        parts += [draw.number, draw.windows_per_case, [(name, calibration_sums[name]) for name in draw.cases]]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    phantom = dataset.phantom is not None
    return Run(
        bundle.name, bundle.variant, bundle.weights, dataset.name, split, phantom, tuple(sums), recipe, seed, key, draw
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
        network, receipt = _prepare(job.bundle, run.recipe, job.device, job.calibration)
        parts.write(receipt, _RECEIPT)
        for case in (case for case in job.cases if case.name not in done):
            done[case.name] = _one_case(run, job, network, case, parts)
            job.progress(len(done), len(job.cases))
    results = tuple(done[case.name].result for case in job.cases)
    task = TASKS[job.dataset.task]
    names = (tuple(detail.name for detail in details) for details in (task.details, task.case_details))
    record = Record(run, task.metrics, results, receipt, *names)
    return Outcome(record, done[job.frame.case].slice if job.frame else None)


@dataclass(frozen=True)
class _Finished:
    """One finished case; the slice is None but for the frame's case."""

    result: CaseResult
    slice: np.ndarray | None


def _is_framed(job: Job, case: Case) -> bool:
    return job.frame is not None and job.frame.case == case.name


@dataclass(frozen=True)
class _Kept:
    """A saved answer: the file's name in its folder, and its checksum."""

    file: str
    sha256: str


def _finished(run: Run, job: Job, case: Case, parts: Parts) -> _Finished | None:
    """What is on disk of a case; None where anything that is wanted of it is missing or damaged."""
    result = parts.read(CaseResult, case.name)
    slice_ = parts.read_slice(case.name) if _is_framed(job, case) else None
    lacks_slice = slice_ is None and _is_framed(job, case)
    lacks_answer = not _has_answer(run, job, case, parts) or not _has_float_answer(run, job, case)
    if result is None or result.case != case.name or lacks_slice or lacks_answer:
        return None
    return _Finished(result, slice_)


def _has_float_answer(run: Run, job: Job, case: Case) -> bool:
    """True where this run leaves none for others, or it is there as it was written."""
    if job.float_answers is None or not run.recipe.is_reference:
        return True
    return job.float_answers.read(case.name) is not None


def _has_answer(run: Run, job: Job, case: Case, parts: Parts) -> bool:
    """True where the answer is not wanted, or is there as it was saved."""
    if job.predictions is None:
        return True
    kept = parts.read(_Kept, _ANSWER.format(case=case.name))
    file = job.predictions / answers_folder(run) / kept.file if kept else None
    return file is not None and file.is_file() and file_sha256(file) == kept.sha256


def _keep_answer(run: Run, job: Job, case: Case, answer: Any, parts: Parts) -> None:
    if job.predictions is None:
        return
    file = TASKS[job.dataset.task].save(answer, job.predictions / answers_folder(run) / case.name)
    parts.write(_Kept(file.name, file_sha256(file)), _ANSWER.format(case=case.name))


def answers_folder(run: Run) -> str:
    """The folder of a run's saved answers: its recipe; where that loses characters, the key tells recipes apart."""
    text = str(run.recipe).replace(" ", "_")
    name = re.sub(r"[^\w.,=+()-]", "_", text)[:120]
    return name if name == text else f"{name}-{run.key[:8]}"


def is_begun(run: Run, parts: Path | None) -> bool:
    """True where the network took the run's recipe before: its receipt is kept."""
    return Parts(parts / run.key if parts else None).read(Receipt, _RECEIPT) is not None


def rehearse(bundle: Bundle, recipe: Recipe, device: str = "cpu") -> Receipt:
    """The receipt of a recipe whose methods are left out, calibrated on noise: whether a run of it can begin.

    Raises:
        RequestError: the network cannot take it, e.g. a transform that changes none of its layers.
    """
    quant.check(bundle.network(), recipe)
    plain = without_methods(recipe)
    noise = [_noise(bundle, device)] if quant.needs_calibration(plain) else None
    return _prepare(bundle, plain, device, noise)[1]


def without_methods(recipe: Recipe) -> Recipe:
    """The recipe with nothing that says how weights are rounded, nor what is calibrated on; FP32 if nothing is left."""
    transforms = tuple(term for term in recipe.transforms if term.name not in quant.METHODS)
    if recipe.weight_bits == recipe.activation_bits == FLOAT_BITS and not transforms:
        return Recipe()
    return replace(recipe, transforms=transforms, calibration=None, observer=None)


def _prepare(
    bundle: Bundle, recipe: Recipe, device: str, calibration: Iterable[torch.Tensor] | None
) -> tuple[torch.nn.Module, Receipt]:
    float_network = bundle.network().to(device)
    # One window of noise shows which layers run and what their inputs look like: the receipt hangs on no image.
    probe = _noise(bundle, device)
    executed = _executed(float_network, probe, bundle)
    network, receipt = quant.quantize(float_network, recipe, calibration)
    with torch.inference_mode():
        _check_answer(network(probe), bundle)
    quant.take_image_step(network)
    receipt = quant.audit(network, receipt, executed)
    return network, receipt


def _noise(bundle: Bundle, device: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((1, bundle.channels, *bundle.window.size), generator=generator).to(device)


def _executed(network: torch.nn.Module, probe: torch.Tensor, bundle: Bundle) -> frozenset[str]:
    try:
        return quant.executed_layers(network, probe)
    except Exception as error:  # a network comes from a config: anything may come out of it
        if isinstance(error, (RequestError, RunError)) or is_out_of_memory(error):
            raise
        size = " x ".join(map(str, bundle.window.size))
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RequestError(
            f"the network of {bundle.name}, variant {bundle.variant}, cannot take a window of {size} voxels and "
            f"{bundle.channels} channels: {reason[:200]}"
        ) from error


def _check_answer(answer: object, bundle: Bundle) -> None:
    wanted = (1, len(bundle.labels), *bundle.window.size)
    if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != wanted:
        there = " x ".join(map(str, answer.shape)) if isinstance(answer, torch.Tensor) else "no tensor"
        raise RequestError(
            f"the network of {bundle.name}, variant {bundle.variant}, answers a window with {there}; its config has "
            f"{len(bundle.labels)} labels, which needs {' x '.join(map(str, wanted))}"
        )


def _one_case(run: Run, job: Job, network: torch.nn.Module, case: Case, parts: Parts) -> _Finished:
    task, began = TASKS[job.dataset.task], time.perf_counter()
    targets = task.targets(job.bundle, job.dataset)
    try:
        truth = task.truth(case, job.dataset, targets)
        answer = task.answer(network, job.bundle, case, job.device, truth)
        output, measured = answer.output, task.measure(answer, truth)
    except RequestError as error:
        kept = "; what was finished is kept" * (job.parts is not None)
        raise RequestError(f"{error} (case {case.name}){kept}") from error
    agreement = _agreement(run, job, case, output)
    step, seconds = quant.take_image_step(network), time.perf_counter() - began
    result = CaseResult(case.name, measured.spacing_mm, measured.targets, step, seconds, agreement)
    _keep_answer(run, job, case, output, parts)
    slice_ = cut(targets.renumber_prediction(output), job.frame) if _is_framed(job, case) else None
    parts.write_slice(slice_, case.name)
    parts.write(result, case.name)  # last: it says that the case is finished
    return _Finished(result, slice_)


def _agreement(run: Run, job: Job, case: Case, output: Any) -> tuple[float | None, ...]:
    """How far an output agrees with the reference run's, which leaves its own for the runs after it."""
    task = TASKS[job.dataset.task]
    if job.float_answers is None:
        return (None,) * len(task.case_details)
    if run.recipe.is_reference:
        job.float_answers.write(task.pack(output), case.name)
    packed = job.float_answers.read(case.name)
    if packed is None:
        raise RunError(
            f"the FP32 answer to case {case.name}, with which {run.recipe} is compared, is gone or damaged; the same "
            "command makes it again"
        )
    return task.agreement(output, packed)
