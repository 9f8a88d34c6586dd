"""A granularity names axes; where a layout has them, they keep their own scale."""

import pytest

from medquanbench.quant.granularity import PER_SAMPLE, PER_WEIGHT, granularity

VOLUME = ("n", "k", "c", "d", "h", "w")


@pytest.mark.parametrize(
    ("axes", "layout", "shared"),
    [
        ("", VOLUME, (0, 1, 2, 3, 4, 5)),
        ("n", VOLUME, (1, 2, 3, 4, 5)),
        ("n c", VOLUME, (1, 3, 4, 5)),
        ("n k d h w l", VOLUME, (2,)),
        ("n k l", ("n", "k", "l", "l", "c"), (4,)),  # every axis of that name keeps its own
        ("g o", ("o", "i", "p", "q", "r"), (1, 2, 3, 4)),  # a name that the layout lacks says nothing
        ("g o", ("g", "i", "o", "p", "q", "r"), (1, 3, 4, 5)),
    ],
)
def test_shared_axes(axes, layout, shared):
    assert granularity("any", axes).shared(layout) == shared


def test_per_sample_and_per_weight():
    assert PER_SAMPLE.shared(VOLUME) == (1, 2, 3, 4, 5)
    assert PER_WEIGHT.shared(("o", "i")) == (0, 1)
