"""Bounds of the neurons that are open in each box, packed: CROWN's, or tightened by a few steps of slope ascent."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from admm_verify.arrays import Array, Bool, Float, Int, Placement
from admm_verify.bounds.functionals import neurons
from admm_verify.bounds.linear import crown
from admm_verify.bounds.receptive import Field
from admm_verify.bounds.region import Region
from admm_verify.bounds.relaxed import Relaxed, single_below
from admm_verify.memory import Budget, memory_errors
from admm_verify.network.graph import Network
from admm_verify.run import Stopped
from admm_verify.sets.contract import InputSet
from admm_verify.settings import TightenSettings

Mask = Bool[np.ndarray, "boxes n"]
"""Some neurons of a node, in each box."""

Ends = Float[Array, "boxes n"]
"""A bound for every neuron of a node, in each box."""


class View(ABC):
    """How the neurons of an affine node are looked at: a table of frames and the neurons of each, cut out on demand."""

    @property
    @abstractmethod
    def numbers(self) -> int:
        """Numbers of one row over all nodes."""

    @cached_property
    def single(self) -> Network | None:
        """The network of all regions in float32 below their last node, where they share it."""
        return None

    @abstractmethod
    def table(self, wanted: np.ndarray) -> np.ndarray:
        """What is wanted, [boxes, n], as [frames, neurons]."""

    @abstractmethod
    def places(self, frames: np.ndarray, neurons: np.ndarray) -> np.ndarray:
        """The flat indices in [boxes, n] of neurons [f, m] of frames [f]."""

    @abstractmethod
    def region(self, frames: np.ndarray) -> Region:
        """The region of some frames, leading axes [f, 1]; its last node holds their neurons."""


@dataclass(frozen=True, eq=False)
class WholeLayers(View):
    """Whole nodes: every input set is a frame."""

    everything: Region

    @property
    def numbers(self) -> int:
        return sum(node.size for node in self.everything.network.nodes) + self.everything.inputs.burden

    @cached_property
    def single(self) -> Network:
        return single_below(self.everything)

    def table(self, wanted: np.ndarray) -> np.ndarray:
        return wanted

    def places(self, frames: np.ndarray, neurons: np.ndarray) -> np.ndarray:
        return frames[:, None] * self.everything.network.output_size + neurons

    def region(self, frames: np.ndarray) -> Region:
        return self.everything.take(self.everything.inputs.placement.put_indices(frames))


@dataclass(frozen=True, eq=False)
class Crops(View):
    """Receptive fields: every position of every box is a frame, whose neurons are its channels."""

    field: Field
    inputs: InputSet
    known: dict[int, tuple[Array, Array]]

    @property
    def numbers(self) -> int:
        return sum(window.entries for window in self.field.windows.values())

    def table(self, wanted: np.ndarray) -> np.ndarray:
        channels = wanted.reshape(len(wanted), -1, self.field.positions)
        return channels.transpose(0, 2, 1).reshape(-1, channels.shape[1])

    def places(self, frames: np.ndarray, neurons: np.ndarray) -> np.ndarray:
        box, position = np.divmod(frames[:, None], self.field.positions)
        return (box * self.field.channels + neurons) * self.field.positions + position

    def region(self, frames: np.ndarray) -> Region:
        box, position = np.divmod(frames, self.field.positions)
        return self.field.region(box, position, self.inputs, self.known)


@dataclass(frozen=True, eq=False)
class Steps:
    """The slopes behind tightened bounds of some neurons of a node, from which anybody can bound them again.

    chosen[k]: where they were chosen; elsewhere they follow from the bounds.
    slopes[k]: of every activation below, for the lower bounds, then for the upper ones, as lower bounds of the
    negatives.
    """

    frames: Int[np.ndarray, " f"]
    neurons: Int[np.ndarray, "f m"]
    slopes: list[Float[Array, "f both _"]]
    chosen: list[Bool[Array, "f 1 _"]]


def tighten(
    view: View,
    wanted: Mask,
    ends: tuple[Ends, Ends],
    settings: TightenSettings,
    budget: Budget,
    keep: Callable[[Steps], None] | None = None,
) -> tuple[Ends, Ends]:
    """Bounds of a node, cut with tightened bounds of the wanted neurons; once stopped, of those done so far.

    keep: told the slopes of every block.
    Reference: alpha-CROWN with optimised intermediate bounds (Xu et al., ICLR 2021).
    """
    limit = budget.climbing(settings.block_numbers, view.numbers) // 2
    single = view.single

    def bound(frames: np.ndarray, wanted: np.ndarray) -> tuple[Array, Array]:
        region, count = view.region(frames), wanted.shape[1]
        relaxed = Relaxed(region, single_below(region) if single is None else single)
        both = neurons(relaxed.region, wanted).both_sides()
        iterations = settings.shallow if len(relaxed.lines) == 1 else settings.iterations
        if any(node.operands > 1 for node in relaxed.region.network.functions):
            iterations = max(iterations, settings.products)
        found = relaxed.bounded(both, None, settings.ascent, iterations, budget.run)
        if keep is not None:
            keep(Steps(frames, wanted, found.slopes, [line.maximum > line.minimum for line in relaxed.lines]))
        return found.lower[:, :count], -found.lower[:, count:]

    done: list[_Found] = []
    # What is done when the work is stopped counts.
    with suppress(Stopped):
        _packed(view, wanted, limit, budget, bound, done)
    return _cut(ends, done, wanted)


def packed_crown(
    view: View, wanted: Mask, ends: tuple[Ends, Ends], budget: Budget, looks: bool = False
) -> tuple[Ends, Ends]:
    """Bounds of a node, cut with CROWN's bounds of the neurons wanted in each box, and of no others, as `crown`.

    Raises: Stopped.
    """
    limit = int(min(budget.near(_CROWN_NUMBERS) // view.numbers, budget.block(view.numbers)))
    done: list[_Found] = []

    def bound(frames: np.ndarray, neurons: np.ndarray) -> tuple[Array, Array]:
        return crown(Relaxed(view.region(frames)), neurons, looks)

    _packed(view, wanted, limit, budget, bound, done)
    return _cut(ends, done, wanted)


_CROWN_NUMBERS = 2**20
"""Numbers of a block of rows over all layers, of which a sweep touches one layer at a time."""

_Found = tuple[np.ndarray, Array, Array]
"""Flat places in [boxes, n] and both bounds there."""

_Bound = Callable[[np.ndarray, np.ndarray], tuple[Array, Array]]
"""bound(frames, neurons) -> both bounds of neurons [f, m] of frames [f]."""


def _packed(
    view: View,
    wanted: np.ndarray,
    limit: int,
    budget: Budget,
    bound: _Bound,
    done: list[_Found],
) -> None:
    """Append the bounds of the wanted neurons, block by block of at most `limit` rows."""
    if budget.workers > 1:
        limit = min(limit, -(-int(wanted.sum()) // budget.workers))
    tasks = list(_blocks(view.table(wanted), max(1, limit)))

    def work(first: int, last: int) -> None:
        for frames, chosen in tasks[first:last]:
            _append(view, bound, done, frames, chosen)

    budget.blocks(len(tasks), 1, work)


def _append(view: View, bound: _Bound, done: list[_Found], frames: np.ndarray, neurons: np.ndarray) -> None:
    """Append the bounds of some neurons [f, m] of frames [f], in halves where their memory cannot be had.

    Raises: MemoryError where one neuron's cannot.
    """
    try:
        with memory_errors():
            found = bound(frames, neurons)
    except MemoryError:
        if neurons.size == 1:
            raise
    else:
        # One entry at once: other threads append too.
        done.append((view.places(frames, neurons), *found))
        return
    axis = 0 if len(frames) > 1 else 1
    halves = np.array_split(neurons, 2, axis=axis)
    for some, part in zip(np.array_split(frames, 2) if axis == 0 else (frames, frames), halves, strict=True):
        _append(view, bound, done, some, part)


def _cut(ends: tuple[Array, Array], done: list[_Found], wanted: np.ndarray) -> tuple[Array, Array]:
    """Both ends [boxes, n] cut with bounds of the wanted entries among those given by their flat places.

    What fills blocks up depends on their sizes, and must not count.
    """
    placement, shape = Placement.of(ends[0]), ends[0].shape
    xp, size = placement.xp, prod(shape)
    place = np.concatenate([np.zeros(0, dtype=np.int64), *(places.reshape(-1) for places, _, _ in done)])
    spread = np.full(size, len(place), dtype=np.int64)
    spread[place] = np.arange(len(place))
    pick = placement.put_indices(np.where(wanted.reshape(-1), spread, len(place)))
    infinity = xp.full((1,), float("inf"), dtype=placement.dtype, device=placement.device)

    def everywhere(found: list[Array], filler: Array) -> Array:
        joined = xp.concat([*(xp.reshape(part, (-1,)) for part in found), filler], axis=0)
        return xp.reshape(xp.take(joined, pick, axis=0), shape)

    low = everywhere([low for _, low, _ in done], -infinity)
    high = everywhere([high for _, _, high in done], infinity)
    return xp.maximum(ends[0], low), xp.minimum(ends[1], high)


def _blocks(table: np.ndarray, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames [f] with as many neurons [f, m] each, at most `limit` in all, that cover a mask.

    Frames with alike counts go together; the shorter ones are filled up with neurons that nobody asked for.

    Shapes: table [frames, neurons].
    """
    counts = table.sum(axis=1)
    order = np.argsort(-counts, kind="stable")
    order = order[: np.count_nonzero(counts)]
    first = 0
    while first < len(order):
        most = int(counts[order[first]])
        frames = order[first : first + max(1, limit // most)]
        neurons = np.argsort(~table[frames], axis=1, kind="stable")[:, :most]
        # Several frames fit as they are; one alone may be too large.
        count = -(-most // limit) if len(frames) == 1 else 1
        for part in np.array_split(neurons, count, axis=1):
            yield frames, part
        first += len(frames)
