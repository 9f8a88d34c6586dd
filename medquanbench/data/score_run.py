"""Score a folder of predictions: all headers first, then all voxels, then case by case (floor 5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from medquanbench import __version__
from medquanbench.data import score_pairs
from medquanbench.data.label_set import LabelSet, label_set, of_card
from medquanbench.data.score_case import METRICS, Scoring, finished, headers, look, measure
from medquanbench.data.score_folder import check_folder
from medquanbench.data.score_request import INDEX, STORED, Evaluation, Request
from medquanbench.data.workers import each
from medquanbench.dataset import Dataset, open_card
from medquanbench.layouts import Found
from medquanbench.matching import Outputs, Targets, match_labels
from medquanbench.progress import Progress
from medquanbench.values import RequestError


def evaluate(request: Request, progress: Progress) -> Evaluation:
    """Score what is not finished yet, and gather all.

    Raises:
        RequestError: anything is wrong with the request or a file; nothing was computed then.
        RunError: a process was ended from outside; finished cases stay.
    """
    card = open_card(request.dataset)
    dataset, references = score_pairs.references(request.dataset, card, request.reference)
    if request.reference_values == INDEX:
        dataset = replace(dataset, labels=tuple(replace(x, stored=x.index) for x in dataset.labels), background=())
    pairing = score_pairs.pair(card, references, request.reference, request.prediction, request.split)
    scoring = _scoring(request, card, dataset)
    _refuse([problem for case in pairing.cases for problem in headers(case)])
    looked = each(partial(look, scoring=scoring), pairing.cases, request.jobs, progress, "looking at case")
    _refuse([problem for found in looked for problem in found.problems])
    sums = {case.name: (found.reference_sha256, found.prediction_sha256) for case, found in zip(pairing.cases, looked)}
    key = scoring.parts.name
    check_folder(request, key, sums)
    todo = [case for case, found in zip(pairing.cases, looked) if not found.finished]
    results = each(partial(measure, scoring=scoring), todo, request.jobs, progress, "scoring case")
    new = {result.case: result for result in results}
    cases = tuple(new.get(name) or finished(name, *sums[name], scoring) for name in sums)
    return Evaluation(request, key, dataset, scoring.targets, pairing, cases)


def _scoring(request: Request, card: Dataset, dataset: Dataset) -> Scoring:
    stored = request.prediction_values == STORED
    if request.labels:
        labels, other = label_set(request.labels, stored), label_set(request.labels, not stored)
        outputs = Outputs(f"predictions with the labels of {request.labels}", labels.names)
        targets = match_labels(outputs, card, numbered_by_structure=True)
    else:
        labels, other = of_card(card, stored), of_card(card, not stored)
        same = tuple(x.stored for x in card.labels) == tuple(x.index for x in card.labels)
        answers = None if same or not stored else tuple((x.stored, x.index) for x in card.labels)
        targets = Targets(card.labels, answers=answers)
    return Scoring(
        replace(dataset, split=(), patients=(), layouts=(), found=Found("", "")),  # it is sent to processes
        targets,
        labels.values,
        other.values - labels.values and other.values,
        f"--prediction-values {INDEX if stored else STORED}",
        f"the label set {request.labels}" if request.labels else f"the card of {card.name}",
        request.out / "parts" / _key(dataset, targets, labels),
    )


def _key(dataset: Dataset, targets: Targets, labels: LabelSet) -> str:
    parts = [
        __version__,
        dataset.card_sha256,
        [(label.index, label.stored) for label in dataset.labels],
        [(label.index, label.name, label.tolerance_mm) for label in targets.labels],
        targets.values,
        targets.answers,
        sorted(labels.values),
        METRICS,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _refuse(problems: Sequence[str]) -> None:
    if len(problems) == 1:
        raise RequestError(problems[0])
    if problems:
        raise RequestError(f"{len(problems)} files are wrong, first {'; '.join(problems[:3])}")
