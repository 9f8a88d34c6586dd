"""What every benchmark does with its result: JSON and Markdown beside each other, and the Markdown on the terminal."""

from __future__ import annotations

import json
from pathlib import Path


def write(result: dict, text: str, out: Path, show: bool = True) -> None:
    """Write ``out.json`` and ``out.md`` and print the text; ``out`` has no suffix, its folder is made."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(text)
    if show:
        print(text)
