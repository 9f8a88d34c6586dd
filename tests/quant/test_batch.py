"""Batch: how many samples a forward has, which memory is the image, and that nothing stays behind."""

import pytest
import torch
from torch import nn

from medquanbench.quant.batch import Batch


class Root(nn.Module):
    """Hands what the batch says inside a forward to a function."""

    def __init__(self, look):
        super().__init__()
        self.look = look

    def forward(self, *arguments, **keywords):
        return self.look(*arguments, **keywords)


def listening(look) -> tuple[Root, Batch]:
    root, batch = Root(look), Batch()
    batch.listen(root)
    return root, batch


def test_groups_of_a_leading_axis():
    root, batch = listening(lambda x: [batch.groups(leading) for leading in (3, 6, 24, 1, 7)])
    # B, 2B and 8B hold 3 samples; what does not grow with the batch is one group.
    assert root(torch.zeros(3, 1, 4)) == [3, 3, 3, 1, 1]
    assert root(torch.zeros(1, 1, 4)) == [1, 1, 1, 1, 1]


def test_outside_a_forward_every_entry_is_a_sample():
    root, batch = listening(lambda x: x)
    assert batch.groups(6) == 6
    root(torch.zeros(3, 1))
    assert batch.groups(6) == 6 and not batch.is_open


def test_the_image_and_its_views():
    image = torch.randn(2, 3, 4, 4)
    views = {
        "itself": image, "one modality": image[:, 1:2], "flat": image.flatten(2), "unbatched": image[0],
        "turned": image.transpose(2, 3), "repeated": image[:, :1].expand(2, 8, 4, 4),
    }  # fmt: skip
    others = {"copy": image.clone(), "computed": image - 0, "other": torch.randn(2, 3, 4, 4)}
    root, batch = listening(lambda x: {name: batch.is_image(t) for name, t in (views | others).items()})
    assert root(image) == {name: name in views for name in (*views, *others)}
    assert not batch.is_image(image)  # the forward is over


@pytest.mark.parametrize(
    "call",
    [
        lambda root, x: root(x),
        lambda root, x: root(image=x),
        lambda root, x: root({"meta": 3, "image": x}),
        lambda root, x: root([x, torch.zeros(5, 1)]),
        lambda root, x: root(None, image=x),
    ],
)
def test_the_image_is_the_first_tensor_of_the_call(call):
    x = torch.randn(4, 1, 2)
    root, batch = listening(lambda *a, **k: (batch.samples, batch.is_image(x)))
    assert call(root, x) == (4, True)


def test_a_batch_of_none_and_an_input_without_axes():
    root, batch = listening(lambda x: (batch.samples, batch.groups(6)))
    assert root(torch.zeros(0, 2)) == (0, 6)
    assert root(torch.tensor(1.0)) == (1, 1)


def test_a_call_without_a_tensor_says_nothing():
    root, batch = listening(lambda text: batch.is_open)
    assert root("text") is False


def test_an_exception_leaves_nothing_behind():
    def fail(x):
        raise ValueError("inside")

    root, batch = listening(fail)
    x = torch.randn(3, 1)
    with pytest.raises(ValueError, match="inside"):
        root(x)
    assert not batch.is_open and not batch.is_image(x) and batch.groups(6) == 6
