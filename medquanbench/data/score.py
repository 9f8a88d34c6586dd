"""``data score``: a folder of predictions against references, structure by structure (floor 5)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from medquanbench.data import score_tables
from medquanbench.data.score_folder import RECORD
from medquanbench.data.score_record import notes, record_json
from medquanbench.data.score_request import INDEX, STORED, Evaluation, Request
from medquanbench.data.score_run import evaluate
from medquanbench.data.workers import check_jobs
from medquanbench.doorway import Parser, whole_number
from medquanbench.files import write_whole
from medquanbench.progress import Progress


def score(argv: Sequence[str], progress: Progress) -> int:
    """Score, write, print. Returns 0, also where predictions are missing: they are told, and count as empty."""
    args, began = _parser().parse_args(argv), time.perf_counter()
    request = Request(
        Path(args.reference).expanduser(),
        Path(args.prediction).expanduser(),
        args.dataset,
        Path(args.out).expanduser(),
        args.labels or "",
        args.prediction_values,
        args.reference_values,
        args.split,
        check_jobs(args.jobs),
    )
    evaluation = evaluate(request, progress)
    seconds = time.perf_counter() - began
    for name, text in _files(evaluation, argv, seconds).items():
        write_whole(request.out / name, text.encode())
    _tell(evaluation, seconds)
    return 0


def _parser() -> Parser:
    p = Parser(
        prog="python -m medquanbench.data score",
        allow_abbrev=False,
        description="Score NIfTI label maps against references of the same names. A prediction that is missing counts "
        "as an empty one. Exit code: 0 scored, 2 a wrong request or file, 1 a failure.",
    )
    p.add_argument("--reference", required=True, metavar="DIR", help="label maps, or a dataset in one of its layouts")
    p.add_argument("--prediction", required=True, metavar="DIR", help="label maps with the names of the references")
    p.add_argument("--dataset", required=True, metavar="NAME|PATH", help="card that says what the references hold")
    p.add_argument("--out", required=True, metavar="DIR", help="folder for the tables; finished cases are kept there")
    p.add_argument(
        "--labels", metavar="NAME|FILE", help="what the predictions' values mean, where not as the dataset's"
    )
    kinds = (INDEX, STORED)
    p.add_argument(
        "--prediction-values", choices=kinds, default=INDEX, help="a card's indices (default), or its values"
    )
    p.add_argument(
        "--reference-values", choices=kinds, default=STORED, help="the same of the references (default: stored)"
    )
    p.add_argument("--split", metavar="NAME", help="only the cases of this split (default: all with a reference)")
    p.add_argument("--jobs", type=whole_number, metavar="N", help="processes (default: one a core)")
    return p


def _files(evaluation: Evaluation, argv: Sequence[str], seconds: float) -> dict[str, str]:
    cases, n_missing = evaluation.cases, len(evaluation.pairing.missing)
    return {
        "cases.csv": score_tables.cases_csv(cases),
        "labels.csv": score_tables.labels_csv(evaluation.dataset, cases),
        "results.csv": score_tables.results_csv(evaluation.dataset, n_missing, cases),
        RECORD: record_json(evaluation, argv, seconds),
    }


def _tell(evaluation: Evaluation, seconds: float) -> None:
    request, n_labels = evaluation.request, len(evaluation.targets.labels)
    print(f"{evaluation.dataset.name}: {len(evaluation.cases)} cases, {n_labels} labels")
    print(f"{request.prediction} against {request.reference}\n")
    print(score_tables.terminal_table(evaluation.dataset, evaluation.cases))
    for note in notes(evaluation):
        print(f"\nNote: {note}")
    print(f"\n{seconds:.0f} s; {request.out} holds results.csv, cases.csv, labels.csv and {RECORD}")
