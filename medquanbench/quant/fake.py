"""Fake quantization: a tensor in, the same tensor moved onto its grid out, in float32 (paper Eq. 1).

    S = max|X| / (2^(N-1) - 1),    q = clamp(round(X / S)),    X_q = q S

S and X/S are true float32 divisions: multiplying by 1/S, as torch's fused kernels do, moves some values a full step.
"""

from __future__ import annotations

import torch

from medquanbench.quant.spec import TensorSpec
from medquanbench.quant.static import Placed, place
from medquanbench.values import RunError


def scale_of(tensor: torch.Tensor, layout: tuple[str, ...], spec: TensorSpec, name: str | None = None) -> torch.Tensor:
    """The scale S of a float32 tensor; its rank is the tensor's, its shape is the granularity. A group of zeros gets 1.

    Args:
        name: of the layer that the tensor enters, for the error.

    Raises:
        RunError: the tensor holds NaN or infinity.
    """
    largest = spec.observer(tensor, spec.granularity.shared(layout))
    # By a tensor, since by a Python number torch multiplies by its reciprocal on CUDA.
    scale = largest / largest.new_full((), spec.grid.largest)
    if torch.compiler.is_compiling():
        scale = _finite(scale, name)
    else:
        _check_finite(scale, name)
    return torch.where(scale > 0, scale, 1.0)


def place_of(tensor: torch.Tensor, layout: tuple[str, ...], spec: TensorSpec, name: str | None = None) -> Placed:
    """The asymmetric grid that spans what a float32 tensor holds, of as many bits as the spec's symmetric one.

    Raises:
        RunError: the tensor holds NaN or infinity.
    """
    shared = spec.granularity.shared(layout)
    low, high = tensor.amin(shared, keepdim=True), tensor.amax(shared, keepdim=True)
    width = high - low
    if torch.compiler.is_compiling():
        low = low + 0.0 * _finite(width, name)
    else:
        _check_finite(width, name)
    return place(low, high, spec.grid.bits)


def _check_finite(scale: torch.Tensor, name: str | None) -> None:
    # A finite sum says that all are finite, in one pass; a rare overflow of the sum is looked at again.
    if not torch.isfinite(scale.sum()) and not torch.isfinite(scale).all():
        where = "" if name is None else f"layer '{name}': "
        raise RunError(f"{where}NaN or infinity in the tensor that is to be quantized")


@torch.library.custom_op("medquanbench::finite", mutates_args=(), schema="(Tensor scale, str? name) -> Tensor")
def _finite(scale: torch.Tensor, name: str | None) -> torch.Tensor:
    """The check as one operation to torch.compile, whose graph a branch on values would cut at every layer."""
    _check_finite(scale, name)
    return scale.clone()


@_finite.register_fake
def _(scale: torch.Tensor, name: str | None) -> torch.Tensor:
    return torch.empty_like(scale)


def quantize_integers(
    tensor: torch.Tensor, scale: torch.Tensor, spec: TensorSpec, out: torch.Tensor | None = None
) -> torch.Tensor:
    """The grid's integers q of a float32 tensor, as float32; in ``out`` where one of the tensor's shape is given."""
    return spec.grid.round_(torch.div(tensor, scale, out=out))


def fake_quantize(tensor: torch.Tensor, layout: tuple[str, ...], spec: TensorSpec) -> torch.Tensor:
    """The tensor on its grid: X_q = q S. Same shape and dtype; arithmetic in float32.

    Args:
        tensor: any floating-point tensor.
        layout: names of its axes.
        spec: grid, granularity and observer.

    Raises:
        RunError: NaN or infinity in the tensor.
    """
    single = tensor.float()
    scale = scale_of(single, layout, spec)
    return quantize_integers(single, scale, spec).mul_(scale).to(tensor.dtype)
