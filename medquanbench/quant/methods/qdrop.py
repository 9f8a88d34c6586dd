"""qdrop: brecq with activations that are quantized here and there at random (QDrop, Wei et al. 2022)."""

from medquanbench.quant.methods.learned import learning
from medquanbench.quant.reconstruct import Reconstruction

qdrop = learning(lambda values: Reconstruction(int(values["steps"]), blocks=True, drop=values["drop"]), drop=0.5)
