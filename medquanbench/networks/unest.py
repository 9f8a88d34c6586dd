"""UNesT: a nested transformer encoder with a convolutional decoder.

Origin: written from the description of MASILab/UNesT @75386be (MIT) and of the bundles in Project-MONAI/model-zoo
@dfae206; no code of theirs is here. Yu et al., UNesT: Local Spatial Representation Learning with Hierarchical
Transformer for Efficient Medical Segmentation, Medical Image Analysis 90, 2023, arXiv:2209.14378. Residual blocks,
transposed convolutions and norms are MONAI's own modules. Licence of this file: that of the package (Apache-2.0).

Names of modules and parameters are those of the published weights, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.blocks import Convolution, UnetOutBlock, UnetrBasicBlock, UnetrUpBlock
from monai.networks.blocks.dynunet_block import get_conv_layer
from torch import Tensor, nn

from medquanbench.networks.nest import BLOCKS, PATCH, NestEncoder


class ProjectedSkip(nn.Module):
    """The patch embedding at twice its resolution: ``(b, in, x, y, z) -> (b, out, 2x, 2y, 2z)``.

    The second convolution is a transposed one of 1 x 1 x 1, so its weight is (in, out, 1, 1, 1).
    """

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.transp_conv_init = get_conv_layer(3, in_width, out_width, kernel_size=2, stride=2, is_transposed=True)
        self.blocks = nn.ModuleList(
            [get_conv_layer(3, out_width, out_width, kernel_size=1, stride=1, is_transposed=True)]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.transp_conv_init(x)
        for block in self.blocks:
            x = block(x)
        return x


class UNesT(nn.Module):
    """UNesT, ``(b, in_channels, *img_size)`` -> logits ``(b, out_channels, *img_size)``.

    The defaults are the base network of the published weights (BTCV, whole brain, kidneys), but for the number of
    outputs. Windows other than ``img_size`` are refused: the position embeddings belong to one size.

    Args:
        in_channels, out_channels: channels of the image, classes.
        img_size: voxels of the window an axis, multiples of 32.
        embed_dims, num_heads, depths: width, heads and layers of the three levels of 64, 8 and 1 blocks.
        decoder_widths: channels of the decoder at full, 1/2, 1/4 and 1/8 resolution. At 1/16 they are
            ``embed_dims[2]``, since the last level's output is the skip there as it is.
        bottleneck_width: channels at 1/32.
        mlp_ratio: hidden width of the transformer's MLPs in widths of the level.
        drop_path_rate: stochastic depth of the last layer while training (0.5 in the official training).

    Raises:
        ValueError: a size or a width that does not fit the structure.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        img_size: Sequence[int] = (96, 96, 96),
        embed_dims: Sequence[int] = (128, 256, 512),
        num_heads: Sequence[int] = (4, 8, 16),
        depths: Sequence[int] = (2, 2, 8),
        decoder_widths: Sequence[int] = (32, 64, 128, 256),
        bottleneck_width: int = 1024,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        multiple = 2 * PATCH * BLOCKS[0]
        if len(img_size) != 3 or any(size <= 0 or size % multiple for size in img_size):
            raise ValueError(f"img_size must be three multiples of {multiple}, it is {tuple(img_size)}")
        for name, values in (("embed_dims", embed_dims), ("num_heads", num_heads), ("depths", depths)):
            if len(values) != len(BLOCKS):
                raise ValueError(f"{name} must have {len(BLOCKS)} values, one a level, it has {len(values)}")
        if len(decoder_widths) != 4:
            raise ValueError(f"decoder_widths must have 4 values, it has {len(decoder_widths)}")
        self.img_size = tuple(img_size)
        self.nestViT = NestEncoder(in_channels, img_size, embed_dims, num_heads, depths, mlp_ratio, drop_path_rate)
        full, half, quarter, eighth = decoder_widths
        self.encoder1 = _residual(in_channels, full)
        self.encoder2 = ProjectedSkip(embed_dims[0], half)
        self.encoder3 = _residual(embed_dims[0], quarter)
        self.encoder4 = _residual(embed_dims[1], eighth)
        self.decoder5 = _upwards(bottleneck_width, embed_dims[2])
        self.decoder4 = _upwards(embed_dims[2], eighth)
        self.decoder3 = _upwards(eighth, quarter)
        self.decoder2 = _upwards(quarter, half)
        self.decoder1 = _upwards(half, full)
        # Activation before norm ("ADN"), the other way round than everywhere else.
        self.encoder10 = Convolution(3, embed_dims[2], bottleneck_width, strides=2, adn_ordering="ADN")
        self.out = UnetOutBlock(3, full, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != self.img_size:
            raise ValueError(f"this UNesT takes windows of {self.img_size} voxels, it was given {tuple(x.shape[2:])}")
        normed, hidden = self.nestViT(x)
        skips = (self.encoder1(x), self.encoder2(hidden[0]), self.encoder3(hidden[1]), self.encoder4(hidden[2]))
        y = self.decoder5(self.encoder10(normed), hidden[3])
        for decoder, skip in zip((self.decoder4, self.decoder3, self.decoder2, self.decoder1), reversed(skips)):
            y = decoder(y, skip)
        return self.out(y)


def _residual(in_width: int, out_width: int) -> nn.Module:
    return UnetrBasicBlock(3, in_width, out_width, kernel_size=3, stride=1, norm_name="instance", res_block=True)


def _upwards(in_width: int, out_width: int) -> nn.Module:
    return UnetrUpBlock(
        3, in_width, out_width, kernel_size=3, upsample_kernel_size=2, norm_name="instance", res_block=True
    )
