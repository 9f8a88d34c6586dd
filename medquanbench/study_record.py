"""What a study says about itself: the facts and notes of its report, and record.json (floor 4)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import sys
from collections.abc import Sequence
from itertools import groupby

import torch

from medquanbench import __version__
from medquanbench.calibration import DEFAULT_CASES
from medquanbench.matching import near_names
from medquanbench.metrics import METRICS
from medquanbench.report.choice_section import in_short
from medquanbench.report.wording import number
from medquanbench.roads import ROADS
from medquanbench.stats import LEVEL
from medquanbench.study_calibration import Spread, spreads
from medquanbench.study_plan import Conduct, Plan
from medquanbench.study_statistics import METHOD
from medquanbench.tasks import TASKS
from medquanbench.values import SCHEMA, Fact, Presence, Record, Row, to_plain

_PACKAGES = (
    "torch",
    "monai",
    "dynamic-network-architectures",
    "numpy",
    "scipy",
    "nibabel",
    "safetensors",
)
_LISTED = 5
"""Names that a note lists; the record and the facts list all."""


def facts(plan: Plan) -> tuple[Fact, ...]:
    """The lines under "what was run" of a report."""
    bundle, dataset, window = plan.bundle, plan.dataset, plan.bundle.window
    size = " x ".join(map(str, window.size))
    told = bundle.loaded.in_words()
    source = f"made by the generator {dataset.phantom}" if dataset.phantom else " ".join(dataset.source.split())
    return (
        Fact("Bundle", f"{bundle.name}, variant {bundle.variant}"),
        Fact("Weights", f"{bundle.weights} (SHA-256 {bundle.weights_sha256[:16]})" + f": {told}" * bool(told)),
        Fact("Dataset", f"{dataset.title} ({dataset.name}, card version {dataset.version}), {source}"),
        Fact("Licence of the data", " ".join(f"{dataset.licence}. {dataset.citation}".split())),
        *_matching(plan),
        Fact("Cases", f"{len(plan.sums)} of split '{plan.split}'"),
        *_calibration_facts(plan),
        Fact("Sliding window", f"{size} voxels, overlap {window.overlap:g}, {window.mode} blending"),
        Fact("Answer", ROADS[bundle.restore].words),
        Fact("Versions", ", ".join(f"{name} {version}" for name, version in versions())),
        Fact("Study key", plan.key),
    )


def _calibration_facts(plan: Plan) -> tuple[Fact, ...]:
    draws = [run.draw for run in plan.runs if run.draw is not None]
    if not draws:
        return ()
    most = max(draws, key=lambda draw: len(draw.cases))
    text = f"{len(most.cases)} cases, {most.windows_per_case} windows each: {', '.join(most.cases)}"
    return (Fact("Calibration", text + f"; {plan.calibration.draws} draws" * (plan.calibration.draws > 1)),)


def _matching(plan: Plan) -> tuple[Fact, ...]:
    """What the reference is and which names were matched with which, where they are not the same ones."""
    dataset, targets = plan.dataset, plan.targets
    mapped = ", ".join(f"{structures} as {outputs}" for structures, outputs in targets.pairs)
    lines = (
        ("Reference", dataset.reference),
        ("Structures as outputs", mapped),
        ("Structures mapped to no output (background)", ", ".join(targets.unmapped)),
        ("Outputs without a structure (background)", ", ".join(targets.unasked)),
    )
    return tuple(Fact(name, text) for name, text in lines if text)


def notes(plan: Plan, rows: tuple[Row, ...], drawn: Sequence[Record] = ()) -> tuple[str, ...]:
    """What a reader of the table must know beside it."""
    return (
        *plan.bundle.remarks,
        *_road_note(plan),
        *_mapping_notes(plan),
        *_presence_note(rows),
        *(in_short(choice) for choice in plan.choices),
        *_calibration_notes(plan, rows, drawn),
    )


def _road_note(plan: Plan) -> tuple[str, ...]:
    if plan.dataset.phantom or not plan.bundle.trained_on_phantoms:
        return ()
    return (f"The weights {plan.bundle.weights} were trained on phantoms: scores on real images only show that the "
            "road works.",)  # fmt: skip


def _mapping_notes(plan: Plan) -> tuple[str, ...]:
    dataset, targets, found = plan.dataset, plan.targets, []
    if targets.unmapped:
        count = f"{len(targets.unmapped)} of {len(dataset.labels)} structures of {dataset.name}"
        found.append(f"{count} are mapped to no output and count as background: {_listed(targets.unmapped)}.")
    for structure, output in near_names(targets.unmapped, targets.unasked):
        found.append(f"'{structure}' of {dataset.name} stands for no output; '{output}' is spelt alike.")
    if targets.unasked:
        count = f"{len(targets.unasked)} of {len(plan.bundle.labels) - 1} outputs of {plan.bundle.name}"
        found.append(f"{count} stand for no structure and count as background: {_listed(targets.unasked)}.")
    return tuple(found)


def _listed(names: tuple[str, ...]) -> str:
    if len(names) <= _LISTED:
        return ", ".join(names)
    return ", ".join(names[:_LISTED]) + f", and {len(names) - _LISTED} more (record.json and report.html list all)"


def _presence_note(rows: tuple[Row, ...]) -> tuple[str, ...]:
    counts = [(row.record.count(Presence.HALLUCINATED), row.record.count(Presence.LOST)) for row in rows]
    if not any(map(any, counts)):
        return ()
    listed = "; ".join(f"{row.record.run.recipe}: {made}, {lost}" for row, (made, lost) in zip(rows, counts))
    return (f"Structures hallucinated, lost (over all cases; each scores 0): {listed}.",)


def _calibration_notes(plan: Plan, rows: tuple[Row, ...], drawn: Sequence[Record]) -> tuple[str, ...]:
    found, draws = [], plan.calibration.draws
    if plan.calibration.assumed:
        told = "; ".join(map(str, plan.calibration.assumed))
        found.append(f"No number of calibration cases was given (--calibrated): {DEFAULT_CASES} were taken for {told}.")
    for recipe, of_recipe in groupby(_spreads(rows, drawn), lambda spread: spread.recipe):
        told = ", ".join(
            f"{spread.metric.upper()} {number(spread.mean, 4)} ({number(spread.least, 4)} to {number(spread.most, 4)})"
            for spread in of_recipe
        )
        found.append(
            f"{recipe}, mean (least to most) over {draws} draws of calibration cases: {told}. Its row is draw 0."
        )
    return tuple(found)


def _spreads(rows: tuple[Row, ...], drawn: Sequence[Record]) -> tuple[Spread, ...]:
    return spreads([row.record for row in rows], drawn)


def versions() -> tuple[tuple[str, str], ...]:
    """Name and version of what the numbers were computed with."""
    found = [("medquanbench", __version__), ("python", platform.python_version())]
    return tuple(found + [(name, importlib.metadata.version(name)) for name in _PACKAGES])


def record_json(plan: Plan, conduct: Conduct, rows: tuple[Row, ...], drawn: Sequence[Record] = ()) -> str:
    """record.json: all that a repeat needs; what a repeat may change stands in ``times``, ``memory`` and ``host``."""
    bundle, dataset = plan.bundle, plan.dataset
    record = {
        "schema": SCHEMA,
        "study": {"key": plan.key, "seed": plan.seed, "margins": dict(plan.margins), "split": plan.split},
        "bundle": {
            "name": bundle.name,
            "variant": bundle.variant,
            "weights": bundle.weights,
            "weights_sha256": bundle.weights_sha256,
            "loaded": to_plain(bundle.loaded),
            "remarks": list(bundle.remarks),
            "config": json.loads(bundle.config),
        },
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "phantom": dataset.phantom,
            "licence": dataset.licence,
            "reference": dataset.reference or None,
            "label_map": dict(plan.targets.pairs) or None,
            "unmapped_structures": list(plan.targets.unmapped),
            "outputs_without_structure": list(plan.targets.unasked),
            "card_sha256": dataset.card_sha256,
            "case_sha256": {name: list(sums) for name, sums in plan.sums},
        },
        "conventions": _conventions(plan),
        "statistics": _statistics(plan, rows),
        "versions": dict(versions()),
        "results": [_result(row) for row in rows],
        **_calibration(plan, rows, drawn),
        **({"best": to_plain(plan.choices)} if plan.choices else {}),
        "times": {str(row.record.run.recipe): {c.case: c.seconds for c in row.record.cases} for row in rows},
        "memory": {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)},
        "host": _host(plan, conduct),
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _calibration(plan: Plan, rows: tuple[Row, ...], drawn: Sequence[Record]) -> dict:
    """What was calibrated on, and what other draws gave; nothing where nothing calibrates."""
    if not plan.calibration.cases:
        return {}
    return {
        "calibration": {
            "case_sha256": {name: list(sums) for name, sums in plan.calibration.sums},
            "default_number": [str(recipe) for recipe in plan.calibration.assumed],
            "draws": plan.calibration.draws,
            "spread": [
                {**to_plain(spread), "mean": spread.mean, "least": spread.least, "most": spread.most}
                for spread in _spreads(rows, drawn)
            ],
            "further_draws": [
                {"recipe": str(run.recipe), "key": run.key, **to_plain(run.draw)} for run in plan.calibration.runs
            ],
        }
    }


def _conventions(plan: Plan) -> dict:
    task = TASKS[plan.dataset.task]
    return {
        "metrics": {name: METRICS[name].definition for name in task.metrics},
        "details": {detail.name: detail.definition for detail in (*task.details, *task.case_details)},
        "tolerance_mm": {label.name: label.tolerance_mm for label in plan.targets.labels},
        "tolerance_source": plan.dataset.tolerance_source,
        "spacing": "the reference's own voxel spacing, on the image's own grid",
        "empty": {presence.name.lower(): presence.value for presence in Presence},
        "mean": "over counted labels of a case, then over cases",
    }


def _statistics(plan: Plan, rows: tuple[Row, ...]) -> dict:
    """What the rows say beside FP32; what they say of single labels is in labels.csv."""
    recipes, labels = [str(row.record.run.recipe) for row in rows[1:]], rows[0].findings.labels
    return {
        "method": METHOD,
        "level": LEVEL,
        "families": {
            "overall": {"members": recipes, "size": len(recipes)},
            "labels": {"members": [label.name for label in labels], "size": len(labels) * len(recipes)},
        },
        "configurations": [
            {"recipe": recipe, **{part: plain[part] for part in ("overall", "every_label", "tails", "collapsed")}}
            for recipe, plain in ((str(row.record.run.recipe), to_plain(row.findings)) for row in rows[1:])
        ],
    }


def _result(row: Row) -> dict:
    plain = to_plain(row)
    del plain["findings"]  # under "statistics" and in labels.csv
    for case in plain["record"]["cases"]:
        del case["seconds"]  # under "times"
    return plain


def _host(plan: Plan, conduct: Conduct) -> dict:
    return {
        "command": list(conduct.command),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": conduct.device,
        "python": sys.executable,
        "weights_file": str(plan.bundle.weights_file),
        "data_root": str(plan.dataset.root),
        "window_batch": plan.bundle.window.batch,
    }
