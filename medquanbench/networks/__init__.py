"""Networks, or parts of networks, that no package ships; one file each. Floor 1: imports nothing of this package."""

from medquanbench.networks.patch_merging import PatchMergingBefore15

__all__ = ["PatchMergingBefore15"]
