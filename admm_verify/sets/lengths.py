"""Lengths of vectors, rounded so that they prove something."""

import numpy as np

from admm_verify.arrays import Float, gamma


def length_above(vector: Float[np.ndarray, "... n"]) -> Float[np.ndarray, "..."]:
    """|v|_2, rounded upward; NaN becomes infinite."""
    size = np.abs(vector)
    largest = np.max(size, axis=-1, initial=0.0)
    # Squares of what is scaled to one neither overflow, nor lose to underflow more than the last roundings allow for.
    root = np.sqrt(np.sum((size / _nonzero(largest)[..., None]) ** 2, axis=-1))
    found = np.nextafter(largest * (root * (1.0 + gamma(size.shape[-1] + 16))), np.inf)
    found = np.where(largest == 0, 0.0, found)
    return np.where(np.isnan(found), np.inf, found)


def unit(vector: Float[np.ndarray, "... n"]) -> Float[np.ndarray, "... n"]:
    """A vector of nearly the same direction with |v|_2 <= 1, nearly 1; zero where there is no direction."""
    largest = np.max(np.abs(vector), axis=-1, keepdims=True, initial=0.0)
    known = np.isfinite(largest) & (largest > 0)
    scaled = np.where(known, vector / np.where(known, largest, 1.0), 0.0)
    root = np.sqrt(np.sum(scaled**2, axis=-1, keepdims=True))
    return scaled / (_nonzero(root) * (1.0 + gamma(vector.shape[-1] + 16)))


def distance_above(
    x: Float[np.ndarray, "... n"], lower: Float[np.ndarray, "... n"], upper: Float[np.ndarray, "... n"]
) -> Float[np.ndarray, "..."]:
    """The largest |x - y|_2 for lower <= y <= upper, rounded upward."""
    gaps = np.maximum(np.abs(upper - x), np.abs(x - lower))
    return length_above(np.where(gaps > 0, np.nextafter(gaps, np.inf), gaps))


def _nonzero(size: np.ndarray) -> np.ndarray:
    return np.where(size > 0, size, 1.0)
