"""Matrix products of two values, passed by backward sweeps in one step instead of entry by entry.

A network holds a matrix product as a copy of both factors for every pair of entries that meet, the products and their
sums. CROWN's planes of the products have slopes that depend on the entry alone, so that a sweep over them is two matrix
products itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from admm_verify.arrays import Array, Placement, inner, namespace, to_numpy
from admm_verify.network.common_factors import factors_of
from admm_verify.network.graph import Activation, Network
from admm_verify.network.maps import TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.relaxations.bilinear import pair


@dataclass(frozen=True, eq=False)
class MatrixProduct:
    """z[b, i, j] = sum over d of x[b, i, d] y[b, j, d], as found in a network.

    node: of z; hidden: the nodes of the copies and of the products, which nothing else reads; activation: the number of
    the latter. sources: the nodes of x and y. places: which products belong to [b, i, j, d]. sums: which entry of z is
    [b, i, j]; factors: which entries of the sources are [b, i, d] and [b, j, d].
    """

    node: int
    hidden: tuple[int, int]
    activation: int
    sources: tuple[int, int]
    places: np.ndarray
    sums: np.ndarray
    factors: tuple[np.ndarray, np.ndarray]


def matrix_products(network: Network) -> list[MatrixProduct]:
    """The matrix products of a network that a sweep can pass in one step."""
    found = (_product_behind(network, i) for i in network.affine)
    return [product for product in found if product is not None]


def _product_behind(network: Network, index: int) -> MatrixProduct | None:
    """The matrix product whose sums an affine node is, if it is one."""
    hidden = _hidden(network, index)
    if hidden is None:
        return None
    map = network.affine[index].terms[0].map
    assert isinstance(map, TransposedMap) and isinstance(map.inner, SelectionMap), "as looked at before"
    origins, total = factors_of(network.affine[hidden[0]]), to_numpy(map.inner.gather)
    if origins is None or not (total < map.inner.columns).all():
        return None
    (left, x), (right, y) = origins
    places = _layout(total, x, y)
    if places is None:
        return None
    sums, factors = total[places[..., 0]], (x[places[:, :, 0]], y[places[:, 0]])
    if any(len(np.unique(part)) < part.size for part in (sums, *factors)):
        return None
    return MatrixProduct(index, hidden, network.activations.index(hidden[1]), (left, right), places, sums, factors)


def _hidden(network: Network, index: int) -> tuple[int, int] | None:
    """The nodes of the copies and of the products whose sums an affine node is; None where others read them too."""
    node = network.affine[index]
    map = node.terms[0].map if len(node.terms) == 1 else None
    if not isinstance(map, TransposedMap) or not isinstance(map.inner, SelectionMap):
        return None
    middle = node.terms[0].source
    made = network.nodes[middle]
    if not isinstance(made, Activation) or made.kind != "product" or network.readers[middle] != {index}:
        return None
    alone = made.source in network.affine and network.readers[made.source] == {middle}
    return (made.source, middle) if alone else None


def _layout(total: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Numbers of products as [b, i, j, d], where that is their order in some matrix product, each sum with as many."""
    order = np.argsort(total * (x.max(initial=0) + 1) + x, kind="stable")
    counts = np.unique(total, return_counts=True)[1]
    if not counts.size or (counts != counts[0]).any():
        return None
    # Rows of as many products as a sum has, ordered by the first factors.
    table = order.reshape(len(counts), counts[0])
    rows, own = np.unique(x[table[:, 0]], return_inverse=True)
    columns, other = np.unique(y[table[:, 0]], return_inverse=True)
    # The blocks: rows that meet the same columns.
    block = np.full(len(columns), -1)
    first = np.full(len(rows), len(columns))
    np.minimum.at(first, own, other)
    block[other] = first[own]
    blocks, of_sum = np.unique(block[other], return_inverse=True)
    if (block[other] != first[own]).any() or len(rows) % len(blocks) or len(columns) % len(blocks):
        return None
    shape = len(blocks), len(rows) // len(blocks), len(columns) // len(blocks)
    if np.prod(shape) != len(table):
        return None
    table = table[np.lexsort((other, own, of_sum))].reshape(*shape, -1)
    same = (x[table] == x[table[:, :, :1]]).all() and (y[table] == y[table[:, :1]]).all()
    return table if same else None


@dataclass(frozen=True, eq=False)
class PassedProduct:
    """A matrix product over ranges of its factors, with the planes halfway between McCormick's two.

    With middles m and radii r, x y lies within r_x r_y of m_y x + m_x y - m_x m_y: whatever multiplies a sum multiplies
    all of its products.
    Shapes: middles [sets, b, i, d] and [sets, b, j, d]; intercept, area and reach [sets, 1, z].
    """

    found: MatrixProduct
    middles: tuple[Array, Array]
    intercept: Array
    area: Array
    reach: Array
    back: tuple[SelectionMap, SelectionMap]

    @classmethod
    def over(cls, found: MatrixProduct, network: Network, lower: Array, upper: Array) -> "PassedProduct":
        """Over the ranges of the copies, [sets, 1, 2 n], all of which hold; the radii are rounded up."""
        placement = Placement.of(lower)
        xp, put = placement.xp, placement.put_indices
        middles, radii, sizes = [], [], []
        every = put(found.places.reshape(-1))
        for copies, *ends in zip((3, 2), pair(lower), pair(upper), strict=True):
            shape = (lower.shape[0], *found.places.shape)
            spread_ends = (xp.reshape(xp.take(end, every, axis=-1), shape) for end in ends)
            low, high = (best(end, axis=copies) for best, end in zip((xp.max, xp.min), spread_ends, strict=True))
            centre = low / 2 + high / 2
            radius = xp.maximum(high - centre, centre - low)
            middles.append(centre)
            radii.append(xp.nextafter(radius, xp.full_like(radius, float("inf"))))
            sizes.append(xp.maximum(xp.abs(low), xp.abs(high)))
        (x, y), (wide, tall), (far, high) = middles, radii, sizes
        spread = _places(found.sums, network.nodes[found.node].size).put(placement)

        def summed(first: Array, second: Array) -> Array:
            pairs = first @ xp.permute_dims(second, (0, 1, 3, 2))
            return spread.apply(xp.reshape(pairs, (pairs.shape[0], 1, -1)))

        reach = summed(far, xp.abs(y)) + summed(xp.abs(x), high)
        back = [
            _places(part, network.nodes[source].size).put(placement)
            for part, source in zip(found.factors, found.sources, strict=True)
        ]
        return cls(found, (x, y), summed(x, y), summed(wide, tall), reach, (back[0], back[1]))

    @cached_property
    def _sums(self) -> Array:
        return Placement.of(self.area).put_indices(self.found.sums.reshape(-1))

    def support(self, a: Array) -> Array:
        """The least of a'z minus the multipliers' parts, in real numbers of the given a, [...]."""
        return -inner(a, self.intercept) - inner(namespace(a).abs(a), self.area)

    def magnitude(self, a: Array) -> Array:
        """What the roundings of the multipliers are relative to, times max|x| and max|y|, [...]."""
        return inner(namespace(a).abs(a), self.reach)

    def multipliers(self, a: Array) -> Sequence[tuple[int, Array]]:
        """The sources and what a sweep adds to their coefficients, [sets, rows, n].

        Shapes: a [sets or 1, rows, z], the coefficients of z.
        """
        xp, (sets, rows, _) = namespace(a), a.shape
        grid = xp.reshape(xp.take(a, self._sums, axis=-1), (sets, rows, *self.found.sums.shape))
        x, y = self.middles
        parts = []
        for order, middle, back in (((0, 2, 1, 3, 4), y, self.back[0]), ((0, 2, 1, 4, 3), x, self.back[1])):
            turned = xp.permute_dims(grid, order)
            _, blocks, _, own, other = turned.shape
            flat = xp.reshape(turned, (sets, blocks, rows * own, other)) @ middle
            wide = xp.reshape(flat, (flat.shape[0], blocks, rows, own, flat.shape[-1]))
            entries = xp.reshape(xp.permute_dims(wide, (0, 2, 1, 3, 4)), (flat.shape[0], rows, -1))
            parts.append(back.apply(entries))
        return list(zip(self.found.sources, parts, strict=True))


def _places(entries: np.ndarray, size: int) -> SelectionMap:
    """From an array of entries to a node of some size, at whose other places there is zero."""
    gather = np.full(size, entries.size)
    gather[entries.reshape(-1)] = np.arange(entries.size)
    return SelectionMap.from_gather(gather, entries.size)
