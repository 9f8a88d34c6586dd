"""Whether a device is there (floor 2)."""

import torch

from medquanbench.values import RequestError


def check_device(device: str) -> None:
    """Refuse a device that this machine, or this build of torch, does not have.

    Raises:
        RequestError: no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RequestError(f"--device cuda: torch {torch.__version__} sees no CUDA device here; there is: cpu")
