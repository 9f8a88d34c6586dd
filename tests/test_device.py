"""Devices and their memory."""

from __future__ import annotations

import pytest
import torch

from medquanbench.device import check_device, is_out_of_memory
from medquanbench.values import RequestError


def test_the_cpu_is_always_there_and_a_gpu_may_not():
    check_device("cpu")
    if torch.cuda.is_available():
        check_device("cuda")
    else:
        with pytest.raises(RequestError, match="--device cuda: torch sees no CUDA device here .*; there is: cpu"):
            check_device("cuda")


def test_what_torch_says_where_memory_ends():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shapes do not match")) and not is_out_of_memory(
        ValueError("out of memory")
    )
