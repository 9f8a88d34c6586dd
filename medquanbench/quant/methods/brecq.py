"""brecq: adaround on blocks of layers (BRECQ, Li et al. 2021), all answers of a block counting the same."""

from medquanbench.quant.methods.learned import learning
from medquanbench.quant.reconstruct import Reconstruction

brecq = learning(lambda values: Reconstruction(int(values["steps"]), blocks=True))
