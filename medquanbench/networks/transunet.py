"""TransUNet in 2D: a residual network, a vision transformer on its coarsest features, and a convolutional decoder.

Origin: Chen et al., TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation, arXiv:2102.04306;
Beckschen/TransUNet@02ef001 (Apache-2.0). Written for this package from a description of the structure; no code of
theirs is here. State-dict keys and shapes are those of the official R50-ViT-B/16. Licence of this file: that of the
package (Apache-2.0).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (1, 2, 2)  # into the three blocks of the residual network, whose input is at a quarter of the image
PATCH = 16  # pixels of the image to a token of the transformer, an axis
EPS = 1e-6  # of group and layer norms, but not of a shortcut's norm


class StandardizedConv2d(nn.Conv2d):
    """A convolution whose every filter is brought to mean 0 and variance 1 at each forward.

    The variance is the biased one, and 1e-5 is added to it (Qiao et al., arXiv:1903.10520).
    """

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-5)
        return self._conv_forward(x, weight, self.bias)


class Bottleneck(nn.Module):
    """Three convolutions, 1x1, 3x3 and 1x1, each with group norm; ``(b, in, y, x) -> (b, out, y / s, x / s)``.

    With ``project`` (the first unit of a block) the shortcut has a convolution, and a norm in which each channel is a
    group of its own; else it is the input itself.
    """

    def __init__(self, in_width: int, out_width: int, stride: int, groups: int, project: bool) -> None:
        super().__init__()
        middle = out_width // 4
        self.gn1 = nn.GroupNorm(groups, middle, eps=EPS)
        self.conv1 = StandardizedConv2d(in_width, middle, 1, bias=False)
        self.gn2 = nn.GroupNorm(groups, middle, eps=EPS)
        self.conv2 = StandardizedConv2d(middle, middle, 3, stride, padding=1, bias=False)
        self.gn3 = nn.GroupNorm(groups, out_width, eps=EPS)
        self.conv3 = StandardizedConv2d(middle, out_width, 1, bias=False)
        self.downsample = StandardizedConv2d(in_width, out_width, 1, stride, bias=False) if project else None
        self.gn_proj = nn.GroupNorm(out_width, out_width, eps=1e-5) if project else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.gn1(self.conv1(x)))
        y = F.relu(self.gn2(self.conv2(y)))
        y = self.gn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.gn_proj(self.downsample(x))))


class ResidualNetwork(nn.Module):
    """ResNet in the form of BiT: ``(b, 3, s, s)`` -> features at 1/16 and the skips at 1/8, 1/4 and 1/2."""

    def __init__(self, width: int, units: Sequence[int], groups: int) -> None:
        super().__init__()
        root = StandardizedConv2d(3, width, 7, 2, padding=3, bias=False)
        self.root = nn.Sequential(OrderedDict(conv=root, gn=nn.GroupNorm(groups, width, eps=EPS), relu=nn.ReLU()))
        self.body, inside = nn.Sequential(), width
        for number, (count, stride) in enumerate(zip(units, STRIDES)):
            outside, block = width * 4 << number, nn.Sequential()
            for unit in range(count):
                first = unit == 0
                block.add_module(
                    f"unit{unit + 1}",
                    Bottleneck(inside if first else outside, outside, stride if first else 1, groups, project=first),
                )
            self.body.add_module(f"block{number + 1}", block)
            inside = outside

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        half = self.root(image)
        # Without padding the pool gives a row and a column less than a quarter of the image. The blocks go on from
        # that; only the skip, whose partner has the full quarter, gets them back as zeros.
        quarter = self.body.block1(F.max_pool2d(half, 3, stride=2))
        eighth = self.body.block2(quarter)
        size = image.shape[-1]
        skips = [_fill(eighth, size // 8), _fill(quarter, size // 4), half]
        return self.body.block3(eighth), skips


def _fill(features: Tensor, size: int) -> Tensor:
    """Zeros at the bottom and at the right, up to ``size`` pixels an axis."""
    return F.pad(features, (0, size - features.shape[3], 0, size - features.shape[2]))


class Embeddings(nn.Module):
    """``(b, 3, s, s)`` -> tokens ``(b, (s / 16)^2, hidden)``, rows first, no class token; and the skips."""

    def __init__(self, hybrid_model: ResidualNetwork, width: int, hidden: int, tokens: int, dropout: float) -> None:
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.zeros(1, tokens, hidden))
        self.hybrid_model = hybrid_model
        self.patch_embeddings = nn.Conv2d(width, hidden, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        features, skips = self.hybrid_model(image)
        tokens = self.patch_embeddings(features).flatten(2).transpose(1, 2)
        return self.dropout(tokens + self.position_embeddings), skips


class Attention(nn.Module):
    """Multi-head self-attention: ``(b, token, hidden)`` -> the same."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        split = [
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        ]
        q, k, v = split  # each (b, head, token, channel of the head)
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between: ``(..., hidden) -> (..., hidden)``."""

    def __init__(self, hidden: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, inner)
        self.fc2 = nn.Linear(inner, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(x)))))


class TransformerLayer(nn.Module):
    """Attention and MLP, each after a layer norm and with a residual: ``(b, token, hidden)`` -> the same."""

    def __init__(self, hidden: int, inner: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden, eps=EPS)
        self.ffn_norm = nn.LayerNorm(hidden, eps=EPS)
        self.ffn = Mlp(hidden, inner, dropout)
        self.attn = Attention(hidden, heads)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attention_norm(x))
        return x + self.ffn(self.ffn_norm(x))


class Encoder(nn.Module):
    """Transformer layers and a last norm: ``(b, token, hidden)`` -> the same."""

    def __init__(self, hidden: int, inner: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TransformerLayer(hidden, inner, heads, dropout) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(hidden, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x)
        return self.encoder_norm(x)


def _convolution(in_width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_width, out_width, 3, padding=1, bias=False), nn.BatchNorm2d(out_width), nn.ReLU())


class DecoderBlock(nn.Module):
    """Bilinear up-sampling by 2, corners on corners; then the skip behind it and two convolutions."""

    def __init__(self, in_width: int, skip_width: int, out_width: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_width + skip_width, out_width)
        self.conv2 = _convolution(out_width, out_width)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return self.conv2(self.conv1(x if skip is None else torch.cat([x, skip], dim=1)))


class Decoder(nn.Module):
    """Tokens of a square grid and skips, the coarsest first -> ``(b, widths[-1], s, s)``."""

    def __init__(self, hidden: int, neck_width: int, widths: Sequence[int], skip_widths: Sequence[int]) -> None:
        super().__init__()
        self.conv_more = _convolution(hidden, neck_width)
        stages = zip((neck_width, *widths), (*skip_widths, 0), widths)
        self.blocks = nn.ModuleList(DecoderBlock(*stage) for stage in stages)

    def forward(self, tokens: Tensor, skips: Sequence[Tensor]) -> Tensor:
        edge = skips[0].shape[-1] // 2
        x = self.conv_more(tokens.transpose(1, 2).unflatten(2, (edge, edge)))
        for block, skip in zip(self.blocks, (*skips, None)):
            x = block(x, skip)
        return x


class TransUNet(nn.Module):
    """TransUNet, ``(b, in_channels, image_size, image_size)`` -> logits ``(b, out_channels, image_size, image_size)``.

    The defaults are R50-ViT-B/16 for Synapse: background and eight organs. No weights for segmentation are published.

    Args:
        in_channels: 1 or 3. One channel is repeated to three, so both have the same weights.
        out_channels: classes.
        image_size: pixels an axis, a multiple of 16 and at least 32. The position embeddings belong to one size.
        width: channels of the residual network's first convolution; its three blocks have 4, 8 and 16 times as many.
        units: residual units of the three blocks.
        groups: groups of the residual network's norms, but of those of the shortcuts.
        hidden, inner, heads, layers: width of the transformer and of its MLPs, attention heads, layers.
        neck_width: channels of the decoder at 1/16.
        decoder_widths: channels of the decoder at 1/8, 1/4, 1/2 and full resolution.
        dropout: while training, of the embeddings and of both layers of the MLPs.

    Raises:
        ValueError: a size, a width or a count that does not fit the structure.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 9,
        image_size: int = 224,
        width: int = 64,
        units: Sequence[int] = (3, 4, 9),
        groups: int = 32,
        hidden: int = 768,
        inner: int = 3072,
        heads: int = 12,
        layers: int = 12,
        neck_width: int = 512,
        decoder_widths: Sequence[int] = (256, 128, 64, 16),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 or 3, it is {in_channels}")
        if image_size < 2 * PATCH or image_size % PATCH:
            raise ValueError(f"image_size must be a multiple of {PATCH} and at least {2 * PATCH}, it is {image_size}")
        if width % groups:
            raise ValueError(f"a width of {width} cannot be split into {groups} groups")
        if hidden % heads:
            raise ValueError(f"a hidden width of {hidden} cannot be split into {heads} heads")
        for name, values, count in (("units", units, 3), ("decoder_widths", decoder_widths, 4)):
            if len(values) != count or min(values) < 1:
                raise ValueError(f"{name} must be {count} numbers from 1 on, it is {tuple(values)}")
        self.shape = (in_channels, image_size, image_size)
        tokens = (image_size // PATCH) ** 2
        self.transformer = nn.Module()
        residual = ResidualNetwork(width, units, groups)
        self.transformer.embeddings = Embeddings(residual, 16 * width, hidden, tokens, dropout)
        self.transformer.encoder = Encoder(hidden, inner, heads, layers, dropout)
        self.decoder = Decoder(hidden, neck_width, decoder_widths, (8 * width, 4 * width, width))
        self.segmentation_head = nn.Sequential(nn.Conv2d(decoder_widths[-1], out_channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"this TransUNet takes images of {self.shape}, it was given {tuple(x.shape[1:])}")
        image = x.expand(-1, 3, -1, -1)
        tokens, skips = self.transformer.embeddings(image)
        return self.segmentation_head(self.decoder(self.transformer.encoder(tokens), skips))
