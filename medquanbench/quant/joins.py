"""Joins: which tensors of a forward were concatenated, and from how many channels each."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch.overrides import TorchFunctionMode

_CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)


class Joins(TorchFunctionMode):
    """While it is entered, remembers what ``torch.cat`` made; asked of a tensor, it says what that was made of."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[weakref.ref, int, tuple[int, ...]]] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in _CONCATENATIONS:
            self._note(result, *_of(args, kwargs or {}))
        return result

    def _note(self, result: torch.Tensor, tensors: Sequence[torch.Tensor], dim: int) -> None:
        if all(tensor.dim() == result.dim() for tensor in tensors):  # torch also takes empty vectors
            sizes = tuple(tensor.shape[dim] for tensor in tensors)
            axis = dim - result.dim() if dim >= 0 else dim
            self._made[result.untyped_storage().data_ptr()] = (weakref.ref(result), axis, sizes)

    def sections(self, tensor: torch.Tensor, axis: int) -> tuple[int, ...]:
        """Channels of each part that a tensor was concatenated from, along an axis that is counted from the end.

        Empty where it is no concatenation, or one along another axis.
        """
        made, dim, sizes = self._made.get(tensor.untyped_storage().data_ptr(), (None, 0, ()))
        whole = made() if made is not None else None  # memory that was freed may hold another tensor by now
        return sizes if whole is not None and whole.shape == tensor.shape and dim == axis and len(sizes) > 1 else ()


def _of(args: tuple, kwargs: dict) -> tuple[Sequence[torch.Tensor], int]:
    """The tensors and the axis of a call of ``torch.cat``."""
    given = dict(zip(("tensors", "dim"), args)) | kwargs
    return given["tensors"], given.get("dim", given.get("axis", 0))
