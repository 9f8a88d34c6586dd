"""adaround: each weight goes up or down as the output of its layer asks for (AdaRound, Nagel et al. 2020)."""

from medquanbench.quant.methods.learned import learning
from medquanbench.quant.reconstruct import Reconstruction

adaround = learning(lambda values: Reconstruction(int(values["steps"]), blocks=False))
