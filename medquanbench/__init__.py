"""MedQuanBench: what 8-bit and 4-bit quantization does to a 3D medical segmentation model."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.4.0"

_HOMES = {
    "Recipe": "medquanbench.values",
    "quantize": "medquanbench.quant",
    "open_bundle": "medquanbench.bundle",
    "open_dataset": "medquanbench.dataset",
    "evaluate": "medquanbench.study",
}

__all__ = ["Recipe", "__version__", "evaluate", "open_bundle", "open_dataset", "quantize"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds, and --help must not wait for it.
    if name not in _HOMES:
        raise AttributeError(f"module 'medquanbench' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
