"""Arithmetic that encloses: intervals, affine forms, the flow of differential equations; no networks, no systems."""
