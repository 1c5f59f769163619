"""Operands of products as affine functions of the input, and few combinations of what is left of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.bounds.region import node_magnitude
from admm_verify.network.graph import Affine, Network, sources_of

_NOTHING = 1e-9
"""Share of the largest row up to which a row counts as a combination of others, whose difference is charged."""


@dataclass(frozen=True, eq=False)
class Operands:
    """Operands of a product node over a set: p_i = slope_i'z + shift_i + sum_k mix_ik n_k up to `lost`, with n_k what
    is left of operand number chosen_k, n_k = p_j - slope_j'z - shift_j for j = chosen_k.

    node: that holds them. magnitude: behind their values. reach: the most |n_k|. values, left: at some points.
    Shapes: slope [2 n, inputs]; shift, magnitude, lost [2 n]; chosen, reach [k]; mix [2 n, k]; values, left
    [points, 2 n].
    Error: `lost` holds the differences of the matrices as computed; what these are rounded by is relative to
    magnitude + |mix| reach.
    """

    node: int
    slope: np.ndarray
    shift: np.ndarray
    magnitude: np.ndarray
    chosen: np.ndarray
    mix: np.ndarray
    reach: np.ndarray
    lost: np.ndarray
    values: np.ndarray
    left: np.ndarray

    def sides(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What belongs to first and second operands, along the first axis."""
        size = len(self.slope) // 2
        return part[:size], part[size:]

    def partners(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """t_rk = sum_i w_ri (mix_ik y_i + mix_(n+i)k (slope_i'z + shift_i)) as slopes of p, of z, and a shift.

        Shapes: weight [rows, n] -> [rows k, 2 n], [rows k, inputs], [rows k].
        """
        (first, second), (slope, _), (shift, _) = (self.sides(part) for part in (self.mix, self.slope, self.shift))
        rows = len(weight) * self.mix.shape[1]
        own, other = (np.einsum("ri,ik->rki", weight, part).reshape(rows, weight.shape[1]) for part in (first, second))
        return np.concatenate([np.zeros_like(own), own], axis=1), other @ slope, other @ shift


def operands_of(
    network: Network, values: Sequence[np.ndarray], products: Sequence[int], reach: Sequence[np.ndarray]
) -> dict[int, Operands]:
    """The operands of some product nodes, with least squares' affine functions at points of the sets.

    values[i]: of node i at the points, [points, n_i], which are those of the input. reach[i]: the most that node i's
    values have in size over the sets, each [n_i].
    """
    points, found = values[0], {}
    columns = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    for i in products:
        source = sources_of(network.nodes[i])[0]
        node = network.nodes[source]
        assert isinstance(node, Affine), "activations read affine nodes"
        slope, shift, behind = _behind(network, source)
        bent = np.zeros((node.size, 0))
        left, most = np.zeros((len(points), 0)), np.zeros(0)
        for j, coefficient in behind.items():
            fit = np.linalg.lstsq(columns, values[j], rcond=None)[0]
            slope, shift = slope + coefficient @ fit[:-1].T, shift + coefficient @ fit[-1]
            bent = np.concatenate([bent, coefficient], axis=1)
            left = np.concatenate([left, values[j] - columns @ fit], axis=1)
            most = np.concatenate([most, reach[j] + np.abs(fit[:-1].T) @ reach[0] + np.abs(fit[-1])])
        chosen = _independent(bent * (left.max(axis=0, initial=0.0) - left.min(axis=0, initial=0.0)))
        mix = np.linalg.lstsq(bent[chosen].T, bent.T, rcond=None)[0].T if len(chosen) else np.zeros((node.size, 0))
        mix[chosen] = np.eye(len(chosen))
        lost = np.abs(bent - mix @ bent[chosen]) @ most
        magnitude = node_magnitude(node, reach) + np.abs(bent) @ most
        own = magnitude[chosen] + np.abs(slope[chosen]) @ reach[0] + np.abs(shift[chosen])
        found[i] = Operands(source, slope, shift, magnitude, chosen, mix, own, lost, values[source], left @ bent.T)
    return found


def _behind(network: Network, source: int) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """A node's slope by the input and its shift, without what activations add, and its slopes by the activations."""
    node = network.nodes[source]
    slopes = {source: np.eye(node.size)}
    shift = np.zeros(node.size)
    for i in range(source, 0, -1):
        affine = network.nodes[i]
        if i in slopes and isinstance(affine, Affine):
            own = slopes.pop(i)
            shift = shift + own @ np.asarray(affine.bias)
            for term in affine.terms:
                part = np.asarray(term.map.transpose(own))
                slopes[term.source] = slopes.get(term.source, 0.0) + part
    slope = slopes.pop(0, np.zeros((node.size, network.input_size)))
    return slope, shift, slopes


def _independent(rows: np.ndarray) -> np.ndarray:
    """Rows of which all are combinations, nearly: the longest ones first, each without what those before have of it."""
    rest, chosen = rows.copy(), []
    longest = np.linalg.norm(rows, axis=1).max(initial=0.0)
    while rows.size:
        length = np.linalg.norm(rest, axis=1)
        # First operands come first: where they are differences, they are the smaller ones.
        half = length[: len(length) // 2]
        best = int(half.argmax()) if half.max() > _NOTHING * longest else int(length.argmax())
        if length[best] <= _NOTHING * longest:
            break
        chosen.append(best)
        unit = rest[best] / length[best]
        rest = rest - np.outer(rest @ unit, unit)
    return np.array(chosen, dtype=np.int64)
