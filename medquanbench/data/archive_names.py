"""Which names an archive may use: those that mean the same file on every system, below its folder (floor 5)."""

from __future__ import annotations

import re
import unicodedata

_MAX_PATH_BYTES, _MAX_PART_BYTES = 1000, 255
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE)


class Refused(Exception):
    """An archive must not be unpacked: the rest of a sentence that begins with its name."""


def shown(name: str) -> str:
    """A name from an archive for a sentence: short, and without signs that a terminal would obey."""
    plain = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)
    return f"'{plain}'" if len(plain) <= 80 else f"'{plain[:77]}...'"


class Names:
    """The names of one archive, taken one after the other.

    Args:
        limit: how many files and folders there may be.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken: dict[str, tuple[str, bool]] = {}  # as a system that ignores case sees it: spelling, is a folder

    def take(self, name: str, is_folder: bool) -> str:
        """Check a name and note it; the path that it means, empty for the folder itself.

        Raises:
            Refused: it leaves the folder, means different files on different systems, or is taken.
        """
        parts = name.removesuffix("/").split("/")
        while parts and parts[0] == ".":  # tar's way to name the folder itself
            parts = parts[1:]
        if not parts and is_folder:
            return ""
        _check(name, parts)
        for length in range(1, len(parts)):
            self._note("/".join(parts[:length]), True)
        self._note("/".join(parts), is_folder)
        return "/".join(parts)

    def _note(self, path: str, is_folder: bool) -> None:
        key = path.lower() if path.isascii() else unicodedata.normalize("NFKC", path).casefold()
        if key not in self.taken:
            if len(self.taken) >= self.limit:
                raise Refused(f"holds more than {self.limit} files and folders")
            self.taken[key] = (path, is_folder)
            return
        spelling, was_folder = self.taken[key]
        if spelling != path:
            raise Refused(f"holds {shown(spelling)} and {shown(path)}, which many systems take for the same")
        if was_folder != is_folder:
            raise Refused(f"holds {shown(path)} as a file and as a folder")
        if not is_folder:
            raise Refused(f"holds {shown(path)} twice")


def _check(name: str, parts: list[str]) -> None:
    if "\\" in name or ":" in name:
        raise Refused(f"holds {shown(name)}, whose backslash or colon leads elsewhere on other systems")
    if not name or name.startswith("/") or ".." in parts:
        raise Refused(f"holds {shown(name)}, which leaves the folder")
    if not all(parts) or "." in parts or not name.isprintable():
        raise Refused(f"holds {shown(name)}, which is no name for a file")
    for part in parts:
        if _DEVICE.fullmatch(part) or part[-1] in " .":
            raise Refused(f"holds {shown(name)}, which means something else on other systems")
    if len(name.encode()) > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        raise Refused(f"holds {shown(name)}, which is too long a name")
