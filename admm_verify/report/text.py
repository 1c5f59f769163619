"""Counterexamples as text, exactly."""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction

from admm_verify.properties.property import Variable


def assignment(variable: Variable, values: Iterable[Fraction]) -> str:
    """A variable's values in the VNN-LIB solver format: `NAME TYPE [dims]`, then one value a line, row-major."""
    dims = ",".join(str(size) for size in variable.shape)
    texts = map(str, values) if variable.whole else map(exact_text, values)
    return "\n".join([f"{variable.name} {variable.element_type} [{dims}]", *texts])


def exact_text(value: Fraction) -> str:
    """A number as text that says exactly it: a float's repr where that does, else all its decimals, else `p/q`."""
    short = repr(float(value))
    if Fraction(short) == value:
        return short
    # A finite expansion has at most as many digits as numerator and denominator have bits.
    with localcontext(prec=value.numerator.bit_length() + value.denominator.bit_length()):
        decimals = str(Decimal(value.numerator) / Decimal(value.denominator))
    return decimals if Fraction(decimals) == value else str(value)
