"""The eval door: one bundle, one dataset, the float reference and any number of precisions (floor 5)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medquanbench.doorway import answer, note_trust
from medquanbench.eval.arguments import check_observer, draws_of, parser, recipes, searching, transforms
from medquanbench.progress import Progress
from medquanbench.values import Recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, call, print. Returns the exit code: 0 done, 1 failed, 2 the request is wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def work(progress: Progress) -> int:
        precisions, rest = recipes(argv)
        return _evaluate(parser().parse_args(rest), precisions, argv, progress)

    return answer(work)


def _evaluate(args: argparse.Namespace, precisions: list[tuple[str, str]], argv: list[str], progress: Progress) -> int:
    tail, draws = transforms(args.transform), draws_of(args)
    check_observer(args)
    tail += f" keep({','.join(args.keep)})" * bool(args.keep)
    tail += f" input({args.input_bits})" * (args.input_bits is not None)
    # Before the seconds that importing torch takes.
    asked = [Recipe.parse(text if bits == "recipe" else f"{bits} {text}{tail}") for bits, text in precisions]
    given = searching(args, asked)
    note_trust(args.bundle)
    progress.say("loading")
    from medquanbench.bundle import open_bundle
    from medquanbench.dataset import open_dataset
    from medquanbench.device import check_device
    from medquanbench.report.tables import first_line, terminal_table
    from medquanbench.search import Terms, resolved
    from medquanbench.study import carry_out, try_transforms
    from medquanbench.study_calibration import observed
    from medquanbench.study_plan import TABLE_1, Conduct, prepare

    check_device(args.device)
    dataset = open_dataset(args.dataset, root=args.data_root)
    bundle = open_bundle(args.bundle, variant=args.variant, weights=args.weights, dataset=dataset.name)
    terms = Terms(
        *given, calibrated=args.calibrated, split=args.split, seed=args.seed, device=args.device
    )  # fmt: skip
    wanted = asked or [Recipe.parse(text + tail) for text in TABLE_1]
    wanted = observed(wanted, args.observer, args.calibrated) if args.observer else wanted
    wanted, choices = resolved(bundle, dataset, wanted, terms, progress.say)
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
        choices=choices,
        progress=progress.say,
    )
    folder = Path(args.out) if args.out else plan.default_folder
    progress.clear()
    print(f"{first_line(plan.runs[0], dataset.reference)}\n", flush=True)
    conduct = Conduct(args.device, args.save_predictions, tuple(argv), progress.case)
    try_transforms(plan, folder, conduct)
    study = carry_out(plan, folder, conduct)
    progress.clear()
    print(terminal_table(study.report).rstrip())
    print(f"\nreport: {folder / 'report.html'}   table: {folder / 'results.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
