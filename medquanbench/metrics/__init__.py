"""Metrics on label maps: one file a metric, one line a metric in METRICS."""

from .dice import DSC, dice
from .label_maps import volumes
from .metric import Comparison, Metric
from .surface_dice import NSD, surface_dice

METRICS: dict[str, Metric] = {
    "dsc": DSC,
    "nsd": NSD,
}

__all__ = ["METRICS", "Comparison", "Metric", "dice", "surface_dice", "volumes"]
