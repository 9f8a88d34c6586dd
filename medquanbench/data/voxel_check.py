"""What voxels tell beyond their values: an image that is a label map, left and right exchanged (floor 5)."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from medquanbench.dataset import Label

_MAX_LABELS = 300  # more values are grey
_PLANES = 32  # enough to tell labels from grey, and little memory
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])")
_APART_MM = 10.0
_STEP = 2  # voxels; a centre of mass needs no more


def content_sha256(values: np.ndarray) -> str:
    """Checksum of an array's shape and values, for arrays of one type."""
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(np.ascontiguousarray(values.T).data)  # NIfTI stores x fastest: no copy is made of it
    return digest.hexdigest()


def looks_like_labels(values: np.ndarray) -> bool:
    """True for whole numbers above 0 of which most have the value of their neighbour: grey values have noise."""
    part = values[:, :, :: max(1, values.shape[2] // _PLANES)]
    if part.min() < 0 or part.max() > np.iinfo(np.uint16).max or not np.array_equal(part, np.rint(part)):
        return False
    if np.count_nonzero(np.bincount(part.ravel().astype(np.uint16))) > _MAX_LABELS:
        return False
    one, other = part[:-1], part[1:]
    inside = (one > 0) & (other > 0)
    return bool(inside.any() and np.mean(one[inside] == other[inside]) > 0.5)


def side_pairs(labels: tuple[Label, ...]) -> tuple[tuple[int, int], ...]:
    """(left index, right index) of the structures that the card names on both sides."""
    index = {label.name.casefold(): label.index for label in labels}
    pairs = []
    for name in index:
        other = _SIDE.sub("right", name) if "left" in name else name
        if other != name and other in index:
            pairs.append((index[name], index[other]))
    return tuple(pairs)


def wrong_sides(labels: np.ndarray, affine: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """(pairs whose left structure lies further to the right, pairs that are there) in a label map (x, y, z).

    World coordinates grow to the patient's right, so that the centre of the left one must have the smaller x. Pairs
    that lie less than a centimetre apart are left out: a lean of the head exchanges them.
    """
    part = labels[::_STEP, ::_STEP, ::_STEP]
    flat = part.ravel()
    count = np.bincount(flat, minlength=int(flat.max()) + 1)
    right_mm = np.zeros(count.size)
    for axis, n in enumerate(part.shape):
        places = np.arange(n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        sums = np.bincount(flat, np.broadcast_to(places, part.shape).ravel(), count.size)
        right_mm += affine[0, axis] * _STEP * sums / np.maximum(count, 1)
    there = [pair for pair in pairs if max(pair) < count.size and count[list(pair)].all()]
    apart_mm = [float(right_mm[right] - right_mm[left]) for left, right in there]
    far_mm = [mm for mm in apart_mm if abs(mm) >= _APART_MM]
    return sum(mm < 0 for mm in far_mm), len(far_mm)
