"""NF4: 16 levels for weights, quantiles of a normal distribution, in blocks of 64 with a float32 scale.

Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs (2023), section 3 and appendix E, without its double
quantization (which stores the scales in 8 bits). The published levels are shipped: the paper's construction gives them
only up to 2e-7, as they were computed in single precision.
"""

import json
from pathlib import Path

from medquanbench.quant.formats.format import Format
from medquanbench.quant.grids.codebook import Codebook
from medquanbench.quant.scales import FLOAT32

_LEVELS = json.loads(Path(__file__).with_name("nf4.json").read_text())["levels"]

NF4 = Format("nf4", Codebook("nf4", 4, tuple(_LEVELS)), FLOAT32, 64)
