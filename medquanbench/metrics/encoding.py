"""Label values as small whole numbers, so that counting depends neither on their size nor on the map's type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Encoding(Protocol):
    """Turns label values into codes; 0 is the code of no label asked for, and stands for whatever is beyond the map.

    code_type: the type of the codes. number: for every code the place of its label among those asked for, counted from
    1, and 0 for any other.
    """

    code_type: np.dtype
    number: NDArray

    def __call__(self, values: NDArray, codes: NDArray) -> None:
        """Write the code of every value of a part of the map into an array of the same shape."""


@dataclass(frozen=True, eq=False)
class _AsTheyAre:
    """Every value is its own code."""

    code_type: np.dtype
    number: NDArray

    def __call__(self, values: NDArray, codes: NDArray) -> None:
        np.copyto(codes, values, casting="unsafe")


@dataclass(frozen=True, eq=False)
class _Looked:
    """A table of all values from the least on; sought[i] has code i + 1."""

    code_type: np.dtype
    number: NDArray
    least: int
    table: NDArray

    def __call__(self, values: NDArray, codes: NDArray) -> None:
        # What overflows wraps around twice, and so comes out right.
        above = np.subtract(values, values.dtype.type(self.least)).astype(f"u{values.dtype.itemsize}")
        codes[...] = np.take(self.table, above.astype(np.intp))


@dataclass(frozen=True, eq=False)
class _Searched:
    """For values too far apart for a table; `values` is sorted, sought[i] has code i + 1."""

    code_type: np.dtype
    number: NDArray
    sought: NDArray
    sought_codes: NDArray

    def __call__(self, values: NDArray, codes: NDArray) -> None:
        place = np.minimum(np.searchsorted(self.sought, values), len(self.sought) - 1)
        codes[...] = np.where(self.sought[place] == values, self.sought_codes[place], 0)


def encoding(label_map: NDArray, sought: Sequence[int]) -> Encoding:
    """The quickest encoding of a map's values; `sought` is sorted and without repeats."""
    least, most = _range(label_map)
    present = [(code, label) for code, label in enumerate(sought, start=1) if least <= label <= most]
    number_type = np.min_scalar_type(len(sought))
    numbers = np.arange(len(sought) + 1, dtype=number_type)
    if least >= 0 and most < 2**16 and 0 not in sought:
        code_type = np.min_scalar_type(most)
        number = np.zeros(np.iinfo(code_type).max + 1, number_type)
        number[[label for _, label in present]] = [code for code, _ in present]
        return _AsTheyAre(code_type, number)
    if most - least < 2**16:
        table = np.zeros(most - least + 1, number_type)
        table[[label - least for _, label in present]] = [code for code, _ in present]
        return _Looked(number_type, numbers, least, table)
    codes, labels = zip(*present, strict=True) if present else ((0,), (least,))
    return _Searched(number_type, numbers, np.array(labels, label_map.dtype), np.array(codes, number_type))


def numbers(values: NDArray, encode: Encoding) -> NDArray:
    """Values of the map that was encoded as numbers: 1 for the first label asked for, 0 for any other value."""
    codes = np.empty(values.shape, encode.code_type)
    encode(values, codes)
    return encode.number[codes]


def label_codes(label_map: NDArray, sought: Sequence[int]) -> NDArray:
    """Renumber a label map: `sought[i]` becomes i + 1, every other value 0.

    `sought` is sorted and without repeats. The answer has the map's shape and the smallest unsigned type that holds
    len(sought).
    """
    encode = encoding(label_map, sought)
    codes = np.empty(label_map.shape, encode.number.dtype)
    for i in range(len(label_map)):  # NumPy widens what it looks up with to 8 bytes: not the whole map at once
        codes[i] = numbers(label_map[i], encode)
    return codes


def _range(label_map: NDArray) -> tuple[int, int]:
    """The least and the largest value, or what a single byte can hold: reading the map is then spared."""
    if label_map.dtype == np.uint8 or label_map.size == 0:
        return 0, 255
    return int(label_map.min()), int(label_map.max())
