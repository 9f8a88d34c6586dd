"""``python -m medquanbench.data COMMAND ...``: datasets on disk, and predictions scored against them (floor 5)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from medquanbench.doorway import answer
from medquanbench.progress import Progress
from medquanbench.values import not_found

COMMANDS = {
    "list": ("medquanbench.data.listing", "list_datasets", "the datasets on the shelf"),
    "info": ("medquanbench.data.listing", "show_info", "labels, splits, licence, layouts and source of a dataset"),
    "verify": ("medquanbench.data.verify", "verify", "check a dataset's files against its card"),
    "fetch": ("medquanbench.data.fetch", "fetch", "download a dataset where its licence allows it"),
    "prepare": ("medquanbench.data.prepare", "prepare", "write a dataset in another layout"),
    "score": ("medquanbench.data.score", "score", "score a folder of predictions against references"),
}
"""command -> (module, function, what it does). The function: (arguments, progress) -> exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the arguments to a command. Returns its exit code; 2 where there is no such command."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:8} {text}" for name, (_, _, text) in COMMANDS.items())
        print(f"usage: python -m medquanbench.data COMMAND ...\n\n{lines}\n\nCOMMAND --help tells its arguments.")
        return 0 if argv else 2

    def work(progress: Progress) -> int:
        if argv[0] not in COMMANDS:
            raise not_found("command", argv[0], "medquanbench.data", list(COMMANDS))
        module, function, _ = COMMANDS[argv[0]]
        command: Callable[[Sequence[str], Progress], int] = getattr(import_module(module), function)
        return command(argv[1:], progress)

    return answer(work)


if __name__ == "__main__":
    sys.exit(main())
