"""NesT: the nested transformer encoder of UNesT, in three dimensions.

Origin: written from the description of MASILab/UNesT @75386be (MIT; it follows timm's NesT, Apache-2.0) and of
Project-MONAI/model-zoo @dfae206, whose outputs agree with each other; no code of theirs is here. Zhang et al., Nested
Hierarchical Transformer, AAAI 2022, arXiv:2105.12723; Yu et al., UNesT, Medical Image Analysis 90, 2023,
arXiv:2209.14378. Licence of this file: that of the package (Apache-2.0).

Names of modules and parameters are those of the published weights, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.layers import DropPath
from torch import Tensor, nn

# Blocks an axis at each level: 64, 8 and 1 in all. They are merged two by two, so the block itself keeps its size.
BLOCKS = (4, 2, 1)
PATCH = 4
EPS = 1e-6


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between: ``(..., width) -> (..., width)``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class BlockAttention(nn.Module):
    """Multi-head self-attention within each block: ``(batch, block, token, width)`` -> the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be split into {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, blocks, tokens, width = x.shape
        split = self.qkv(x).reshape(batch, blocks, tokens, 3, self.heads, width // self.heads)
        q, k, v = split.permute(3, 0, 1, 4, 2, 5)  # each (batch, block, head, token, channel of the head)
        weights = (q * (width // self.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        # Merged with the head fastest (channel = d * heads + head), split with the head slowest: so the weights were
        # trained.
        merged = (weights @ v).permute(0, 1, 3, 4, 2).reshape(batch, blocks, tokens, width)
        return self.proj(merged)


class TransformerLayer(nn.Module):
    """Attention and MLP, each after a layer norm and with a residual: ``(batch, block, token, width)`` -> the same."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = BlockAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class BlockMerging(nn.Module):
    """Convolution, layer norm over channels, max-pool by two: ``(b, in, x, y, z) -> (b, out, x/2, y/2, z/2)``."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_width, out_width, 3, padding=1)
        self.norm = nn.LayerNorm(out_width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x).movedim(1, -1)).movedim(-1, 1)
        return F.max_pool3d(x, 3, stride=2, padding=1)


def to_blocks(x: Tensor, edge: Sequence[int]) -> Tensor:
    """Cut ``(b, x, y, z, c)`` into blocks of ``edge`` tokens: ``(b, block, token, c)``, the last axis fastest."""
    batch, channels = x.shape[0], x.shape[-1]
    counts = [size // part for size, part in zip(x.shape[1:4], edge)]
    x = x.reshape(batch, counts[0], edge[0], counts[1], edge[1], counts[2], edge[2], channels)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, counts[0] * counts[1] * counts[2], -1, channels)


def from_blocks(x: Tensor, edge: Sequence[int], blocks: int) -> Tensor:
    """The inverse of :func:`to_blocks`, for ``blocks`` blocks an axis."""
    batch, channels = x.shape[0], x.shape[-1]
    x = x.reshape(batch, blocks, blocks, blocks, *edge, channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(batch, *(blocks * part for part in edge), channels)


class Level(nn.Module):
    """One level of the hierarchy: merging (but for the first), position embedding, transformer layers in blocks."""

    def __init__(
        self,
        in_width: int | None,
        width: int,
        heads: int,
        blocks: int,
        edge: tuple[int, int, int],
        mlp_ratio: float,
        drop_paths: Sequence[float],
    ) -> None:
        super().__init__()
        self.blocks, self.edge = blocks, edge
        self.pos_embed = nn.Parameter(torch.zeros(1, blocks**3, edge[0] * edge[1] * edge[2], width))
        self.pool = nn.Identity() if in_width is None else BlockMerging(in_width, width)
        self.transformer_encoder = nn.Sequential(
            *(TransformerLayer(width, heads, mlp_ratio, rate) for rate in drop_paths)
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = to_blocks(self.pool(x).movedim(1, -1), self.edge) + self.pos_embed
        return from_blocks(self.transformer_encoder(tokens), self.edge, self.blocks).movedim(-1, 1)


class PatchEmbedding(nn.Module):
    """One token for 4 x 4 x 4 voxels: ``(b, in, x, y, z) -> (b, width, x/4, y/4, z/4)``."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(in_channels, width, PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class NestEncoder(nn.Module):
    """Three levels of 64, 8 and 1 blocks.

    Args:
        in_channels: channels of the image.
        img_size: voxels of the window an axis, multiples of 16; a block has an edge of a sixteenth of it.
        embed_dims, num_heads, depths: width, heads and transformer layers of each level.
        mlp_ratio: hidden width of the MLPs in widths of the level.
        drop_path_rate: stochastic depth of the last layer while training; it rises from 0 in equal steps.
    """

    def __init__(
        self,
        in_channels: int,
        img_size: Sequence[int],
        embed_dims: Sequence[int],
        num_heads: Sequence[int],
        depths: Sequence[int],
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        edge = tuple(size // (PATCH * BLOCKS[0]) for size in img_size)
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist()
        self.patch_embed = PatchEmbedding(in_channels, embed_dims[0])
        self.levels = nn.ModuleList()
        for i, (width, heads, depth, blocks) in enumerate(zip(embed_dims, num_heads, depths, BLOCKS)):
            taken = sum(depths[:i])
            before = embed_dims[i - 1] if i else None
            own = rates[taken : taken + depth]
            self.levels.append(Level(before, width, heads, blocks, edge, mlp_ratio, own))
        self.norm = nn.LayerNorm(embed_dims[-1], eps=EPS)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for level in self.levels:
            nn.init.trunc_normal_(level.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``(b, in, x, y, z)`` -> the last level's output after the final norm, and the hidden states.

        The hidden states are the patch embedding and the output of each level, (b, width, x', y', z') with x' a 4th,
        4th, 8th and 16th of x; the last one is taken before the final norm.
        """
        hidden = [self.patch_embed(x)]
        for level in self.levels:
            hidden.append(level(hidden[-1]))
        return self.norm(hidden[-1].movedim(1, -1)).movedim(-1, 1), hidden
