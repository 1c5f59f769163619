"""The norms of balls: their names, and the numbers p that stand for them."""

from numbers import Real
from typing import Literal

from admm_verify.errors import InputError
from admm_verify.options import shown

NormName = Literal["l1", "l2", "linf"]

NORMS: dict[NormName, float] = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}
"""The p of |x|_p = (sum |x_i|^p)^(1/p), and of max |x_i|."""


def norm_name(given: object) -> NormName:
    """The name of a norm, given by it or by its p, a number of Python or NumPy.

    Raises: InputError for anything else.
    """
    for name, p in NORMS.items():
        same = given == name if isinstance(given, str) else isinstance(given, Real) and given == p
        if same and not isinstance(given, bool):
            return name
    names, numbers = ", ".join(map(repr, NORMS)), ", ".join(f"{p:g}" for p in NORMS.values())
    raise InputError(f"The norm is {shown(given)}; give one of {names}, or its p, one of the numbers {numbers}.")
