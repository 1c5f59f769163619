"""Closed-form projections on the graph {(x, y) : y = W x}, one class per structure of W."""

from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.backends.choice import kernels_for
from admm_verify.backends.verbs import ArrayVerbs
from admm_verify.errors import InputError
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap, added_product
from admm_verify.network.placed import made_once
from admm_verify.network.selection import SelectionMap
from admm_verify.splitting.frequency import FrequencyGraph

_MATRIX_LIMIT = 2**24
"""Entries of the largest map without a closed form of its own that is written out as a matrix."""


class Graph(Protocol):
    """The graph of a map from several sources to one output, with fixed weights w_e on the sources and w on y.

    Shapes: sources side by side x [rows, sum of n_e], or as `embed` lays them out; y [rows, m] of which `valid` are the
    map's outputs.
    """

    @property
    def embed(self) -> SelectionMap | None:
        """How the (single) source lies in x, with zeros around it; None where x is the source."""
        ...

    @property
    def valid(self) -> SelectionMap | None:
        """Which entries of y are the map's outputs, the others being free; None where all are."""
        ...

    def project(self, x: Array, y: Array) -> tuple[Array, Array]:
        """argmin sum_e w_e |x_e+ - x_e|^2 + w |y+ - y|^2 over y+ = W x+."""
        ...


@dataclass(frozen=True, eq=False)
class DenseGraph:
    """A matrix, by the thin singular value decomposition U diag(s) V' of sqrt(w) W / sqrt(w_e), sources side by side.

    t = (U'p - s V'x) / (1 + s^2), x+ = x + V s t, p+ = U s V'x+ for x and p scaled by the roots of their weights; the
    roots are in `near`, `far` and `back`, of every singular vector, and in `inward` = V, where there are several.
    Shapes: left [m, k]; inward [n, k]; outward [k, n]; near, far, back [1, k].
    """

    left: Array
    inward: Array
    outward: Array
    near: Array
    far: Array
    back: Array
    embed: None = None
    valid: None = None

    @classmethod
    def of(cls, maps: list[LinearMap], weights: list[float], weight: float, placement: Placement) -> "DenseGraph":
        """The decomposition, computed on the device of the rows, and else on the host."""
        roots, root = [w**0.5 for w in weights], weight**0.5
        if len(maps) == 1:
            # Weights only scale the values of a map, which all blocks of rows share.
            left, values, right = made_once(
                maps[0], placement, lambda: _decomposed(_weight(maps[0], placement), placement)
            )
            scaled, single = values * (root / roots[0]), roots[0]
            inward, outward = right.T, right
        else:
            parts = [_weight(map, placement) * (root / part) for map, part in zip(maps, roots, strict=True)]
            left, scaled, right = _decomposed(namespace(*parts).concat(parts, axis=1), placement)
            own = placement.put(np.repeat(roots, [part.shape[1] for part in parts]))
            inward, outward, single = (right * own).T, right / own, 1.0
        share = scaled / (1.0 + scaled * scaled)
        near, far, back = share * (root / single), scaled * share, scaled * (single / root)
        return cls(left, inward, outward, near[None, :], far[None, :], back[None, :])

    def project(self, x: Array, y: Array) -> tuple[Array, Array]:
        along, across, place = x @ self.inward, y @ self.left, Placement.of(y)
        verbs = kernels_for(place, prod(along.shape)) or ArrayVerbs()
        down, up = verbs.turn(along, across, self.near, self.far, self.back, None)
        return added_product(x, down, self.outward), up @ self.left.T


@dataclass(frozen=True, eq=False)
class DiagonalGraph:
    """A map with W'W or W W' diagonal: scalings, selections and their transposes, such as sums over axes.

    x+ = x + gain W'(y - W x) with gain = r / (1 + r W'W 1) and r = w / w_e.
    """

    map: LinearMap
    gain: Array
    embed: None = None
    valid: None = None

    @classmethod
    def of(cls, map: LinearMap, ratio: float, placement: Placement) -> "DiagonalGraph":
        """The graph for a ratio w / w_e; where both products are diagonal, W'W 1 is either's share of an input."""
        ones = placement.xp.ones((map.columns,), dtype=placement.dtype, device=placement.device)
        with quiet_overflow():
            return cls(map, ratio / (1.0 + ratio * map.transpose(map.apply(ones))))

    def project(self, x: Array, y: Array) -> tuple[Array, Array]:
        moved = x + self.gain * self.map.transpose(y - self.map.apply(x))
        return moved, self.map.apply(moved)


def graph_of(maps: list[LinearMap], weights: list[float], weight: float, placement: Placement) -> Graph:
    """The projection for given maps with given weights on their sources and on their sum.

    Raises: InputError for a map without a closed form that is too large to be written out.
    """
    map, ratio = maps[0], weight / weights[0]
    inner = map.inner if isinstance(map, TransposedMap) else map
    if len(maps) == 1 and isinstance(map, ConvolutionMap):
        return FrequencyGraph.of(map, ratio, placement)
    if len(maps) == 1 and isinstance(inner, DiagonalMap | SelectionMap):
        return DiagonalGraph.of(map, ratio, placement)
    return DenseGraph.of(maps, weights, weight, placement)


def can_project(network: Network) -> bool:
    """Whether `graph_of` has the projections for all maps of a network."""
    for node in network.affine.values():
        for map in (term.map for term in node.terms):
            inner = map.inner if isinstance(map, TransposedMap) else map
            closed = isinstance(map, ConvolutionMap | DenseMap) or isinstance(inner, DiagonalMap | SelectionMap)
            if not closed and map.rows * map.columns > _MATRIX_LIMIT:
                return False
    return True


def _weight(map: LinearMap, placement: Placement) -> Array:
    """The matrix of a map, on a GPU in float64, which there costs little, else on the host."""
    if placement.on_gpu:
        return placement.double.put(map.weight if isinstance(map, DenseMap) else _dense(map).weight)
    return to_numpy(_dense(map).weight)


def _decomposed(matrix: Array, placement: Placement) -> tuple[Array, Array, Array]:
    """The thin singular value decomposition, computed where the matrix is and moved to a placement.

    What is not finite, which it refuses, becomes zero: a graph lost to overflow costs accuracy, never the bound.
    """
    xp = namespace(matrix)
    finite = xp.where(xp.isfinite(matrix), matrix, xp.zeros_like(matrix))
    left, values, right = xp.linalg.svd(finite, full_matrices=False)
    return placement.put(left), placement.put(values), placement.put(right)


def _dense(map: LinearMap) -> DenseMap:
    if not isinstance(map, DenseMap) and map.rows * map.columns > _MATRIX_LIMIT:
        raise InputError(
            f"The method 'admm' has no closed-form projection for a {type(map).__name__} of {map.rows} x {map.columns} "
            "entries. Use method='auto', 'ascent' or 'primal_dual'."
        )
    return map.put(Placement.numpy()).dense()
