"""What the verbs in native code and on a GPU share: which arrays a kernel takes, and what is checked before it runs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from admm_verify.arrays import Array
from admm_verify.backends.verbs import Adam, EntryPlaces, KinkBounds, KinkPaces, SlopeState
from admm_verify.errors import InputError


@dataclass(frozen=True)
class Signature:
    """What the kernels of a verb take: inputs [rows, n], bounds [B, n], other arrays, numbers; and their results."""

    inputs: int
    bounds: int
    matrices: int
    sums: int
    extras: int = 0
    numbers: int = 0


VERBS = {
    "descend": Signature(inputs=2, bounds=2, matrices=1, sums=1),
    "climb": Signature(inputs=2, bounds=4, matrices=1, sums=0, extras=3, numbers=4),
    "slide": Signature(inputs=3, bounds=5, matrices=2, sums=0, numbers=1),
    "vertex": Signature(inputs=1, bounds=2, matrices=1, sums=1),
    "support": Signature(inputs=2, bounds=3, matrices=0, sums=2),
    "charge": Signature(inputs=2, bounds=2, matrices=0, sums=2),
    "least": Signature(inputs=1, bounds=3, matrices=0, sums=2),
    "between": Signature(inputs=2, bounds=3, matrices=1, sums=1),
    "average": Signature(inputs=2, bounds=0, matrices=1, sums=0, numbers=1),
    "blend": Signature(inputs=2, bounds=0, matrices=1, sums=0, numbers=1),
    "project_triangle": Signature(inputs=2, bounds=2, matrices=2, sums=0),
    "halpern": Signature(inputs=4, bounds=1, matrices=1, sums=1, extras=1),
    "gather": Signature(inputs=0, bounds=2, matrices=1, sums=0, extras=2, numbers=2),
    "reflect": Signature(inputs=1, bounds=2, matrices=1, sums=0, extras=2, numbers=1),
    "turn": Signature(inputs=2, bounds=3, matrices=2, sums=0),
}
"""All verbs. Kernels take inputs, bounds, box, B, rows, n, extras, numbers, then results."""

PARTS = 8
"""Arrays, of as many widths, that verbs of many arrays take in one launch."""

PART_VERBS = {
    "keep": Signature(inputs=0, bounds=0, matrices=PARTS, sums=0, extras=2 + 2 * PARTS, numbers=PARTS),
    "averages": Signature(inputs=0, bounds=0, matrices=PARTS, sums=0, extras=2 * PARTS, numbers=1 + PARTS),
}
"""Verbs of many arrays: extras are what all share, the arrays' firsts, their seconds; numbers end with their widths."""


ALL_VERBS = VERBS | PART_VERBS


class KernelCall(NamedTuple):
    """A verb and what its kernel takes: arrays [rows, n], bounds [B, n], box [rows], what else the verb needs.

    rows, sizes: where there are no arrays [rows, n], and where results have widths of their own.
    """

    verb: str
    inputs: Sequence[Any]
    bounds: Sequence[Any] = ()
    box: Any = None
    extras: Sequence[Any] = ()
    numbers: Sequence[float] = ()
    rows: int | None = None
    sizes: Sequence[int] = ()

    def fit(self) -> tuple[int, int, int]:
        """rows, n and B of the arrays.

        Raises: InputError where shapes or dtypes differ.
        """
        if self.sizes:
            return self.rows or 0, max(self.sizes), 1
        return fit(self.inputs, self.bounds, self.box, self.rows)

    @property
    def first(self) -> Any:
        """An array of the dtype that all have."""
        return (*self.inputs, *self.bounds, *self.extras)[0]


class CompiledVerbs(ABC):
    """The verbs by kernels; arrays that are not contiguous are copied."""

    def descend(self, a: Array, slopes: Array, chord: Array, intercept: Array, box: Array) -> tuple[Array, Array]:
        g, value = self._run(KernelCall("descend", (a, slopes), (chord, intercept), box))
        return g, value

    def climb(self, a: Array, pre: Array, bounds: KinkBounds, box: Array, state: SlopeState, adam: Adam) -> Array:
        stored = (state.slopes, state.mean, state.square)
        # Arrays without entries have no place of their own.
        if 0 not in state.slopes.shape and len(set(map(self._address, stored))) < len(stored):
            raise InputError("The slopes and Adam's averages share an array, but each is overwritten: copy it.")
        # Also refuses stored arrays whose shape or dtype is another.
        fit((a, *stored), (), None)
        own = [self._contiguous(array) for array in stored]
        numbers = (adam.momentum, adam.memory, adam.rate / adam.first, 1.0 / adam.second)
        (post,) = self._run(KernelCall("climb", (a, pre), bounds, box, own, numbers))
        for array, kept in zip(stored, own, strict=True):
            if kept is not array:
                array[...] = kept
        return post

    def slide(
        self, a: Array, pre: Array, slopes: Array, lines: KinkPaces, box: Array, rate: float
    ) -> tuple[Array, Array]:
        post, moved = self._run(KernelCall("slide", (a, pre, slopes), lines, box, numbers=(rate,)))
        return post, moved

    def vertex(self, coefficient: Array, lower: Array, upper: Array, box: Array) -> tuple[Array, Array]:
        x, value = self._run(KernelCall("vertex", (coefficient,), (lower, upper), box))
        return x, value

    def support(
        self, post: Array, pre: Array, lower: Array, upper: Array, weight: Array, box: Array | None
    ) -> tuple[Array, Array]:
        value, size = self._run(KernelCall("support", (post, pre), (lower, upper, weight), box))
        return value, size

    def charge(
        self, post: Array, pre: Array, intercept: Array, weight: Array, box: Array | None
    ) -> tuple[Array, Array]:
        value, size = self._run(KernelCall("charge", (post, pre), (intercept, weight), box))
        return value, size

    def least(
        self, coefficient: Array, centre: Array, radius: Array, reach: Array, box: Array | None
    ) -> tuple[Array, Array]:
        value, size = self._run(KernelCall("least", (coefficient,), (centre, radius, reach), box))
        return value, size

    def between(
        self, pre: Array, share: Array, lower: Array, upper: Array, slack: Array, box: Array
    ) -> tuple[Array, Array]:
        post, outside = self._run(KernelCall("between", (pre, share), (lower, upper, slack), box))
        return post, outside

    def average(self, mean: Array, a: Array, weight: float) -> Array:
        (moved,) = self._run(KernelCall("average", (mean, a), numbers=(weight,)))
        return moved

    def blend(self, mean: Array, x: Array, weight: float) -> Array:
        (moved,) = self._run(KernelCall("blend", (mean, x), numbers=(weight,)))
        return moved

    def project_triangle(self, lower: Array, upper: Array, pre: Array, post: Array, box: Array) -> tuple[Array, Array]:
        p, q = self._run(KernelCall("project_triangle", (pre, post), (lower, upper), box))
        return p, q

    def halpern(
        self, u: Array, r: Array, z: Array, anchor: Array, weight: Array, since: Array, box: Array | None
    ) -> tuple[Array, Array]:
        if since.shape != u.shape[:1] or since.dtype != u.dtype:
            raise InputError(
                f"The iterations have shape {tuple(since.shape)} and dtype {since.dtype}; expected are ({u.shape[0]},) "
                f"and {u.dtype}."
            )
        moved, square = self._run(KernelCall("halpern", (u, r, z, anchor), (weight,), box, (since,)))
        return moved, square

    def gather(self, x: Array, weight: Array, shift: Array, entries: EntryPlaces, box: Array | None) -> Array:
        _check_entries(x, entries, weight)
        numbers, rows = (float(entries.width), float(entries.places.shape[0])), x.shape[0]
        own = (x, entries.places)
        (found,) = self._run(KernelCall("gather", (), (weight, shift), box, own, numbers, rows))
        return found

    def reflect(
        self, z: Array, source: Array, sign: Array, gain: Array, entries: EntryPlaces, box: Array | None
    ) -> Array:
        _check_entries(source, entries, z, z.shape[0])
        own = (source, entries.places)
        (found,) = self._run(KernelCall("reflect", (z,), (sign, gain), box, own, (float(entries.width),)))
        return found

    def turn(
        self, along: Array, across: Array, near: Array, far: Array, back: Array, box: Array | None
    ) -> tuple[Array, Array]:
        down, up = self._run(KernelCall("turn", (along, across), (near, far, back), box))
        return down, up

    def keep(self, value: Array, best: Array, found: Sequence[Array], old: Sequence[Array]) -> list[Array]:
        """The larger values, [rows], and the arrays found where they are larger than the best ones, the old elsewhere.

        Shapes: found[k], old[k] [rows, n_k].
        """
        pairs = [(value[:, None], best[:, None]), *zip(found, old, strict=True)]
        kept = self._parts("keep", pairs, (value, best), ())
        return [kept[0][:, 0], *kept[1:]]

    def averages(self, pairs: Sequence[tuple[Array, Array]], weight: float) -> list[Array]:
        """`blend` of the first pair of a mean and an array, and `average` of all others, [rows, n_k] each."""
        first, *others = pairs
        found: list[Array] = []
        while others or not found:
            now, others = others[: PARTS - 1], others[PARTS - 1 :]
            found += self._parts("averages", [first, *now], (), (weight,))[1 if found else 0 :]
        return found

    def _parts(
        self, verb: str, pairs: Sequence[tuple[Array, Array]], shared: Sequence[Array], numbers: Sequence[float]
    ) -> list[Array]:
        """A verb of many arrays, as many at a time as it takes.

        Raises: InputError for arrays that do not fit.
        """
        found: list[Array] = []
        rows, dtype = pairs[0][0].shape[0], pairs[0][0].dtype
        for array in (*shared, *(one for pair in pairs for one in pair)):
            if array.dtype != dtype or array.shape[0] != rows:
                raise InputError(
                    f"Arrays have {array.shape[0]} rows of {array.dtype} where {rows} of {dtype} are wanted."
                )
        if any(one.shape != other.shape for one, other in pairs):
            raise InputError("Arrays that are to be compared have different shapes.")
        for start in range(0, len(pairs), PARTS):
            own = list(pairs[start : start + PARTS])
            sizes = [one.shape[1] for one, _ in own] + [0] * (PARTS - len(own))
            own += own[:1] * (PARTS - len(own))
            extras = (*shared, *(one for one, _ in own), *(other for _, other in own))
            call = KernelCall(verb, (), (), None, extras, (*numbers, *map(float, sizes)), rows, sizes)
            found += self._run(call)[: len(pairs) - start]
        return found

    @abstractmethod
    def state(self, slopes: Array) -> SlopeState:
        """Slopes, copied, as they are before Adam's first step."""

    @abstractmethod
    def _run(self, call: KernelCall) -> list[Any]:
        """Results of a verb: matrices, then sums."""

    @abstractmethod
    def _address(self, array: Any) -> int:
        """A number that arrays have in common only where they share memory."""

    @abstractmethod
    def _contiguous(self, array: Any) -> Any:
        """The array, or a contiguous copy that can be written."""


def _check_entries(x: Array, entries: EntryPlaces, like: Array, rows: int | None = None) -> None:
    """Refuse rows of entries that are others than a kernel looks for, or whose dtype is another."""
    wanted = (x.shape[0] if rows is None else rows, entries.width)
    if tuple(x.shape) != wanted or x.dtype != like.dtype or entries.places.shape[1] != like.shape[-1]:
        raise InputError(
            f"Rows of entries have shape {tuple(x.shape)} and dtype {x.dtype} where {wanted} and {like.dtype} are "
            f"expected, or {entries.places.shape[1]} numbers are made of them where {like.shape[-1]} are."
        )


def fit(
    inputs: Sequence[Array], bounds: Sequence[Array], box: Array | None, rows: int | None = None
) -> tuple[int, int, int]:
    """rows, n and B of a kernel's arrays.

    Raises: InputError where shapes or dtypes differ.
    """
    shape = inputs[0].shape if rows is None else (rows, *bounds[0].shape[1:])
    dtype = (*inputs, *bounds)[0].dtype
    held = bounds[0].shape if bounds else (1, shape[-1])
    for expected, arrays in ((shape, inputs), (held, bounds)):
        for array in arrays:
            if array.shape != expected or array.dtype != dtype:
                raise InputError(
                    f"An array has shape {tuple(array.shape)} and dtype {array.dtype} where {tuple(expected)} and "
                    f"{dtype} are expected; all arrays [rows, n] must be alike, and so must all bounds [B, n]."
                )
    if len(shape) != 2 or len(held) != 2 or held[1] != shape[1]:
        raise InputError(f"Rows of shape {tuple(shape)} and bounds of shape {tuple(held)} are no [rows, n] and [B, n].")
    if held[0] != 1 and (box is None or box.shape != shape[:1]):
        raise InputError(f"{held[0]} rows of bounds need a box that gives one of them to each of {shape[0]} rows.")
    return shape[0], shape[1], held[0]
