"""GPTQ: columns are rounded one after the other, and each takes over the error of those before it.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022, equations 2
to 4. With H = V V^T, V upper triangular, the error d H d^T of a row d is |d V|^2, and its j-th term holds d_0 .. d_j
alone. So the rounding that GPTQ reaches through the inverse of H is: round column j where its term is least,

    q_j = round(w_j + (sum over i < j of (w_i - q_i) V_ij) / V_jj)

which is Babai's nearest plane and needs neither H^-1 nor changed weights.
"""

from __future__ import annotations

import torch

from medquanbench.quant.grid import Grid
from medquanbench.quant.rounding.error import output_error
from medquanbench.quant.rounding.nearest import nearest
from medquanbench.values import RunError

DAMP = 0.01
"""Of the mean of H's diagonal, added to the diagonal (Frantar et al., section 3.3, step 3)."""
LAZY = 128
"""Columns after which the errors of all columns before are taken over at once (section 3.3, step 2)."""
_TRIES = 8


@torch.no_grad()
def gptq(
    weight: torch.Tensor,
    gram: torch.Tensor,
    scale: torch.Tensor,
    grid: Grid,
    damp: float = DAMP,
    falling: bool = True,
) -> torch.Tensor:
    """A weight on its grid, such that the layer's output changes little. Never worse than rounding to nearest.

    A row whose error d H d^T would be larger than with its nearest values gets these. A column that the layer's inputs
    never reach (a zero on H's diagonal) gets its nearest values too.

    Args:
        weight: rows of a layer, or of each of its groups: float32 (..., o, k).
        gram: H, float32 (..., k, k), symmetric and positive semidefinite.
        scale: float32, (..., o, 1) or (..., o, k).
        grid: the values of weight / scale.
        damp: see ``DAMP``.
        falling: round the columns with the largest diagonal of H first ("act order"); else from the first to the last.

    Returns:
        values of the grid times the scale, float32 (..., o, k).

    Raises:
        RunError: NaN or infinity in the weight or in H.
    """
    rounded = nearest_plane(weight, gram, scale, grid, damp, falling)[0]
    plain = nearest(weight, scale, grid)
    better = output_error(weight - rounded, gram) < output_error(weight - plain, gram)
    return torch.where(better, rounded, plain)


@torch.no_grad()
def nearest_plane(
    weight: torch.Tensor,
    gram: torch.Tensor,
    scale: torch.Tensor,
    grid: Grid,
    damp: float = DAMP,
    falling: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What GPTQ rounds to, even where nearest values would be better; arguments and errors as of :func:`gptq`.

    Returns:
        values of the grid times the scale, (..., o, k);
        d (H + damping) d^T of each row, (..., o, 1), which comes with the rounding.
    """
    if not (torch.isfinite(weight).all() and torch.isfinite(gram).all()):
        raise RunError("NaN or infinity in the weight, or in what the layer reads of the calibration cases")
    order = _order(gram, falling)
    columns = order[..., None].expand(weight.mT.shape)
    turned = weight.mT.gather(-2, columns)
    steps = scale.expand(weight.shape).mT.gather(-2, columns)
    found, error = _nearest_plane(turned, _lower_factor(gram, order, damp), steps, grid)
    return torch.empty_like(found).scatter_(-2, columns, found).mT, error[..., None]


def _order(gram: torch.Tensor, falling: bool) -> torch.Tensor:
    """Columns in the order of V: those that are rounded first stand last."""
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    if not falling:
        return torch.arange(gram.shape[-1] - 1, -1, -1, device=gram.device).expand(diagonal.shape)
    return diagonal.argsort(dim=-1, descending=True, stable=True).flip(-1)


def _lower_factor(gram: torch.Tensor, order: torch.Tensor, damp: float) -> torch.Tensor:
    """L with L L^T = H + damping, its rows and columns in this order: V of the opposite order, turned around."""
    size = gram.shape[-1]
    groups, columns = torch.arange(gram[..., 0, 0].numel(), device=gram.device)[:, None, None], order.reshape(-1, size)
    # By one index, since each copy of a large layer's H takes 300 MB.
    matrix = gram.reshape(-1, size, size)[groups, columns[:, :, None], columns[:, None, :]].reshape(gram.shape)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    mean = diagonal.mean(-1, keepdim=True)
    # A column that nothing reaches stands alone: any positive number does.
    diagonal += torch.where(diagonal > 0, damp * mean, torch.where(mean > 0, mean, 1.0))
    extra = max(damp, 1e-6) * torch.where(mean > 0, mean, 1.0)
    for _ in range(_TRIES):
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not failed.any():
            return factor
        diagonal += extra * (failed > 0)[..., None]
        extra = 10 * extra
    raise RunError("the statistics of the layer's input are no Gram matrix: they are far from positive semidefinite")


def _nearest_plane(
    weight: torch.Tensor, lower: torch.Tensor, scale: torch.Tensor, grid: Grid
) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns of the weight as rows, rounded from the last to the first, (..., k, o), and their errors, (..., o).

    The factor is (..., k, k).
    """
    count = weight.shape[-2]
    rounded, missed = torch.empty_like(weight), torch.empty_like(weight)
    error = torch.zeros_like(weight[..., 0, :])
    diagonal = lower.diagonal(dim1=-2, dim2=-1)
    for stop in range(count, 0, -LAZY):
        start = max(stop - LAZY, 0)
        taken = (lower[..., start:, start:stop] / diagonal[..., None, start:stop]).mT
        target = weight[..., start:stop, :] + taken[..., stop - start :] @ missed[..., stop:, :]
        for column in reversed(range(start, stop)):
            place = column - start
            inner = taken[..., place, None, place + 1 : stop - start] @ missed[..., column + 1 : stop, :]
            aim, step = target[..., place, :].add_(inner[..., 0, :]), scale[..., column, :]
            rounded[..., column, :] = grid.round_(aim / step) * step
            missed[..., column, :] = weight[..., column, :] - rounded[..., column, :]
        left = (target - rounded[..., start:stop, :]) * diagonal[..., start:stop, None]
        error += left.square_().sum(-2)
    return rounded, error
