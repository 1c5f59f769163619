"""Taylor coefficients in time of the solution of x' = f(x, u) with u held constant, over any type of number."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from admm_verify.enclosures.arithmetic import ZERO, Arithmetic, Operation
from admm_verify.enclosures.expressions import Applied, Expression, Name, Number, Pi
from admm_verify.enclosures.plants import Plant
from admm_verify.errors import InputError

Series = list[Any]
"""Coefficients from order 0 on, ZERO where they are exactly that."""


def taylor_coefficients(
    plant: Plant, state: Sequence[Any], control: Sequence[Any], order: int, arithmetic: Arithmetic[Any]
) -> list[list[Any]]:
    """x_0, ..., x_order with x(t) = sum x_k t^k for the solution from `state` under a constant control.

    x_{k+1} = f_k / (k + 1), where f_k is the k-th coefficient of f along the solution, by the recurrences of automatic
    differentiation through f's graph.
    Shapes: -> [order + 1][states] numbers, ZERO where they are exactly that.
    Reference: Moore, Methods and Applications of Interval Analysis (1979), section 3.4.
    """
    growth = _Growth(plant, arithmetic)
    solution: list[Series] = [[value] for value in state]
    names = plant.values(solution, [[value] for value in control])
    for k in range(order):
        for node in plant.nodes:
            growth.append(node, k, names)
        for series, rate in zip(solution, plant.rates, strict=True):
            coefficient = growth.series[id(rate)][k]
            series.append(coefficient / float(k + 1) if k else coefficient)
    return [[series[k] for series in solution] for k in range(order + 1)]


class _Growth:
    """The series of all nodes of a graph, grown by one order at a time."""

    def __init__(self, plant: Plant, arithmetic: Arithmetic[Any]) -> None:
        self.series: dict[int, Series] = {id(node): [] for node in plant.nodes}
        self._waves: dict[int, tuple[Series, Series]] = {}
        self._shares: dict[int, Series] = {}
        self._arithmetic = arithmetic

    def append(self, node: Expression, k: int, names: Mapping[str, Series]) -> None:
        """Coefficient k of a node, from lower orders and from its operands' first k coefficients."""
        series = self.series[id(node)]
        if isinstance(node, Applied):
            series.append(self._coefficient(node, k))
        elif isinstance(node, Name):
            values = names[node.name]
            series.append(values[k] if k < len(values) else ZERO)
        elif isinstance(node, Number):
            series.append(self._arithmetic.number(node.value) if k == 0 and node.value else ZERO)
        elif isinstance(node, Pi):
            series.append(self._arithmetic.pi if k == 0 else ZERO)

    def _coefficient(self, node: Applied, k: int) -> Any:
        operands = [self.series[id(operand)] for operand in node.operands]
        a, b, own = operands[0], operands[-1], self.series[id(node)]
        value: Any = ZERO
        match node.operation:
            case Operation.ADD | Operation.SUBTRACT | Operation.NEGATE:
                value = self._arithmetic.apply(node.operation, *(operand[k] for operand in operands))
            case Operation.MULTIPLY:
                value = self._squared(a, k) if node.operands[0] is node.operands[1] else _convolved(a, b, k)
            case Operation.DIVIDE:
                value = (a[k] - _sum(b[j] * own[k - j] for j in range(1, k + 1))) / b[0]
            case Operation.SIN | Operation.COS:
                value = self._wave(node, a, k)[0 if node.operation is Operation.SIN else 1][k]
            case Operation.SQRT | Operation.EXP | Operation.TANH | Operation.TAN if k == 0:
                value = self._function(node.operation, a[0])
            case Operation.SQRT:
                value = (a[k] - _sum(own[j] * own[k - j] for j in range(1, k))) / (own[0] * 2.0)
            case Operation.EXP:
                value = _integrated(a, own, k)
            case Operation.TANH | Operation.TAN:
                value = self._tangent(node, a, own, k)
            case _:
                raise InputError(f"The function {node.operation.value} has no Taylor series.")
        return value

    def _wave(self, node: Applied, a: Series, k: int) -> tuple[Series, Series]:
        """sin and cos of one operand, which need each other: s' = a' c, c' = -a' s."""
        sine, cosine = self._waves.setdefault(id(node.operands[0]), ([], []))
        if len(sine) <= k:
            if k == 0:
                sine.append(self._function(Operation.SIN, a[0]))
                cosine.append(self._function(Operation.COS, a[0]))
            else:
                fall = _integrated(a, sine, k)
                sine.append(_integrated(a, cosine, k))
                cosine.append(-fall)
        return sine, cosine

    def _tangent(self, node: Applied, a: Series, own: Series, k: int) -> Any:
        """T = tanh a or tan a: T' = w a' with w = 1 - T^2 or 1 + T^2, whose coefficients follow T's."""
        share = self._shares.setdefault(id(node), [])
        square = self._squared(own, k - 1)
        part = square if node.operation is Operation.TAN else -square
        share.append(part + 1.0 if k == 1 else part)
        return _integrated(a, share, k)

    def _squared(self, a: Series, k: int) -> Any:
        """Coefficient k of a series' square, where every product of two different coefficients is taken once."""
        doubled = _sum(a[j] * a[k - j] for j in range((k + 1) // 2)) * 2.0
        middle = ZERO if k % 2 else a[k // 2]
        return doubled if middle is ZERO else doubled + self._arithmetic.square(middle)

    def _function(self, operation: Operation, value: Any) -> Any:
        argument = self._arithmetic.number(Fraction(0)) if value is ZERO else value
        return self._arithmetic.apply(operation, argument)


def _sum(parts: Iterable[Any]) -> Any:
    return sum(parts, ZERO)


def _convolved(a: Series, b: Series, k: int) -> Any:
    """Coefficient k of a product: sum over j of a_j b_{k-j}."""
    return _sum(a[j] * b[k - j] for j in range(k + 1))


def _integrated(a: Series, factor: Series, k: int) -> Any:
    """Coefficient k of the integral of a' times factor: sum over j of j a_j factor_{k-j} / k."""
    total = _sum((a[j] * float(j) if j > 1 else a[j]) * factor[k - j] for j in range(1, k + 1))
    return total / float(k) if k > 1 else total
