"""The two ways in which a command ends without its result."""

import difflib


class RequestError(Exception):
    """The request is wrong (exit code 2). The message says what was asked, where it was sought and what there is."""


class RunError(Exception):
    """The request was right and the run failed (exit code 1). What was finished is kept."""


def not_found(
    what: str, asked: str, where: str, available: list[str] | tuple[str, ...], *, near: bool = False
) -> RequestError:
    """The error for a name that is not there: ``what`` was ``asked`` for, sought in ``where``; what is there.

    Args:
        near: name the one that is spelt most alike, too: for long lists.
    """
    there = ", ".join(sorted(available)) or "none"
    alike = difflib.get_close_matches(asked, available, 1) if near else []
    return RequestError(
        f"no {what} '{asked}' in {where}; there is: {there}" + "".join(f"; '{a}' is near" for a in alike)
    )
