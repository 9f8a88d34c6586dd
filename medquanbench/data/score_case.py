"""One prediction against its reference: looked at, then measured; works in processes of their own (floor 5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medquanbench.data.score_pairs import Scorable
from medquanbench.dataset import Dataset
from medquanbench.files import file_sha256
from medquanbench.images import LabelMap, check_whole, grid_difference, grid_of, read_labels
from medquanbench.matching import Targets
from medquanbench.parts import Parts
from medquanbench.reference import read_reference
from medquanbench.scores import score
from medquanbench.values import RequestError, Target

METRICS = ("dsc", "nsd", "hd95", "volume_similarity")


@dataclass(frozen=True)
class Scoring:
    """What is the same for all cases.

    Attributes:
        dataset: what the reference's values mean.
        targets: what is scored, in the dataset's numbers.
        known: values that a prediction may hold; ``otherwise``: those of the other way to number (empty: none), and
            the flag that asks for it.
        labels: whose labels the predictions have, for messages.
        parts: folder of finished cases.
    """

    dataset: Dataset
    targets: Targets
    known: frozenset[int]
    otherwise: frozenset[int]
    flag: str
    labels: str
    parts: Path


@dataclass(frozen=True)
class Scored:
    """A finished case: checksums of reference and prediction ("" where none is there), and its scores."""

    case: str
    reference_sha256: tuple[str, ...]
    prediction_sha256: str
    spacing_mm: tuple[float, ...]
    targets: tuple[Target, ...]
    seconds: float


@dataclass(frozen=True)
class Looked:
    """What is known of a case before it is scored; ``finished``: it was scored already, from the same files."""

    reference_sha256: tuple[str, ...]
    prediction_sha256: str
    finished: bool
    problems: tuple[str, ...]


def headers(case: Scorable) -> tuple[str, ...]:
    """What the headers of a case's files tell against it: unusable files, or files on different grids."""
    problems = tuple(filter(None, (_problem(grid_of, file) for file in case.files)))
    if problems or case.prediction is None:
        return problems
    differs = grid_difference(grid_of(case.prediction), grid_of(case.files[0]))
    return (f"{case.prediction} and {case.files[0]} lie on different grids: {differs}",) if differs else ()


def look(case: Scorable, scoring: Scoring) -> Looked:
    """Checksums, and what the voxels tell against a case that is not finished."""
    sums, own = tuple(map(file_sha256, case.reference.files)), _own_sha256(case)
    if finished(case.name, sums, own, scoring) is not None:
        return Looked(sums, own, True, ())
    problems = [_problem(check_whole, file) for file in case.files]
    if not any(problems):
        problems = [_problem(read_reference, case.reference, scoring.dataset)]
        if case.prediction is not None:
            problems.append(_problem(read_prediction, case.prediction, scoring))
    return Looked(sums, own, False, tuple(filter(None, problems)))


def finished(name: str, reference_sha256: tuple[str, ...], prediction_sha256: str, scoring: Scoring) -> Scored | None:
    """What was kept of a case, where it was made from files with these checksums."""
    kept = Parts(scoring.parts).read(Scored, name)
    wanted = (name, reference_sha256, prediction_sha256)
    there = kept and (kept.case, kept.reference_sha256, kept.prediction_sha256)
    return kept if there == wanted else None


def measure(case: Scorable, scoring: Scoring) -> Scored:
    """Score a case and keep the result. A prediction that is missing scores as an empty one.

    Raises:
        RequestError: a file has become unusable since it was looked at.
    """
    began, targets = time.perf_counter(), scoring.targets
    sums, own = tuple(map(file_sha256, case.reference.files)), _own_sha256(case)
    reference = targets.renumber(read_reference(case.reference, scoring.dataset))
    if case.prediction is None:
        predicted = LabelMap(np.zeros(reference.grid.shape, np.uint16), reference.grid)
    else:
        predicted = targets.renumber_prediction(read_prediction(case.prediction, scoring))
    found = score(reference, predicted, targets, METRICS)
    result = Scored(case.name, sums, own, reference.grid.spacing_mm, found, time.perf_counter() - began)
    Parts(scoring.parts).write(result, case.name)
    return result


def read_prediction(file: Path, scoring: Scoring) -> LabelMap:
    """Read a prediction, in its own numbers.

    Raises:
        RequestError: it is no label map, or holds values that its label set does not know.
    """
    predicted, present = read_labels(file), np.zeros(2**16, bool)
    for slab in predicted.labels:  # numpy makes 8 bytes of each index: not of the whole volume at once
        present[slab] = True
    values = set(np.flatnonzero(present).tolist())
    unknown = sorted(values - scoring.known)
    if unknown:
        told = ", ".join(map(str, unknown[:5])) + ", ..." * (len(unknown) > 5)
        fits = f"; they would fit {scoring.flag}" if values <= scoring.otherwise else ""
        raise RequestError(f"{file} holds the values {told}, which {scoring.labels} does not know{fits}")
    return predicted


def _own_sha256(case: Scorable) -> str:
    return file_sha256(case.prediction) if case.prediction is not None else ""


def _problem(work: Callable[..., object], *what: object) -> str:
    try:
        work(*what)
    except RequestError as error:
        return str(error)
    return ""
