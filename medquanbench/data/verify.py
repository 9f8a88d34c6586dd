"""``data verify``: check a dataset's files against its card (floor 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from medquanbench.data.case_check import look_at
from medquanbench.data.findings import CaseFacts, Severity
from medquanbench.data.set_check import Checksums, census_findings, outliers, patients, table_findings, twins
from medquanbench.data.verify_report import FILES, Report, as_text
from medquanbench.data.workers import check_jobs, each
from medquanbench.dataset import Dataset, open_dataset
from medquanbench.doorway import Parser, whole_number
from medquanbench.files import file_sha256, write_whole
from medquanbench.progress import Progress
from medquanbench.values import Case, RequestError


def verify(argv: Sequence[str], progress: Progress) -> int:
    """Check, print the report. Returns 0 where nothing is wrong (warnings and notes are told), 1 for errors."""
    args = _parser().parse_args(argv)
    jobs = check_jobs(args.jobs)
    dataset = open_dataset(args.name, root=args.data_root)
    report = check(dataset, args.split, args.deep, jobs, progress)
    print(as_text(report))
    for name, content in FILES.items() if args.out else ():
        write_whole(Path(args.out) / name, content(report).encode())
    return 1 if report.count(Severity.ERROR) else 0


def _parser() -> Parser:
    p = Parser(
        prog="python -m medquanbench.data verify",
        allow_abbrev=False,
        description="Check a dataset's files against its card. Exit code: 0 no error, 1 errors in the data, 2 a wrong "
        "request.",
    )
    p.add_argument("name", metavar="NAME|PATH", help="a dataset on the shelf, or a card")
    p.add_argument("--data-root", metavar="DIR", help="folder of the dataset's files")
    p.add_argument("--deep", action="store_true", help="read every voxel, not the headers alone")
    p.add_argument("--split", nargs="+", metavar="NAME", help="only these splits (default: all)")
    p.add_argument("--jobs", type=whole_number, metavar="N", help="processes (default: one a core)")
    p.add_argument("--out", metavar="DIR", help="write verify.json and verify.csv there, too")
    return p


def check(dataset: Dataset, splits: Sequence[str] | None, deep: bool, jobs: int, progress: Progress) -> Report:
    """Look at the files of some splits (None: all), in several processes.

    Raises:
        RequestError: the card has no such split, or no case of the dataset is there.
        RunError: a process was ended from outside.
    """
    parts = list(dict.fromkeys(splits or (name for name, _ in dataset.split)))
    chosen = list(dict.fromkeys(case for part in parts for case in dataset.names(part)))
    if dataset.phantom is not None:
        for part in parts:
            dataset.cases(part, progress=progress.say)
    census = dataset.census()
    there = {case.name: case for case in census.cases}
    cases = [there[name] for name in chosen if name in there]
    if not dataset.layout and not there and not _any_file(dataset):
        raise RequestError(f"no file of {dataset.name} is in {dataset.root}; sought: {_sought(dataset)}")
    facts = each(partial(look_at, dataset=dataset, deep=deep), cases, jobs, progress, "looking at case")
    checksums = _of_voxels(facts) if deep else _of_files(cases, jobs, progress)
    findings = (
        *census_findings(dataset, census, chosen),
        *table_findings(dataset),
        *patients(dataset, parts),
        *(finding for fact in facts for finding in fact.findings),
        *twins(checksums, dataset),
        *outliers(facts, dataset),
    )
    counts = tuple((part, len(dataset.names(part)), sum(n in there for n in dataset.names(part))) for part in parts)
    return Report(dataset, deep, counts, tuple(facts), findings)


def _any_file(dataset: Dataset) -> bool:
    return any((dataset.root / pair.image).is_file() for pair in dataset.pairs)


def _sought(dataset: Dataset) -> str:
    return "; ".join(dataset.sought) or ", ".join(pair.image for pair in dataset.pairs[:3])


def _of_voxels(facts: Sequence[CaseFacts]) -> list[Checksums]:
    # Empty label maps are all the same.
    return [
        Checksums(fact.case, fact.image_sha256, fact.reference_sha256 if any(n for _, n in fact.n_voxels) else "")
        for fact in facts
    ]


def _of_files(cases: Sequence[Case], jobs: int, progress: Progress) -> list[Checksums]:
    """Checksums of those files that are as large as another of their kind: the others have no twin."""
    images = Counter(case.inputs[0].stat().st_size for case in cases)
    labels = Counter(case.target.stat().st_size for case in cases if _has_map(case))
    alike = []
    for case in cases:
        image = images[case.inputs[0].stat().st_size] > 1
        label = _has_map(case) and (image or labels[case.target.stat().st_size] > 1)
        if image or label:
            alike.append((case, image, label))
    return each(_checksums, alike, jobs, progress, "comparing case")


def _has_map(case: Case) -> bool:
    return case.target is not None and not case.masks


def _checksums(what: tuple[Case, bool, bool]) -> Checksums:
    case, image, label = what
    return Checksums(case.name, file_sha256(case.inputs[0]) if image else "", file_sha256(case.target) if label else "")
