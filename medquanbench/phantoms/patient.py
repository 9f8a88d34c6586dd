"""What differs between patients and scans before any organ is placed: the box, the build, the contrast phase."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import RandomState

from medquanbench.phantoms.canvas import Frame, Grid
from medquanbench.phantoms.fields import spread

FIELD_OF_VIEW_MM = (312.0, 244.0, 206.0)


@dataclass(frozen=True)
class Build:
    """Body habitus. Lengths in mm."""

    frame: Frame
    subcutaneous_mm: float  # fat under the skin
    perirenal: float  # size of the fat capsule relative to the kidney
    muscle: float  # relative girth of the back muscles


@dataclass(frozen=True)
class Contrast:
    """Mean intensities of a scan in HU. Portal venous, earlier or later from case to case."""

    fat: float
    muscle: float
    bowel_wall: float
    bone: float
    spleen: float
    kidney_cortex: float
    kidney_medulla: float
    gallbladder: float
    esophagus: float
    liver: float
    hepatic_vein: float
    aorta: float
    vena_cava: float
    portal: float
    pancreas: float
    adrenal: float
    noise: float


def draw_grid(rng: RandomState) -> Grid:
    """Anisotropic spacing, 2.7-3.1 mm in plane and 4.6-5.4 mm between slices, and as many voxels as fill the field."""
    in_plane, slices = round(rng.uniform(2.72, 3.0), 3), round(rng.uniform(4.7, 5.4), 2)
    spacing = (in_plane, in_plane, slices)
    nx, ny, nz = (int(round(extent / d)) for extent, d in zip(FIELD_OF_VIEW_MM, spacing))
    return Grid((nx, ny, nz), spacing)


def draw_build(rng: RandomState) -> Build:
    """A small or large, lean or stout patient, lying a little off centre and a little askew."""
    size = spread(rng)
    scale = (
        1.0 + 0.025 * size + 0.02 * spread(rng),
        0.98 + 0.02 * size + 0.03 * spread(rng),
        1.0 + 0.015 * size + 0.02 * spread(rng),
    )
    offset = (5.0 * spread(rng), 4.0 * spread(rng), 7.0 * spread(rng))
    tilt = (0.04 * spread(rng), 0.03 * spread(rng), 0.025 * spread(rng))
    stoutness = rng.uniform(0.0, 1.0)
    room = 150.0 - (122.0 * scale[0] + 12.0)
    return Build(
        Frame(offset, scale, tilt),
        subcutaneous_mm=4.0 + stoutness * max(room - 4.0, 2.0),
        perirenal=1.06 + 0.16 * stoutness + 0.03 * rng.uniform(),
        muscle=1.0 + 0.06 * spread(rng),
    )


def draw_contrast(rng: RandomState) -> Contrast:
    """Intensities that move together with the time since injection (early positive), and apart by a little."""
    early = 0.6 * spread(rng)
    liver = 104.0 - 7.0 * early + 9.0 * spread(rng)
    blood = 150.0 + 6.0 * spread(rng)
    return Contrast(
        fat=-103.0 + 4.0 * spread(rng),
        muscle=60.0 + 4.0 * spread(rng),
        bowel_wall=78.0 + 8.0 * spread(rng),
        bone=220.0 + 35.0 * spread(rng),
        spleen=116.0 + 4.0 * early + 6.0 * spread(rng),
        kidney_cortex=172.0 + 14.0 * early + 8.0 * spread(rng),
        kidney_medulla=138.0 - 14.0 * early + 6.0 * spread(rng),
        gallbladder=12.0 + 5.0 * spread(rng),
        esophagus=48.0 + 5.0 * spread(rng),
        liver=liver,
        hepatic_vein=liver + 28.0 + 6.0 * spread(rng),
        aorta=blood + 24.0 * early,
        vena_cava=blood - 22.0 - 10.0 * early,
        portal=blood + 4.0 * spread(rng),
        pancreas=94.0 + 6.0 * early + 6.0 * spread(rng),
        adrenal=76.0 + 5.0 * early + 4.0 * spread(rng),
        noise=rng.uniform(12.0, 20.0),
    )
