"""What all doors do alike: arguments whose errors are one sentence, exit codes, no traceback (floor 4)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from medquanbench import shelf
from medquanbench.progress import Progress
from medquanbench.stop import stoppable
from medquanbench.values import RequestError, RunError, not_found

_TRUST = "note: {} is not on the shelf: $ expressions in its config, and code that comes with it, run here"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, as all others."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(message.removeprefix("argument ").replace("expected one argument", "a value is needed"))

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:
        parsed, unknown = self.parse_known_args(args)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings if flag != "-h"]
            raise not_found("flag", unknown[0], self.prog.split(".")[-1], [*flags, *self.more_flags])
        return parsed

    more_flags: tuple[str, ...] = ()
    """Flags that are taken out of the arguments before the parser sees them."""


def whole_number(text: str) -> int:
    """An argument that must be a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None


def number(text: str) -> float:
    """An argument that must be a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None


def note_trust(bundle: str) -> None:
    """Say that a bundle given by its path is run as the program that it is."""
    if not shelf.is_on(shelf.BUNDLES, bundle) and Path(bundle).expanduser().exists():
        print(_TRUST.format(bundle), file=sys.stderr)


def answer(work: Callable[[Progress], int]) -> int:
    """Do a door's work and return its exit code: that of ``work``, 2 for a wrong request, 1 for a failure."""
    try:
        with stoppable() as check_stop:
            return work(Progress(check_stop))
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # One that names a file is about a path that was asked for; else a device, a disk or a pipe failed.
        where = f"{error.filename}: " if error.filename else ""
        print(f"{'error' if where else 'failed'}: {where}{error.strerror}; what was finished is kept", file=sys.stderr)
        return 2 if where else 1
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        print("failed: there is not enough memory; what was finished is kept", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what was finished is kept, and the same command goes on from there", file=sys.stderr)
        return 1


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    from medquanbench.device import is_out_of_memory  # loads torch; a RuntimeError of a door without it is a bug

    return is_out_of_memory(error)
