"""Functions of the state that requirements are about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import Expression, Reader, evaluate
from admm_verify.enclosures.plants import enclosed, preconditions
from admm_verify.errors import InputError
from admm_verify.options import Range, count, several
from admm_verify.reprs import short_repr


@dataclass(frozen=True, eq=False, repr=False)
class Quantities:
    """Numbers g(x) of the state x, from texts over the names x1, x2, .."""

    expressions: tuple[Expression, ...]
    states: int

    __repr__ = short_repr

    @classmethod
    def read(cls, texts: Sequence[str], states: int) -> "Quantities":
        """One text for each quantity.

        Raises: InputError as for plants' equations, and where there is no text.
        """
        texts, states = several(texts, str, "quantities"), count(states, "The number of states", Range(1))
        if not texts:
            raise InputError("There are no quantities; give one text for each.")
        reader = Reader(state_names(states))
        return cls(tuple(map(reader.read, texts)), states)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.expressions)

    def values(self, states: np.ndarray) -> np.ndarray:
        """The quantities at states, up to rounding, [..., n] -> [..., quantities]."""
        names = dict(zip(state_names(self.states), np.moveaxis(states, -1, 0), strict=True))
        with quiet_overflow():
            found = evaluate(self.expressions, names, FLOATS)
        return np.stack([np.broadcast_to(one, states.shape[:-1]) for one in found], axis=-1)

    def support(self, states: AffineForms, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'g(x) over forms of states, [cells, n]; directions [d, quantities] -> [cells, d]."""
        names = dict(zip(state_names(self.states), states.coordinates(), strict=True))
        with quiet_overflow():
            found = enclosed(self.expressions, preconditions(self.expressions), names).support(directions)
        return np.where(np.isnan(found), np.inf, found)


def state_names(states: int) -> list[str]:
    """x1, x2, .."""
    return [f"x{i + 1}" for i in range(states)]
