"""Metrics on label maps: one file a metric, one line a metric in METRICS."""

from .dice import DSC, dice
from .hausdorff import HD95, hd95
from .label_maps import volumes
from .metric import Comparison, Metric
from .surface_dice import NSD, surface_dice
from .volume_similarity import VOLUME_SIMILARITY, volume_similarity
from .voxel_surface_dice import NSD_VOXEL, voxel_surface_dice

METRICS: dict[str, Metric] = {
    "dsc": DSC,
    "nsd": NSD,
    "hd95": HD95,
    "volume_similarity": VOLUME_SIMILARITY,
    "nsd_voxel": NSD_VOXEL,
}

__all__ = [
    "METRICS",
    "Comparison",
    "Metric",
    "dice",
    "hd95",
    "surface_dice",
    "volume_similarity",
    "volumes",
    "voxel_surface_dice",
]
