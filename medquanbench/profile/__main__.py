"""The profile door: what networks are made of (floor 5).

This folder has no ``__init__.py``, and must have none: inside medquanbench/ the working directory comes first on the
path, and torch's ``import profile`` must find Python's own. A folder without it yields to a module further on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medquanbench import __version__, shelf
from medquanbench.doorway import Parser, answer, note_trust, whole_number
from medquanbench.files import write_whole
from medquanbench.progress import Progress
from medquanbench.values import RequestError

if TYPE_CHECKING:
    from medquanbench.composition import Profile
    from medquanbench.composition_bundle import Subject

_ALL = "all"
_EPILOG = """\
examples:
  python -m medquanbench.profile --bundle swinunetr --composition
  python -m medquanbench.profile --bundle nnunet --variant totalsegmentator-organs --window 160 128 128 --composition
  python -m medquanbench.profile --bundle all --composition

No network is allocated: STU-Net-H with its 1457 million parameters takes a second and no memory.
"""


def parser() -> Parser:
    """The arguments of the door."""
    p = Parser(
        prog="python -m medquanbench.profile",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What a network is made of: parameters, multiply-adds and activations by kind.",
        allow_abbrev=False,
    )
    p.add_argument(
        "--bundle", required=True, metavar="NAME|PATH|all", help="a bundle on the shelf, a bundle's folder, or all"
    )
    p.add_argument("--composition", action="store_true", help="count parameters, multiply-adds and activations by kind")
    p.add_argument("--variant", default=_ALL, metavar="NAME|all", help="variant of the bundle (default: all)")
    p.add_argument("--weights", metavar="SET|FILE|FOLDER", help="the network that these weights belong to, instead")
    p.add_argument(
        "--dataset", default="btcv-phantom", metavar="NAME", help="whose labels a weights file has (with --weights)"
    )
    p.add_argument(
        "--window", nargs=3, type=whole_number, metavar=("X", "Y", "Z"), help="voxels (default: the variant's own)"
    )
    p.add_argument("--out", metavar="DIR", help="output folder (default: runs/composition-BUNDLE-VARIANT)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, call, print. Returns the exit code: 0 done, 1 failed, 2 the request is wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def work(progress: Progress) -> int:
        args = parser().parse_args(argv)
        if not args.composition:
            raise RequestError("profile does not know what to do; there is: --composition")
        if args.window and min(args.window) < 1:
            raise RequestError(f"--window {' '.join(map(str, args.window))}: three numbers above 0 are needed")
        if args.bundle != _ALL:
            note_trust(args.bundle)
        progress.say("loading")
        return _compose(args, progress)

    return answer(work)


def _compose(args: argparse.Namespace, progress: Progress) -> int:
    from medquanbench.composition import by_size
    from medquanbench.composition_bundle import profile
    from medquanbench.report.composition_tables import composition_terminal

    chosen, profiles = _subjects(args), []
    for position, subject in enumerate(chosen, 1):
        progress.say(f"counting {subject.bundle} {subject.variant} ({position} of {len(chosen)})")
        profiles.append(profile(subject, tuple(args.window) if args.window else None))
    profiles = by_size(profiles)
    progress.say("drawing")
    names = (Path(args.bundle).name, "" if args.variant == _ALL else args.variant)
    folder = Path(args.out) if args.out else Path("runs", "-".join(filter(None, ("composition", *names))))
    _write(profiles, folder)
    progress.clear()
    print(composition_terminal(profiles))
    print(f"report: {folder / 'composition.html'}   table: {folder / 'composition.csv'}")
    return 0


def _subjects(args: argparse.Namespace) -> tuple[Subject, ...]:
    from medquanbench.bundle import open_bundle
    from medquanbench.composition_bundle import subject_of, variant_of, variants_of

    variant = None if args.variant == _ALL else args.variant
    if args.bundle == _ALL:
        for flag, given in (("--variant", variant), ("--weights", args.weights)):
            if given:
                raise RequestError(f"{flag} {given} belongs to one bundle; name it with --bundle")
        return tuple(found for name in shelf.names(shelf.BUNDLES) for found in variants_of(name))
    if args.weights:
        return (subject_of(open_bundle(args.bundle, variant=variant, weights=args.weights, dataset=args.dataset)),)
    return (variant_of(args.bundle, variant),) if variant else variants_of(args.bundle)


def _write(profiles: Sequence[Profile], folder: Path) -> None:
    from medquanbench.report.composition_figure import composition_figure
    from medquanbench.report.composition_page import composition_html
    from medquanbench.report.composition_tables import composition_csv, composition_json

    write_whole(folder / "composition.csv", composition_csv(profiles).encode())
    write_whole(folder / "composition.json", composition_json(profiles, __version__).encode())
    for form in ("svg", "png"):
        write_whole(folder / f"composition.{form}", composition_figure(profiles, form))
    write_whole(folder / "composition.html", composition_html(profiles).encode())


if __name__ == "__main__":
    sys.exit(main())
