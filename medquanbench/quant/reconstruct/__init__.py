"""Learned rounding: which way each weight goes, found by descent on what the layer or block then answers.

One implementation, three settings: AdaRound (Nagel et al. 2020), BRECQ (Li et al. 2021), QDrop (Wei et al. 2022).
"""

from medquanbench.quant.reconstruct.reconstruction import Reconstruction

__all__ = ["Reconstruction"]
