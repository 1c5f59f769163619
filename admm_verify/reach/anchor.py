"""Affine forms whose first symbols stand for numbers of a set that is smaller than the box around it."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Float, gamma
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.intervals import above
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet


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

    def support(
        self, forms: AffineForms, directions: Float[np.ndarray, "d n"], cells: np.ndarray | None = None
    ) -> Float[np.ndarray, "cells d"]:
        """Upper bounds of d'x over forms of some cells, all without a choice.

        d'x = c + g's + h'e with the other symbols e; g's = a'z - a'centre with a_i = g_i / radius_i, whose largest
        value over the sets is what they are asked for.
        Error: rounded upward.
        """
        plain = forms.support(directions)
        if self.sets is None:
            return plain
        some = slice(None) if cells is None else cells
        centre, radius, n = self.centre[some][:, None], self.radius[some][:, None], self.kept
        image = forms.image(directions)
        own, rest = image.generators[..., :n], np.abs(image.generators[..., n:]).sum(axis=-1)
        a = np.where(radius > 0, own / np.where(radius > 0, radius, 1.0), 0.0)
        least, size = self.sets.at(some).spread().minimum(-a)
        shift = (a * centre).sum(axis=-1)
        # a is rounded, as are its products and all sums; |s| is at most 1.
        own_size = np.abs(own).sum(axis=-1)
        sizes = size + (np.abs(a) * np.abs(centre)).sum(axis=-1) + own_size + rest + np.abs(image.centre)
        slack = gamma(2 * image.symbols + 2 * n + 32) * sizes + SMALLEST * (n + 4) * (1.0 + sizes + radius.sum(axis=-1))
        slack += 4.0 * DOUBLE_ROUNDOFF * image.radius
        off = np.where(radius > 0, 0.0, np.abs(own)).sum(axis=-1)
        value = image.centre - least - shift + rest + image.radius + off
        found = above(value + slack)
        return np.where(np.isfinite(found), np.minimum(plain, found), plain)
