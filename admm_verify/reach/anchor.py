"""Affine forms whose first symbols stand for numbers of a set that is smaller than the box around it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Float, gamma, inner
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet, Numbers, Vectors
from admm_verify.sets.images import along, applied


@dataclass(frozen=True, eq=False)
class Anchor:
    """What the first n symbols s of forms stand for: numbers z_i = centre_i + radius_i s_i of sets.

    Forms of these symbols hold for all s in [-1, 1]^n, hence for those that the sets leave; here is where these count.
    sets: None where they are the boxes themselves.
    Shapes: sets [cells, n]; centre, radius [cells, n].
    """

    sets: InputSet | None
    centre: np.ndarray
    radius: np.ndarray

    @classmethod
    def of(cls, sets: InputSet) -> tuple["Anchor", AffineForms]:
        """The symbols of some sets of numbers, and the numbers over them."""
        forms = AffineForms.around(sets)
        radius = np.diagonal(forms.generators, axis1=-2, axis2=-1)
        return cls(None if isinstance(sets, Box) else sets, forms.centre, radius), forms

    @property
    def kept(self) -> int:
        """How many of the first symbols have to stay where they are."""
        return 0 if self.sets is None else self.centre.shape[-1]

    def at(self, index: Any) -> "Anchor":
        """Those of some cells."""
        return self if self.sets is None else Anchor(self.sets.at(index), self.centre[index], self.radius[index])

    def over(self, forms: AffineForms) -> "AffineForms | AnchoredForms":
        """Forms of the same cells, with what is known of their symbols."""
        return forms if self.sets is None else AnchoredForms(forms, self.sets, self.centre, self.radius)

    def support(
        self, forms: AffineForms, directions: Float[np.ndarray, "d n"], cells: np.ndarray | None = None
    ) -> Float[np.ndarray, "cells d"]:
        """Upper bounds of d'x over forms of some cells, all without a choice."""
        plain = forms.support(directions)
        if self.sets is None:
            return plain
        own = self if cells is None else self.at(cells)
        assert own.sets is not None, "Cells of a set have sets"
        found = -AnchoredForms(forms, own.sets, own.centre, own.radius).spread().least(-directions)
        return np.where(np.isfinite(found), np.minimum(plain, found), plain)


@dataclass(frozen=True, eq=False)
class AnchoredForms(InputSet):
    """The sets of x = c + G s + H e + [-radius, radius], with s those of an `Anchor`'s sets and e in [-1, 1]^k.

    Shapes: forms [..., n]; sets, centre, radius [..., m].
    """

    forms: AffineForms
    sets: InputSet
    centre: np.ndarray
    radius: np.ndarray

    @property
    def numbers(self) -> tuple[Array, ...]:
        return (*self.forms.numbers, *self.sets.numbers, self.centre, self.radius)

    @classmethod
    def of(cls, *numbers: Array) -> Self:
        """Not to be had: numbers do not tell the kind of the sets."""
        raise TypeError("Anchored forms are made by Anchor.over.")

    def mapped(self, change: Callable[[Array], Array]) -> "AnchoredForms":
        forms, sets = self.forms.mapped(change), self.sets.mapped(change)
        return AnchoredForms(forms, sets, np.asarray(change(self.centre)), np.asarray(change(self.radius)))

    @property
    def range(self) -> tuple[Any, Any]:
        return self.forms.range

    @property
    def reach(self) -> Vectors:
        return self.forms.reach

    @property
    def image(self) -> Callable[..., AffineForms]:
        """Forms of functionals, as of the forms alone."""
        return self.forms.image

    def seen(self, crop: Callable[[Array], Array]) -> Box:
        return Box.of(*map(crop, self.range))

    def covers(self, other: InputSet) -> bool:
        """False: nobody asks for more."""
        return False

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        value, size = self.forms.minimum(coefficient)
        own = self.least(coefficient)
        # NaN is no bound.
        return np.where(own > value, own, value), size

    def minimiser(self, coefficient: Vectors) -> Vectors:
        own, rest = self._along(coefficient)
        z = self.sets.minimiser(self._functional(own))
        s = np.clip(np.where(self._wide, (z - self.centre) / self._divisor, 0.0), -1.0, 1.0)
        moved = applied(self.forms.generators, np.concatenate([s, -np.sign(rest)], axis=-1))
        return self.forms.centre + moved - np.sign(coefficient) * self.forms.radius

    def least(self, coefficient: Vectors) -> Numbers:
        """min c'x over the sets.

        c'x = c'centre + g's + h'e with g's = a'z - a'z_0, a_i = g_i / radius_i, where min a'z is asked of the sets.
        Error: rounded downward.
        """
        forms, size = self.forms, np.abs(coefficient)
        own, rest = self._along(coefficient)
        a = self._functional(own)
        least, most = self.sets.minimum(a)
        value = inner(coefficient, forms.centre) + least - inner(a, self.centre)
        value = value - np.abs(rest).sum(axis=-1) - inner(size, forms.radius)
        # Where a number is fixed, no functional of it says what the symbol does.
        value = value - np.where(self._wide, 0.0, np.abs(own)).sum(axis=-1)
        # Products with the generators are rounded, as are a and its products; |s| and |e| are at most 1.
        sizes = most + inner(np.abs(a), np.abs(self.centre)) + 3.0 * inner(size, np.abs(forms.centre) + forms.deviation)
        count = 2 * (forms.size + forms.symbols + self.sets.size) + 32
        lost = SMALLEST * count * (1.0 + sizes + self.radius.sum(axis=-1))
        return np.nextafter(value - (2.0 * gamma(count) * sizes + lost), -np.inf)

    def _along(self, coefficient: Vectors) -> tuple[np.ndarray, np.ndarray]:
        """What functionals make of the anchor's symbols, and of the others."""
        found = along(coefficient, self.forms.generators)
        count = self.centre.shape[-1]
        return found[..., :count], found[..., count:]

    def _functional(self, own: np.ndarray) -> np.ndarray:
        """Functionals of the numbers that are those of the symbols, up to a constant."""
        return np.where(self._wide, own / self._divisor, 0.0)

    @cached_property
    def _wide(self) -> np.ndarray:
        return self.radius > 0

    @cached_property
    def _divisor(self) -> np.ndarray:
        return np.where(self._wide, self.radius, 1.0)
