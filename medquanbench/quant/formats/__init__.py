"""Formats: values on a grid, in blocks that share a scale of a stored form. One file, and a line here for each."""

from medquanbench.quant.formats.benford import BENFORD
from medquanbench.quant.formats.format import Format, format_quantize
from medquanbench.quant.formats.mx import MXFP4, MXFP6, MXFP6_E3M2, MXFP8, MXFP8_E5M2, MXINT8
from medquanbench.quant.formats.nf4 import NF4
from medquanbench.quant.formats.nvfp4 import NVFP4

__all__ = ["FORMATS", "Format", "format_quantize"]

FORMATS: dict[str, Format] = {
    "mxint8": MXINT8,
    "mxfp8": MXFP8,
    "mxfp8-e5m2": MXFP8_E5M2,
    "mxfp6": MXFP6,
    "mxfp6-e3m2": MXFP6_E3M2,
    "mxfp4": MXFP4,
    "nvfp4": NVFP4,
    "nf4": NF4,
    "benford": BENFORD,
}
