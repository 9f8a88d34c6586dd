"""How long NSD and HD95 of a whole case take, and how much memory: ours, surface-distance, MONAI, all in one run.

Label maps are made of real ones (--data), or of a synthetic one (--synthetic), which only tries the program out. Every
contender measures every case in a process of its own, on one thread. README.md beside this file says how to read it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from machine import environment, machine, versions  # noqa: E402
from metric_table import markdown  # noqa: E402
from written import write  # noqa: E402

CONTENDERS = ("medquanbench", "surface-distance", "monai")
ORACLE = "surface-distance"
PACKAGES = ("numpy", "scipy", "surface-distance", "monai", "torch")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = str(options.data.resolve()) if options.data else "-"
        _python("metric_cases.py", data, str(options.synthetic), folder)
        missing = json.loads((Path(folder) / "missing.json").read_text())
        for name, reason in missing.items():
            print(f"{name} is skipped: {reason}")
        cases = [_case(file.parent, options) for file in sorted(Path(folder).glob("*/case.json"), key=_made)]
    if not cases:
        print("nothing was measured; --synthetic 64 needs no data")
        return 0
    result = {"schema": 1, "machine": machine(), "versions": versions(PACKAGES), "rounds": options.rounds}
    result |= {"cases": cases, "synthetic": not options.data, "skipped": missing}
    write(result, markdown(result), options.out)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder with totalsegmentator-samples/ and wholebrain-oasis/")
    source.add_argument("--synthetic", type=int, default=0, metavar="EDGE", help="voxels on an edge of a made-up map")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contender", action="append", choices=CONTENDERS, help="repeat; default: all")
    parser.add_argument("--case", action="append", help="name of a case; repeat; default: all")
    parser.add_argument("--out", type=Path, default=FOLDER / "results" / "metrics", help="less suffix")
    options = parser.parse_args(arguments)
    options.contender = options.contender or list(CONTENDERS)
    return options


def _made(file: Path) -> float:
    return file.stat().st_mtime_ns


def _case(folder: Path, options: argparse.Namespace) -> dict:
    case = json.loads((folder / "case.json").read_text())
    rows = []
    if not options.case or case["name"] in options.case:
        for metric in case["metrics"]:
            found = {name: _measured(name, metric, folder, options.rounds) for name in options.contender}
            expected = found.get(ORACLE, {}).get("scores", {})
            rows += [_row(name, metric, answer, expected) for name, answer in found.items()]
    labels, shared = case.pop("labels"), case.pop("labels_in_both")
    return case | {"n_labels": len(labels), "n_labels_in_both": len(shared), "rows": rows}


def _measured(contender: str, metric: str, folder: Path, rounds: int) -> dict:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "metric_contenders.py"), contender, metric, str(folder), str(rounds)],
        cwd=FOLDER.parent, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        print(f"  {folder.name} {metric} {contender}: {reason}", flush=True)
        return {"reason": reason[:200]}
    answer = json.loads(done.stdout.splitlines()[-1])
    print(f"  {folder.name} {metric} {contender}: {statistics.median(answer['cpu_s']):.3f} s", flush=True)
    return answer


def _row(contender: str, metric: str, answer: dict, expected: dict) -> dict:
    row = {"contender": contender, "metric": metric, "reason": answer.get("reason", "")}
    if row["reason"]:
        return row
    scores = answer.pop("scores")
    differences = [abs(scores[label] - expected[label]) for label in expected if scores.get(label) is not None]
    return row | answer | {
        "median_cpu_s": statistics.median(answer["cpu_s"]), "median_wall_s": statistics.median(answer["wall_s"]),
        "above_mib": answer["peak_mib"] - answer["before_mib"], "labels": len(scores),
        "max_difference": max(differences, default=None),
    }  # fmt: skip


def _environment() -> dict[str, str]:
    return environment() | dict.fromkeys(THREADS, "1")


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, str(FOLDER / arguments[0]), *arguments[1:]], env=_environment(), check=True)


if __name__ == "__main__":
    sys.exit(main())
