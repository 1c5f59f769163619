"""Results as text and JSON."""

import json
import math
from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from admm_verify.arrays import to_numpy
from admm_verify.files import replaced
from admm_verify.properties.property import Variable
from admm_verify.splitting.solution import Solution


def solution_rows(solution: Solution) -> list[dict[str, Any]]:
    """One record per row: lower, relaxation_upper, gap and status."""
    columns = (to_numpy(solution.lower), to_numpy(solution.relaxation_upper), to_numpy(solution.gap), solution.status)
    return [
        {"lower": float(low), "relaxation_upper": float(high), "gap": float(gap), "status": status.value}
        for low, high, gap, status in zip(*columns, strict=True)
    ]


def assignment(variable: Variable, values: Iterable[Fraction]) -> str:
    """A variable's values in the VNN-LIB solver format: `NAME TYPE [dims]`, then one value a line, row-major."""
    dims = ",".join(str(size) for size in variable.shape)
    return "\n".join([f"{variable.name} {variable.element_type} [{dims}]", *map(exact_text, values)])


def exact_text(value: Fraction) -> str:
    """A number as text that says exactly it: a float's repr where that does, else all its decimals, else `p/q`."""
    short = repr(float(value))
    if Fraction(short) == value:
        return short
    # A finite expansion has at most as many digits as numerator and denominator have bits.
    with localcontext(prec=value.numerator.bit_length() + value.denominator.bit_length()):
        decimals = str(Decimal(value.numerator) / Decimal(value.denominator))
    return decimals if Fraction(decimals) == value else str(value)


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all; numbers that are not finite become null.

    Raises: OutputError when the file cannot be written.
    """
    with replaced(path, "JSON file") as file:
        file.write((json.dumps(_finite(content), indent=1) + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
