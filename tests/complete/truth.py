"""Exact minima of small networks by mixed-integer programming, and the queries at known distances from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from unittest.mock import patch

import numpy as np

from admm_verify import Box, Network, Query, preactivation_bounds
from admm_verify.properties.property import Disjunct
from admm_verify.sets.exact import ExactBox
from tests.complete.networks import box_for, exact_output, flat_box, network_of, pairs_of
from tests.complete.queries import at_most, box_of, query_of
from tests.reference import highs
from tests.reference.pieces import Formulation

MARGINS = (1e-1, 1e-3, 1e-6)
COMPLETE = {"mip_max_nodes": 100_000, "mip_rel_gap": 0.0, "mip_abs_gap": 1e-10}


@dataclass(frozen=True, eq=False)
class Minimum:
    """The least value of a row over a box, as an exact value and the input that attains it."""

    box: Box
    objective: np.ndarray
    value: Fraction
    x: np.ndarray
    output: list[Fraction]

    @property
    def unit(self) -> Fraction:
        """What margins are multiples of."""
        return max(Fraction(1), abs(self.value))


def minimum(network: Network, box: Box, objective: np.ndarray) -> Minimum:
    """The minimum up to 1e-8 or so, from HiGHS without a limit on nodes; the value is attained exactly at x."""
    with patch.dict(highs._OPTIONS, COMPLETE):
        bounds = pairs_of(preactivation_bounds(network, box))
        x = Formulation(network, flat_box(box), bounds, integer=True).minimum(objective, 0.0).x
    output = exact_output(network, x)
    value = sum((Fraction(c) * y for c, y in zip(objective, output, strict=True)), Fraction(0))
    return Minimum(box, objective, value, x, output)


@dataclass(frozen=True, eq=False)
class Asked:
    """A query, the right answer and what it is about."""

    query: Query
    answer: str
    label: str


@dataclass(frozen=True, eq=False)
class Drawn:
    """A random network, its box and objective, and a box beside it."""

    network: Network
    least: Minimum
    beside: Minimum
    rng: np.random.Generator

    @classmethod
    def of(cls, family: str, seed: int) -> "Drawn":
        rng = np.random.default_rng([seed, 21])
        network = network_of(family, rng)
        objective = _short(rng)
        boxes = [box_for(network, rng, 3), box_for(network, rng, 2)]
        return cls(network, *(minimum(network, box, objective) for box in boxes), rng)

    def queries(self) -> Iterator[Asked]:
        """Queries on both sides of the minimum, at all margins and of all shapes."""
        for margin in MARGINS:
            for sign in (1, -1):
                step = sign * Fraction(margin) * self.least.unit
                answer, label = ("sat" if sign > 0 else "unsat"), f"{sign * margin:g}"
                yield self._single(step, answer, label)
                yield self._conjunction(step, answer, label)
                yield self._alternatives(step, answer, label)
                yield self._boxes(Fraction(margin), sign, answer, label)

    def _query(self, disjuncts: list[Disjunct]) -> Query:
        return query_of(self.network, disjuncts)

    def _single(self, step: Fraction, answer: str, label: str) -> Asked:
        atom = at_most(self.least.objective, 0, self.least.value + step)
        return Asked(self._query([Disjunct(_box(self.least), (atom,))]), answer, f"single, {label}")

    def _conjunction(self, step: Fraction, answer: str, label: str) -> Asked:
        """Atoms that add up to the objective, each at its value at the minimiser: below, they exclude each other."""
        part = _short(self.rng)
        whole = [Fraction(c) for c in self.least.objective]
        rows = [[Fraction(c) for c in part], [a - Fraction(b) for a, b in zip(whole, part, strict=True)]]
        atoms = [
            at_most(row, 0, sum((c * y for c, y in zip(row, self.least.output, strict=True)), step)) for row in rows
        ]
        # An atom that holds nearly everywhere beside them.
        atoms.append(at_most(-self.least.objective, 0, 1000))
        return Asked(self._query([Disjunct(_box(self.least), tuple(atoms))]), answer, f"conjunction, {label}")

    def _alternatives(self, step: Fraction, answer: str, label: str) -> Asked:
        """Several disjuncts on one box object, all but one out of reach."""
        box, value, unit = _box(self.least), self.least.value, self.least.unit
        limits = [value - 2 * unit, value + step, value - unit / 10]
        atoms = [at_most(self.least.objective, 0, limit) for limit in limits]
        disjuncts = [Disjunct(box, (atom,)) for atom in atoms]
        return Asked(self._query(disjuncts), answer, f"alternatives, {label}")

    def _boxes(self, margin: Fraction, sign: int, answer: str, label: str) -> Asked:
        """One of two boxes is reached, or none is; one has two atoms."""
        pair = [self.least, self.beside]
        self.rng.shuffle(pair)
        steps = [sign * margin, -margin]
        limits = [one.value + step * one.unit for one, step in zip(pair, steps, strict=True)]
        atoms = [at_most(one.objective, 0, limit) for one, limit in zip(pair, limits, strict=True)]
        loose = at_most(pair[0].objective, 0, limits[0] + 1)
        disjuncts = [Disjunct(_box(pair[0]), (loose, atoms[0])), Disjunct(_box(pair[1]), (atoms[1],))]
        return Asked(self._query(disjuncts), answer, f"boxes, {label}")


def _short(rng: np.random.Generator) -> np.ndarray:
    """Random coefficients of few bits, whose sums are numbers of float64 too."""
    return np.rint(2.0**20 * rng.standard_normal(2)) / 2.0**20


def _box(least: Minimum) -> ExactBox:
    return box_of(np.reshape(least.box.lower, -1), np.reshape(least.box.upper, -1))
