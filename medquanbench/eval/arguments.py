"""The arguments of the eval door: flags, rows of precisions, and what is wrong with them together (floor 5)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from medquanbench.doorway import Parser, number, whole_number
from medquanbench.values import FORMATS, WEIGHT_FORMATS, Recipe, RequestError, not_found

_PRECISION = re.compile(r"--(w\d+a\d+|recipe)(?:=(.*))?")
_BETWEEN_TRANSFORMS = re.compile(r",(?![^(]*\))")

# The names of medquanbench.quant's POLICIES, TRANSFORMS, METHODS and RANGES, which cannot be asked here: that loads
# torch, and --help must not wait for it.
POLICIES = (
    "per-channel", "per-tensor", "adaptive", "per-voxel", "block", "engine", "static-per-tensor",
    "static-per-channel",
)  # fmt: skip
TRANSFORMS = ("smooth", "svd", "hadamard", "branches", "groups", "asymmetric")
METHODS = ("clip", "gptq", "descend", "bias", "adaround", "brecq", "qdrop")
OBSERVERS = ("absmax", "percentile", "mse", "entropy")
BEST, BUDGET_MIN = "best", 10.0  # medquanbench.search's
WHOLE_FORMATS = tuple(name for name in FORMATS if name not in WEIGHT_FORMATS)
DEVICES = ("cpu", "cuda")

_EPILOG = """\
precisions:
  --w8a8 POLICY, --w4a4 POLICY, --wNaM POLICY   weights in N bits, activations in M (2 to 8; 16 is float); flags repeat.
  POLICY is one of {policies}.
  With no such flag: the block of the paper's Table 1 (W8A8 and W4A4, each per-channel, per-tensor and adaptive).
  --recipe 'w4a4 engine smooth+clip at8(encoder.0.*) calib(8)'   a row by its whole text, as results.csv has it.
  --w4a4 best looks for the recipe by itself, on calibration cases alone; --budget says how long, --float-budget what
  part of the multiply-adds it may hold at 8 bits.
  The float reference always comes first.
  --mxfp4 and the like, without a policy, hold weights and activations in blocks:
  {formats}.
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
  python -m medquanbench.eval --bundle unetr --w4a4 best --budget 10 --float-budget 2%
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
    p.more_flags = ("--recipe", "--wNaM")
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
        "--observer",
        metavar="NAME",
        help=f"with --calibrated: how static ranges are chosen, {', '.join(OBSERVERS)} (default: as the policy has it)",
    )
    p.add_argument(
        "--draws",
        type=whole_number,
        metavar="K",
        help="with --calibrated: carry out each row that calibrates on K draws of cases, and tell the spread",
    )
    p.add_argument("--budget", type=number, metavar="MIN", help="minutes that best may search, a recipe (default: 10)")
    p.add_argument(
        "--float-budget",
        metavar="P%",
        help="share of multiply-adds that best may hold at 8 bits, in the layers that gain most (default: none)",
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
    """Take the rows out of the arguments: ((bits or format, policy) or ("recipe", text) in their order, the others).

    Raises:
        RequestError: a precision flag without a policy, or --recipe without a text.
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
            needed = (
                f"a policy: {', '.join(POLICIES)}" if match[1] != "recipe" else "a text: 'w4a4 engine clip calib(8)'"
            )
            raise RequestError(f"{argv[position]} needs {needed}")
        else:
            position += 1
            found.append((match[1], argv[position]))
        position += 1
    return found, rest


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


def draws_of(args: argparse.Namespace) -> int:
    """The number of draws; raises RequestError where there can be none, or one would show no spread."""
    if args.draws is None:
        return 1
    if args.calibrated is None:
        raise RequestError("--draws repeats rows on other calibration cases: it needs --calibrated N")
    if args.draws < 2:
        raise RequestError(f"--draws {args.draws}: at least 2 draws are needed to see a spread")
    return args.draws


def check_observer(args: argparse.Namespace) -> None:
    """Raises RequestError where ``--observer`` names none, or nothing is observed."""
    if args.observer is not None and args.observer not in OBSERVERS:
        raise not_found("observer", args.observer, "medquanbench", OBSERVERS)
    if args.observer is not None and args.calibrated is None:
        raise RequestError(f"--observer {args.observer} looks at calibration cases: it needs --calibrated N")


def searching(args: argparse.Namespace, asked: list[Recipe]) -> tuple[float, float]:
    """(minutes, part of the multiply-adds) that a search may take; raises RequestError where nothing searches."""
    given = [
        flag for flag, value in (("--budget", args.budget), ("--float-budget", args.float_budget)) if value is not None
    ]
    if given and not any(recipe.policy == BEST for recipe in asked):
        raise RequestError(f"{given[0]} is for what is searched: it needs a row like --w4a4 {BEST}")
    try:
        part = float((args.float_budget or "0").removesuffix("%")) / 100
    except ValueError:
        raise RequestError(f"--float-budget {args.float_budget}: a share in percent is needed, e.g. 2%") from None
    return BUDGET_MIN if args.budget is None else args.budget, part
