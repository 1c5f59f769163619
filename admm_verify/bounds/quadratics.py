"""Sums of products in front of the output, written as squares of linear forms of the input and what is left of them.

Where the operands x_i = a_i(z) + r_i and y_i = b_i(z) + s_i of products are near to affine functions of the input z
over a set, and all of r and s are combinations of a few of them, r_i = sum_k G_ik n_k and s_i = sum_k H_ik n_k, then

    sum_i w_i x_i y_i = sum_i w_i a_i(z) b_i(z) + sum_k n_k (sum_i w_i (G_ik y_i + H_ik a_i(z))).

The first sum is one quadratic function, whose squares are relaxed exactly on one side. In the second one the n_k are
small. McCormick's planes of the products x_i y_i are as far apart as all of x and y allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, gamma, quiet_overflow
from admm_verify.bounds.interval import Forward
from admm_verify.bounds.operands import Operands, operands_of
from admm_verify.bounds.region import largest
from admm_verify.network.graph import Activation, Affine, Network, Node, Term
from admm_verify.network.maps import DenseMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import simplify
from admm_verify.sets.contract import WalkableSet

_POINTS = 1024
"""Points at which operands are looked at, over all sets."""

_MOST_INPUTS, _MOST_PRODUCTS, _MOST_FORMS = 32, 256, 16
"""Of the input and of a node's products; of the numbers that sums of products go into."""

_PAYS = 0.5
"""How much of the products' gap may stay for the rewriting to pay."""

_CHARGED = 16.0
"""Roundings that every bound charges a magnitude with, and more."""

_UNDERFLOW = 2.0**-1000
"""What products of coefficients lose to underflow, and more, of what they multiply."""


@dataclass(frozen=True, eq=False)
class _QuadraticForm:
    """What one affine node adds up of products: quadratic functions z'Q z + q'z + k, one for each row, and products
    n_k t_rk with t an affine function of the operands and the input.

    charge: what all that may be off by over the sets. weights: of squares, once these are known.
    Shapes: matrix [rows, inputs, inputs]; slope [rows, inputs]; shift, charge [rows]; weights [rows, squares].
    """

    matrix: np.ndarray
    slope: np.ndarray
    shift: np.ndarray
    charge: np.ndarray
    weights: np.ndarray


def with_quadratics(network: Network, inputs: WalkableSet) -> Network:
    """The network with its last products as squares and products of what is left, where that is estimated to pay over
    the sets; itself where not.

    Equal to it over the sets in real numbers, up to what its magnitudes charge. It says nothing about float32 code.
    Shapes: inputs [sets, n] on the host.
    """
    products = _last_products(network)
    if not products or network.input_size > _MOST_INPUTS or not inputs.placement.is_numpy:
        return network
    with quiet_overflow():
        forward = Forward(network, inputs).run()
        reach = [np.max(largest(*ends), axis=0) for ends in zip(forward.lower, forward.upper, strict=True)]
    if not all(np.isfinite(size).all() for size in reach):
        return network
    points = _points(inputs)
    with quiet_overflow():
        values = [np.asarray(value) for value in network.evaluate(points)]
    if not all(np.isfinite(value).all() for value in values):
        return network
    with quiet_overflow():
        operands = operands_of(network, values, products, reach)
        readers = sorted({j for i in products for j in network.readers[i]})
        forms = {i: _form(network, i, operands, reach[0]) for i in readers}
    matrices = [matrix for form in forms.values() for matrix in form.matrix if matrix.any()]
    if not 0 < len(matrices) <= _MOST_FORMS or not np.isfinite(matrices).all():
        return network
    basis = _squares(matrices)
    forms = {i: _in_squares(form, basis, reach[0]) for i, form in forms.items()}
    known = all(np.isfinite(form.charge).all() for form in forms.values())
    if not known or not _pays(network, operands, forms, points, basis):
        return network
    return _Writer(network, operands, forms, basis).written()


def _points(inputs: WalkableSet) -> np.ndarray:
    """Points of all sets, the same ones every time, more of them near the middle."""
    low, high = (np.asarray(end).reshape(-1, np.shape(end)[-1]) for end in inputs.range)
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(low), _POINTS)
    shares = 0.5 + rng.random((_POINTS, 1)) * (rng.random((_POINTS, low.shape[1])) - 0.5)
    return low[chosen] + shares * (high[chosen] - low[chosen])


def _last_products(network: Network) -> list[int]:
    """The product nodes that only affine nodes stand behind."""
    plain = [False] * len(network.nodes)
    for i in range(network.output, 0, -1):
        plain[i] = all(plain[j] and isinstance(network.nodes[j], Affine) for j in network.readers[i])
    return [
        i
        for i, node in enumerate(network.nodes)
        if isinstance(node, Activation) and node.kind == "product" and plain[i] and node.size <= _MOST_PRODUCTS
    ]


def _affine(network: Network, i: int) -> Affine:
    node = network.nodes[i]
    assert isinstance(node, Affine), "only affine nodes read the products"
    return node


def _form(network: Network, reader: int, operands: dict[int, Operands], reach: np.ndarray) -> _QuadraticForm:
    """What a node adds up, and what of it may be roundings: its own, the operands', and those of adding up here."""
    node, inputs = _affine(network, reader), network.input_size
    matrix, slope = np.zeros((node.size, inputs, inputs)), np.zeros((node.size, inputs))
    shift, size, off = np.zeros(node.size), np.zeros(node.size), np.zeros(node.size)
    longest = network.roundings + 8 * inputs
    for term in node.terms:
        if term.source not in operands:
            continue
        own, map = operands[term.source], term.map.dense()
        weight, (a, b), (c, d) = np.asarray(map.weight), own.sides(own.slope), own.sides(own.shift)
        half = np.einsum("ri,ij,ik->rjk", weight, a, b)
        matrix += (half + half.swapaxes(1, 2)) / 2.0
        slope += weight @ (c[:, None] * b + d[:, None] * a)
        shift += weight @ (c * d)
        straight = np.abs(own.slope) @ reach + np.abs(own.shift)
        (x, y), (ax, _) = own.sides(own.magnitude + straight), own.sides(straight)
        (lost_x, lost_y), (mixed_x, mixed_y) = own.sides(own.lost), own.sides(np.abs(own.mix) @ own.reach)
        size += map.magnitude_apply((x + mixed_x) * (y + mixed_y))
        off += map.magnitude_apply(lost_x * y + ax * lost_y)
        off += _UNDERFLOW * (1.0 + np.sum(x + mixed_x)) * (1.0 + np.sum(y + mixed_y))
        longest += 8 * len(own.slope) + 8 * own.mix.shape[1]
    return _QuadraticForm(matrix, slope, shift, 16.0 * gamma(longest) * size + 1.001 * off, np.zeros((node.size, 0)))


def _squares(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Linear forms of which all quadratic forms are sums of squares with weights, near enough: [squares, inputs].

    Two of them, of which one is definite, share them.
    """
    if len(matrices) == 2:
        for first, second in (matrices, matrices[::-1]):
            sign = 1.0 if np.trace(first) > 0 else -1.0
            if np.linalg.eigvalsh(sign * first)[0] > 1e-9 * abs(np.trace(first)):
                root = np.linalg.cholesky(sign * first)
                inner = np.linalg.solve(root, np.linalg.solve(root, second).T)
                return np.linalg.eigh((inner + inner.T) / 2.0)[1].T @ root.T
    return np.concatenate([np.linalg.eigh(matrix)[1].T for matrix in matrices])


def _in_squares(form: _QuadraticForm, basis: np.ndarray, reach: np.ndarray) -> _QuadraticForm:
    """The form with weights of squares, charged for what these are off by, as computed and by rounding."""
    rows, squares = len(form.shift), np.einsum("si,sj->sij", basis, basis).reshape(len(basis), -1)
    # Every form is a sum of the squares of its own part of the basis; least squares finds it without being told which.
    weights = np.linalg.lstsq(squares.T, form.matrix.reshape(rows, -1).T, rcond=None)[0].T
    made = np.einsum("rs,si,sj->rij", weights, basis, basis)
    off = np.einsum("rij,i,j->r", np.abs(form.matrix - made), reach, reach)
    size = np.abs(weights) @ (np.abs(basis) @ reach) ** 2 + np.einsum("rij,i,j->r", np.abs(form.matrix), reach, reach)
    rounding = 8.0 * gamma(4 * (len(basis) + len(reach) + 4)) * size + _UNDERFLOW * (1.0 + np.sum(reach)) ** 2
    return replace(form, weights=weights, charge=1.001 * (form.charge + off + rounding))


def _pays(
    network: Network,
    operands: dict[int, Operands],
    forms: dict[int, _QuadraticForm],
    points: np.ndarray,
    basis: np.ndarray,
) -> bool:
    """Whether what is left of the gap, with that of squares on the side where they are not exact, is small."""
    before = after = 0.0
    wide = _width(points @ basis.T) ** 2
    for reader, form in forms.items():
        for term in _affine(network, reader).terms:
            if term.source in operands:
                own = operands[term.source]
                x, y = own.sides(_width(own.values))
                before += float(np.sum(term.map.absolute_apply(x * y)))
                slope, input_slope, shift = own.partners(np.asarray(term.map.dense().weight))
                partner = own.values @ slope.T + points @ input_slope.T + shift
                left = np.tile(_width(own.left[:, own.chosen]), len(form.shift))
                after += float(np.sum(left * _width(partner)))
        sides = [np.maximum(sign * form.weights, 0.0) @ wide for sign in (1.0, -1.0)]
        after += float(np.sum(np.minimum(*sides)))
    return np.isfinite(before) and after <= _PAYS * before


def _width(values: np.ndarray) -> np.ndarray:
    return values.max(axis=0) - values.min(axis=0)


class _Writer:
    """The new graph."""

    def __init__(
        self, network: Network, operands: dict[int, Operands], forms: dict[int, _QuadraticForm], basis: np.ndarray
    ) -> None:
        self.network, self.operands, self.forms = network, operands, forms
        zero = np.zeros(len(basis))
        self.nodes: list[Node] = [
            network.nodes[0],
            Affine((Term(0, DenseMap(basis)),), zero, zero),
            Activation("square", 1, len(basis)),
        ]
        self.places = {0: 0}

    def written(self) -> Network:
        """The network."""
        for i, node in enumerate(self.network.nodes[1:], start=1):
            # What reads the products is rewritten.
            if i not in self.operands:
                assert isinstance(node, Affine | Activation), "the input is the first node"
                made = self._sum(i, self.forms[i]) if i in self.forms else node.reading(self.places)
                self.nodes.append(made)
                self.places[i] = len(self.nodes) - 1
        as_read = self.network.as_read or self.network
        return simplify(replace(self.network, nodes=tuple(self.nodes), as_read=as_read))

    def _sum(self, reader: int, form: _QuadraticForm) -> Affine:
        node = _affine(self.network, reader)
        terms = [Term(self.places[term.source], term.map) for term in node.terms if term.source not in self.operands]
        for term in node.terms:
            own = self.operands.get(term.source)
            if own is not None and len(own.chosen):
                weight = np.asarray(term.map.dense().weight)
                rows = np.flatnonzero(weight.any(axis=1))
                added = np.kron(np.eye(node.size)[:, rows], np.ones(len(own.chosen)))
                terms.append(Term(self._products(own, weight[rows]), DenseMap(added)))
        terms += [Term(2, DenseMap(form.weights)), Term(0, DenseMap(form.slope))]
        magnitude = np.asarray(node.bias_magnitude) + np.abs(form.shift) + form.charge / (_CHARGED * DOUBLE_ROUNDOFF)
        return replace(node, terms=tuple(terms), bias=np.asarray(node.bias) + form.shift, bias_magnitude=magnitude)

    def _products(self, own: Operands, weight: np.ndarray) -> int:
        """The node of the products n_k t_rk, for every row r of the weights."""
        slope, input_slope, shift = own.partners(weight)
        chosen = np.tile(own.chosen, len(weight))
        count = len(own.slope)
        nothing = np.full(len(chosen), count)
        source, at = self.places[own.node], np.concatenate([chosen, nothing])
        terms = (
            Term(source, SelectionMap.from_gather(at, count)),
            Term(source, DenseMap(np.concatenate([np.zeros_like(slope), slope]))),
            Term(0, DenseMap(np.concatenate([-own.slope[chosen], input_slope]))),
        )
        bias = np.concatenate([-own.shift[chosen], shift])
        self.nodes.append(Affine(terms, bias, np.abs(bias)))
        self.nodes.append(Activation("product", len(self.nodes) - 1, len(chosen)))
        return len(self.nodes) - 1
