"""STU-Net: a residual U-Net that is scaled in width and depth, from 14.6 to 1457 million parameters.

Origin: Huang et al., STU-Net: Scalable and Transferable Medical Image Segmentation Models Empowered by Large-Scale
Supervised Pre-training, arXiv:2304.06716; uni-medical/STU-Net@0652eaf (Apache-2.0). Written for this package from a
description of the structure; state-dict keys and shapes are those of the published checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with instance norm; the shortcut is a 1x1x1 convolution (``conv3``) or the input itself.

    ``(n, in_channels, d, h, w) -> (n, out_channels, d / stride, h / stride, w / stride)``. ``conv3`` has a bias and no
    norm. The first block of a stage has it even where neither width nor size changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int], project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, tuple(stride), padding=1)
        self.norm1 = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)
        self.act1 = nn.LeakyReLU(0.01, inplace=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)
        self.conv3 = nn.Conv3d(in_channels, out_channels, 1, tuple(stride)) if project else None
        self.act2 = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return self.act2(y + (x if self.conv3 is None else self.conv3(x)))


class Upsampling(nn.Module):
    """Nearest-neighbour up-sampling by whole factors, then a 1x1x1 convolution with bias."""

    def __init__(self, in_channels: int, out_channels: int, factors: Sequence[int]) -> None:
        super().__init__()
        self.factors = tuple(float(factor) for factor in factors)
        self.conv = nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.interpolate(x, scale_factor=self.factors, mode="nearest"))


def _stage(in_channels: int, out_channels: int, blocks: int, stride: Sequence[int] = (1, 1, 1)) -> nn.Sequential:
    rest = (ResidualBlock(out_channels, out_channels, (1, 1, 1), project=False) for _ in range(blocks - 1))
    return nn.Sequential(ResidualBlock(in_channels, out_channels, stride, project=True), *rest)


class STUNet(nn.Module):
    """STU-Net in 3D: ``(n, in_channels, d, h, w) -> (n, out_channels, d, h, w)`` logits.

    Args:
        dims: widths of the stages, the finest first.
        depth: residual blocks of each encoder stage; the decoder stage of the same width has as many.
        pools: strides along the three axes of the array into each stage but the first. No weight's shape depends on
            them: a checkpoint loads with any pools, and wrong ones give other labels.
        deep_supervision: return the logits of every decoder stage, the finest first, each on its own grid.

    Raises:
        ValueError: ``dims``, ``depth`` and ``pools`` do not go together; or, from forward, an axis of the input is no
            multiple of the product of its pools.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dims: Sequence[int],
        depth: Sequence[int],
        pools: Sequence[Sequence[int]],
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if not len(dims) == len(depth) == len(pools) + 1 or any(len(pool) != 3 for pool in pools):
            found = f"{len(dims)} dims, {len(depth)} depths and {len(pools)} pools"
            raise ValueError(f"STUNet needs as many dims as depths, and one pool of 3 axes fewer; it was given {found}")
        self.deep_supervision = deep_supervision
        self.divisors = tuple(math.prod(axis) for axis in zip(*pools))
        first = _stage(in_channels, dims[0], depth[0])
        down = zip(dims, dims[1:], depth[1:], pools)
        self.conv_blocks_context = nn.ModuleList([first, *(_stage(*stage) for stage in down)])
        up = list(zip(dims[1:], dims, depth, pools))[::-1]
        self.upsample_layers = nn.ModuleList(Upsampling(deep, fine, pool) for deep, fine, _, pool in up)
        self.conv_blocks_localization = nn.ModuleList(_stage(2 * fine, fine, blocks) for _, fine, blocks, _ in up)
        self.seg_outputs = nn.ModuleList(nn.Conv3d(fine, out_channels, 1) for _, fine, _, _ in up)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        if any(size % divisor for size, divisor in zip(x.shape[2:], self.divisors)):
            raise ValueError(f"STUNet takes sizes that are multiples of {self.divisors}, not {tuple(x.shape[2:])}")
        skips = []
        for stage in self.conv_blocks_context:
            x = stage(x)
            skips.append(x)
        skips.pop()
        logits = []
        for upsample, stage, head in zip(self.upsample_layers, self.conv_blocks_localization, self.seg_outputs):
            x = stage(torch.cat([upsample(x), skips.pop()], dim=1))
            if self.deep_supervision:
                logits.append(head(x))
        return tuple(logits[::-1]) if self.deep_supervision else self.seg_outputs[-1](x)
