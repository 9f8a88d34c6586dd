"""Find out in which layout a dataset lies below a data root: path work, no image is opened (floor 2)."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from pathlib import Path

from medquanbench.layouts import CASE, STRUCTURE, Found, Layout, Pair, Wanted
from medquanbench.listed_layouts import datalist, datalists, nnunet_raw


def find(root: Path, listing: Path | None, layouts: tuple[Layout, ...], wanted: Wanted) -> tuple[Found, ...]:
    """Look for one layout after the other, up to the first that has all cases.

    Args:
        listing: a MONAI datalist; nothing else is looked for then.
    """
    if listing is not None:
        return (datalist(root, listing, wanted),)
    tried = []
    for kind in KINDS:
        for found in kind(root, layouts, wanted):
            tried.append(found)
            if found.n_cases == len(wanted.cases) and not found.problem:
                return tuple(tried)
    return tuple(tried)


def _declared(root: Path, layouts: tuple[Layout, ...], wanted: Wanted) -> Iterator[Found]:
    for layout in layouts:
        for below in layout.below:
            if below == "." or (root / below).is_dir():
                pairs = tuple(_lying(root, layout, below, case) for case in wanted.cases)
                yield Found(layout.name, _sought(layout), pairs, globs=_globs(layout, below)).counted(root)
        if not any(below == "." or (root / below).is_dir() for below in layout.below):
            yield Found(layout.name, _sought(layout))


def _lying(root: Path, layout: Layout, below: str, case: str) -> Pair:
    """Where a case lies: the first place with its image and label, else with its image, else the first."""
    places = [layout.pair(case, below, place) for place in layout.places]
    return next((pair for pair in places if (root / pair.image).is_file()), places[0])


def _sought(layout: Layout) -> str:
    below = "" if layout.below == (".",) else f", also below {' or '.join(b for b in layout.below if b != '.')}"
    return " or ".join(place.image for place in layout.places) + below


def _globs(layout: Layout, below: str) -> tuple[str, ...]:
    lie = (pattern for place in layout.places for pattern in (place.image, place.label))
    where = "" if below == "." else f"{below}/"
    return tuple(glob.escape(f"{where}{pattern}").replace(CASE, "*").replace(STRUCTURE, "*") for pattern in lie)


def _nnunet_raw(root: Path, layouts: tuple[Layout, ...], wanted: Wanted) -> Iterator[Found]:
    yield nnunet_raw(root, wanted)


def _datalists(root: Path, layouts: tuple[Layout, ...], wanted: Wanted) -> Iterator[Found]:
    yield from datalists(root, wanted)


KINDS: tuple[Callable[[Path, tuple[Layout, ...], Wanted], Iterator[Found]], ...] = (_declared, _nnunet_raw, _datalists)
