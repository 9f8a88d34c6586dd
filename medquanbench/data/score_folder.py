"""Whose a folder of scores is: tables of another evaluation are never written over (floor 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from medquanbench.data.score_request import Request
from medquanbench.values import RequestError

SCHEMA = "medquanbench-score/1"
RECORD = "record.json"
_OUTPUTS = ("results.csv", "cases.csv", "labels.csv", RECORD, "study.json")


def check_folder(request: Request, key: str, sums: Mapping[str, tuple[tuple[str, ...], str]]) -> None:
    """See that a folder is free, or holds what the same request wrote: then its tables are made anew.

    Args:
        sums: case -> checksums of its reference and its prediction.

    Raises:
        RequestError: it holds another evaluation: other labels, or predictions from another folder that differ.
    """
    found = [name for name in _OUTPUTS if (request.out / name).exists()]
    if not found:
        return
    try:
        record = json.loads((request.out / RECORD).read_text())
        there = (record["schema"], record["key"])
        folder, cases = record["host"]["prediction"], record["cases"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RequestError(f"{request.out} holds {', '.join(found)} of something else; choose another --out") from None
    if there != (SCHEMA, key):
        raise RequestError(
            f"{request.out} holds scores of another request (labels, card or version); choose another --out"
        )
    here = {name: prediction for name, (_, prediction) in sums.items()}
    if (
        folder != str(request.prediction.resolve())
        and {n: case["prediction_sha256"] for n, case in cases.items()} != here
    ):
        raise RequestError(f"{request.out} holds the scores of the predictions in {folder}; choose another --out")
