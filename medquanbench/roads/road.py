"""What a road is: from the files of a case, through a network, to a label map on the image's own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medquanbench.images import Grid, LabelMap
from medquanbench.infer import Volume, preprocess
from medquanbench.sliding import Index

if TYPE_CHECKING:
    from medquanbench.bundle import Bundle  # which itself looks into the table of roads

Network = Callable[[torch.Tensor], torch.Tensor]

Watch = Callable[[Index, torch.Tensor], None]
"""(index of its first voxel, logits (class, x, y, z) float32): called for every block of voxels, every voxel once."""

Begin = Callable[[Grid], Watch]
"""Called once before the windows slide, with the grid that the logits lie on; who listens to them."""


def preprocessed(bundle: Bundle, images: tuple[Path, ...]) -> Volume:
    """What the network of a bundle with MONAI transforms reads of a case: (channel, x, y, z) float32, and its grid.

    Raises:
        RequestError: see :func:`medquanbench.infer.transformed`.
    """
    return preprocess(bundle.preprocessing(), images[0])


@dataclass(frozen=True)
class Road:
    """One way from image files to labels.

    Attributes:
        answer: (network, bundle, image files, device, begin) -> labels in the bundle's numbers on the grid of the first
            image. Raises RequestError where the images cannot be read or preprocessed, RunError where the network
            fails.
        words: what becomes of the network's outputs, for reports.
        needs: entries of the config that ``answer`` reads, beside those that every config has.
        volume: (bundle, image files) -> the image as ``answer`` slides its windows over it.
    """

    answer: Callable[[Network, Bundle, tuple[Path, ...], str, Begin | None], LabelMap]
    words: str
    needs: tuple[str, ...] = ()
    volume: Callable[[Bundle, tuple[Path, ...]], Volume] = preprocessed
