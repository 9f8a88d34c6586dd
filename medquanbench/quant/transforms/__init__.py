"""Transforms: rewrites of the float network that leave its answer as it is. One file and one line here for each."""

from medquanbench.quant.transforms.asymmetric import asymmetric
from medquanbench.quant.transforms.branches import branches
from medquanbench.quant.transforms.groups import groups
from medquanbench.quant.transforms.hadamard import hadamard
from medquanbench.quant.transforms.smooth import smooth
from medquanbench.quant.transforms.svd import svd
from medquanbench.quant.transforms.transform import NotDone, Transform

TRANSFORMS: dict[str, Transform] = {
    "smooth": smooth,
    "svd": svd,
    "hadamard": hadamard,
    "branches": branches,
    "groups": groups,
    "asymmetric": asymmetric,
}

__all__ = ["TRANSFORMS", "NotDone", "Transform"]
