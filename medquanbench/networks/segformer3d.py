"""SegFormer3D: a hierarchical transformer encoder with spatially reduced attention, and a decoder of linear layers.

Origin: Perera, Navard, Yilmaz, SegFormer3D: An Efficient Transformer for 3D Medical Image Segmentation, CVPR Workshops
2024, arXiv:2404.10156. Written from a description in words and from the published names and shapes of its tensors. The
authors' own program (OSUPCVLab/SegFormer3D, GPL-3.0) was not read; this file is Apache-2.0, as all of this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1e-5  # of every layer norm and batch norm

ATTENTION_SCALES: dict[str, Callable[[int, int], float]] = {
    "heads-2024": lambda heads, head_dim: 1 / math.sqrt(heads),
    "head-dim-2025": lambda heads, head_dim: 1 / math.sqrt(head_dim),
}
"""Factor of the attention logits, from (heads, channels a head). The same weights answer otherwise under the other."""


@dataclass(frozen=True)
class _Stage:
    """What one stage of the encoder is made of."""

    inputs: int
    dim: int
    heads: int
    depth: int
    reduction: int
    mlp_ratio: int
    kernel: int
    stride: int
    scale: str


class SegFormer3D(nn.Module):
    """``(n, in_channels, x, y, z) -> (n, out_channels, x, y, z)``, logits.

    The size along each axis must be a multiple of the product of the patch strides (32 as published) for every stage
    to see the whole volume. The original folds tokens into a cube; here they return to the grid that they came from,
    which is the same for cubes.

    Args:
        embed_dims, heads, depths, reductions, mlp_ratios: one number a stage. ``reductions`` is the stride at which
            keys and values are taken (``sr`` in the names of the weights).
        patch_kernels, patch_strides: of the convolution that begins a stage; its padding is half the kernel.
        decoder_dim: channels to which the decoder brings every stage.
        attention_scale: ``heads-2024`` as in the release of April 2024, whose weights are the published ones, or
            ``head-dim-2025`` as in the repository since 2025-11-29. No weight's shape tells which.

    Raises:
        ValueError: an option that is not one of these, or lists of different lengths; in ``forward``, a size that is
            no multiple of the first stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embed_dims: Sequence[int] = (32, 64, 160, 256),
        heads: Sequence[int] = (1, 2, 5, 8),
        depths: Sequence[int] = (2, 2, 2, 2),
        reductions: Sequence[int] = (4, 2, 1, 1),
        mlp_ratios: Sequence[int] = (4, 4, 4, 4),
        patch_kernels: Sequence[int] = (7, 3, 3, 3),
        patch_strides: Sequence[int] = (4, 2, 2, 2),
        decoder_dim: int = 256,
        decoder_dropout: float = 0.0,
        attention_scale: str = "heads-2024",
    ) -> None:
        super().__init__()
        if attention_scale not in ATTENTION_SCALES:
            raise ValueError(f"attention_scale is {attention_scale!r}; there is: {', '.join(ATTENTION_SCALES)}")
        inputs = (in_channels, *embed_dims[:-1])
        each = (inputs, embed_dims, heads, depths, reductions, mlp_ratios, patch_kernels, patch_strides)
        if len({len(numbers) for numbers in each}) > 1:
            raise ValueError("embed_dims, heads, depths, reductions, mlp_ratios and patches need a number a stage each")
        if any(width % count for width, count in zip(embed_dims, heads)):
            raise ValueError(f"heads {tuple(heads)} must divide embed_dims {tuple(embed_dims)}")
        stages = [_Stage(*numbers, attention_scale) for numbers in zip(*each, strict=True)]
        self.stride = patch_strides[0]
        self.segformer_encoder = Encoder(stages)
        self.segformer_decoder = Decoder(embed_dims, decoder_dim, out_channels, decoder_dropout)

    def forward(self, x: Tensor) -> Tensor:
        if any(size % self.stride for size in x.shape[2:]):
            there = " x ".join(str(int(size)) for size in x.shape[2:])
            raise ValueError(f"a volume of {there} voxels; every axis must be a multiple of {self.stride}")
        logits = self.segformer_decoder(self.segformer_encoder(x))
        return F.interpolate(logits, scale_factor=float(self.stride), mode="trilinear", align_corners=False)


class Encoder(nn.Module):
    """``(n, c, x, y, z)`` -> the normalised volume of every stage, finest first."""

    def __init__(self, stages: Sequence[_Stage]) -> None:
        super().__init__()
        self.n_stages = len(stages)
        for k, stage in enumerate(stages, 1):
            self.add_module(f"embed_{k}", PatchEmbedding(stage))
        for k, stage in enumerate(stages, 1):
            self.add_module(f"tf_block{k}", nn.ModuleList(Block(stage) for _ in range(stage.depth)))
            self.add_module(f"norm{k}", nn.LayerNorm(stage.dim, eps=_EPS))

    def forward(self, x: Tensor) -> list[Tensor]:
        volumes = []
        for k in range(1, self.n_stages + 1):
            tokens, grid = self.get_submodule(f"embed_{k}")(x)
            for block in self.get_submodule(f"tf_block{k}"):
                tokens = block(tokens, grid)
            x = _fold(self.get_submodule(f"norm{k}")(tokens), grid)
            volumes.append(x)
        return volumes


class PatchEmbedding(nn.Module):
    """A strided convolution; tokens (n, voxel, dim), normalised, and the grid that they lie on."""

    def __init__(self, stage: _Stage) -> None:
        super().__init__()
        padding = stage.kernel // 2
        self.patch_embeddings = nn.Conv3d(stage.inputs, stage.dim, stage.kernel, stage.stride, padding)
        self.norm = nn.LayerNorm(stage.dim, eps=_EPS)

    def forward(self, x: Tensor) -> tuple[Tensor, torch.Size]:
        x = self.patch_embeddings(x)
        return self.norm(_unfold(x)), x.shape[2:]


class Block(nn.Module):
    """A transformer block with the norms before attention and perceptron; (n, voxel, dim) tokens of a grid."""

    def __init__(self, stage: _Stage) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(stage.dim, eps=_EPS)
        self.attention = Attention(stage)
        self.norm2 = nn.LayerNorm(stage.dim, eps=_EPS)
        self.mlp = Perceptron(stage.dim, stage.mlp_ratio * stage.dim)

    def forward(self, x: Tensor, grid: torch.Size) -> Tensor:
        x = x + self.attention(self.norm1(x), grid)
        return x + self.mlp(self.norm2(x), grid)


class Attention(nn.Module):
    """Self-attention whose keys and values come from a coarser grid where ``reduction`` is above 1."""

    def __init__(self, stage: _Stage) -> None:
        super().__init__()
        dim = stage.dim
        self.heads, self.reduction = stage.heads, stage.reduction
        self.scale = ATTENTION_SCALES[stage.scale](stage.heads, dim // stage.heads)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if self.reduction > 1:
            self.sr = nn.Conv3d(dim, dim, self.reduction, self.reduction)
            self.sr_norm = nn.LayerNorm(dim, eps=_EPS)

    def forward(self, x: Tensor, grid: torch.Size) -> Tensor:
        query = self._by_head(self.query(x))
        if self.reduction > 1:
            coarse = self.sr_norm(_unfold(self.sr(_fold(x, grid))))
        else:
            coarse = x
        key, value = (self._by_head(half) for half in self.key_value(coarse).chunk(2, dim=-1))  # keys come first
        weights = torch.softmax(query @ key.transpose(-2, -1) * self.scale, dim=-1)
        return self.proj((weights @ value).transpose(1, 2).flatten(2))

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(n, voxel, channel) -> (n, head, voxel, channel of the head)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Perceptron(nn.Module):
    """Two linear layers with a depthwise convolution over the tokens' grid between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConvolution(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, grid: torch.Size) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), grid)))


class DepthwiseConvolution(nn.Module):
    """Tokens are folded, convolved channel by channel with batch norm, and unfolded."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)
        self.bn = nn.BatchNorm3d(dim, eps=_EPS)

    def forward(self, x: Tensor, grid: torch.Size) -> Tensor:
        return _unfold(self.bn(self.dwconv(_fold(x, grid))))


class Projection(nn.Module):
    """A linear layer over the channels of every voxel; a volume becomes a volume of ``dim`` channels."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, dim)
        self.bn = nn.LayerNorm(dim, eps=_EPS)  # a layer norm, whatever the weights call it

    def forward(self, x: Tensor) -> Tensor:
        return _fold(self.bn(self.proj(_unfold(x))), x.shape[2:])


class Decoder(nn.Module):
    """Volumes of the stages, finest first -> logits on the finest one's grid."""

    def __init__(self, dims: Sequence[int], dim: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.names = [f"linear_c{k}" for k in range(len(dims), 0, -1)]  # coarsest first: the order of concatenation
        for name, inputs in zip(self.names, reversed(dims), strict=True):
            self.add_module(name, Projection(inputs, dim))
        fuse = nn.Conv3d(len(dims) * dim, dim, 1, bias=False)
        self.linear_fuse = nn.Sequential(fuse, nn.BatchNorm3d(dim, eps=_EPS), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.linear_pred = nn.Conv3d(dim, out_channels, 1)

    def forward(self, volumes: Sequence[Tensor]) -> Tensor:
        finest = volumes[0].shape[2:]
        projected = [self.get_submodule(name)(x) for name, x in zip(self.names, reversed(volumes), strict=True)]
        # The finest has that size already, for which interpolation is the identity.
        resized = [F.interpolate(x, size=finest, mode="trilinear", align_corners=False) for x in projected[:-1]]
        fused = self.linear_fuse(torch.cat([*resized, projected[-1]], dim=1))
        return self.linear_pred(self.dropout(fused))


def _fold(tokens: Tensor, grid: torch.Size) -> Tensor:
    """(n, voxel, c) -> (n, c, x, y, z), voxels counted with z fastest."""
    return tokens.transpose(1, 2).unflatten(2, tuple(grid))


def _unfold(volume: Tensor) -> Tensor:
    """(n, c, x, y, z) -> (n, voxel, c)."""
    return volume.flatten(2).transpose(1, 2)
