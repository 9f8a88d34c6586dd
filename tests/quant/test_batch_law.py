"""A batch equals its elements one by one, for every policy: with windows on the leading axis too.

In float64, since float32 convolutions sum in another order for another batch size, and a rounding flips then.
"""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from monai.networks.nets import SwinUNETR, UNet
from torch import nn

from medquanbench.quant import quantize
from medquanbench.values import Recipe
from tests.quant.dynamic import DYNAMIC


def swin(dims: int) -> nn.Module:
    return SwinUNETR(
        in_channels=1, out_channels=3, feature_size=12, depths=(2, 1, 1, 1), num_heads=(1, 2, 2, 2), window_size=4,
        spatial_dims=dims,
    )  # fmt: skip


def nnunet() -> nn.Module:
    return PlainConvUNet(
        1, 3, (4, 8, 8), nn.Conv3d, 3, (1, 2, 2), 1, 3, 1, conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU,
    )  # fmt: skip


def unet() -> nn.Module:
    return UNet(3, 1, 3, (4, 8, 8), (2, 2), num_res_units=1)


class Windows(nn.Module):
    """Cuts an image into windows, sample slowest, and lets a linear layer see k*B of them; then halves them again."""

    def __init__(self):
        super().__init__()
        self.tokens, self.voxels = nn.Linear(6, 5), nn.Conv1d(5, 4, 1)
        self.table, self.bias = nn.Linear(2, 5), nn.Buffer(torch.randn(7, 2))

    def forward(self, x):  # (B, 24, 6)
        windows = x.reshape(-1, 4, 6)  # (6B, 4, 6)
        seen = self.voxels(self.tokens(windows).transpose(1, 2))  # (6B, 4, 4)
        return seen.reshape(x.shape[0], -1) + self.table(self.bias).sum()


NETWORKS = {
    "swin 2d": (lambda: swin(2), (1, 64, 64)),
    "nnU-Net": (nnunet, (1, 12, 16, 8)),
    "unet": (unet, (1, 12, 16, 8)),
    "windows": (Windows, (24, 6)),
}


def check_law(network: nn.Module, x: torch.Tensor, recipe: str, batches: tuple[tuple[int, ...], ...]) -> None:
    quantized, _ = quantize(network, Recipe.parse(recipe))
    with torch.inference_mode():
        whole = quantized(x)
        for rows in map(list, batches):
            assert torch.allclose(quantized(x[rows]), whole[rows], rtol=0, atol=1e-9), rows
        assert not torch.allclose(whole, network(x), rtol=0, atol=0.01)


@pytest.mark.parametrize("policy", DYNAMIC)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_equals_its_elements(name, policy):
    make, shape = NETWORKS[name]
    network = make().double().eval()
    # Samples of different size: a scale that is shared between them would show.
    x = torch.randn(3, *shape, dtype=torch.float64) * torch.tensor([1.0, 30.0, 0.2]).reshape(3, *[1] * len(shape))
    # Sizes 1 and 2 against 3, every place in the batch, and neighbours in another order.
    check_law(network, x, f"w4a4 {policy} input(6)", ((0,), (1,), (2,), (0, 1), (2, 1)))


def test_a_batch_of_volumes_equals_its_elements_in_a_shifted_window_network():
    x = torch.randn(2, 1, 64, 32, 32, dtype=torch.float64) * torch.tensor([1.0, 30.0]).reshape(2, 1, 1, 1, 1)
    check_law(swin(3).double().eval(), x, "w4a4 per-tensor", ((1,),))


def test_one_scale_a_sample_over_all_its_windows(quantized_inputs):
    x = torch.randn(2, 24, 6)
    x[0, 0, 0], x[1, 5, 0] = 70.0, 7.0  # S = 10 for the first sample's six windows, 1 for the second's
    found = quantized_inputs(Windows().eval(), x, "w4a4 per-tensor")["tokens"].reshape(2, 24, 6)
    assert torch.equal(found[0], (x[0] / 10).round() * 10)
    assert torch.equal(found[1], x[1].round())
