"""Calls of verbs by name, with arguments that tests can change one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement
from admm_verify.backends.verbs import Adam, EntryPlaces, KinkBounds, KinkPaces, SlopeState, Verbs

ARGUMENTS = {
    "descend": ("a", "slopes", "chord", "intercept"),
    "climb": ("a", "pre", "chord", "intercept", "minimum", "maximum", "slopes", "mean", "square"),
    "slide": ("a", "pre", "stood", "chord", "intercept", "minimum", "maximum", "pace"),
    "vertex": ("coefficient", "lower", "upper"),
    "support": ("post", "pre", "lower", "upper", "weight"),
    "charge": ("post", "pre", "intercept", "weight"),
    "least": ("coefficient", "centre", "radius", "reach"),
    "between": ("pre", "share", "lower", "upper", "slack"),
    "average": ("averaged", "a"),
    "blend": ("averaged", "x"),
    "project_triangle": ("lower", "upper", "pre", "post"),
    "halpern": ("u", "r", "z", "anchor", "weight", "since"),
    "gather": ("x", "weight", "shift"),
    "reflect": ("z", "source", "sign", "gain"),
    "turn": ("along", "across", "near", "far", "back"),
}
RESULTS = {
    "descend": ("g", "value"),
    "climb": ("post",),
    "slide": ("post", "moved"),
    "vertex": ("x", "value"),
    "support": ("value", "size"),
    "charge": ("value", "size"),
    "least": ("value", "size"),
    "between": ("post", "outside"),
    "average": ("moved",),
    "blend": ("moved",),
    "project_triangle": ("p", "q"),
    "halpern": ("moved", "square"),
    "gather": ("found",),
    "reflect": ("found",),
    "turn": ("down", "up"),
}
BOUNDS = (
    *("chord", "intercept", "minimum", "maximum", "lower", "upper"),
    *("pace", "weight", "centre", "radius", "reach", "slack"),
    *("shift", "sign", "gain", "near", "far", "back"),
)
STATE = ("slopes", "mean", "square")
WEIGHT, RATE = 0.3, 0.4
ADAM = Adam(momentum=0.5, memory=0.9, first=1.0 - 0.5**3, second=1.0 - 0.9**3, rate=0.1)


@dataclass(frozen=True, eq=False)
class Call:
    """A verb and its arrays by name."""

    verb: str
    arrays: dict[str, Array]
    box: Array

    def mapped(self, change: Callable[[np.ndarray], Any]) -> "Call":
        return Call(self.verb, {name: change(array) for name, array in self.arrays.items()}, change(self.box))

    def copy(self) -> "Call":
        return self.mapped(np.copy)


def samples(verb: str, dtype: Any, rows: int = 3, n: int = 37, *, shared: bool = False) -> Call:
    """Ordinary numbers for a verb: two rows of bounds, or one."""
    rng = np.random.default_rng(5)
    boxes = 1 if shared else 2
    arrays = {}
    for name in ARGUMENTS[verb]:
        shape = (rows,) if name == "since" else (boxes if name in BOUNDS else rows, n)
        arrays[name] = rng.standard_normal(shape).astype(dtype)
        if name in ("slopes", "square", "since", "chord"):
            arrays[name] = np.abs(arrays[name])
    for low, high in (("lower", "upper"), ("minimum", "maximum")):
        if low in arrays:
            ends = np.sort([arrays[low], arrays[high]], axis=0)
            arrays[low], arrays[high] = ends[0].copy(), ends[1].copy()
    return Call(verb, arrays, rng.integers(0, boxes, rows))


def call(verbs: Verbs, some: Call) -> tuple[Array, ...]:
    """The verb's results; `climb` changes its state in place."""
    arrays = [some.arrays[name] for name in ARGUMENTS[some.verb]]
    verb = getattr(verbs, some.verb)
    if some.verb == "climb":
        return (verb(*arrays[:2], KinkBounds(*arrays[2:6]), some.box, SlopeState(*arrays[6:]), ADAM),)
    if some.verb == "slide":
        return verb(*arrays[:3], KinkPaces(*arrays[3:]), some.box, RATE)
    if some.verb in ("average", "blend"):
        return (verb(*arrays, WEIGHT),)
    if some.verb in ("gather", "reflect"):
        return (verb(*arrays, entries(some), some.box),)
    return verb(*arrays, some.box)


def entries(some: Call) -> EntryPlaces:
    """For every number the entry opposite and, for sums, its neighbour; none for a few numbers."""
    n = max(array.shape[-1] for array in some.arrays.values())
    opposite = np.arange(n)[::-1]
    places = np.stack(
        [np.where(opposite % 5 == 3, n, opposite), np.where(opposite % 5 > 1, n, opposite - opposite % 5)]
    )
    return EntryPlaces.of(
        places[: 2 if some.verb == "gather" else 1], n, Placement.of(next(iter(some.arrays.values())))
    )


def results(verbs: Verbs, some: Call) -> dict[str, Array]:
    """The verb's results and what it has overwritten, by name."""
    found = dict(zip(RESULTS[some.verb], call(verbs, some), strict=True))
    return found | {name: some.arrays[name] for name in STATE if some.verb == "climb"}
