"""MedFormer's semantic maps and bidirectional attention (section 3 of arXiv:2203.00131).

Origin and licence: see medformer_layers.py. A semantic map holds a few codes, arranged as a small volume, that stand
for the whole window: (batch, channel, mz, my, mx).
"""

from __future__ import annotations

import torch
from torch import nn

from medquanbench.networks.medformer_layers import (
    PLAIN_EPS,
    POINT,
    ConvNormAct,
    DepthwiseSeparableConv,
    MBConv,
    Triple,
    convolution,
)

_FULL: Triple = (3, 3, 3)


class SemanticMapGeneration(nn.Module):
    """Each code is a mean of the projected features over all voxels, with weights of its own that sum to 1."""

    def __init__(self, width: int, map_width: int, map_size: Triple) -> None:
        super().__init__()
        self.map_size = map_size
        self.base_proj = convolution(width, map_width, _FULL)
        self.semantic_proj = convolution(width, map_size[0] * map_size[1] * map_size[2], _FULL)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        base = self.base_proj(x).flatten(2)
        weights = self.semantic_proj(x).flatten(2).softmax(-1)
        return (base @ weights.transpose(1, 2)).unflatten(2, self.map_size)


class BidirectionalAttention(nn.Module):
    """Voxels attend to codes and codes to voxels, by one and the same table of products (B-MHA).

    Queries serve as keys of the other side. Channel c of q and v belongs to head c % heads.

    Args:
        last: the map that comes out is not read again, and `map_out` has no parameters.
    """

    def __init__(self, inputs: int, outputs: int, map_width: int, heads: int, kernel: Triple, *, last: bool) -> None:
        super().__init__()
        self.heads, self.head_width = heads, outputs // heads
        inner = self.heads * self.head_width
        self.feat_qv = DepthwiseSeparableConv(inputs, 2 * inner, kernel)
        self.feat_out = DepthwiseSeparableConv(inner, outputs, kernel)
        self.map_qv = convolution(map_width, 2 * inner, POINT)
        self.map_out = nn.Identity() if last else convolution(inner, map_width, POINT)

    def forward(self, x: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q, v = self._heads(self.feat_qv(x))
        map_q, map_v = self._heads(self.map_qv(codes))
        products = map_q.transpose(-1, -2) @ q * self.head_width**-0.5  # (b, head, code, voxel)
        to_voxels = map_v @ products.softmax(-2)
        to_codes = v @ products.softmax(-1).transpose(-1, -2)
        return self.feat_out(self._merged(to_voxels, x)), self.map_out(self._merged(to_codes, codes))

    def _heads(self, qv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        split = qv.flatten(2).unflatten(1, (2, self.head_width, self.heads)).transpose(2, 3)
        return split[:, 0], split[:, 1]  # (b, head, head_width, place)

    def _merged(self, heads: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return heads.transpose(1, 2).flatten(1, 2).unflatten(2, like.shape[2:])


class AttentionBlock(nn.Module):
    """Bidirectional attention with residuals on both sides, then MBConv on the features."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        map_width: int,
        heads: int,
        kernel: Triple,
        expansion: int,
        eps: float,
        *,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.InstanceNorm3d(inputs, PLAIN_EPS)
        self.norm2 = nn.InstanceNorm3d(map_width, PLAIN_EPS)
        self.attn = BidirectionalAttention(inputs, outputs, map_width, heads, kernel, last=last)
        self.shortcut = nn.Identity() if inputs == outputs else ConvNormAct(inputs, outputs, POINT, eps)
        self.feedforward = MBConv(outputs, kernel, expansion, eps)

    def forward(self, x: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, read = self.attn(self.norm1(x), self.norm2(codes))
        return self.feedforward(features + self.shortcut(x)), read + codes


class AttentionStack(nn.Module):
    """The attention blocks of a stage, one after the other on (features, map)."""

    def __init__(self, blocks: list[AttentionBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for block in self.blocks:
            x, codes = block(x, codes)
        return x, codes
