"""MedFormer's fusion of the semantic maps of three scales: a small transformer over all their codes.

Origin and licence: see medformer_layers.py.
"""

from __future__ import annotations

import torch
from torch import nn

from medquanbench.networks.medformer_layers import POINT, convolution


class PreNorm(nn.Module):
    """``x + fn(norm(x))`` on tokens (batch, token, channel)."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fn(self.norm(tokens)) + tokens


class SelfAttention(nn.Module):
    """Multi-head self-attention; here, unlike in B-MHA, the channels of a head lie together."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.to_qkv = nn.Linear(width, 3 * heads * self.head_width, bias=False)
        self.to_out = nn.Linear(heads * self.head_width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        q, k, v = self.to_qkv(tokens).unflatten(-1, (3, self.heads, self.head_width)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) * self.head_width**-0.5).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers of the tokens' own width with an exact GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(tokens)))


class Transformer(nn.Module):
    """Pairs of self-attention and feed-forward; no norm at the end."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([PreNorm(width, SelfAttention(width, heads)), PreNorm(width, FeedForward(width))])
            for _ in range(depth)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        for attention, feed_forward in self.layers:
            tokens = feed_forward(attention(tokens))
        return tokens


class SemanticMapFusion(nn.Module):
    """Maps of several widths and one size to one width, through a transformer over all codes, and back.

    Args:
        map_widths: channels of the maps, in the order in which their codes follow one another.
    """

    def __init__(self, map_widths: list[int], width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.in_proj = nn.ModuleList(convolution(each, width, POINT) for each in map_widths)
        self.fusion = Transformer(width, heads, depth)
        self.out_proj = nn.ModuleList(convolution(width, each, POINT) for each in map_widths)

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        size = maps[0].shape[2:]
        tokens = torch.cat([proj(each).flatten(2) for proj, each in zip(self.in_proj, maps)], dim=2)
        fused = self.fusion(tokens.transpose(1, 2)).transpose(1, 2).chunk(len(maps), dim=2)
        return [proj(each.unflatten(2, size)) for proj, each in zip(self.out_proj, fused)]
