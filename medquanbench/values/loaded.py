"""Loaded: how the tensors of a checkpoint came into a network; the receipt of the weights."""

from __future__ import annotations

from dataclasses import dataclass

_NAMED = 3


@dataclass(frozen=True)
class Loaded:
    """How the tensors of a checkpoint came into a network.

    Attributes:
        under: the key of the file under which they lay, e.g. ``ema_model_state_dict``; "" where they lay bare.
        passed_over: other keys of the file under which such tensors lay, and were not taken.
        prefix: what was taken off the front of every name, e.g. ``module.``.
        key_map: name of the key map by which they fit, "" where none was needed.
        renamed: (old, new) beginnings of names that the key map changed.
        dropped: names in the file, without the prefix, that by the key map no living parameter needs.
        left: the network's own tensors, by name, that by the key map its forward never reads and the file lacks.
    """

    under: str = ""
    passed_over: tuple[str, ...] = ()
    prefix: str = ""
    key_map: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def in_words(self) -> str:
        """What was not plain about it, as the rest of a sentence; empty where the names were the network's own."""
        return ", ".join(filter(None, (
            f"read under '{self.under}'" if self.under else "",
            f"not under {' or '.join(map(repr, self.passed_over))}" if self.passed_over else "",
            f"'{self.prefix}' taken off all names" if self.prefix else "",
            f"by the key map {self.key_map}" if self.key_map else "",
            *(f"'{old}' renamed '{new}'" for old, new in self.renamed),
            _counted("dropped", self.dropped),
            _counted("never read, left as built", self.left),
        )))  # fmt: skip


def _counted(what: str, names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = ", ..." * (len(names) > _NAMED)
    return f"{len(names)} tensor{'s' * (len(names) > 1)} {what} ({', '.join(names[:_NAMED])}{more})"
