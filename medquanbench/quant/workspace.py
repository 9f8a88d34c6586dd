"""Workspace: memory that one layer after the other quantizes its input in."""

from __future__ import annotations

import weakref

import numpy as np
import torch


class Workspace:
    """Lends the same memory again as soon as nobody holds what was made of it.

    Fresh memory for every layer costs more than the arithmetic of quantization, since the system hands out and clears
    each page of it.
    """

    def __init__(self) -> None:
        self._rooms: list[tuple[np.ndarray, weakref.ref]] = []

    def like(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """A float32 tensor of the same shape, of any content; None where torch must say how the result lies in memory.

        It lies in memory as the result of an operation on ``tensor`` would. Whoever keeps it, a view of it, or has
        autograd keep it, has it for good: the next one then gets other memory.
        """
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            return None
        memory = user = None
        try:
            memory, user = self._rooms.pop()  # taken before it is looked at, so that no two threads get the same
        except IndexError:
            pass
        if memory is None or memory.size < tensor.numel() or user() is not None:
            memory = None  # let go before there is more
            memory = torch.empty(tensor.numel()).numpy()
        lent = memory[: tensor.numel()]
        # torch holds this very array as long as any tensor lives in it.
        self._rooms.append((memory, weakref.ref(lent)))
        return torch.from_numpy(lent).view(tensor.shape)

    def clear(self) -> None:
        """Forget the memory; it is freed when the last tensor in it is."""
        self._rooms.clear()
