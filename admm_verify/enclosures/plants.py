"""What a plant does: a text per state, read into one graph, and where it is defined."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.arithmetic import KINKED, Operation
from admm_verify.enclosures.expressions import Applied, Expression, Reader, evaluate, in_order
from admm_verify.enclosures.intervals import ENCLOSURES, Interval
from admm_verify.errors import InputError
from admm_verify.options import brief, count, instance, several

_COUNTED = re.compile(r"(?<![\w.])(([xuw])(\d{1,9}))\b")
"""Names of states, inputs and noise."""


class Fault(Enum):
    """What a plant does where it is not defined."""

    DIVISION = "divides by 0"
    ROOT = "takes the square root of a negative number"
    POLE = "takes the tangent of an odd multiple of pi/2"


@dataclass(frozen=True, eq=False)
class Precondition:
    """An expression that must not be zero, or, under a root, not negative, for some operation to be defined.

    equation: the number of the first state whose equation holds the operation, from 1.
    """

    fault: Fault
    node: Expression
    equation: int

    @property
    def words(self) -> str:
        """What the plant does where the condition does not hold."""
        return f"The plant's equation {self.equation} {self.fault.value}"

    def broken(self, value: Interval) -> np.ndarray:
        """Where an enclosure of the expression leaves open that the condition does not hold."""
        if self.fault is Fault.ROOT:
            return value.lower < 0
        return (value.lower <= 0) & (value.upper >= 0)


@dataclass(frozen=True, eq=False)
class Plant:
    """A function f over the names x1, x2, .. of states, u1, u2, .. of inputs and w1, w2, .. of noise.

    In continuous time it is the right-hand side of x' = f(x, u), in discrete time the next state f(x, u, w). It does
    not depend on time.
    """

    rates: tuple[Expression, ...]
    inputs: int
    nodes: tuple[Expression, ...]
    noises: int = 0

    @classmethod
    def read(
        cls,
        equations: Sequence[str],
        inputs: int,
        params: Mapping[str, float | Fraction] | None = None,
        let: Sequence[tuple[str, str]] = (),
        noises: int = 0,
    ) -> "Plant":
        """The plant of one equation text per state, with `inputs` control inputs and `noises` numbers of noise.

        Raises: InputError as `Reader.read` does, where there is no equation, for an input or a number of noise too
        many, and for a parameter or abbreviation that no text uses, which may be a misspelt one.
        """
        equations, inputs = several(equations, str, "equations"), count(inputs, "The number of inputs")
        noises = count(noises, "The number of noises")
        if not equations:
            raise InputError("The plant has no equations; give one text per state.")
        params = {} if params is None else instance(params, Mapping, "The parameters")
        let = [_pair(item) for item in let]
        counts = {"x": len(equations), "u": inputs, "w": noises}
        for text in (*equations, *(text for _, text in let)):
            _check_counts(text, counts, {*params, *(name for name, _ in let)})
        reader = Reader([f"{name}{i + 1}" for name, most in counts.items() for i in range(most)], params, let)
        rates = tuple(reader.read(text) for text in equations)
        unused = [name for name in (*params, *(name for name, _ in let)) if name not in reader.used]
        if unused:
            raise InputError(f"The name {unused[0]!r} stands for something that no equation uses; leave it out.")
        return cls(rates, inputs, in_order(rates), noises)

    @property
    def states(self) -> int:
        """The number of states."""
        return len(self.rates)

    @cached_property
    def conditions(self) -> tuple[Precondition, ...]:
        """What has to hold for it to be defined."""
        return preconditions(self.rates)

    @property
    def kinked(self) -> tuple[int, str] | None:
        """The first equation, from 1, with a function that has no derivative everywhere, and that one; or None."""
        for i, rate in enumerate(self.rates):
            for node in in_order([rate]):
                if isinstance(node, Applied) and node.operation in KINKED:
                    return i + 1, node.operation.value
        return None

    def values(self, state: Sequence[Any], control: Sequence[Any], noise: Sequence[Any] = ()) -> dict[str, Any]:
        """The values of the names x1, ..., u1, ... and w1, ..."""
        given = {"x": state, "u": control, "w": noise}
        return {f"{name}{i + 1}": value for name, all in given.items() for i, value in enumerate(all)}


def preconditions(expressions: Sequence[Expression]) -> tuple[Precondition, ...]:
    """What has to hold for expressions to be defined, even where nothing is left of a quotient or root."""
    found, seen = [], set()
    for i, expression in enumerate(expressions):
        for node in in_order([expression]):
            made = _condition(node, i + 1) if id(node) not in seen else None
            seen.add(id(node))
            found += [] if made is None else [made]
    return tuple(found)


def enclosed(
    expressions: Sequence[Expression], conditions: Sequence[Precondition], values: Mapping[str, AffineForms]
) -> AffineForms:
    """Forms of expressions over forms of their names; the radius is NaN where they may not be defined, or not finite.

    Shapes: values [cells] each -> [cells, expressions].
    """
    found = evaluate([*expressions, *(condition.node for condition in conditions)], values, ENCLOSURES)
    zero = next(iter(values.values())) * 0.0
    forms = AffineForms.stack([zero + value for value in found[: len(expressions)]])
    broken = np.zeros(zero.centre.shape, dtype=bool)
    for condition, value in zip(conditions, found[len(expressions) :], strict=True):
        # What is made of nothing may look like something.
        broken |= condition.broken(value if isinstance(value, Interval) else value.interval)
    known = np.isfinite(forms.deviation) & np.isfinite(forms.centre) & ~broken[..., None]
    return AffineForms(forms.centre, forms.generators, np.where(known, forms.radius, np.nan))


def _condition(node: Expression, equation: int) -> Precondition | None:
    """What an operation asks of its operands; None where it is defined everywhere."""
    match node:
        case Applied(operation=Operation.DIVIDE, operands=(_, divisor)):
            return Precondition(Fault.DIVISION, divisor, equation)
        case Applied(operation=Operation.SQRT, operands=(radicand,)):
            return Precondition(Fault.ROOT, radicand, equation)
        case Applied(operation=Operation.TAN, operands=operands):
            return Precondition(Fault.POLE, Applied(Operation.COS, operands), equation)
        case _:
            return None


def _check_counts(text: str, counts: Mapping[str, int], taken: set[str]) -> None:
    """Refuse a text with a state, an input or a number of noise that there is not, unless its name is taken."""
    given = {"x": "equations", "u": "inputs, which are outputs of a controller", "w": "numbers of process noise"}
    for name, letter, number in _COUNTED.findall(text):
        if name not in taken and not 1 <= int(number) <= counts[letter]:
            most = counts[letter]
            raise InputError(f"The expression {brief(text)} holds {name}; there are {most} {given[letter]}.")


def _pair(given: object) -> tuple[str, str]:
    pair = several(given, str, "name and text of an abbreviation")
    if len(pair) != 2:
        raise InputError(f"An abbreviation is {brief(given)}; give a name and a text.")
    return pair[0], pair[1]
