"""The convolutional parts of MedFormer.

Origin: Gao et al., "A Data-scalable Transformer for Medical Image Segmentation: Architecture, Model Efficiency, and
Benchmark", arXiv:2203.00131; names of parameters as in yhygao/CBIM-Medical-Image-Segmentation@7c26979 (Apache-2.0).
Written for this project from a description of that network; no code is taken over.

Axes of all tensors: (batch, channel, z, y, x). Norms are instance norms without parameters.
"""

from __future__ import annotations

import torch
from torch import nn

Triple = tuple[int, int, int]
POINT: Triple = (1, 1, 1)
# Norms that are built outside of a ConvNormAct keep torch's eps; those inside were changed to 1e-4 in March 2023.
PLAIN_EPS = 1e-5


def convolution(inputs: int, outputs: int, kernel: Triple, groups: int = 1, bias: bool = False) -> nn.Conv3d:
    """A convolution of stride 1 that keeps the size."""
    padding = tuple(edge // 2 for edge in kernel)
    return nn.Conv3d(inputs, outputs, kernel, padding=padding, groups=groups, bias=bias)


class ConvNormAct(nn.Module):
    """In this order: instance norm, ReLU unless `act` is False, convolution without bias."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Triple, eps: float, *, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(inputs, eps)
        self.act = nn.ReLU() if act else nn.Identity()
        self.conv = convolution(inputs, outputs, kernel, groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.activated(x))

    def activated(self, x: torch.Tensor) -> torch.Tensor:
        """What the convolution is given."""
        return self.act(self.norm(x))


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut, which has the full kernel where the width changes; nothing after the sum.

    Args:
        first: kernel of the first convolution, where it is another one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Triple, eps: float, *, first: Triple | None = None) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(inputs, outputs, first or kernel, eps)
        self.conv2 = ConvNormAct(outputs, outputs, kernel, eps)
        self.shortcut = nn.Identity() if inputs == outputs else ConvNormAct(inputs, outputs, kernel, eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.shortcut, nn.Identity):
            return self.conv2(self.conv1(x)) + x
        # The two norms of the widest tensor are one: they have no parameters.
        x = self.conv1.activated(x)
        return self.conv2(self.conv1.conv(x)) + self.shortcut.conv(x)


class DepthwiseSeparableConv(nn.Module):
    """A depthwise convolution, then 1x1x1; no bias, no norm or activation between."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple) -> None:
        super().__init__()
        self.depthwise = convolution(inputs, inputs, kernel, groups=inputs)
        self.pointwise = convolution(inputs, outputs, POINT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.depthwise(x))


class SqueezeExcitation(nn.Module):
    """Every channel times a number in (0, 1) that all channels' means decide on."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.excitation = nn.Sequential(
            convolution(width, squeezed, POINT, bias=True),
            nn.ReLU(),
            convolution(squeezed, width, POINT, bias=True),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.excitation(x.mean((2, 3, 4), keepdim=True))


class MBConv(nn.Module):
    """Inverted bottleneck with squeeze-and-excitation and a residual: the feed-forward part of an attention block."""

    def __init__(self, width: int, kernel: Triple, expansion: int, eps: float) -> None:
        super().__init__()
        wide = expansion * width
        self.expand_proj = ConvNormAct(width, wide, POINT, eps)
        self.depthwise = ConvNormAct(wide, wide, kernel, eps, groups=wide)
        self.se = SqueezeExcitation(wide, wide // 4)
        self.pointwise = ConvNormAct(wide, width, POINT, eps, act=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.se(self.depthwise(self.expand_proj(x)))) + x


class PatchMerging(nn.Module):
    """Space-to-depth by (z, y, x) factors, norm, and a depthwise separable convolution to the new width."""

    def __init__(self, inputs: int, outputs: int, scale: Triple, kernel: Triple) -> None:
        super().__init__()
        self.scale = scale
        merged = inputs * scale[0] * scale[1] * scale[2]
        self.norm = nn.InstanceNorm3d(merged, PLAIN_EPS)
        self.reduction = DepthwiseSeparableConv(merged, outputs, kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.reduction(self.norm(space_to_depth(x, self.scale)))


def space_to_depth(x: torch.Tensor, scale: Triple) -> torch.Tensor:
    """(b, c, z, y, x) -> (b, sz sy sx c, z/sz, y/sy, x/sx), sz, sy, sx the scale.

    Block (dz sy + dy) sx + dx of c channels is the sub-lattice that begins at voxel (dz, dy, dx).

    Raises:
        ValueError: a size that its factor does not divide.
    """
    sz, sy, sx = scale
    if any(size % factor for size, factor in zip(x.shape[2:], scale)):
        raise ValueError(f"{tuple(x.shape[2:])} voxels (z, y, x) cannot be merged by {scale}: they do not divide")
    blocks = [x[:, :, dz::sz, dy::sy, dx::sx] for dz in range(sz) for dy in range(sy) for dx in range(sx)]
    return torch.cat(blocks, dim=1)
