"""What a reader must know beside the scores, and record.json (floor 5)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import sys
from collections.abc import Iterator, Sequence

from medquanbench import __version__
from medquanbench.data.score_case import METRICS
from medquanbench.data.score_folder import SCHEMA
from medquanbench.data.score_request import Evaluation
from medquanbench.data.score_tables import COLUMNS
from medquanbench.matching import near_names
from medquanbench.metrics import METRICS as DEFINED
from medquanbench.values import Presence

_PACKAGES = ("numpy", "scipy", "nibabel")
_LISTED = 5


def notes(evaluation: Evaluation) -> Iterator[str]:
    """Sentences beside the table: what was not there, not asked for, or not the same."""
    pairing, request, name = evaluation.pairing, evaluation.request, evaluation.dataset.name
    n_cases = len(evaluation.cases)
    if pairing.missing:
        what = "no prediction and count as empty (0 on every label of their reference)"
        yield f"{len(pairing.missing)} of {n_cases} cases have {what}: {_listed(pairing.missing)}."
    if pairing.extra:
        extra = [file.name for file in pairing.extra]
        yield f"{len(extra)} predictions have no reference and are not scored: {_listed(extra)}."
    if pairing.left_out:
        yield f"{len(pairing.left_out)} cases with a reference are not in split '{request.split}' and not scored."
    if pairing.unknown:
        what = f"cases of split '{request.split}' have no reference and are not scored"
        yield f"{len(pairing.unknown)} {what}: {_listed(pairing.unknown)}."
    same = [case.case for case in evaluation.cases if case.prediction_sha256 in case.reference_sha256]
    if same:
        yield f"{len(same)} predictions are the very file of their reference: {_listed(same)}."
    yield from _of_labels(evaluation, name)
    yield _conventions(evaluation)


def _of_labels(evaluation: Evaluation, name: str) -> Iterator[str]:
    targets, labels = evaluation.targets, evaluation.request.labels
    merged = [f"{structures} = {outputs}" for structures, outputs in targets.pairs if "+" in structures + outputs]
    if merged:
        yield f"Put together: {_listed(merged)}."
    if targets.unmapped:
        count = f"{len(targets.unmapped)} of {len(evaluation.dataset.labels)} structures of {name}"
        yield f"{count} are none of {labels}, and not scored: {_listed(targets.unmapped)}."
    if targets.unasked:
        count = f"{len(targets.unasked)} structures of {labels}"
        yield f"{count} are none of {name}, and count as background: {_listed(targets.unasked)}."
    for structure, output in near_names(targets.unmapped, targets.unasked):
        yield f"'{structure}' of {name} has no partner; '{output}' is spelt alike."


def _conventions(evaluation: Evaluation) -> str:
    tolerances = sorted({label.tolerance_mm for label in evaluation.targets.labels})
    told = f"{tolerances[0]:g}" if len(tolerances) == 1 else f"{tolerances[0]:g} to {tolerances[-1]:g}"
    return (
        f"NSD at {told} mm. Means are over the labels of a case that count, then over cases; what reference and "
        "prediction both lack does not count. HD95 is the median; lost and hallucinated structures have none."
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown}, and {len(names) - _LISTED} more (record.json lists all)"


def record_json(evaluation: Evaluation, command: Sequence[str], seconds: float) -> str:
    """record.json: all that a repeat needs; what a repeat may change stands in ``times``, ``memory`` and ``host``."""
    request, dataset, targets = evaluation.request, evaluation.dataset, evaluation.targets
    files = {case.name: case for case in evaluation.pairing.cases}
    record = {
        "schema": SCHEMA,
        "key": evaluation.key,
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "card_sha256": dataset.card_sha256,
            "licence": dataset.licence,
            "reference": dataset.reference or None,
            "split": request.split,
        },
        "labels": {
            "of_predictions": request.labels or dataset.name,
            "prediction_values": request.prediction_values,
            "reference_values": request.reference_values,
            "pairs": dict(targets.pairs) or None,
            "unmapped_structures": list(targets.unmapped),
            "outputs_without_structure": list(targets.unasked),
        },
        "cases": {
            case.case: {
                "reference_sha256": list(case.reference_sha256),
                "prediction": files[case.case].prediction.name if files[case.case].prediction else None,
                "prediction_sha256": case.prediction_sha256,
                "spacing_mm": list(case.spacing_mm),
            }
            for case in evaluation.cases
        },
        "missing_predictions": list(evaluation.pairing.missing),
        "extra_predictions": [file.name for file in evaluation.pairing.extra],
        "outside_split": list(evaluation.pairing.left_out),
        "without_reference": list(evaluation.pairing.unknown),
        "conventions": {
            "metrics": {COLUMNS[name]: DEFINED[name].definition for name in METRICS},
            "tolerance_mm": {label.name: label.tolerance_mm for label in targets.labels},
            "tolerance_source": dataset.tolerance_source,
            "spacing": "the reference's own voxel spacing",
            "empty": {presence.name.lower(): presence.value for presence in Presence},
            "mean": "over counted labels of a case, then over cases; hd95_mm: the median over cases and labels",
            "missing": "a prediction that is not there counts as an empty label map",
        },
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES}
        | {"medquanbench": __version__, "python": platform.python_version()},
        "times": {"total": seconds, "cases": {case.case: case.seconds for case in evaluation.cases}},
        "memory": {"peak_mib_of_a_process": _peak_mib()},
        "host": {
            "command": list(command),
            "reference": str(request.reference.resolve()),
            "prediction": str(request.prediction.resolve()),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "jobs": request.jobs,
            "python": sys.executable,
        },
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _peak_mib() -> int:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(one).ru_maxrss for one in who) / 1024)
