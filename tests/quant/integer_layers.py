"""Layers in exact integers: a second implementation in NumPy, which knows nothing of torch's convolutions.

Given float64 they compute the same sums in float64.
"""

import itertools

import numpy as np
import torch
from torch import nn


def integer_convolution(x: np.ndarray, w: np.ndarray, stride, padding, dilation, groups: int) -> np.ndarray:
    """int64 (n, c, ...) and (o, c / groups, ...) -> int64, one tap of the kernel after the other."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    kernel = w.shape[2:]
    size = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    out = np.zeros((x.shape[0], w.shape[0], *size), x.dtype)
    inputs, outputs = x.shape[1] // groups, w.shape[0] // groups
    for group, tap in itertools.product(range(groups), itertools.product(*map(range, kernel))):
        steps = zip(tap, dilation, size, stride)
        seen = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in steps)
        part = x[(slice(None), slice(group * inputs, (group + 1) * inputs), *seen)]
        rows = slice(group * outputs, (group + 1) * outputs)
        out[:, rows] += np.einsum("nc...,oc->no...", part, w[(rows, slice(None), *tap)])
    return out


def integer_transposed(x: np.ndarray, w: np.ndarray, stride, padding, dilation, groups: int) -> np.ndarray:
    """int64 (n, c, ...) and (c, o / groups, ...) -> int64: every input value stamps the kernel."""
    kernel = w.shape[2:]
    size = [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    inputs, outputs = x.shape[1] // groups, w.shape[1]
    out = np.zeros((x.shape[0], outputs * groups, *size), x.dtype)
    for group, tap in itertools.product(range(groups), itertools.product(*map(range, kernel))):
        steps = zip(tap, dilation, x.shape[2:], stride)
        where = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in steps)
        columns = slice(group * inputs, (group + 1) * inputs)
        stamped = np.einsum("nc...,co->no...", x[:, columns], w[(columns, slice(None), *tap)])
        out[(slice(None), slice(group * outputs, (group + 1) * outputs), *where)] += stamped
    return out[(..., *(slice(p, n - p) for p, n in zip(padding, size)))]


def integer_output(layer: nn.Module, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    if isinstance(layer, nn.Linear):
        return x @ w.T
    compute = integer_transposed if layer.transposed else integer_convolution
    return compute(x, w, layer.stride, layer.padding, layer.dilation, layer.groups)


def integers(x: np.ndarray, axes: tuple[int, ...], bits: int) -> tuple[np.ndarray, np.ndarray]:
    """q as int64 and S, one scale for all but the given axes."""
    shared = tuple(i for i in range(x.ndim) if i not in axes)
    scale = np.abs(x.astype(np.float32)).max(axis=shared, keepdims=True) / np.float32(2 ** (bits - 1) - 1)
    return np.rint(x.astype(np.float32) / scale).astype(np.int64), scale.astype(np.float64)


def output_channels(layer: nn.Module, values: np.ndarray) -> np.ndarray:
    """One value an output channel, where the output has its channels."""
    if isinstance(layer, nn.Linear):
        return values.reshape(-1)
    return values.reshape(-1, *[1] * (layer.weight.dim() - 2))


def weight_integers(layer: nn.Module, policy: str, bits: int) -> tuple[np.ndarray, np.ndarray]:
    w = layer.weight.detach().numpy()
    if policy == "per-tensor":
        return integers(w, (), bits)
    if not getattr(layer, "transposed", False):
        return integers(w, (0,), bits)
    blocks = [integers(block, (1,), bits) for block in np.split(w, layer.groups)]
    return np.concatenate([q for q, _ in blocks]), np.concatenate([scale.reshape(-1) for _, scale in blocks])


def expected(layer: nn.Module, x: torch.Tensor, policy: str, bits: int) -> np.ndarray:
    """What a layer computes in integers, with one activation scale a sample and weight scales as the policy says."""
    q_x, scale_x = integers(x.numpy(), (0,), bits)
    q_w, scale_w = weight_integers(layer, policy, bits)
    bias = 0.0 if layer.bias is None else output_channels(layer, layer.bias.detach().numpy())
    return integer_output(layer, q_x, q_w) * (scale_x * output_channels(layer, scale_w)) + bias
