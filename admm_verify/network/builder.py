"""Building a graph from tensor operations: what the ONNX and torch readers share.

The core is here; `spatial.py` has windows over spatial axes, `movement.py` movements of entries and sums over axes,
`nonlinear.py` what is not affine. Tensors keep the literal shape of one sample; values are flat, so reshapes cost
nothing and every movement of entries is a selection.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from admm_verify.errors import ModelError
from admm_verify.network.blocks import BlockMap
from admm_verify.network.computed import Computed, computed
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.heads import Head
from admm_verify.network.limits import Limits
from admm_verify.network.maps import FLUSHED, ROUNDED, DenseMap, DiagonalMap, LinearMap
from admm_verify.network.originals import Original
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import simplify
from admm_verify.run import Run

BLOCK_LIMIT = 2**16
"""Entries from which a product with a constant is no matrix of all entries where one along an axis does."""

DENSE_LIMIT = 2**28
"""Entries of the largest matrix that an operator may be expanded to (2 GiB in float64)."""


@dataclass(frozen=True)
class Tensor:
    """A value that depends on the input: the node that holds it, flat, and its literal shape."""

    node: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def labels(self) -> np.ndarray:
        """The position of every entry in the flat value, in the tensor's shape: moving these moves the entries."""
        return np.arange(self.size).reshape(self.shape)


@dataclass(frozen=True)
class Scored:
    """The result of a classifier's head, with its literal shape, and the scores that it was made of."""

    scores: Tensor
    head: Head
    shape: tuple[int, ...]


Value = Tensor | np.ndarray
"""A tensor, or a constant."""

Result = Value | Scored
"""What an operator gives: a head's result can be read by little else than the output."""


class UnsupportedUse(Exception):
    """An operator is used in a way the relaxation does not cover; the reader adds where."""


class Builder:
    """Appends nodes to a graph; constants are folded by the callers, at least one argument is a tensor."""

    def __init__(self, input_shape: tuple[int, ...], element_type: str = "float32") -> None:
        self.input = Tensor(0, input_shape)
        self.element_type = element_type
        self._nodes: list[Node] = [Input(prod(input_shape))]
        self._computed: list[Computed | None] = []

    def finish(self, output: Tensor | Scored, name: str, run: Run | None = None) -> Network:
        """The simplified network with the given output.

        Shapes lose a leading batch axis of one sample.
        Raises: ModelError where input or output have no entries; Stopped once the run, asked at every node, is over.
        """
        scores = output.scores if isinstance(output, Scored) else output
        for side, value in (("input", self.input), ("output", scores)):
            if not value.size:
                raise ModelError(
                    f"The {side} of {name} has shape {value.shape} and thus no entries, of which nothing can be said. "
                    "Give a network with at least one."
                )
        self.affine(scores, SelectionMap.identity(scores.size))
        shapes = sample_shape(self.input.shape), sample_shape(scores.shape)
        made = simplify(Network(tuple(self._nodes), *shapes, name, self.element_type), run)
        if isinstance(output, Tensor):
            return made
        return replace(made, head=replace(output.head, shape=shapes[1]), output_shape=sample_shape(output.shape))

    def check_cast(self, element_type: str) -> None:
        """Refuse a cast that rounds, which no bound covers."""
        if self.element_type == "float64" and element_type == "float32":
            raise UnsupportedUse("it casts float64 to float32, whose rounding no bound covers; use one type throughout")

    def affine(
        self, x: Tensor, map: LinearMap, bias: np.ndarray | None = None, magnitude: np.ndarray | None = None
    ) -> int:
        """Append map x + bias and return the node; `magnitude` > |bias| where the bias was itself computed."""
        return self._sum([Term(x.node, map)], map.rows, bias, magnitude)

    def append(self, node: Affine | Activation) -> Tensor:
        """Append a node that reads nodes of this graph."""
        self._nodes.append(node)
        return Tensor(len(self._nodes) - 1, (node.size,))

    def node(self, number: int) -> Node:
        """A node of this graph."""
        return self._nodes[number]

    def activation(self, kind: str, x: Tensor, *parameters: np.ndarray | float) -> Tensor:
        """Append an elementwise activation, its parameters broadcast to the shape of x."""
        if kind == "relu" and self.computed(x) is not None:
            return self._rectified(x)
        arrays = tuple(np.array(np.broadcast_to(p, x.shape), dtype=np.float64).reshape(-1) for p in parameters)
        self._nodes.append(Activation(kind, x.node, x.size, arrays))
        return Tensor(len(self._nodes) - 1, x.shape)

    def product(self, first: Tensor, second: Tensor, limits: Limits | None = None) -> Tensor:
        """The product of two values, entry by entry, with broadcasting; limits: what is known of it."""
        for x, factor in ((first, second), (second, first)):
            constant = self.computed(factor)
            if constant is not None:
                return self._scaled(x, constant, factor.shape)
        left, right = self._spread(first, second.shape), self._spread(second, first.shape)
        if left == right:
            return self.activation("square", left)
        flat: list[Value] = [Tensor(side.node, (side.size,)) for side in (left, right)]
        both = self.concat(flat, 0)
        return Tensor(self.append(Activation("product", both.node, left.size, limits=limits)).node, left.shape)

    def computed(self, x: Tensor) -> Computed | None:
        """The constant that x is for all inputs, computed from constants; None where it depends on the input."""
        for node in self._nodes[len(self._computed) :]:
            self._computed.append(computed(node, self._computed))
        return self._computed[x.node]

    def weighted(self, x: Tensor, weight: np.ndarray, magnitude: np.ndarray, factor: Computed) -> int:
        """Append weight x and return the node, for a matrix that was made of a computed constant, and its magnitude."""
        return self._by(x, DenseMap(weight, magnitude + FLUSHED, weight.shape[1] + factor.roundings), factor)

    def _scaled(self, x: Tensor, factor: Computed, shape: tuple[int, ...]) -> Tensor:
        """x times a computed constant of a shape, with broadcasting."""
        wide = self._spread(x, shape)
        value, magnitude = (
            np.broadcast_to(part.reshape(shape), wide.shape).reshape(-1) for part in (factor.value, factor.magnitude)
        )
        map = DiagonalMap(value, magnitude + FLUSHED, 1 + factor.roundings)
        return Tensor(self._by(wide, map, factor), wide.shape)

    def _by(self, x: Tensor, map: LinearMap, factor: Computed) -> int:
        zero = np.zeros(map.rows)
        self._nodes.append(Affine((Term(x.node, map),), zero, zero, peak_shift=factor.peak))
        return len(self._nodes) - 1

    def _rectified(self, x: Tensor) -> Tensor:
        """max(x, 0) of a computed constant."""
        constant = self.computed(x)
        assert constant is not None, "the value is a constant"
        zeros = SelectionMap.from_gather(np.full(x.size, self.input.size), self.input.size, constant.roundings)
        value, magnitude = np.maximum(constant.value, 0.0), ROUNDED * (constant.magnitude + FLUSHED)
        self._nodes.append(Affine((Term(0, zeros),), value, magnitude, peak_shift=constant.peak))
        return Tensor(len(self._nodes) - 1, x.shape)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The same entries in another literal shape."""
        if prod(shape) != x.size:
            raise UnsupportedUse(f"it reshapes {x.shape} to {shape}, which holds another number of entries")
        return Tensor(x.node, shape)

    def select(self, x: Tensor, index: np.ndarray) -> Tensor:
        """The entries of flat x at `index`, whose shape is the result's; index x.size stands for zero."""
        flat = index.reshape(-1).astype(np.int64)
        if not flat.size:
            raise UnsupportedUse("nothing is left of its input")
        if np.array_equal(flat, np.arange(x.size)):
            return Tensor(x.node, index.shape)
        return Tensor(self.affine(x, SelectionMap.from_gather(flat, x.size)), index.shape)

    def move(self, value: Value, rearrange: Callable[[np.ndarray], np.ndarray]) -> Value:
        """A value whose entries are moved, repeated or left out as `rearrange` does it to any array."""
        if isinstance(value, np.ndarray):
            return np.asarray(rearrange(value))
        return self.select(value, rearrange(value.labels))

    def lift(self, constant: np.ndarray) -> Tensor:
        """A constant as a tensor, 0 x + constant, so that what is computed from it carries its rounding."""
        zeros = self.select(self.input, np.full(constant.shape, self.input.size))
        return self.add(zeros, constant)

    def add(self, first: Value, second: Value, sign: float = 1.0) -> Tensor:
        """first + sign second, with broadcasting."""
        if isinstance(first, np.ndarray):
            assert isinstance(second, Tensor)
            return self._shifted(self.scale(second, np.array(sign)), first)
        if isinstance(second, np.ndarray):
            # Whatever type the constant has, its product is rounded to float64, if at all.
            return self._shifted(first, np.float64(sign) * second, abs(sign) != 1)
        left, right = self._spread(first, second.shape), self._spread(second, first.shape)
        identity = SelectionMap.identity(left.size)
        signed = identity if sign == 1 else DiagonalMap(np.full(left.size, sign))
        terms = [Term(left.node, identity), Term(right.node, signed)]
        return Tensor(self._sum(terms, left.size), left.shape)

    def aligned(self, first: Value, second: Value) -> tuple[Value, Value]:
        """Two values broadcast to one shape."""
        left, right = (
            self._spread(x, y.shape) if isinstance(x, Tensor) else np.broadcast_to(x, _broadcast(x.shape, y.shape))
            for x, y in ((first, second), (second, first))
        )
        return left, right

    def scale(self, x: Tensor, factor: np.ndarray, roundings: int = 0) -> Tensor:
        """x times a constant, with broadcasting; `roundings` counts those behind a factor that was itself computed."""
        wide = self._spread(x, factor.shape)
        if np.all(factor == 1.0):
            return wide
        flat = np.broadcast_to(factor, wide.shape).reshape(-1).astype(np.float64)
        return Tensor(self.affine(wide, DiagonalMap(flat, roundings=1 + roundings)), wide.shape)

    def divide(self, x: Tensor, divisor: np.ndarray) -> Tensor:
        """x divided by a constant without zeros, with broadcasting; relaxed as a product."""
        wide = self._spread(x, divisor.shape)
        if np.all(divisor == 1.0):
            return wide
        flat = np.broadcast_to(divisor, wide.shape).reshape(-1).astype(np.float64)
        # The quotient 1/d is rounded, unlike x/d.
        product = Tensor(self.affine(wide, DiagonalMap(1.0 / flat, roundings=2)), wide.shape)
        return self.stands_for(product, "quotient", [wide], flat)

    def stands_for(
        self,
        rewritten: Tensor,
        kind: str,
        sources: Sequence[Tensor],
        *parameters: np.ndarray,
        shapes: Sequence[tuple[int, ...]] = (),
    ) -> Tensor:
        """The rewritten value, which the network computes as the original function `kind` of the sources.

        Shapes: rewritten, sources and parameters [n] each, or broadcasting to that; where the function has to do with
        axes, shapes are those of the sources, and parameters are what it asks for.
        """
        own = isinstance(self._nodes[-1], Affine) and self._nodes[-1].original is None
        if not own or rewritten.node != len(self._nodes) - 1 or any(x.node == rewritten.node for x in sources):
            rewritten = Tensor(self.affine(rewritten, SelectionMap.identity(rewritten.size)), rewritten.shape)
        node = self._nodes[-1]
        assert isinstance(node, Affine), "the rewritten value is the last one"
        flat = tuple(np.asarray(p, dtype=np.float64).reshape(-1) for p in parameters)
        self._nodes[-1] = replace(node, original=Original(kind, tuple(x.node for x in sources), flat, tuple(shapes)))
        return rewritten

    def matmul(self, first: Value, second: Value) -> Tensor:
        """The matrix product with numpy's rules, one factor constant."""
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            raise UnsupportedUse("it multiplies two values that both depend on the input")
        x, constant = (first, second) if isinstance(first, Tensor) else (second, first)
        assert isinstance(x, Tensor) and isinstance(constant, np.ndarray)
        if constant.ndim == 2 and x is first and prod(x.shape[:-1]) == 1 and x.shape[-1] == constant.shape[0]:
            shape = (*x.shape[:-1], constant.shape[1])
            return Tensor(self.affine(x, DenseMap(constant.T.astype(np.float64))), shape)
        found = self._along(x, constant, x is first)
        if found is not None:
            return found
        # Any other case column by column: the product is linear, so unit vectors give its matrix.
        probe = np.zeros(x.shape) @ constant if x is first else constant @ np.zeros(x.shape)
        _check_size(probe.size, x.size)
        units = np.eye(x.size).reshape(x.size, *x.shape)
        columns = [unit @ constant if x is first else constant @ unit for unit in units]
        weight = np.stack([column.reshape(-1) for column in columns], axis=1).astype(np.float64)
        return Tensor(self.affine(x, DenseMap(weight)), probe.shape)

    def _along(self, x: Tensor, constant: np.ndarray, first: bool) -> Tensor | None:
        """The product with a constant as one matrix for all places; None where it is small, or of another form.

        first: whether x is the first factor.
        """
        vector = constant.ndim == 1
        matrix = constant.reshape((-1, 1) if first else (1, -1)) if vector else constant
        if len(x.shape) < 2 or matrix.ndim > len(x.shape) or matrix.size != prod(matrix.shape[-2:]):
            return None
        weight = matrix.reshape(matrix.shape[-2:]).astype(np.float64)
        weight = np.ascontiguousarray(weight.T if first else weight)
        shared = x.shape[-1] if first else x.shape[-2]
        if shared != weight.shape[1] or (x.size // shared) ** 2 * weight.size <= BLOCK_LIMIT:
            return None
        *batch, rows, columns = x.shape
        map = BlockMap(weight, x.size // shared) if first else BlockMap(weight, prod(batch), columns)
        own = () if vector else (len(weight),)
        shape = (*batch, rows, *own) if first else (*batch, *own, columns)
        return Tensor(self.affine(x, map), shape)

    def concat(self, parts: list[Value], axis: int) -> Tensor:
        """Tensors and constants side by side along an axis."""
        (joined,) = self.rearranged(parts, lambda labels: [np.concatenate(labels, axis=axis)])
        if isinstance(joined, np.ndarray):
            raise UnsupportedUse("nothing is left of its input")
        return joined

    def rearranged(
        self, values: Sequence[Value], rearrange: Callable[[list[np.ndarray]], Sequence[np.ndarray]]
    ) -> list[Value]:
        """What becomes of tensors and constants where their entries are moved, repeated, mixed or left out.

        Every entry has a label of its own, a whole number from 1; `rearrange` takes the labels in the shape of each
        value and returns those of each result, with 0 for the number zero. Results without a tensor are constants.
        """
        pool: dict[Hashable, tuple[Value, int]] = {}
        labels, count = [], 1
        for i, value in enumerate(values):
            # The same tensor twice is one source, from which one selection takes.
            key = ("node", value.node) if isinstance(value, Tensor) else i
            if key not in pool:
                pool[key] = (value, count)
                count += prod(value.shape)
            first = pool[key][1]
            labels.append(np.arange(first, first + prod(value.shape)).reshape(value.shape))
        return [self._drawn(list(pool.values()), np.asarray(drawn)) for drawn in rearrange(labels)]

    def _drawn(self, pool: list[tuple[Value, int]], labels: np.ndarray) -> Value:
        """The entries with some labels; pool: the values and each one's first label."""
        flat = labels.reshape(-1).astype(np.int64)
        terms, bias = [], np.zeros(flat.size)
        for value, first in pool:
            size = prod(value.shape)
            mine = (flat >= first) & (flat < first + size)
            if not mine.any():
                continue
            if isinstance(value, Tensor):
                whole = flat.size == size and bool(np.array_equal(flat, np.arange(first, first + size)))
                if whole:
                    return Tensor(value.node, labels.shape)
                terms.append(Term(value.node, SelectionMap.from_gather(np.where(mine, flat - first, size), size)))
            else:
                bias[mine] = value.reshape(-1)[flat[mine] - first]
        if not terms:
            return bias.reshape(labels.shape)
        return Tensor(self._sum(terms, flat.size, bias), labels.shape)

    def _sum(
        self, terms: list[Term], size: int, bias: np.ndarray | None = None, magnitude: np.ndarray | None = None
    ) -> int:
        shift = np.zeros(size) if bias is None else np.array(bias, dtype=np.float64).reshape(-1)
        self._nodes.append(Affine(tuple(terms), shift, np.abs(shift) if magnitude is None else magnitude))
        return len(self._nodes) - 1

    def _shifted(self, x: Tensor, shift: np.ndarray, computed: bool = False) -> Tensor:
        """x + shift; computed: the shift was rounded, which a magnitude above its size tells."""
        wide = self._spread(x, shift.shape)
        flat = np.broadcast_to(shift, wide.shape).reshape(-1)
        magnitude = np.nextafter(np.abs(flat), np.inf) if computed else None
        return Tensor(self.affine(wide, SelectionMap.identity(wide.size), flat, magnitude), wide.shape)

    def _spread(self, x: Tensor, other: tuple[int, ...]) -> Tensor:
        """x broadcast together with another shape."""
        shape = _broadcast(x.shape, other)
        if prod(shape) == x.size:
            return Tensor(x.node, shape)
        return self.select(x, np.broadcast_to(x.labels, shape))


def sample_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A literal shape without a leading batch axis of one sample."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        raise UnsupportedUse(f"its operands of shapes {first} and {second} do not broadcast") from None


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > DENSE_LIMIT:
        raise ModelError(f"A dense matrix of {rows} x {columns} entries would not fit in memory.")
