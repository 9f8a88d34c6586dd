"""Small floating-point numbers as grids: E2M1, E2M3, E3M2, E4M3 and E5M2.

Sources: OCP Microscaling Formats (MX) Specification v1.0, section 5.3 (FP8, FP6, FP4); OCP 8-bit Floating Point
Specification (OFP8) v1.0 for E4M3, which has NaN and no infinity, and E5M2, which has both. A quantized tensor holds
neither: what is too large is moved to the largest finite value.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medquanbench.quant.grids.parts import parts_of

_EXPONENT = 0x7F800000  # the exponent's bits in float32: kept alone they are the power of two at or below a magnitude


@dataclass(frozen=True)
class Minifloat:
    """A sign, ``exponent_bits`` with bias 2^(exponent_bits-1)-1, ``mantissa_bits``; subnormals; half to even.

    Attributes:
        largest: the largest finite magnitude; some specifications give the last codes to infinity and NaN.
    """

    exponent_bits: int
    mantissa_bits: int
    largest: float

    @property
    def name(self) -> str:
        return f"e{self.exponent_bits}m{self.mantissa_bits}"

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def smallest_normal(self) -> float:
        """Below this magnitude values are as far apart as right above it."""
        return 2.0 ** (2 - 2 ** (self.exponent_bits - 1))

    @property
    def smallest(self) -> float:
        """The smallest positive value, a subnormal one."""
        return self.smallest_normal / 2**self.mantissa_bits

    def round_(self, scaled: torch.Tensor) -> torch.Tensor:
        """Move a float32 tensor onto the grid, in place: clamped, then to the nearest, half to the even mantissa."""
        for part in parts_of(scaled):
            part.clamp_(-self.largest, self.largest)
            step = part.view(torch.int32).bitwise_and(_EXPONENT).view(torch.float32)
            step.clamp_(min=self.smallest_normal).mul_(2.0**-self.mantissa_bits)
            # Powers of two: both the quotient and the product are exact, and an even quotient is an even mantissa.
            part.div_(step).round_().mul_(step)
        return scaled


E2M1 = Minifloat(2, 1, 6.0)
E2M3 = Minifloat(2, 3, 7.5)
E3M2 = Minifloat(3, 2, 28.0)
E4M3 = Minifloat(4, 3, 448.0)
E5M2 = Minifloat(5, 2, 57344.0)
