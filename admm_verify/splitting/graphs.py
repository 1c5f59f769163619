"""Closed-form projections on the graph {(x, y) : y = W x}, one class per structure of W."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.errors import InputError
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.splitting.frequency import FrequencyGraph

_MATRIX_LIMIT = 2**24
"""Entries of the largest map without a closed form of its own that is written out as a matrix."""


class Graph(Protocol):
    """The graph of a map from several sources to one output, with fixed weights w_e on the sources and w on y.

    Shapes: sources x_e [rows, n_e], or as `embed` lays them out; y [rows, m] of which `valid` are the map's outputs.
    """

    @property
    def embed(self) -> SelectionMap | None:
        """How the (single) source lies in x, with zeros around it; None where x is the source."""
        ...

    @property
    def valid(self) -> SelectionMap | None:
        """Which entries of y are the map's outputs, the others being free; None where all are."""
        ...

    def project(self, x: list[Array], y: Array) -> tuple[list[Array], Array]:
        """argmin sum_e w_e |x_e+ - x_e|^2 + w |y+ - y|^2 over y+ = W x+."""
        ...


@dataclass(frozen=True, eq=False)
class DenseGraph:
    """A matrix, by the thin singular value decomposition U diag(s) V' of sqrt(w) W / sqrt(w_e), sources side by side.

    t = (U'p - s V'x) / (1 + s^2), x+ = x + V s t, p+ = U s V'x+ for x and p scaled by the roots of their weights.
    """

    left: Array
    values: Array
    right: Array
    roots: tuple[float, ...]
    root: float
    embed: None = None
    valid: None = None

    @classmethod
    def of(cls, maps: list[LinearMap], weights: list[float], weight: float, placement: Placement) -> "DenseGraph":
        """The decomposition, computed on the host in float64."""
        roots, root = tuple(w**0.5 for w in weights), weight**0.5
        parts = [to_numpy(_dense(map).weight) * (root / part) for map, part in zip(maps, roots, strict=True)]
        # The decomposition refuses what is not finite; a graph lost to overflow costs accuracy, never the bound.
        matrix = np.nan_to_num(np.concatenate(parts, axis=1), nan=0.0, posinf=0.0, neginf=0.0)
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        return cls(placement.put(left), placement.put(values), placement.put(right), roots, root)

    def project(self, x: list[Array], y: Array) -> tuple[list[Array], Array]:
        xp = namespace(y)
        joined = xp.concat([root * part for root, part in zip(self.roots, x, strict=True)], axis=-1)
        along = joined @ self.right.T
        t = ((self.root * y) @ self.left - self.values * along) / (1.0 + self.values * self.values)
        joined = joined + (self.values * t) @ self.right
        p = (self.values * (along + self.values * t)) @ self.left.T
        parts, offset = [], 0
        for root, part in zip(self.roots, x, strict=True):
            parts.append(joined[:, offset : offset + part.shape[-1]] / root)
            offset += part.shape[-1]
        return parts, p / self.root


@dataclass(frozen=True, eq=False)
class OrthogonalGraph:
    """A map with diagonal W'W: scalings and selections. x+ = (x + r W'y) / (1 + r diag(W'W)) with r = w / w_e."""

    map: LinearMap
    ratio: float
    inverse: Array
    embed: None = None
    valid: None = None

    def project(self, x: list[Array], y: Array) -> tuple[list[Array], Array]:
        moved = (x[0] + self.ratio * self.map.transpose(y)) * self.inverse
        return [moved], self.map.apply(moved)


@dataclass(frozen=True, eq=False)
class SumGraph:
    """A map with diagonal W W', such as sums over axes: x+ = x + r W'(y - W x) / (1 + r diag(W W'))."""

    map: LinearMap
    ratio: float
    inverse: Array
    embed: None = None
    valid: None = None

    def project(self, x: list[Array], y: Array) -> tuple[list[Array], Array]:
        moved = x[0] + self.ratio * self.map.transpose((y - self.map.apply(x[0])) * self.inverse)
        return [moved], self.map.apply(moved)


@dataclass(frozen=True, eq=False)
class ConvolutionGraph:
    """A convolution, exactly on a padded periodic grid: see `FrequencyGraph`."""

    frequency: FrequencyGraph

    @property
    def embed(self) -> SelectionMap:
        return self.frequency.embed

    @property
    def valid(self) -> SelectionMap:
        return self.frequency.valid

    def project(self, x: list[Array], y: Array) -> tuple[list[Array], Array]:
        moved, image = self.frequency.project(x[0], y)
        return [moved], image


def graph_of(maps: list[LinearMap], weights: list[float], weight: float, placement: Placement) -> Graph:
    """The projection for given maps with given weights on their sources and on their sum.

    Raises: InputError for a map without a closed form that is too large to be written out.
    """
    if len(maps) > 1 or isinstance(maps[0], DenseMap):
        return DenseGraph.of(maps, weights, weight, placement)
    map, ratio = maps[0], weight / weights[0]
    if isinstance(map, ConvolutionMap):
        return ConvolutionGraph(FrequencyGraph.of(map, ratio, placement))
    with quiet_overflow():
        if isinstance(map, DiagonalMap):
            return OrthogonalGraph(map, ratio, 1.0 / (1.0 + ratio * map.scale * map.scale))
        if isinstance(map, SelectionMap):
            return OrthogonalGraph(map, ratio, 1.0 / (1.0 + ratio * map.transpose(_ones(map.rows, placement))))
        if isinstance(map, TransposedMap) and isinstance(map.inner, SelectionMap):
            return SumGraph(map, ratio, 1.0 / (1.0 + ratio * map.apply(_ones(map.columns, placement))))
    return DenseGraph.of(maps, weights, weight, placement)


def _ones(size: int, placement: Placement) -> Array:
    return placement.xp.ones((size,), dtype=placement.dtype, device=placement.device)


def _dense(map: LinearMap) -> DenseMap:
    if not isinstance(map, DenseMap) and map.rows * map.columns > _MATRIX_LIMIT:
        raise InputError(
            f"The method 'admm' has no closed-form projection for a {type(map).__name__} of {map.rows} x {map.columns} "
            "entries. Use method='auto', 'ascent' or 'primal_dual'."
        )
    return map.put(Placement.numpy()).dense()
