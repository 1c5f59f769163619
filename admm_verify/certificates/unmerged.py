"""A network in exact numbers, from the graph as read: chains of layers are merged without any rounding.

Weights that the reader itself computed with rounding, such as those of a batch normalisation or 1 / d, come with a
bound on what that can have changed, which the checker charges like a rounding of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from admm_verify.arrays import SMALLEST, to_numpy
from admm_verify.certificates.dyadics import Dyadics
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.originals import Original
from admm_verify.network.selection import SelectionMap
from admm_verify.run import paced

_DENSE_LIMIT = 2**22
"""Entries of the largest matrix of exact numbers."""

_ENTRY = 64
"""Bytes of one of them, on average."""

_ROUNDING = 2.0**-50
"""More than the relative error of one rounded operation, also where its result has lost two digits to underflow."""

_LEAST_ROUNDINGS = 16
"""Roundings that every computed bias is charged for: what a reader hides in a magnitude counts on that many."""

_DIGITS = 88


@dataclass(frozen=True, eq=False)
class Matrix:
    """`Dyadics` W that stand for some W' with |W' - W| <= error; error None where they are known exactly."""

    weight: Any
    error: Any = None

    def __add__(self, other: "Matrix") -> "Matrix":
        return Matrix(self.weight + other.weight, _sum(self.error, other.error))

    def after(self, first: "Matrix") -> "Matrix":
        """self first, with |V' W' - V W| <= |V| e_W + e_V (|W| + e_W)."""
        error = None if first.error is None else abs(self.weight) @ first.error
        if self.error is not None:
            size = abs(first.weight) if first.error is None else abs(first.weight) + first.error
            error = _sum(error, self.error @ size)
        return Matrix(self.weight @ first.weight, _up(error))


@dataclass(eq=False)
class Sum:
    """An affine function of nodes of the exact graph: matrices by node, and a bias as a matrix of one column.

    whole: it is the value of this node itself.
    """

    parts: dict[int, Matrix]
    bias: Matrix
    whole: int | None = None


class Exact:
    """The graph as read in exact numbers, with activations that read one affine node each.

    Activations of one kind, source and parameters are one node, as they are in the simplified network, which has the
    same activations in the same order.

    Raises: CertificateError where matrices are too large, or numbers are NaN or infinite.
    """

    def __init__(self, network: Network, limit: float) -> None:
        """limit: on the bytes that all matrices take, roughly."""
        read = network.as_read or network
        self.nodes: list[Node] = [Input(network.input_size)]
        self._left = limit
        self._sums: list[Sum] = [Sum({}, _zeros(network.input_size), 0)]
        self._places: dict[int, int] = {}
        self._twins: dict[tuple[str, int, tuple[bytes, ...]], int] = {}
        for _, affine, k in paced(read.steps):
            self._sums.append(self._activation(read.functions[k]) if affine is None else self._affine(affine))
        self._place(len(read.nodes) - 1, True)
        self.network = replace(network, nodes=tuple(self.nodes), as_read=None)
        self._check_like(network)

    def _activation(self, node: Activation) -> Sum:
        source = self._place(node.source, False)
        key = node.kind, source, tuple(to_numpy(numbers).tobytes() for numbers in node.parameters)
        if key not in self._twins:
            parameters = tuple(Dyadics.of_floats(to_numpy(numbers)) for numbers in node.parameters)
            self.nodes.append(replace(node, source=source, parameters=parameters))
            self._twins[key] = len(self.nodes) - 1
        return Sum({}, _zeros(node.size), self._twins[key])

    def _affine(self, node: Affine) -> Sum:
        bias, magnitude = to_numpy(node.bias), to_numpy(node.bias_magnitude)
        found = Sum({}, Matrix(Dyadics.of_floats(bias)[:, None]))
        if not np.array_equal(magnitude, np.abs(bias)):
            # The bias was computed from numbers of this magnitude.
            size = _ROUNDING * max(node.roundings, _LEAST_ROUNDINGS) * np.abs(magnitude) + SMALLEST
            found.bias = Matrix(found.bias.weight, Dyadics.of_floats(size)[:, None])
        for term in node.terms:
            source = self._sums[term.source]
            through = self._through(term.map, node.original)
            parts = {source.whole: None} if source.whole is not None else dict(source.parts)
            for index, part in parts.items():
                product = through(part)
                present = found.parts.get(index)
                found.parts[index] = product if present is None else present + product
            if source.whole is None:
                found.bias = found.bias + through(source.bias)
        return found

    def _through(self, map: LinearMap, original: Original | None = None) -> Callable[[Matrix | None], Matrix]:
        """map W for matrices W, None for the identity."""
        if isinstance(map, SelectionMap):
            gather = to_numpy(map.gather)

            def picked(numbers: Any) -> Any:
                zero: Any = Dyadics.of(np.zeros((1, numbers.shape[1]), dtype=np.int64))
                return np.take(np.concatenate([numbers, zero]), gather, 0)

            def select(part: Matrix | None) -> Matrix:
                if part is None:
                    self._count(map.rows, map.columns)
                    part = Matrix(Dyadics.of(np.eye(map.columns, dtype=np.int64)))
                self._count(map.rows, part.weight.shape[1])
                return Matrix(picked(part.weight), None if part.error is None else picked(part.error))

            return select
        self._count(map.rows, map.columns)
        matrix = _matrix(map, original)

        def multiply(part: Matrix | None) -> Matrix:
            if part is None:
                return matrix
            self._count(map.rows, part.weight.shape[1])
            return matrix.after(part)

        return multiply

    def _count(self, rows: int, columns: int) -> None:
        self._left -= _ENTRY * rows * columns
        if rows * columns > _DENSE_LIMIT or self._left < 0:
            raise CertificateError(
                f"A map of {rows} x {columns} entries is too large to be checked in exact numbers, by itself or beside "
                "the others; check the certificate in float64, or allow more memory."
            )

    def _place(self, index: int, last: bool) -> int:
        """The affine node of the exact graph with the value of a node as read; a new one to be the last."""
        found = self._sums[index]
        # What reads an activation has an identity of its own in the simplified network, too.
        if index not in self._places or found.whole is not None or last:
            if found.whole is not None:
                parts = {found.whole: self._through(SelectionMap.identity(found.bias.weight.shape[0]))(None)}
            else:
                parts = dict(sorted(found.parts.items()))
            terms = tuple(Term(i, DenseMap(part.weight, part.error)) for i, part in parts.items())
            error = found.bias.error
            none = _zeros(found.bias.weight.shape[0]).weight
            self.nodes.append(Affine(terms, found.bias.weight[:, 0], (none if error is None else error)[:, 0]))
            self._places[index] = len(self.nodes) - 1
        return self._places[index]

    def _check_like(self, network: Network) -> None:
        """Refuse a simplified network whose activations are others: choices of a certificate would not be theirs."""
        own, given = ([(node.kind, node.size) for node in found.functions] for found in (self.network, network))
        if own != given:
            raise CertificateError(
                "The activations of the simplified network are not those of the graph as read, so that nothing can be "
                "checked in exact numbers; check the certificate in float64."
            )


def _matrix(map: LinearMap, original: Original | None) -> Matrix:
    """A map as a matrix, with what the numbers of one that was computed can be off by."""
    dense = map.dense()
    weight = to_numpy(dense.weight)
    inner = map.inner if isinstance(map, TransposedMap) else map
    # A plain scaling has one rounding, that of its product; more of them are behind its numbers.
    count = map.roundings if dense.magnitude is not None else map.roundings - 1 if isinstance(inner, DiagonalMap) else 0
    if count <= 0:
        return Matrix(Dyadics.of_floats(weight))
    size = np.abs(weight) if dense.magnitude is None else np.abs(to_numpy(dense.magnitude))
    off = np.where((size > 0) | (weight != 0), _ROUNDING * count * size + SMALLEST, 0.0)
    if original is not None and original.kind == "quotient":
        # Powers of two have reciprocals that floats hold.
        exact = np.abs(np.frexp(to_numpy(original.parameters[0]))[0]) == 0.5
        off = np.where(exact, 0.0, off)
    return Matrix(Dyadics.of_floats(weight), Dyadics.of_floats(off))


def _zeros(size: int) -> Matrix:
    return Matrix(Dyadics.of(np.zeros((size, 1), dtype=np.int64)))


def _sum(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _up(error: Any) -> Any:
    """Rounded up to few digits."""
    return None if error is None else -(-error).floor(_DIGITS)
