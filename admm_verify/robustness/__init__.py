"""Robustness of classifiers: many images and radii, what was found of each, and the file that keeps it."""
