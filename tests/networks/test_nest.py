"""NesT: the order of blocks, how heads are split and merged, the norms, and what the encoder hands out."""

import pytest
import torch
from torch import nn

from medquanbench.networks.nest import (
    BlockAttention,
    BlockMerging,
    NestEncoder,
    TransformerLayer,
    from_blocks,
    to_blocks,
)


def encoder(drop_path_rate: float = 0.0) -> NestEncoder:
    torch.manual_seed(0)
    return NestEncoder(1, (32, 64, 96), (4, 6, 8), (2, 3, 2), (1, 2, 2), drop_path_rate=drop_path_rate).double().eval()


def image() -> torch.Tensor:
    return torch.randn(1, 1, 32, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_order_of_blocks_and_of_tokens_by_hand():
    # 4 x 4 x 6 tokens, each the number 100 x + 10 y + z; blocks of 2 x 2 x 3: two along each axis.
    x, y, z = torch.meshgrid(torch.arange(4), torch.arange(4), torch.arange(6), indexing="ij")
    blocks = to_blocks((100 * x + 10 * y + z)[None, ..., None], (2, 2, 3))[0, ..., 0]
    assert blocks[:, 0].tolist() == [0, 3, 20, 23, 200, 203, 220, 223]
    assert blocks[0].tolist() == [0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112]


@pytest.mark.parametrize("edge", [(1, 2, 3), (2, 2, 2), (3, 1, 2)])
def test_blocks_go_back_where_they_came_from(edge):
    x = torch.randn(2, *(4 * part for part in edge), 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(from_blocks(to_blocks(x, edge), edge, 4), x)


def test_heads_are_split_slowest_and_merged_fastest_by_hand():
    # Without queries and keys every token attends to all alike; values are their bias, so each token's answer is that.
    layer = BlockAttention(6, heads=2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.qkv.bias[12:] = torch.arange(6.0)  # head 0 has values 0 1 2, head 1 has 3 4 5
        layer.proj.weight.copy_(torch.eye(6))
    assert layer(torch.randn(1, 2, 3, 6))[0, 1, 2].tolist() == [0, 3, 1, 4, 2, 5]


def test_attention_equals_a_second_implementation():
    torch.manual_seed(0)
    layer, x = BlockAttention(6, heads=2).double(), torch.randn(2, 3, 5, 6, dtype=torch.float64)
    nn.init.normal_(layer.qkv.weight)
    expected = torch.zeros_like(x)
    for sample in range(2):
        for block in range(3):
            q, k, v = layer.qkv(x[sample, block]).split(6, dim=-1)
            for head in range(2):
                own = slice(3 * head, 3 * head + 3)
                weights = torch.softmax(q[:, own] @ k[:, own].T / 3**0.5, dim=-1)
                expected[sample, block, :, head::2] = weights @ v[:, own]
    torch.testing.assert_close(layer(x), layer.proj(expected))


def test_a_block_does_not_see_another():
    layer, x = TransformerLayer(4, 2, 4.0, 0.0), torch.randn(1, 3, 5, 4)
    other = x.clone()
    other[:, 1] += 1
    changed = (layer(x) != layer(other)).flatten(2).any(-1)
    assert changed.tolist() == [[False, True, False]]


def test_every_layer_norm_adds_a_millionth():
    norms = [module for module in encoder().modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * 5 + 2 + 1
    for norm in norms:  # a signal of +-0.001 has the variance 1e-6: with 1e-6 added it comes out as +-1 / sqrt(2)
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(norm.normalized_shape[0] // 2)
        torch.testing.assert_close(norm(signs / 1000), signs / 2**0.5)


def test_merging_is_convolution_then_norm_over_channels_then_pool():
    torch.manual_seed(0)
    layer, x = BlockMerging(2, 4), torch.randn(1, 2, 4, 6, 8)
    convolved = layer.conv(x)
    mean, variance = convolved.mean(1, keepdim=True), convolved.var(1, correction=0, keepdim=True)
    normed = nn.functional.pad((convolved - mean) / (variance + 1e-6).sqrt(), (1,) * 6, value=-torch.inf)
    expected = normed.unfold(2, 3, 2).unfold(3, 3, 2).unfold(4, 3, 2).amax((-3, -2, -1))
    assert layer(x).shape == (1, 4, 2, 3, 4)
    torch.testing.assert_close(layer(x), expected)


def test_hidden_states_and_the_final_norm():
    network = encoder()
    with torch.no_grad():
        normed, hidden = network(image())
    sizes = [(1, 4, 8, 16, 24), (1, 4, 8, 16, 24), (1, 6, 4, 8, 12), (1, 8, 2, 4, 6)]
    assert [tuple(state.shape) for state in hidden] == sizes
    assert torch.equal(hidden[0], network.patch_embed(image()))
    assert abs(float(normed.mean(1).abs().max())) < 1e-12, "normed over channels"
    assert float(hidden[3].mean(1).abs().max()) > 1e-3, "the last hidden state is not"
    torch.testing.assert_close(network.norm(hidden[3].movedim(1, -1)).movedim(-1, 1), normed)


def test_stochastic_depth_rises_from_nothing_and_rests_in_evaluation():
    network = encoder(0.5)
    rates = [layer.drop_path.drop_prob for level in network.levels for layer in level.transformer_encoder]
    assert rates == [0.0, 0.125, 0.25, 0.375, 0.5]
    assert torch.equal(network(image())[0], encoder()(image())[0])


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="a width of 6 cannot be split into 4 heads"):
        BlockAttention(6, heads=4)
