"""Exact and high-precision values that results in floating point are compared with."""

from decimal import Decimal, localcontext
from fractions import Fraction

DIGITS = 60
ERROR = Fraction(1, 10**40)
"""Bound on the relative error of `elementary` for arguments up to some hundreds."""

BINARY = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "min": lambda x, y: x.min(y) if hasattr(x, "min") else min(x, y),
    "max": lambda x, y: x.max(y) if hasattr(x, "max") else max(x, y),
}
"""Operations of any type of number."""


def decimal_of(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def elementary(name: str, x: Fraction) -> Fraction:
    """sin, cos, tan, exp, tanh or sqrt at a fraction, to some 40 digits."""
    with localcontext() as context:
        context.prec = 3 * DIGITS
        value = decimal_of(x)
        if name == "exp":
            result = value.exp()
        elif name == "sqrt":
            result = value.sqrt()
        elif name == "tanh" and abs(x) < Fraction(1, 10**40):
            return x - x**3 / 3
        elif name == "tanh":
            small = (-2 * abs(value)).exp()
            result = ((1 - small) / (1 + small)).copy_sign(value)
        elif name == "tan":
            result = _wave(value, 1) / _wave(value, 0)
        else:
            result = _wave(value, 0 if name == "cos" else 1)
        return Fraction(result)


def _wave(x: Decimal, first: int) -> Decimal:
    """The alternating series from x^first / first! on."""
    term = x if first else Decimal(1)
    total, k = term, first
    while abs(term) > Decimal(10) ** (-2 * DIGITS) or k < abs(x):
        term = -term * x * x / ((k + 1) * (k + 2))
        k += 2
        total += term
    return total


def apply(name: str, *values: Fraction) -> Fraction:
    """An operation of `Operation` by name on exact values."""
    if name in BINARY:
        return BINARY[name](*values)
    if name == "square":
        return values[0] * values[0]
    if name == "abs":
        return abs(values[0])
    return elementary(name, values[0])
