"""Texts as parts of a network: what is affine in affine nodes, functions and products in nodes of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, quiet_overflow
from admm_verify.enclosures.arithmetic import SMOOTH, Arithmetic, Operand, Operation
from admm_verify.enclosures.expressions import Applied, Expression, evaluate, in_order
from admm_verify.enclosures.intervals import ENCLOSURES, Interval
from admm_verify.errors import InputError
from admm_verify.network.activations import FUNCTIONS
from admm_verify.network.builder import Builder, Tensor, Value
from admm_verify.network.maps import DenseMap

_SLIGHT = 2.0**-20
"""Relative width of constants that nodes can stand for."""


def writable(expressions: Sequence[Expression]) -> bool:
    """Whether there are nodes for all functions in some expressions."""
    used = {node.operation for node in in_order(expressions) if isinstance(node, Applied)}
    return all(operation.value in FUNCTIONS for operation in used if operation in SMOOTH)


@dataclass(frozen=True, eq=False)
class GraphNumber(Operand):
    """A number of a network under construction; constants beside it are intervals, of which every point is meant.

    Error: what the middle of a constant is off by counts as roundings of the node.
    """

    builder: Builder
    value: Tensor

    def _of(self, value: Tensor) -> "GraphNumber":
        return GraphNumber(self.builder, value)

    def __add__(self, other: "GraphNumber | Interval | float") -> "GraphNumber":
        if isinstance(other, GraphNumber):
            return self._of(self.builder.add(self.value, other.value))
        constant = Interval.of(other)
        if constant is None:
            return NotImplemented
        middle, off = _middle(constant)
        # Biases come with the sizes of what they were rounded from.
        magnitude = np.array([abs(middle) + off / DOUBLE_ROUNDOFF])
        return self._affine(1.0, 0, np.array([middle]), magnitude)

    def __neg__(self) -> "GraphNumber":
        return self._affine(-1.0, 0)

    def __mul__(self, other: "GraphNumber | Interval | float") -> "GraphNumber":
        if isinstance(other, GraphNumber):
            return self._of(self.builder.product(self.value, other.value))
        constant = Interval.of(other)
        if constant is None:
            return NotImplemented
        middle, off = _middle(constant)
        roundings = 1 + (ceil(off / (DOUBLE_ROUNDOFF * abs(middle))) if off else 0)
        return self._affine(middle, roundings)

    def _affine(self, factor: float, roundings: int, *shift: np.ndarray) -> "GraphNumber":
        # A matrix, since matrices merge with all that is around them.
        map = DenseMap(np.array([[factor]]), roundings=roundings)
        return self._of(Tensor(self.builder.affine(self.value, map, *shift), (1,)))

    def __truediv__(self, other: "GraphNumber | Interval | float") -> "GraphNumber":
        return self * (other.reciprocal() if isinstance(other, GraphNumber) else Interval.point(1.0) / other)

    def __rtruediv__(self, other: "Interval | float") -> "GraphNumber":
        return self.reciprocal() * other

    def square(self) -> "GraphNumber":
        """x^2."""
        return self * self

    def reciprocal(self) -> "GraphNumber":
        """1 / x."""
        return self.applied("reciprocal")

    def abs(self) -> "GraphNumber":
        """|x|."""
        return self.applied("prelu", -1.0)

    def max(self, other: "GraphNumber | Interval") -> "GraphNumber":
        """The larger one, y + relu(x - y)."""
        return (self - other).applied("relu") + other

    def min(self, other: "GraphNumber | Interval") -> "GraphNumber":
        """The smaller one."""
        return -(-self).max(-other)

    def applied(self, kind: str, *parameters: float) -> "GraphNumber":
        """An activation of it."""
        return self._of(self.builder.activation(kind, self.value, *parameters))


def _middle(constant: Interval) -> tuple[float, float]:
    """A constant's middle, and what it may be off by."""
    middle, off = float(constant.middle), float(constant.radius)
    if not np.isfinite(middle) or off > _SLIGHT * abs(middle):
        raise InputError(
            "A plant divides by a number that is 0, or holds one that is not known well enough; correct its text."
        )
    return middle, off


def _function(operation: Operation) -> Any:
    """A function of nodes and constants."""
    if operation in SMOOTH:
        return lambda x: x.applied(operation.value) if isinstance(x, GraphNumber) else getattr(x, operation.value)()
    return ENCLOSURES.functions[operation]


_NODES: Arithmetic[Any] = Arithmetic(
    ENCLOSURES.number, ENCLOSURES.pi, ENCLOSURES.square, {one: _function(one) for one in ENCLOSURES.functions}
)


def written(builder: Builder, expressions: Sequence[Expression], values: Mapping[str, Tensor]) -> Tensor:
    """The expressions' values, of tensors of one entry each, as a tensor.

    Raises: InputError for a constant that is no number, as 1/0.
    """
    names = {name: GraphNumber(builder, value) for name, value in values.items()}
    with quiet_overflow():
        found = evaluate(expressions, names, _NODES)
    parts: list[Value] = []
    for one in found:
        if isinstance(one, GraphNumber):
            parts.append(one.value)
        else:
            zero = next(iter(names.values())) * Interval.number(Fraction(0))
            parts.append((zero + one).value)
    return builder.concat(parts, 0)
