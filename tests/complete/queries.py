"""Queries made in memory from fractions, and the ways to decide them."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

import admm_verify as av
from admm_verify import Network, Outcome, Query, SearchSettings
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.sets.exact import ExactBox

Number = float | Fraction
NEURONS = SearchSettings(input_sides=0)


def box_of(lower: Sequence[Number], upper: Sequence[Number]) -> ExactBox:
    return ExactBox(tuple(map(_fraction, lower)), tuple(map(_fraction, upper)))


def atom_of(coefficients: Sequence[Number], constant: Number, strict: bool = False) -> Atom:
    """coefficients'y + constant <= 0, or < 0."""
    terms = tuple((i, _fraction(value)) for i, value in enumerate(coefficients) if value != 0)
    return Atom(terms, _fraction(constant), strict)


def at_most(objective: Sequence[Number], offset: Number, limit: Number, strict: bool = False) -> Atom:
    """objective'y + offset <= limit."""
    return atom_of(objective, _fraction(offset) - _fraction(limit), strict)


def query_of(network: Network, disjuncts: Sequence[Disjunct], element_type: str = "real") -> Query:
    inputs, outputs = (
        Variable(name, element_type, (size,)) for name, size in (("X", network.input_size), ("Y", network.output_size))
    )
    declared = NetworkDeclaration("f", (inputs,), (outputs,))
    return Query("made", Property((2, 0), (declared,), tuple(disjuncts)), network)


def by_inputs(query: Query, most: int | None = None, arithmetic: str | None = None) -> Outcome:
    """The front door's answer; boxes of few sides are halved."""
    return av.verify(query, settings=av.VerifySettings(max_subproblems=most, arithmetic=arithmetic))


def by_neurons(query: Query, most: int | None = None, arithmetic: str | None = None) -> Outcome:
    """The answer with neurons split, however few sides the boxes have."""
    return decided(query, NEURONS, most, arithmetic)


WAYS = {"inputs": by_inputs, "neurons": by_neurons}


def decided(
    query: Query,
    settings: SearchSettings,
    most: int | None = None,
    arithmetic: str | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """The front door's answer with other settings of the search."""
    asked = av.VerifySettings(max_subproblems=most, arithmetic=arithmetic, search=settings)
    return av.verify(query, settings=asked, run=av.Run(stop=stop))


def satisfied(query: Query, x: Sequence[Number], y: Sequence[Number]) -> bool:
    """Whether some disjunct holds for an input and an output, exactly."""
    point, output = (tuple(_fraction(value) for value in array) for array in (x, y))
    return any(disjunct.holds(point, output) for disjunct in query.property.disjuncts)


def confirmed(query: Query, outcome: Outcome) -> bool:
    """Whether a counterexample is what it is said to be: exact_input rounded to the network's type, with the network's
    output there, and exact_input and that output satisfy the query exactly.
    """
    x, y, exact = outcome.counterexample, outcome.output, outcome.exact_input
    if x is None or y is None or exact is None:
        return False
    network = query.network
    kind = np.float64 if network.element_type == "float64" else np.float32
    with np.errstate(all="ignore"):
        again = network(x)
    rounded = np.array([float(value) for value in exact]).astype(kind)
    same = np.array_equal(again, y) and np.array_equal(rounded, np.reshape(x, -1))
    return x.dtype == kind and same and satisfied(query, exact, np.reshape(y, -1))


def _fraction(value: Number) -> Fraction:
    return value if isinstance(value, Fraction) else Fraction(float(value))
