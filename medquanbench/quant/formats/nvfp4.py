"""NVFP4: E2M1 in blocks of 16 with an E4M3 scale each, one float32 scale a tensor (``scales.TwoLevelScale``)."""

from medquanbench.quant.formats.format import Format
from medquanbench.quant.grids.minifloat import E2M1
from medquanbench.quant.scales import TWO_LEVEL

NVFP4 = Format("nvfp4", E2M1, TWO_LEVEL, 16)
