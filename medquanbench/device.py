"""Whether a device is there, and has memory left (floor 2)."""

import re

import torch

from medquanbench.values import RequestError


def check_device(device: str) -> None:
    """Refuse a device that this machine, or this build of torch, does not have.

    Raises:
        RequestError: no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        why = "no GPU, no driver, or a torch without CUDA"
        raise RequestError(f"--device cuda: torch sees no CUDA device here ({why}); there is: cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """True for an error that says that the machine or the device has not enough memory."""
    # torch says so of the CPU in a bare RuntimeError.
    words = re.search(r"out of memory|can't allocate memory", str(error))
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and words is not None)
