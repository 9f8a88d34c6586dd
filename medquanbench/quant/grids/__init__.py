"""Grids that are not plain integers: small floating-point numbers, fixed point, and levels that a paper lists."""
