"""The concrete formats of the OCP Microscaling Formats (MX) Specification v1.0, table 1: blocks of 32, E8M0 scales.

MXFP8 and MXFP6 come in two forms each; the plain name is the one with more mantissa, as inference uses it.
"""

from medquanbench.quant.formats.format import Format
from medquanbench.quant.grids.fixed_point import MX_INT8
from medquanbench.quant.grids.minifloat import E2M1, E2M3, E3M2, E4M3, E5M2
from medquanbench.quant.scales import E8M0

BLOCK = 32

MXINT8 = Format("mxint8", MX_INT8, E8M0, BLOCK)
MXFP8 = Format("mxfp8", E4M3, E8M0, BLOCK)
MXFP8_E5M2 = Format("mxfp8-e5m2", E5M2, E8M0, BLOCK)
MXFP6 = Format("mxfp6", E2M3, E8M0, BLOCK)
MXFP6_E3M2 = Format("mxfp6-e3m2", E3M2, E8M0, BLOCK)
MXFP4 = Format("mxfp4", E2M1, E8M0, BLOCK)
