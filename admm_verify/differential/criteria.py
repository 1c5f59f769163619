"""What it means for two networks to be equivalent, and the ways in which they are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, log, nextafter
from typing import Any

import numpy as np

from admm_verify.arrays import Placement, to_numpy
from admm_verify.differential.settings import chosen_outputs, output_numbers
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.options import Range, number
from admm_verify.properties.property import Atom

_PROBABILITY = Range(0.5, most=1.0 - 2.0**-53)
"""Those of which a class is confident at all, and not certain."""


@dataclass(frozen=True, eq=False)
class Ways:
    """The ways in which two networks differ: conjunctions of rows c'[y; y'; y' - y] + d <= 0, < 0 where strict.

    of: the rows of every way. asked: the offsets with which a row is fulfilled for certain, where `offset` is rounded
    downward. Shapes: objective [rows, 3 outputs]; offset, asked, strict [rows].
    """

    objective: np.ndarray
    offset: np.ndarray
    asked: np.ndarray
    strict: np.ndarray
    of: tuple[tuple[int, ...], ...]

    def atoms(self, apart: bool) -> list[Atom]:
        """The rows as exact atoms of the joint network; apart: as they are asked of y and y' alone."""
        size = self.objective.shape[1] // 3
        objective, offset = self.objective, self.asked if apart else self.offset
        if apart:
            own, other, difference = objective[:, :size], objective[:, size : 2 * size], objective[:, 2 * size :]
            objective = np.concatenate([own - difference, other + difference, np.zeros_like(own)], axis=1)
        return [
            Atom(
                tuple((int(i), Fraction(float(row[i]))) for i in np.flatnonzero(row)),
                Fraction(float(offset[k])),
                strict=bool(self.strict[k]),
            )
            for k, row in enumerate(objective)
        ]


@dataclass(frozen=True)
class EpsilonEquivalence:
    """|f'(x)_j - f(x)_j| <= epsilon for all outputs j, or for some of them.

    epsilon: a number, or one for each of these outputs. outputs: their numbers, None for all.
    Units: those of the outputs.
    Raises: InputError for an epsilon below 0, infinite or NaN, and for what are no numbers of outputs.
    Reference: Kleine Buening et al., CP 2020; Paulsen et al., ICSE 2020 (ReluDiff).
    """

    epsilon: Any
    outputs: Sequence[int] | None = None

    def __post_init__(self) -> None:
        found = to_numpy(float64_array(self.epsilon, "epsilon", Placement.numpy()))
        if found.ndim > 1 or not found.size or not (np.isfinite(found) & (found >= 0)).all():
            raise InputError(
                f"The epsilon is {found.tolist()}; give a finite number >= 0, or a list of one for each output."
            )
        object.__setattr__(self, "epsilon", tuple(found.tolist()) if found.ndim else float(found))
        if self.outputs is not None:
            object.__setattr__(self, "outputs", output_numbers(self.outputs))

    @property
    def words(self) -> str:
        """What it says."""
        of = "every output" if self.outputs is None else f"the outputs {', '.join(map(str, self.outputs))}"
        epsilon = self.epsilon if isinstance(self.epsilon, float) else list(self.epsilon)
        return f"|f' - f| <= {epsilon} at {of}"

    def ways(self, size: int) -> Ways:
        """How networks of so many outputs are not equivalent: an output is too large, or too small.

        Raises: InputError for outputs that there are not, and for another number of epsilons than of outputs.
        """
        chosen = np.array(chosen_outputs(self.outputs, size))
        epsilon = np.asarray(self.epsilon)
        if epsilon.ndim and len(epsilon) != len(chosen):
            raise InputError(f"There are {len(epsilon)} epsilons for {len(chosen)} outputs; give one, or one for each.")
        sides = np.eye(3 * size)[2 * size + chosen]
        objective, count = np.concatenate([-sides, sides]), 2 * len(chosen)
        offset = np.tile(np.broadcast_to(epsilon, len(chosen)), 2)
        return Ways(objective, offset, offset, np.ones(count, dtype=bool), tuple((k,) for k in range(count)))


@dataclass(frozen=True)
class Top1Equivalence:
    """Where f is confident of a class, no other class has a larger score in f'.

    f is confident of class k where f(x)_k - f(x)_j >= log(d / (1 - d)) for all other classes j, with d = `confidence`,
    which a probability of at least d by softmax implies. With d = 0.5 that is the class of the largest score, so that
    f and f' name the same class; where several scores of f are the largest, each of them is asked about.

    Raises: InputError for a confidence below 0.5, or not below 1.
    Reference: Kleine Buening et al., CP 2020; Teuber et al., arXiv 2410.20207 (confidence).
    """

    confidence: float = 0.5

    def __post_init__(self) -> None:
        found = number(self.confidence, "The confidence", _PROBABILITY, " - 2**-53: it is a probability below 1")
        object.__setattr__(self, "confidence", found)

    @property
    def gap(self) -> float:
        """By how much the largest score exceeds all others at least where f is confident, rounded downward."""
        return max(0.0, self._gap(-1.0))

    def _gap(self, sign: float) -> float:
        """The gap rounded downward, or upward."""
        if self.confidence == 0.5:
            return 0.0
        # Two roundings of a quotient and one of the logarithm, which a library may be an ulp or two off.
        found = log(self.confidence / (1.0 - self.confidence))
        return nextafter(found + sign * 2.0**-48 * (1.0 + abs(found)), sign * inf)

    @property
    def words(self) -> str:
        """What it says."""
        where = "" if self.confidence == 0.5 else f" wherever f has a probability of {self.confidence} or more"
        return f"f and f' name the same class{where}"

    def ways(self, size: int) -> Ways:
        """How classifiers of so many classes are not equivalent: f is confident of one, and f' prefers another.

        Raises: InputError for fewer than two classes.
        """
        if size < 2:
            raise InputError(f"The networks have {size} output; classifiers have one per class.")
        identity = np.eye(3 * size)
        own, other, difference = identity[:size], identity[size : 2 * size], identity[2 * size :]
        pairs = [(k, j) for k in range(size) for j in range(size) if j != k]
        place = {pair: number for number, pair in enumerate(pairs)}
        first, second = np.array(pairs).T
        # f_j - f_k + gap <= 0, and f'_k - f'_j < 0; together they imply (f' - f)_k - (f' - f)_j + gap < 0.
        confident, preferred = own[second] - own[first], other[first] - other[second]
        objective = np.concatenate([confident, preferred, difference[first] - difference[second]])
        count = len(pairs)
        offset, asked = (np.repeat([gap, 0.0, gap], count) for gap in (self.gap, self._gap(1.0)))
        ways = tuple(
            (*(place[k, i] for i in range(size) if i != k), count + number, 2 * count + number)
            for number, (k, _) in enumerate(pairs)
        )
        return Ways(objective, offset, asked, np.repeat([False, True, True], count), ways)


Criterion = EpsilonEquivalence | Top1Equivalence
