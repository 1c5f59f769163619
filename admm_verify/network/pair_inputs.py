"""What two networks that are bounded together are given: two affine functions of one vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from admm_verify.arrays import Array, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.network.layout import per_entry
from admm_verify.network.maps import DenseMap, LinearMap
from admm_verify.network.selection import SelectionMap
from admm_verify.options import Range, count


@dataclass(frozen=True, eq=False)
class PairInputs:
    """x = A u + a for the first network and x' = A' u + a' for the second, both of one vector u.

    shape: of u. Sets of inputs, samples and counterexamples of the pair are those of u; x and x' are these affine
    functions in real numbers. rounded: shifts may be numbers rounded to the nearest floats, so that those that look
    equal need not be; maps tell of that by their magnitudes.
    Shapes: first, second maps from [prod(shape)]; shifts as what they are added to.
    """

    shape: tuple[int, ...]
    first: LinearMap
    second: LinearMap
    first_shift: Array
    second_shift: Array
    rounded: bool = False

    @classmethod
    def same(cls, shape: tuple[int, ...]) -> "PairInputs":
        """x = x' = u. Raises: InputError for what is no shape."""
        if not isinstance(shape, Sequence) or isinstance(shape, str):
            raise InputError(
                f"The shape of the inputs is {shape!r}; give a tuple of whole numbers, such as (1, 28, 28)."
            )
        sizes = tuple(count(size, "A size in the inputs' shape", Range(1)) for size in shape)
        identity, zeros = SelectionMap.identity(prod(sizes)), np.zeros(prod(sizes))
        return cls(sizes, identity, identity, zeros, zeros)

    @classmethod
    def apart(cls, shape: tuple[int, ...], shift: object) -> "PairInputs":
        """x = u and x' = u + shift, a fixed difference; shift as any array for a sample of this shape."""
        same = cls.same(shape)
        return cls(
            same.shape,
            same.first,
            same.second,
            same.first_shift,
            _finite(per_entry(shift, same.shape, "shift"), "shift"),
        )

    @classmethod
    def beside(cls, first: int, second: int) -> "PairInputs":
        """u = [x; x'], each input for itself, of so many numbers."""
        first, second = (count(size, "The count of numbers of an input", Range(1)) for size in (first, second))
        places, size = np.arange(first + second), first + second
        own, other = (SelectionMap.from_gather(part, size) for part in (places[:first], places[first:]))
        return cls((size,), own, other, np.zeros(first), np.zeros(second))

    @classmethod
    def moved(cls, size: int, entries: object) -> "PairInputs":
        """u = [x; d]: x' is x with d added to some entries, by their numbers in the flat input of `size`.

        Bounds of differences are much tighter than with `beside`, where the d are small.
        Raises: InputError for entries that the input has not, or that are named twice.
        """
        size = count(size, "The count of numbers of the input", Range(1))
        wanted = to_numpy(float64_array(entries, "moved entries")).reshape(-1)
        known = np.isin(wanted, np.arange(size)).all() and len(np.unique(wanted)) == len(wanted)
        if not known:
            raise InputError(f"The moved entries are {wanted}; give different numbers from 0 to {size - 1}.")
        whole = size + len(wanted)
        weight = np.eye(size, whole)
        weight[wanted.astype(np.int64), size + np.arange(len(wanted))] = 1.0
        first = SelectionMap.from_gather(np.arange(size), whole)
        return cls((whole,), first, DenseMap(weight), np.zeros(size), np.zeros(size))

    @classmethod
    def affine(cls, first: object, first_shift: object, second: object, second_shift: object) -> "PairInputs":
        """x = A u + a and x' = A' u + a' of matrices and vectors; their numbers are taken as they are.

        Shapes: first [n, u], first_shift [n]; second [n', u], second_shift [n'].
        Raises: InputError for shapes that do not fit one another and numbers that are not finite.
        """
        names = "first map", "first shift", "second map", "second shift"
        given = (first, first_shift, second, second_shift)
        a, b, c, d = (
            _finite(to_numpy(float64_array(part, name)), name) for part, name in zip(given, names, strict=True)
        )
        fits = a.ndim == c.ndim == 2 and a.shape[1] == c.shape[1] and (len(a),) == b.shape and (len(c),) == d.shape
        if not fits:
            raise InputError(
                f"The inputs of two networks are given as maps of shapes {a.shape} and {c.shape} with shifts of shapes "
                f"{b.shape} and {d.shape}; give [n, u] with [n], and [n', u] with [n'], of one vector u."
            )
        return cls((a.shape[1],), DenseMap(a), DenseMap(c), b, d)

    @property
    def size(self) -> int:
        """Numbers of u."""
        return prod(self.shape)


def _finite(found: np.ndarray, name: str) -> np.ndarray:
    """Raises: InputError where a number is not finite."""
    if not np.isfinite(found).all():
        raise InputError(f"The {name} of the inputs of two networks holds NaN or infinite numbers; give finite ones.")
    return found
