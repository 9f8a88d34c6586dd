"""``python -m medquanbench.sensitivity --study NAME --bundle NAME``: carry out a study card (floor 5)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medquanbench import shelf
from medquanbench.doorway import Parser, answer, note_trust, whole_number
from medquanbench.progress import Progress
from medquanbench.values import RequestError, not_found

DEVICES = ("cpu", "cuda")
_EPILOG = """\
studies on the shelf: {studies}

examples:
  python -m medquanbench.sensitivity --study table4 --bundle medformer
  python -m medquanbench.sensitivity --study methods --bundle unetr --dataset msd-hippocampus --data-root DIR
  python -m medquanbench.sensitivity --study my-study.toml --bundle unetr --layer encoder1.layer.conv1.conv

Outputs: study.csv and study.md in the folder, and for each variant of the bundle a folder with what eval writes. The
same command again goes on where it stopped.
"""


def parser() -> Parser:
    """The arguments of the door."""
    p = Parser(
        prog="python -m medquanbench.sensitivity",
        epilog=_EPILOG.format(studies=", ".join(shelf.names(shelf.STUDIES, ".toml"))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Many runs that answer one question: which layers, methods and calibration sets matter.",
        allow_abbrev=False,
    )
    p.add_argument("--study", required=True, metavar="NAME|PATH", help="a study card on the shelf, or a file")
    p.add_argument("--bundle", required=True, metavar="NAME|PATH", help="a bundle on the shelf, or a bundle's folder")
    p.add_argument("--variant", metavar="NAME", help="variant of the bundle (default: demo, or what fits the weights)")
    p.add_argument("--weights", metavar="SET|FILE|FOLDER", help="weights by name or file (default: the dataset's set)")
    p.add_argument(
        "--dataset", default="btcv-phantom", metavar="NAME|PATH", help="dataset card (default: btcv-phantom)"
    )
    p.add_argument("--data-root", metavar="DIR", help="folder of a real dataset's files")
    p.add_argument("--split", default="test", help="split of the dataset (default: test)")
    p.add_argument("--cases", type=whole_number, metavar="N", help="only the first N cases of the split")
    p.add_argument("--layer", metavar="PATH", help="the most sensitive layer (default: found as the card says)")
    p.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="of bootstrap and calibration windows (default: 0)"
    )
    p.add_argument("--device", default="cpu", metavar="cpu|cuda", help="where the network runs (default: cpu)")
    p.add_argument("--out", metavar="DIR", help="output folder (default: runs/STUDY-BUNDLE-DATASET-KEY)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, call, print. Returns the exit code: 0 done, 1 failed, 2 the request is wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def work(progress: Progress) -> int:
        args = parser().parse_args(argv)
        if args.device not in DEVICES:
            raise not_found("device", args.device, "medquanbench", DEVICES)
        note_trust(args.bundle)
        progress.say("loading")
        return _carry_out(args, argv, progress)

    return answer(work)


def _carry_out(args: argparse.Namespace, argv: list[str], progress: Progress) -> int:
    from medquanbench.analysis.answer import carry_out_study
    from medquanbench.analysis.card import open_card
    from medquanbench.analysis.plan import StudyRequest, outline
    from medquanbench.analysis.tables import study_terminal, write_answer
    from medquanbench.dataset import open_dataset
    from medquanbench.device import check_device
    from medquanbench.report.tables import first_line
    from medquanbench.study_plan import Conduct

    check_device(args.device)
    card = open_card(args.study)
    if args.layer is not None and not any(row.needs_layer for row in card.rows):
        raise RequestError(f"--layer {args.layer}: no row of the study {card.name} acts on one layer")
    dataset = open_dataset(args.dataset, root=args.data_root)
    request = StudyRequest(
        args.bundle, args.variant, args.weights, args.split, args.cases, args.layer, args.seed, args.device
    )  # fmt: skip
    made = outline(card, dataset, request, progress.say)
    folder = Path(args.out) if args.out else made.default_folder
    progress.clear()
    print(f"{card.title}\n{first_line(made.plans[0].runs[0], dataset.reference)}\n", flush=True)
    found = carry_out_study(made, folder, Conduct(args.device, False, tuple(argv), progress.case))
    write_answer(found, folder)
    progress.clear()
    print(study_terminal(found).rstrip())
    print(f"\nstudy: {folder / 'study.md'}   table: {folder / 'study.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
