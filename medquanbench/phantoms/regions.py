"""The regions inside the brain, with their indices in the table of MICCAI 2012 (BrainCOLOR) as UNesT numbers it."""

from __future__ import annotations

from enum import IntEnum


class Region(IntEnum):
    """Regions that are painted one by one. The gyri, which a partition makes, are in wholebrain_cortex.csv."""

    THIRD_VENTRICLE = 1
    FOURTH_VENTRICLE = 2
    RIGHT_ACCUMBENS = 3
    LEFT_ACCUMBENS = 4
    RIGHT_AMYGDALA = 5
    LEFT_AMYGDALA = 6
    BRAIN_STEM = 7
    RIGHT_CAUDATE = 8
    LEFT_CAUDATE = 9
    RIGHT_CEREBELLUM_EXTERIOR = 10
    LEFT_CEREBELLUM_EXTERIOR = 11
    RIGHT_CEREBELLUM_WHITE_MATTER = 12
    LEFT_CEREBELLUM_WHITE_MATTER = 13
    RIGHT_CEREBRAL_WHITE_MATTER = 14
    LEFT_CEREBRAL_WHITE_MATTER = 15
    RIGHT_HIPPOCAMPUS = 16
    LEFT_HIPPOCAMPUS = 17
    RIGHT_INFERIOR_LATERAL_VENTRICLE = 18
    LEFT_INFERIOR_LATERAL_VENTRICLE = 19
    RIGHT_LATERAL_VENTRICLE = 20
    LEFT_LATERAL_VENTRICLE = 21
    RIGHT_PALLIDUM = 22
    LEFT_PALLIDUM = 23
    RIGHT_PUTAMEN = 24
    LEFT_PUTAMEN = 25
    RIGHT_THALAMUS = 26
    LEFT_THALAMUS = 27
    RIGHT_VENTRAL_DC = 28
    LEFT_VENTRAL_DC = 29
    VERMAL_LOBULES_I_V = 30
    VERMAL_LOBULES_VI_VII = 31
    VERMAL_LOBULES_VIII_X = 32

    def on(self, right: bool) -> Region:
        """Of the pair whose right member this is, the one of a side: left follows right."""
        return self if right else Region(self + 1)
