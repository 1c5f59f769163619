"""Products of sets: an input of several parts, each in a set of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate, pairwise
from operator import add
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Bool, Float, Placement, namespace
from admm_verify.errors import InputError
from admm_verify.options import shown
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box
from admm_verify.sets.composite import Composite
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Product(Composite):
    """The sets {x = (x_1, .., x_k) : x_i in set i}: some of the inputs in each of some sets, one after the other.

    Shapes: sets [n_i] or [sets, n_i], where a batch of one goes with any other -> [n_1 + .. + n_k], one axis more for
    batches. Inputs of a network are its flat vector. Arrays live where those of the first set do.
    Raises: InputError for no sets, what is no set of inputs, and batches of different lengths.
    """

    factors: tuple[WalkableSet, ...]

    __repr__ = short_repr

    def __init__(self, *sets: WalkableSet) -> None:
        if not sets:
            raise InputError("A product of no sets has no inputs; give one set or more, such as av.Box(lower, upper).")
        for k, part in enumerate(sets):
            if not isinstance(part, WalkableSet):
                raise InputError(f"Factor {k} of a product is {shown(part)}; give a set, such as av.Box(lower, upper).")
            if len(part.shape) not in (1, 2):
                raise InputError(f"Factor {k} of a product has shape {part.shape}; give sets of vectors.")
        place = sets[0].placement.double
        flat = [part.flattened(_as_rows) for part in sets]
        flat = [part if part.placement == place else part.put(place) for part in flat]
        counts = [part.count for part in flat]
        if any(count not in (1, max(counts)) for count in counts):
            raise InputError(
                f"The factors of a product are batches of {counts} sets; give one set, or as many of each."
            )
        some = np.zeros(max(counts), dtype=np.int64)
        every = [part if part.count == max(counts) else part.at(some) for part in flat]
        single = all(len(part.shape) == 1 for part in sets)
        object.__setattr__(self, "factors", tuple(part.at(0) for part in every) if single else tuple(every))

    @classmethod
    def of_parts(cls, *parts: WalkableSet) -> "Product":
        made = object.__new__(cls)
        object.__setattr__(made, "factors", tuple(parts))
        return made

    @property
    def parts(self) -> tuple[WalkableSet, ...]:
        return self.factors

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.parts[0].lead, sum(part.size for part in self.parts))

    @cached_property
    def _ends(self) -> list[int]:
        return [0, *accumulate(part.size for part in self.parts)]

    def _split(self, x: Array) -> list[Array]:
        """The entries of every part."""
        return [x[..., first:last] for first, last in pairwise(self._ends)]

    def _each(self, verb: Callable[[WalkableSet, Array], Array], x: Array) -> Array:
        """What a verb makes of every part's entries, side by side."""
        found = [verb(part, own) for part, own in zip(self.parts, self._split(x), strict=True)]
        return namespace(x).concat(found, axis=-1)

    def _beside(self, arrays: Sequence[Array]) -> Array:
        return namespace(arrays[0]).concat(list(arrays), axis=-1)

    @property
    def range(self) -> tuple[Any, Any]:
        return self._range

    @cached_property
    def _range(self) -> tuple[Array, Array]:
        lower, upper = zip(*(part.range for part in self.parts), strict=True)
        return self._beside(lower), self._beside(upper)

    @cached_property
    def _reach(self) -> Array:
        return self._beside([part.reach for part in self.parts])

    @property
    def reach(self) -> Vectors:
        return self._reach

    @cached_property
    def _centre(self) -> Array:
        return self._beside([part.centre for part in self.parts])

    @property
    def centre(self) -> Vectors:
        return self._centre

    @cached_property
    def stride(self) -> Vectors:
        strides = zip((part.stride for part in self.parts), self._split(self._centre), strict=True)
        return self._beside([namespace(own).broadcast_to(stride, own.shape) for stride, own in strides])

    @property
    def fills_range(self) -> bool:
        return all(part.fills_range for part in self.parts)

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        # One set after the other, their sum counted like that of the products within each.
        pairs = zip(self.parts, self._split(coefficient), strict=True)
        values, sizes = zip(*(part.minimum(own) for part, own in pairs), strict=True)
        return reduce(add, values), reduce(add, sizes)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        return self._each(lambda part, own: part.minimiser(own), coefficient)

    def project(self, x: Vectors) -> Vectors:
        return self._each(lambda part, own: part.project(own), x)

    def drawn_in(self, x: Vectors) -> Vectors:
        return self._each(lambda part, own: part.drawn_in(own), x)

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        triples = zip(self.parts, self._split(x), self._split(direction), strict=True)
        return self._beside([part.stepped(own, step, steep) for part, own, steep in triples])

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        return self._beside([part.sample(count, rng) for part in self.parts])

    def corners(self, most: int) -> Float[Array, "... corners n"] | None:
        found, xp = None, namespace(self._centre)
        for part in self.parts:
            own = part.corners(most)
            count = 1 if found is None else found.shape[-2]
            if own is None or count * own.shape[-2] > most:
                return None
            if found is None:
                found = own
                continue
            first = np.repeat(np.arange(count), own.shape[-2])
            second = np.tile(np.arange(own.shape[-2]), count)
            index = self.placement.put_indices
            pair = (xp.take(found, index(first), axis=-2), xp.take(own, index(second), axis=-2))
            found = xp.concat(pair, axis=-1)
        return found

    def inward(self, placement: Placement) -> "Product":
        return self.of_parts(*(part.inward(placement) for part in self.parts))

    def flattened(self, flatten: Callable[[Array], Array]) -> "Product":
        # Only the network knows whether it takes as many numbers.
        flatten(self._centre)
        return self if self.lead else self.at(None)

    def within(self, lower: Vectors, upper: Vectors) -> "Product":
        ends = zip(self.parts, self._split(lower), self._split(upper), strict=True)
        return self.of_parts(*(part.within(low, high) for part, low, high in ends))

    def seen(self, crop: Callable[[Array], Array]) -> Box:
        return Box.of(*map(crop, self.range))

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        inside = [part.contains(own) for part, own in zip(self.parts, self._split(x), strict=True)]
        return namespace(x).all(namespace(x).stack(inside, axis=-1), axis=-1)

    def surely(self, x: Vectors) -> Bool[Array, "..."]:
        inside = [part.surely(own) for part, own in zip(self.parts, self._split(x), strict=True)]
        return namespace(x).all(namespace(x).stack(inside, axis=-1), axis=-1)

    def found_inside(self, x: Vectors) -> Bool[Array, "..."]:
        inside = [part.found_inside(own) for part, own in zip(self.parts, self._split(x), strict=True)]
        return namespace(x).all(namespace(x).stack(inside, axis=-1), axis=-1)

    def covers(self, other: InputSet) -> bool:
        return any(self._covers(one) for one in other.supersets)

    def _covers(self, other: InputSet) -> bool:
        if other.size != self.size:
            return False
        if isinstance(other, Product) and other._ends == self._ends:
            return all(part.covers(own) for part, own in zip(self.parts, other.parts, strict=True))
        ends = zip(*map(self._split, other.range), strict=True)
        return all(part.covers(Box.of(*own)) for part, own in zip(self.parts, ends, strict=True))


def _as_rows(array: Array) -> Array:
    return array[None] if len(array.shape) == 1 else array
