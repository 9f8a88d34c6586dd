"""The eval door: one bundle, one dataset, the float reference and any number of precisions (floor 5)."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from medquanbench.doorway import Parser, answer, note_trust, number, whole_number
from medquanbench.progress import Progress
from medquanbench.values import FORMATS, WEIGHT_FORMATS, Recipe, RequestError

_PRECISION = re.compile(r"--(w\d+a\d+)(?:=(.*))?")
_BETWEEN_TRANSFORMS = re.compile(r",(?![^(]*\))")

# The names of medquanbench.quant's POLICIES, TRANSFORMS and METHODS, which cannot be asked here: that loads torch, and
# --help must not wait for it.
POLICIES = (
    "per-channel", "per-tensor", "adaptive", "per-voxel", "block", "engine", "static-per-tensor",
    "static-per-channel",
)  # fmt: skip
TRANSFORMS = ("smooth", "svd", "hadamard", "branches", "groups", "asymmetric")
METHODS = ("clip", "gptq", "descend", "bias")
WHOLE_FORMATS = tuple(name for name in FORMATS if name not in WEIGHT_FORMATS)
DEVICES = ("cpu", "cuda")

_EPILOG = """\
precisions:
  --w8a8 POLICY, --w4a4 POLICY, --wNaM POLICY   weights in N bits, activations in M (2 to 8; 16 is float); flags repeat.
  POLICY is one of {policies}.
  With no such flag: the block of the paper's Table 1 (W8A8 and W4A4, each per-channel, per-tensor and adaptive).
  The float reference always comes first.
  --mxfp4 and the like, without a policy, hold weights and activations in blocks: {formats}.
  --w4a16 nf4, --w4a16 benford: formats of weights alone.

transforms and calibration:
  --transform takes names from {transforms},
  and for the rounding of weights {methods}, with parameters in brackets:
  --transform 'smooth(alpha=0.75),svd(rank=8)'.
  What must know how large a network's values are (smooth, the policies engine and static-...) looks at calibration
  cases: --calibrated N, 8 without it. They are never cases of the split that is evaluated.

examples:
  python -m medquanbench.eval --bundle swinunetr --w4a4 adaptive
  python -m medquanbench.eval --bundle swinunetr --w4a4 engine --transform smooth --calibrated 8
  python -m medquanbench.eval --bundle nnunet --dataset msd-hippocampus --data-root Task04_Hippocampus
  python -m medquanbench.eval --bundle downloads/spleen_ct_segmentation --dataset msd-spleen --data-root Task09_Spleen

A MONAI config is a program: a bundle that is given by its path runs the $ expressions and the code in it. Open only
bundles that you trust. No code in a weights file is run.
"""


def _device(text: str) -> str:
    if text not in DEVICES:
        raise argparse.ArgumentTypeError(f"no device '{text}'; there is: {', '.join(DEVICES)}")
    return text


def parser() -> argparse.ArgumentParser:
    """The arguments beside the precision flags."""
    p = Parser(
        prog="python -m medquanbench.eval",
        epilog=_EPILOG.format(
            policies=", ".join(POLICIES),
            transforms=", ".join(TRANSFORMS),
            methods=", ".join(METHODS),
            formats=", ".join(WHOLE_FORMATS),
        ),  # fmt: skip
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What 8-bit and 4-bit quantization costs a 3D segmentation model: DSC and NSD, with statistics.",
        allow_abbrev=False,
    )
    p.more_flags = ("--wNaM",)
    p.add_argument(
        "--bundle",
        required=True,
        metavar="NAME|PATH",
        help="a bundle on the shelf, or a folder: a MONAI bundle, also one from the Model Zoo (its code is run)",
    )
    p.add_argument("--variant", metavar="NAME", help="variant of the bundle (default: demo, or what fits the weights)")
    p.add_argument(
        "--weights",
        metavar="SET|FILE|FOLDER",
        help="weights by name or file, or a results folder of nnU-Net (default: the set of variant and dataset)",
    )
    p.add_argument(
        "--dataset", default="btcv-phantom", metavar="NAME|PATH", help="dataset card (default: btcv-phantom)"
    )
    p.add_argument("--data-root", metavar="DIR", help="folder of a real dataset's files")
    p.add_argument("--split", default="test", help="split of the dataset (default: test)")
    p.add_argument("--cases", type=whole_number, metavar="N", help="only the first N cases of the split")
    p.add_argument(
        "--keep", action="append", default=[], metavar="GLOB", help="layers that stay float; * crosses dots; repeats"
    )
    p.add_argument(
        "--transform",
        metavar="LIST",
        help="rewrites of the network before it is quantized, in this order: smooth,svd(rank=8)",
    )
    p.add_argument(
        "--calibrated",
        type=whole_number,
        metavar="N",
        help="calibrate on N cases of the dataset's lists calibration and train (default, where it is needed: 8)",
    )
    p.add_argument(
        "--draws",
        type=whole_number,
        metavar="K",
        help="with --calibrated: carry out each row that calibrates on K draws of cases, and tell the spread",
    )
    p.add_argument(
        "--input-bits",
        type=whole_number,
        metavar="N",
        help="bits of the image entering the first layer (default: as the layers)",
    )
    p.add_argument(
        "--margin",
        type=number,
        metavar="D",
        help="non-inferiority margin in DSC (default: 0.002 at 8 bits, else 0.01)",
    )
    p.add_argument(
        "--nsd-margin",
        type=number,
        metavar="D",
        help="non-inferiority margin in NSD (default: 0.002 at 8 bits, else 0.01)",
    )
    p.add_argument(
        "--seed",
        type=whole_number,
        default=0,
        metavar="N",
        help="seed of bootstrap and calibration windows (default: 0)",
    )
    p.add_argument(
        "--device", default="cpu", type=_device, metavar="cpu|cuda", help="where the network runs (default: cpu)"
    )
    p.add_argument("--out", metavar="DIR", help="output folder (default: runs/BUNDLE-VARIANT-DATASET-KEY)")
    p.add_argument("--save-predictions", action="store_true", help="keep the label maps, as compressed NIfTI")
    return p


def recipes(argv: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Take the precision flags out of the arguments: ((bits or format, policy) in the order given, the others).

    Raises:
        RequestError: a precision flag without a policy.
    """
    found, rest, position = [], [], 0
    while position < len(argv):
        match = _PRECISION.fullmatch(argv[position])
        if argv[position].removeprefix("--") in WHOLE_FORMATS and argv[position].startswith("--"):
            found.append((argv[position][2:], ""))
        elif match is None:
            rest.append(argv[position])
        elif match[2] is not None:
            found.append((match[1], match[2]))
        elif position + 1 == len(argv) or argv[position + 1].startswith("-"):
            raise RequestError(f"{argv[position]} needs a policy: {', '.join(POLICIES)}")
        else:
            position += 1
            found.append((match[1], argv[position]))
        position += 1
    return found, rest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, call, print. Returns the exit code: 0 done, 1 failed, 2 the request is wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def work(progress: Progress) -> int:
        precisions, rest = recipes(argv)
        return _evaluate(parser().parse_args(rest), precisions, argv, progress)

    return answer(work)


def transforms(text: str | None) -> str:
    """The words of a recipe for ``--transform``: a comma outside brackets separates, what comes first is done first.

    Raises:
        RequestError: the list, or a part of it, is empty.
    """
    if text is None:
        return ""
    steps = [step.strip() for step in _BETWEEN_TRANSFORMS.split(text)]
    if not all(steps):
        raise RequestError(f"--transform '{text}' has an empty place; it takes names, e.g. smooth,svd(rank=8)")
    return f" {'+'.join(steps)}"


def _draws(args: argparse.Namespace) -> int:
    if args.draws is None:
        return 1
    if args.calibrated is None:
        raise RequestError("--draws repeats rows on other calibration cases: it needs --calibrated N")
    if args.draws < 2:
        raise RequestError(f"--draws {args.draws}: at least 2 draws are needed to see a spread")
    return args.draws


def _evaluate(args: argparse.Namespace, precisions: list[tuple[str, str]], argv: list[str], progress: Progress) -> int:
    tail, draws = transforms(args.transform), _draws(args)
    tail += f" keep({','.join(args.keep)})" * bool(args.keep)
    tail += f" input({args.input_bits})" * (args.input_bits is not None)
    # Before the seconds that importing torch takes.
    asked = [Recipe.parse(f"{bits} {policy}{tail}") for bits, policy in precisions]
    note_trust(args.bundle)
    progress.say("loading")
    from medquanbench.bundle import open_bundle
    from medquanbench.dataset import open_dataset
    from medquanbench.device import check_device
    from medquanbench.report.tables import first_line, terminal_table
    from medquanbench.study import carry_out
    from medquanbench.study_plan import TABLE_1, Conduct, prepare

    check_device(args.device)
    dataset = open_dataset(args.dataset, root=args.data_root)
    bundle = open_bundle(args.bundle, variant=args.variant, weights=args.weights, dataset=dataset.name)
    wanted = asked or [Recipe.parse(text + tail) for text in TABLE_1]
    asked_margins = (("dsc", args.margin), ("nsd", args.nsd_margin))
    plan = prepare(
        bundle,
        dataset,
        wanted,
        cases=args.cases,
        seed=args.seed,
        split=args.split,
        margins=tuple((metric, margin) for metric, margin in asked_margins if margin is not None),
        calibrated=args.calibrated,
        draws=draws,
        progress=progress.say,
    )
    folder = Path(args.out) if args.out else plan.default_folder
    progress.clear()
    print(f"{first_line(plan.runs[0], dataset.reference)}\n", flush=True)
    study = carry_out(plan, folder, Conduct(args.device, args.save_predictions, tuple(argv), progress.case))
    progress.clear()
    print(terminal_table(study.report).rstrip())
    print(f"\nreport: {folder / 'report.html'}   table: {folder / 'results.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
