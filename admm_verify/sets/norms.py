"""The norms of balls: their names, and the numbers p that stand for them."""

from numbers import Real

from admm_verify.errors import InputError
from admm_verify.options import shown

NORMS = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}
"""|x|_p = (sum |x_i|^p)^(1/p), and max |x_i| for p = inf."""


def norm_name(given: object) -> str:
    """The name of a norm, given by it or by its p, a number of Python or NumPy.

    Raises: InputError for anything else.
    """
    if isinstance(given, str) and given in NORMS:
        return given
    if isinstance(given, Real) and not isinstance(given, bool):
        for name, p in NORMS.items():
            if given == p:
                return name
    names, numbers = ", ".join(map(repr, NORMS)), ", ".join(f"{p:g}" for p in NORMS.values())
    raise InputError(f"The norm is {shown(given)}; give one of {names}, or its p, one of the numbers {numbers}.")
