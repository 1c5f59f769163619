"""What the steps of a program compute: in batches by torch, and at single points in many digits by mpmath."""

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from operator import add

import mpmath
import numpy as np
import torch
import torch.nn.functional as F

from tests.random_graphs import Program, Step

TORCH: dict[str, Callable[..., torch.Tensor]] = {
    "acosh": torch.acosh,
    "asin": torch.asin,
    "asinh": torch.asinh,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "clip": torch.clamp,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardswish": F.hardswish,
    "heaviside": lambda x, at_zero: torch.heaviside(x.detach(), torch.broadcast_to(at_zero, x.shape)),
    "log": torch.log,
    "mish": F.mish,
    "power": torch.pow,
    "prelu": F.prelu,
    "reciprocal": torch.reciprocal,
    "relu": torch.relu,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "softplus": lambda x: F.softplus(x, threshold=1e9),
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}
"""phi(x, *parameters) in batches, but for elu, which takes a number."""

Digits = mpmath.mpf
DIGITS = 60
mp = mpmath.mp.clone()
mp.dps = DIGITS


def _round(x: Digits) -> Digits:
    """To the nearest whole number, halves to the even one."""
    low = mp.floor(x)
    up = x - low > mp.mpf(0.5) or (x - low == mp.mpf(0.5) and int(low) % 2 == 1)
    return low + 1 if up else low


def _gelu_tanh(x: Digits) -> Digits:
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


EXACT: dict[str, Callable[..., Digits]] = {
    "acosh": mp.acosh,
    "asin": mp.asin,
    "asinh": mp.asinh,
    "atan": mp.atan,
    "atanh": mp.atanh,
    "ceil": lambda x: -mp.floor(-x),
    "clip": lambda x, low, high: min(max(x, low), high),
    "cos": mp.cos,
    "cosh": mp.cosh,
    "elu": lambda x, alpha: x if x >= 0 else alpha * mp.expm1(x),
    "erf": mp.erf,
    "exp": mp.exp,
    "floor": mp.floor,
    "gelu": lambda x: x / 2 * (1 + mp.erf(x / mp.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "hardswish": lambda x: x * min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6,
    "heaviside": lambda x, at_zero: at_zero if x == 0 else mp.mpf(x > 0),
    "log": mp.log,
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "power": lambda x, exponent: x**exponent,
    "prelu": lambda x, slope: x if x >= 0 else slope * x,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: max(x, mp.mpf(0)),
    "round": _round,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "sign": mp.sign,
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "sin": mp.sin,
    "sinh": mp.sinh,
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "sqrt": mp.sqrt,
    "square": lambda x: x * x,
    "tan": mp.tan,
    "tanh": mp.tanh,
}
"""phi(x, *parameters) in many digits."""


def computed(program: Program, x: torch.Tensor) -> list[torch.Tensor]:
    """All values at a batch of inputs [points, n]; gradients flow through."""
    values = [x]
    for step in program.steps[1:]:
        values.append(_by_torch(step, [values[i] for i in step.sources]))
    return values


def _by_torch(step: Step, given: list[torch.Tensor]) -> torch.Tensor:
    x, arrays = given[0], [torch.as_tensor(a).to(given[0].dtype) for a in step.arrays]
    match step.operation:
        case "dense":
            found = x @ arrays[0].T + arrays[1]
        case "add":
            found = x + given[1]
        case "concat":
            found = torch.cat(given, dim=-1)
        case "select":
            found = x[..., torch.as_tensor(step.arrays[0])]
        case "product":
            found = x * given[1]
        case "matmul":
            first, second = (v.reshape(*v.shape[:-1], *shape) for v, shape in zip(given, step.shapes, strict=True))
            found = (first @ second).flatten(-2)
        case "elu":
            found = F.elu(x, float(step.arrays[0][0]))
        case kind:
            found = TORCH[kind](x, *arrays)
    return found


class ExactValues:
    """Values of a program's steps at one input, an entry at a time, to far more digits than any float has."""

    def __init__(self, program: Program, x: np.ndarray) -> None:
        self.program = program
        self.known: dict[tuple[int, int], Digits] = {(0, i): mp.mpf(float(number)) for i, number in enumerate(x)}

    def entry(self, value: int, i: int) -> Digits:
        """Entry i of a step's value."""
        if (value, i) not in self.known:
            self.known[value, i] = self._computed(self.program.steps[value], i)
        return self.known[value, i]

    def row(self, weights: np.ndarray, offset: float) -> Digits:
        """weights'y + offset of the output y."""
        last = len(self.program.steps) - 1
        return reduce(add, (mp.mpf(float(w)) * self.entry(last, i) for i, w in enumerate(weights)), mp.mpf(offset))

    def _computed(self, step: Step, i: int) -> Digits:
        x = step.sources[0]
        match step.operation:
            case "dense":
                weights, total = step.arrays[0][i], mp.mpf(float(step.arrays[1][i]))
                for j in np.flatnonzero(weights):
                    total += mp.mpf(float(weights[j])) * self.entry(x, int(j))
                found = total
            case "add":
                found = self.entry(x, i) + self.entry(step.sources[1], i)
            case "concat":
                found = self.entry(*self._within(step, i))
            case "select":
                found = self.entry(x, int(step.arrays[0][i]))
            case "product":
                found = self.entry(x, i) * self.entry(step.sources[1], i)
            case "matmul":
                inner, columns = step.shapes[1]
                row, column = divmod(i, columns)
                pairs = [(row * inner + j, j * columns + column) for j in range(inner)]
                found = sum((self.entry(x, a) * self.entry(step.sources[1], b) for a, b in pairs), mp.mpf(0))
            case kind:
                found = EXACT[kind](self.entry(x, i), *(mp.mpf(float(numbers[i])) for numbers in step.arrays))
        return found

    def _within(self, step: Step, i: int) -> tuple[int, int]:
        """Which entry of which part the i-th of several side by side is."""
        for source in step.sources:
            size = self.program.steps[source].size
            if i < size:
                return source, i
            i -= size
        raise IndexError(i)


def fraction(value: Digits) -> Fraction:
    """The number that the digits are."""
    sign, mantissa, exponent, _ = value._mpf_
    return Fraction((-1) ** sign * int(mantissa)) * Fraction(2) ** exponent
