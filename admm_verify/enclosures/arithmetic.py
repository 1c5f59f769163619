"""Types of number: what expressions and series ask of them, and what follows from + * and unary minus."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from operator import methodcaller
from typing import Any, Generic, Self, TypeVar

import numpy as np

from admm_verify.errors import InputError

T = TypeVar("T")


class Operation(Enum):
    """What is done with one or two numbers."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    NEGATE = "unary -"
    SIN = "sin"
    COS = "cos"
    EXP = "exp"
    TANH = "tanh"
    SQRT = "sqrt"
    TAN = "tan"
    ABS = "abs"
    MIN = "min"
    MAX = "max"


_OPERATORS: dict[Operation, Callable[..., Any]] = {
    Operation.ADD: operator.add,
    Operation.SUBTRACT: operator.sub,
    Operation.MULTIPLY: operator.mul,
    Operation.DIVIDE: operator.truediv,
    Operation.NEGATE: operator.neg,
}
SMOOTH = (Operation.SIN, Operation.COS, Operation.EXP, Operation.TANH, Operation.SQRT, Operation.TAN)
"""Functions of one number with all derivatives, whose values are their names."""
PAIRED = (Operation.MIN, Operation.MAX)
"""Functions of two numbers."""
KINKED = (Operation.ABS, *PAIRED)
"""Functions that have no derivative everywhere."""
FUNCTIONS = (*SMOOTH, *KINKED)


@dataclass(frozen=True)
class Arithmetic(Generic[T]):
    """What evaluation needs of a type of number besides + - * / and unary minus.

    number: encloses an exact number. pi: encloses pi. square: x x for one value x, which a product of two values that
    happen to be equal is not. functions: those of one and of two numbers.
    """

    number: Callable[[Fraction], T]
    pi: T
    square: Callable[[T], T]
    functions: Mapping[Operation, Callable[..., T]]

    def apply(self, operation: Operation, *operands: T) -> T:
        """An operation on one or two numbers."""
        return _OPERATORS[operation](*operands) if operation in _OPERATORS else self.functions[operation](*operands)

    @classmethod
    def of_methods(cls, number: Callable[[Fraction], T], pi: T) -> "Arithmetic[T]":
        """The arithmetic of numbers whose methods are called square, sin, cos, ..., max."""
        functions = {one: _method(one.value) for one in FUNCTIONS}
        return cls(number, pi, methodcaller("square"), functions)


def _method(name: str) -> Callable[..., Any]:
    """What calls a method of the first of several numbers."""
    return lambda first, *others: getattr(first, name)(*others)


def _nearest(value: Fraction) -> np.float64:
    """The nearest float, infinite beyond their range."""
    try:
        return np.float64(float(value))
    except OverflowError:
        return np.float64(np.inf if value > 0 else -np.inf)


FLOATS: Arithmetic[Any] = Arithmetic(
    _nearest,
    np.float64(np.pi),
    np.square,
    {one: getattr(np, one.value) for one in (*SMOOTH, Operation.ABS)}
    | {Operation.MIN: np.minimum, Operation.MAX: np.maximum},
)
"""NumPy arrays and numbers in float64, rounded to nearest: for simulation."""


class Operand(ABC):
    """A number whose remaining operations follow from those that it defines."""

    # NumPy arrays leave operations with an operand to the operand.
    __array_ufunc__ = None

    @abstractmethod
    def __add__(self, other: Any) -> Self: ...

    @abstractmethod
    def __mul__(self, other: Any) -> Self: ...

    @abstractmethod
    def __neg__(self) -> Self: ...

    def __radd__(self, other: Any) -> Self:
        return self + other

    def __sub__(self, other: Any) -> Self:
        return self + -other

    def __rsub__(self, other: Any) -> Self:
        return -self + other

    def __rmul__(self, other: Any) -> Self:
        return self * other


class _Zero:
    """Zero exactly, of any type: sums leave it out, products vanish without being computed."""

    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __rsub__ = __add__

    def __sub__(self, other: Any) -> Any:
        return -other

    def __neg__(self) -> Self:
        return self

    def __mul__(self, other: Any) -> Self:
        return self

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Self:
        return self.__rtruediv__(other) if other is self else self

    def __rtruediv__(self, other: Any) -> Self:
        raise InputError("The plant divides by zero; correct its equations.")


ZERO = _Zero()
