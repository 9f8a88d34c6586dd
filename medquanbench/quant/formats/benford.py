"""Benford-Quant's log-uniform grid for weights, in blocks of 64 with a float32 scale.

Negrao et al., Quantizacao Guiada pela Lei de Benford, section 3.4 (the method: arXiv 2602.00165).
"""

from math import exp, log

from medquanbench.quant.formats.format import Format
from medquanbench.quant.grids.codebook import Codebook
from medquanbench.quant.scales import FLOAT32
from medquanbench.values import RequestError

DECADE = 0.1
"""Our smallest level. A log-uniform variable follows Benford's law exactly if it spans whole decades; this is one."""


def log_uniform(bits: int, epsilon: float = DECADE) -> Codebook:
    """Levels of equal ratio from ``epsilon`` to 1, their negatives but the one nearest zero, and zero.

    Our reading: the paper's formula has 2^(bits-1) - 1 positive levels, 2^bits - 2 in all (14 at 4 bits), its prose one
    more of each sign; the formula stands. It calls epsilon a small constant of numerical stability without a value.
    The error of the method hangs on it: with 1e-8 nearly all of a normal weight's values fall between zero and the last
    level. One decade is near the least error of normal and Laplace weights at 4 bits.

    Args:
        bits: 3 to 8.
        epsilon: the smallest positive level, above 0 and below 1.

    Raises:
        RequestError: bits or epsilon out of range.
    """
    if not 3 <= bits <= 8:
        raise RequestError(f"a log-uniform grid of {bits} bits was asked for; there are 3 to 8")
    if not 0 < epsilon < 1:
        raise RequestError(f"a log-uniform grid from {epsilon} to 1 was asked for; it must start between 0 and 1")
    count = 2 ** (bits - 1) - 1
    positive = [exp(log(epsilon) * (1 - i / (count - 1))) for i in range(count)]
    return Codebook(f"log{bits}", bits, (*(-level for level in reversed(positive[1:])), 0.0, *positive))


BENFORD = Format("benford", log_uniform(4), FLOAT32, 64)
"""The paper takes groups of 128; 64 here, so that it costs what NF4 costs."""
