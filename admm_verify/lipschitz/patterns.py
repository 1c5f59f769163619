"""All Jacobians of a few neurons' extreme slopes: their norms are convex in every slope, and largest at extremes."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma
from admm_verify.lipschitz.jacobians import Slopes, enclosed_jacobian, jacobian_bound
from admm_verify.lipschitz.local_region import SteepRegion
from admm_verify.lipschitz.norms import length_of
from admm_verify.sets.norm_names import NormName

MOST_PATTERNS = 8
"""Neurons whose slopes are tried in all combinations."""

_MOST_ENTRIES = 2**22
"""Of all combinations' slopes of a layer."""

_SPARES = (1e-10, 1e-8, 1e-6)
"""How much more than the largest computed norm, until factorisations prove it."""

Neuron = tuple[int, int]
"""The number of an activation in order, and the neuron in it."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """Certified: no Jacobian has a larger norm than upper. values: norms as computed, one axis of two for each neuron,
    for its least and its greatest slope.
    """

    upper: float
    neurons: tuple[Neuron, ...]
    values: np.ndarray


def open_neurons(region: SteepRegion) -> tuple[Neuron, ...]:
    """The neurons with more than one slope, in order."""
    return tuple((k, int(j)) for k, open in enumerate(region.open) for j in np.flatnonzero(open))


def all_patterns(region: SteepRegion, norm: NormName) -> Patterns | None:
    """The norms of all combinations; None where neurons are too many, or slopes have no bound."""
    neurons, outputs = open_neurons(region), region.graph.output_size
    widest = max(node.size for node in region.graph.nodes)
    if len(neurons) > MOST_PATTERNS or (outputs << len(neurons)) * widest > _MOST_ENTRIES:
        return None
    count = 1 << len(neurons)
    signs = (np.arange(count)[:, None] >> np.arange(len(neurons))[::-1]) & 1
    rows = np.tile(np.eye(outputs), (count, 1))
    slopes = _combined(region.slopes, neurons, np.repeat(signs, outputs, axis=0))
    centre, radius = enclosed_jacobian(region.graph, slopes, rows)
    if not (np.isfinite(centre).all() and np.isfinite(radius).all()):
        return None
    shape = (count, outputs, region.graph.input_size)
    centre, radius = ((part * region.free).reshape(shape) for part in (centre, radius))
    values = _norms(centre, norm)
    return Patterns(_proved(centre, radius, values, norm), neurons, values.reshape((2,) * len(neurons)))


def _combined(slopes: tuple[Slopes, ...], neurons: tuple[Neuron, ...], signs: np.ndarray) -> list[Slopes]:
    """Slopes of all activations row by row, where those of some neurons are their least or their greatest."""
    found = []
    for k, (least, most) in enumerate(slopes):
        own = [i for i, (layer, _) in enumerate(neurons) if layer == k]
        if not own:
            found.append((least, most))
            continue
        chosen = np.repeat(least[None], len(signs), axis=0)
        places = [neurons[i][1] for i in own]
        chosen[:, places] = np.where(signs[:, own] > 0, most[places], least[places])
        found.append((chosen, chosen))
    return found


def _norms(jacobians: np.ndarray, norm: NormName) -> np.ndarray:
    if norm == "l2":
        return np.linalg.norm(jacobians, 2, axis=(1, 2))
    return np.max(np.sum(np.abs(jacobians), axis=2 if norm == "linf" else 1), axis=1, initial=0.0)


def _proved(centre: np.ndarray, radius: np.ndarray, values: np.ndarray, norm: NormName) -> float:
    if norm != "l2":
        sizes = (np.abs(centre) + radius) * (1.0 + gamma(4))
        return max(jacobian_bound(one, norm) for one in sizes)
    off = float(np.max(length_of(length_of(radius, "l2"), "l2"))) * (1.0 + 4.0 * gamma(radius[0].size + 16))
    largest = float(np.max(values))
    for spare in _SPARES:
        level = largest * (1.0 + spare)
        if _is_above(centre, level):
            return (level + off) * (1.0 + gamma(4))
    return float(np.max([jacobian_bound(np.abs(one), norm) for one in centre])) * (1.0 + gamma(4)) + off


def _is_above(jacobians: np.ndarray, level: float) -> bool:
    """Whether no |J|_2 is above a level, for certain: level^2 I - J J' is positive definite, less its roundings.

    Reference: Rump, Verification of positive definiteness, BIT 46, 2006.
    """
    if not 0.0 < level < np.inf:
        return level == 0.0 and not jacobians.any()
    # Powers of two scale exactly.
    scaled = jacobians * 2.0 ** -np.round(np.log2(level))
    top = (level * 2.0 ** -np.round(np.log2(level))) ** 2 * (1.0 - gamma(8))
    turned = np.swapaxes(scaled, 1, 2)
    grams = scaled @ turned if scaled.shape[1] <= scaled.shape[2] else turned @ scaled
    side = grams.shape[1]
    squares = float(np.max(np.sum(scaled**2, axis=(1, 2))))
    charge = 2.0 * gamma(max(scaled.shape[1:]) + 8) * squares + 4.0 * gamma(side + 4) * side * top + 2.0**-1000
    if not charge < 0.25 * top:
        return False
    matrices = -grams
    matrices[:, np.arange(side), np.arange(side)] += top - charge
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        return False
    return True
