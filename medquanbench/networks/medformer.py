"""MedFormer (3D): a U-Net whose middle stages let voxels and a few semantic codes attend to each other.

Origin: Gao et al., "A Data-scalable Transformer for Medical Image Segmentation: Architecture, Model Efficiency, and
Benchmark", arXiv:2203.00131; keys and shapes of the state dict, and outputs, are those of
yhygao/CBIM-Medical-Image-Segmentation@7c26979 (Apache-2.0). Written for this project from a description of that
network; no code is taken over. Its drop-out rates are 0 in every published configuration and do not exist here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from medquanbench.networks.medformer_attention import AttentionBlock, AttentionStack, SemanticMapGeneration
from medquanbench.networks.medformer_fusion import SemanticMapFusion
from medquanbench.networks.medformer_layers import POINT, BasicBlock, PatchMerging, Triple, convolution

_THREE: Triple = (3, 3, 3)
_FLAT: Triple = (1, 3, 3)


@dataclass(frozen=True)
class Stage:
    """One step down or up: its output width, kernel, numbers of blocks of both kinds, and what these have in common."""

    width: int
    kernel: Triple
    conv_blocks: int
    attention_blocks: int
    heads: int
    expansion: int
    eps: float

    def convolutions(self, inputs: int) -> nn.Sequential:
        widths = [inputs, *[self.width] * self.conv_blocks]
        return nn.Sequential(*(BasicBlock(a, b, self.kernel, self.eps) for a, b in zip(widths, widths[1:])))

    def attention(self, inputs: int, *, map_is_read: bool = True) -> AttentionStack:
        widths = [inputs, *[self.width] * self.attention_blocks]
        common = (self.width, self.heads, self.kernel, self.expansion, self.eps)
        final = len(widths) - 2
        return AttentionStack(
            [
                AttentionBlock(a, b, *common, last=number == final and not map_is_read)
                for number, (a, b) in enumerate(zip(widths, widths[1:]))
            ]
        )


class Down(nn.Module):
    """Patch merging, convolution blocks, a semantic map of what they give, attention blocks on both."""

    def __init__(self, inputs: int, stage: Stage, scale: Triple, map_size: Triple | None) -> None:
        super().__init__()
        self.map_gen = SemanticMapGeneration(stage.width, stage.width, map_size) if map_size else None
        self.patch_merging = PatchMerging(inputs, stage.width, scale, stage.kernel)
        self.conv_blocks = stage.convolutions(stage.width)
        self.trans_blocks = stage.attention(stage.width)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        x = self.conv_blocks(self.patch_merging(x))
        if self.map_gen is None:
            return x, None
        return self.trans_blocks(x, self.map_gen(x))


class Up(nn.Module):
    """Upsampling to the skip's size, attention blocks, then convolution blocks.

    Args:
        map_widths: channels of the map from below and of the encoder's; without them no attention blocks.
    """

    def __init__(
        self, inputs: int, skip: int, stage: Stage, map_widths: Sequence[int] = (), *, map_is_read: bool = True
    ) -> None:
        super().__init__()
        width = inputs + skip
        self.map_reduction = convolution(sum(map_widths), stage.width, POINT) if map_widths else None
        self.trans_blocks = stage.attention(width, map_is_read=map_is_read)
        self.conv_blocks = stage.convolutions(stage.width if stage.attention_blocks else width)

    def forward(
        self, x: torch.Tensor, skip: torch.Tensor, maps: Sequence[torch.Tensor] = ()
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        codes = None
        x = torch.cat([_resized(x, skip), skip], dim=1)
        if self.map_reduction is not None:
            codes = self.map_reduction(torch.cat(list(maps), dim=1))
            x, codes = self.trans_blocks(x, codes)
        return self.conv_blocks(x), codes


class MedFormer(nn.Module):
    """MedFormer: ``(b, in_channels, z, y, x) -> (b, out_channels, z, y, x)`` logits.

    Each spatial size must be a multiple of the product of that axis's scales; z is the coarse axis where kernels are
    1x3x3. The defaults are the configuration for BCV (BTCV).

    Args:
        stem_width: channels at full resolution.
        widths, conv_blocks, attention_blocks, heads: for down1 to down4, then up1 to up4. down1, up3 and up4 have no
            semantic map, so no attention blocks.
        kernels: of the stem and down1 to down4; up1 to up4 have those of down3, down2, down1 and the stem.
        scales: by which down1 to down4 divide (z, y, x).
        map_size: codes of a semantic map along (z, y, x).
        expansion: of the feed-forward part of attention blocks.
        fusion_width, fusion_heads, fusion_depth: of the transformer that fuses the maps.
        conv_norm_eps: of the norms before convolutions; 1e-5 for checkpoints from before 27 March 2023.
        aux_head: own the parameters of the auxiliary head, `aux_out`, which checkpoints trained with one have.
        aux_loss: return ``[main, auxiliary]``, both of the input's size, in training and evaluation mode: the
            official network's form for training. Without it the head is not run.

    Raises:
        ValueError: a list of a wrong length, attention blocks where there is no map, heads that do not divide a width,
            or `aux_loss` without `aux_head`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stem_width: int = 32,
        widths: Sequence[int] = (64, 128, 256, 320, 256, 128, 64, 32),
        conv_blocks: Sequence[int] = (2, 0, 0, 0, 0, 0, 2, 2),
        attention_blocks: Sequence[int] = (0, 2, 4, 6, 4, 2, 0, 0),
        heads: Sequence[int] = (1, 4, 8, 10, 8, 4, 1, 1),
        kernels: Sequence[Sequence[int]] = (_FLAT, _FLAT, _THREE, _THREE, _THREE),
        scales: Sequence[Sequence[int]] = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
        map_size: Sequence[int] = _THREE,
        expansion: int = 4,
        fusion_width: int = 320,
        fusion_heads: int = 10,
        fusion_depth: int = 2,
        conv_norm_eps: float = 1e-4,
        aux_head: bool = False,
        aux_loss: bool = False,
        pointwise_second: bool = False,
    ) -> None:
        super().__init__()
        per_stage = {"widths": widths, "conv_blocks": conv_blocks, "attention_blocks": attention_blocks, "heads": heads}
        _check_stages(per_stage, kernels, scales)
        if fusion_width % fusion_heads:
            raise ValueError(f"fusion_heads, {fusion_heads}, must divide fusion_width, {fusion_width}")
        if aux_loss and not aux_head:
            raise ValueError("aux_loss=True needs aux_head=True: the auxiliary logits come from that head")
        self.aux_loss = aux_loss
        flat_to_deep = [tuple(kernel) for kernel in kernels]
        stage_kernels = [*flat_to_deep[1:], *reversed(flat_to_deep[:4])]
        rows = zip(widths, stage_kernels, conv_blocks, attention_blocks, heads)
        stages = [Stage(*row, expansion, conv_norm_eps) for row in rows]
        w, (s1, s2, s3, s4), size = widths, [tuple(scale) for scale in scales], tuple(map_size)
        second = POINT if pointwise_second else flat_to_deep[0]
        self.inc = Stem(in_channels, stem_width, flat_to_deep[0], second, conv_norm_eps)
        self.down1 = Down(stem_width, stages[0], s1, None)
        self.down2 = Down(w[0], stages[1], s2, size)
        self.down3 = Down(w[1], stages[2], s3, size)
        self.down4 = Down(w[2], stages[3], s4, size)
        self.map_fusion = SemanticMapFusion(w[1:4], fusion_width, fusion_heads, fusion_depth)
        self.up1 = Up(w[3], w[2], stages[4], (w[3], w[2]))
        self.up2 = Up(w[4], w[1], stages[5], (w[4], w[1]), map_is_read=False)
        self.up3 = Up(w[5], w[0], stages[6])
        self.up4 = Up(w[6], stem_width, stages[7])
        self.aux_out = convolution(w[5], out_channels, POINT, bias=True) if aux_head else None
        self.outc = convolution(w[7], out_channels, POINT, bias=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        x0 = self.inc(image)
        x1, _ = self.down1(x0)
        x2, map2 = self.down2(x1)
        x3, map3 = self.down3(x2)
        x4, map4 = self.down4(x3)
        map2, map3, map4 = self.map_fusion([map2, map3, map4])
        out, codes = self.up1(x4, x3, (map4, map3))
        out, _ = self.up2(out, x2, (codes, map2))
        auxiliary = _resized(self.aux_out(out), image) if self.aux_loss else None
        out, _ = self.up3(out, x1)
        out, _ = self.up4(out, x0)
        return self.outc(out) if auxiliary is None else [self.outc(out), auxiliary]


def _check_stages(per_stage: dict[str, Sequence[int]], kernels: Sequence, scales: Sequence) -> None:
    lengths = [(name, values, 8) for name, values in per_stage.items()]
    for name, values, needed in (*lengths, ("kernels", kernels, 5), ("scales", scales, 4)):
        if len(values) != needed:
            raise ValueError(f"{name} has {len(values)} entries; it needs {needed}")
    blocks = per_stage["attention_blocks"]
    if any(blocks[place] for place in (0, 6, 7)):
        raise ValueError(f"attention_blocks {tuple(blocks)}: down1, up3 and up4 have no semantic map")
    for width, heads in zip(per_stage["widths"], per_stage["heads"]):
        if width % heads:
            raise ValueError(f"{heads} heads cannot share {width} channels")


class Stem(nn.Module):
    """A plain convolution, then a residual block of the same width, whose first convolution has the `second` kernel."""

    def __init__(self, inputs: int, width: int, kernel: Triple, second: Triple, eps: float) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, kernel)
        self.conv2 = BasicBlock(width, width, kernel, eps, first=second)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv2(self.conv1(image))


def _resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    # Corner voxels lie on corner voxels: weights trained so are not to be read otherwise.
    return F.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=True)
