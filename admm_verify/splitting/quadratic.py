"""Quadratic objectives: squared distances of what is linear in a network's input and output."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Placement, gamma, namespace, take_rows, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.network.graph import Affine, Network, Term
from admm_verify.network.maps import DenseMap
from admm_verify.network.simplify import simplify
from admm_verify.reprs import short_repr


@dataclass(frozen=True, eq=False, repr=False)
class Quadratic:
    """The objective |matrix f(x) + inputs x - target|_2^2 of a `Problem`, squared distances as they stand.

    inputs: None for zero. For the distance of outputs from a point, matrix is the identity; for that of inputs, it is
    zero and `inputs` the identity.
    Shapes: matrix [m, outputs]; target [m], or [rows, m] for rows of their own; inputs [m, inputs].
    Raises: InputError where the problem is made, for what are no such arrays of finite numbers.
    """

    matrix: Array
    target: Array
    inputs: Array | None = None

    __repr__ = short_repr

    @property
    def rows(self) -> int:
        """Number of targets, once the problem holds it."""
        return self.target.shape[0]

    @property
    def numbers(self) -> tuple[Array, ...]:
        """The arrays."""
        return (self.matrix, self.target) if self.inputs is None else (self.matrix, self.target, self.inputs)

    def part(self, first: int, last: int) -> "Quadratic":
        """The rows first..last."""
        return replace(self, target=self.target[first:last])

    def checked(self, network: Network, home: Placement) -> "Quadratic":
        """Copies in float64 where the problem lives, with targets [rows, m].

        Raises: InputError.
        """
        matrix, target = (
            float64_array(given, f"quadratic objective's {name}", home)
            for name, given in (("matrix", self.matrix), ("target", self.target))
        )
        inputs = None if self.inputs is None else float64_array(self.inputs, "quadratic objective's inputs", home)
        count = matrix.shape[0] if len(matrix.shape) == 2 else 0
        shapes = [("matrix", matrix, network.output_size)]
        shapes += [] if inputs is None else [("inputs", inputs, network.input_size)]
        for name, array, size in shapes:
            if tuple(array.shape) != (count, size) or not count:
                raise InputError(
                    f"The quadratic objective's {name} has shape {tuple(array.shape)}; give [m, {size}], one row for "
                    "each entry of the target."
                )
        if len(target.shape) not in (1, 2) or target.shape[-1] != count or 0 in target.shape:
            raise InputError(
                f"The quadratic objective's target has shape {tuple(target.shape)}; give [{count}] or [rows, {count}]."
            )
        found = Quadratic(matrix, home.xp.reshape(target, (-1, count)), inputs)
        if not all(bool(home.xp.all(home.xp.isfinite(array))) for array in found.numbers):
            raise InputError("The quadratic objective holds NaN or infinite numbers; give finite ones.")
        return found

    def measured(self, network: Network) -> Network:
        """The network x -> matrix f(x) + inputs x with the same activations, merged into the last layer if possible."""
        terms = [Term(network.output, DenseMap(to_numpy(self.matrix)))]
        terms += [] if self.inputs is None else [Term(0, DenseMap(to_numpy(self.inputs)))]
        size = self.matrix.shape[0]
        zero = np.zeros(size)
        above = Network((*network.nodes, Affine(tuple(terms), zero, zero)), network.input_shape, (size,), network.name)
        merged = simplify(above)
        same = [(node.kind, node.size) for node in merged.functions] == [(n.kind, n.size) for n in network.functions]
        return replace(merged, as_read=None) if same else above


@dataclass(frozen=True, eq=False)
class Squares:
    """|y - target|^2 + offset of a network's output y, for every row.

    For any w, |y - target|^2 >= 2 w'(y - target) - |w|^2, with equality where w = y - target.
    Shapes: target [rows, m]; offset [rows].
    """

    target: Array
    offset: Array

    def take(self, rows: Array) -> "Squares":
        """The given rows only."""
        return Squares(take_rows(self.target, rows), namespace(rows).take(self.offset, rows, axis=0))

    def plane(self, w: Array) -> tuple[Array, Array]:
        """Planes coefficient'y + constant below the squares, exact in their coefficients 2 w.

        Shapes: w [rows, m] -> [rows, m], [rows].
        Error: the constant is rounded downward in float64.
        """
        xp, size = namespace(w), w.shape[-1]
        along, square = xp.sum(w * self.target, axis=-1), xp.sum(w * w, axis=-1)
        sizes = 2.0 * xp.sum(xp.abs(w * self.target), axis=-1) + square + xp.abs(self.offset)
        room = 2.0 * gamma(2 * size + 8) * sizes + 8.0 * SMALLEST * (size + 1)
        return 2.0 * w, self.offset - 2.0 * along - square - room

    def value(self, y: Array, error: Array) -> Array:
        """The squares at outputs that are known up to an error.

        Shapes: y, error [rows, m] -> [rows].
        Error: rounded upward.
        """
        xp, size = namespace(y), y.shape[-1]
        gap = xp.abs(y - self.target)
        gap = (gap + error) * (1.0 + gamma(4)) + SMALLEST
        square = xp.sum(gap * gap, axis=-1)
        return square + self.offset + 2.0 * gamma(size + 8) * (square + xp.abs(self.offset)) + 4.0 * SMALLEST * size


def output_of(network: Network, x: Array) -> Array:
    """The value of the last node as it is relaxed, at inputs [rows, n]; NaN and infinite numbers become zero."""
    found = network.evaluate(x)[-1]
    xp = namespace(found)
    return xp.where(xp.isfinite(found), found, xp.zeros_like(found))
