"""Pre-activation bounds [l, u] of every activation: interval, CROWN or tightened, batched over boxes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.bounds.interval import affine_interval
from admm_verify.bounds.linear import Reduced, linear_bounds
from admm_verify.bounds.ranges import Origin, PreactivationBounds
from admm_verify.bounds.receptive import receptive_field
from admm_verify.bounds.tighten import Crops, Steps, View, WholeLayers, packed_crown, tighten
from admm_verify.errors import InputError
from admm_verify.memory import Budget, keep_freed_memory
from admm_verify.network.graph import Affine, Network, check_network
from admm_verify.network.layout import flatten_batch
from admm_verify.options import callbacks, choice, instance, memory_bytes
from admm_verify.relaxations.registry import open_to, relaxation_of, relaxations_by_source
from admm_verify.run import Stopped
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet
from admm_verify.settings import TightenSettings
from admm_verify.threads import threads_for, workers_for

METHODS = ("interval", "crown", "tightened")

_PACKED_SHARE = 0.7
"""Where fewer of a node's rows are open, each box gets rows of its own, which costs a little more a row."""


@dataclass(frozen=True, eq=False)
class Derivation:
    """How tightened bounds of some neurons of affine node `node` come about.

    kept[k]: the neurons of activation k that the slopes are of, None for all of them; for the activations below.
    """

    node: int
    kept: tuple[np.ndarray | None, ...]
    steps: Steps


def preactivation_bounds(
    network: Network,
    box: Box,
    method: str = "crown",
    memory: float | None = None,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: TightenSettings | None = None,
    known: PreactivationBounds | None = None,
    keep: Callable[[Derivation], None] | None = None,
    abandon: bool = False,
) -> PreactivationBounds:
    """Certified bounds l <= pre <= u of every activation's input over the box.

    "interval": forward interval arithmetic. "crown": backward linear bounds over the layers below, intersected with
    the interval ones; a ReLU that the interval alone proves stable is exact already and keeps it. "tightened": CROWN
    over the tightened layers below, then a few steps of slope ascent for both sides of every neuron still open.
    Each is at least as tight as the one before it over the same layers below.

    memory: limit on the working memory in bytes, by default half of what is free. stop: asked between blocks of work;
    once it is true no bound is tightened any more and the remaining layers keep their interval bounds; with `abandon`
    it is asked before every layer, and Stopped is raised instead.
    progress(done, activations), called after each. known: bounds that hold already, which are never made looser; they
    are believed, as `PreactivationBounds` says. keep: told how tightened bounds are derived, block by block; they are
    then derived on whole layers.
    Shapes: box [*input_shape] or [rows, *input_shape]; one bound set per box.
    Raises: InputError for an unknown method, a box or known bounds that do not fit the network, known bounds that were
    made for a box that does not hold this one, or that contradict interval arithmetic; Stopped.
    Error: rounded outward, in float64.
    Reference: Gowal et al., arXiv 1810.12715 (interval); Zhang et al., NeurIPS 2018 (CROWN); Xu et al., ICLR 2021
    (optimised slopes).
    """
    choice(method, "The bound method", METHODS)
    callbacks(("stop", stop), ("progress", progress), ("keep", keep))
    memory_bytes(memory)
    chosen = TightenSettings() if settings is None else instance(settings, TightenSettings, "settings")
    inputs = input_rows(network, box)
    placement = inputs.placement.double
    placed = network.put(placement)
    widest = max(node.size for node in network.nodes)
    work = 0.0 if method == "interval" else inputs.lead[0] * widest * network.weight_count
    workers = workers_for(work) if placement.is_numpy else 1
    budget = Budget.of(memory, stop, workers)
    keep_freed_memory()
    with threads_for(work, workers), quiet_overflow():
        refined, tightened = method != "interval", method == "tightened"
        forward = _Forward(placed, inputs, budget if refined else None, chosen if tightened else None)
        forward.keep = keep
        if known is not None:
            given = fitting(known, network, inputs)
            _check_rows(given, inputs.lead[0])
            forward.know(given)
        forward.run(progress, stop if abandon else None)
    low, high = (tuple(side[i] for i in network.sources) for side in (forward.lower, forward.upper))
    return PreactivationBounds(low, high, origin=Origin(network, inputs))


def input_rows(network: Network, box: Box) -> Box:
    """Boxes of a network's inputs as boxes of vectors [rows, n], copied.

    Raises: InputError for what is no network or no box, and for a box that does not fit the network.
    """
    check_network(network)
    if not isinstance(box, Box):
        raise InputError(f"A Box is wanted here, and a {type(box).__name__} was given; make one: av.Box(lower, upper).")
    what = f"the input of {network.name}"
    flat = box.mapped(lambda end: flatten_batch(end, network.input_shape, what))
    return flat.mapped(lambda end: namespace(end).asarray(end, copy=True))


def fitting(bounds: PreactivationBounds, network: Network, inputs: InputSet) -> PreactivationBounds:
    """Bounds that were handed in for input sets [rows, n], checked as far as they can be.

    Raises: InputError as `PreactivationBounds.checked`, for bounds made for boxes that do not hold these, and for
    bounds that exclude every value that interval arithmetic allows.
    """
    placement = inputs.placement
    found = instance(bounds, PreactivationBounds, "preactivation").checked(network, placement)
    if inputs.lead[0] > 1:
        _check_rows(found, inputs.lead[0])
    if found.origin is not None and not found.origin.covers(inputs):
        raise InputError(
            "The pre-activation bounds were made for a box that does not hold this one, where they may be wrong. Make "
            "them for this box, or for one that holds it."
        )
    # Wherever they come from, their numbers may have been changed since.
    with quiet_overflow():
        forward = _Forward(network.put(placement), inputs, None, None)
        forward.know(found)
        forward.run(None, None)
    return found


def output_interval(
    network: Network, bounds: PreactivationBounds, inputs: InputSet
) -> tuple[PreactivationBounds, tuple[Array, Array]]:
    """Handed-in bounds, `fitting` input sets [rows, n], a row for each, and interval bounds of the output from them.

    Shapes: both ends [rows, outputs].
    Error: rounded outward; infinite where numbers overflow.
    """
    found, rows = fitting(bounds, network, inputs), inputs.lead[0]
    _check_rows(found, rows)
    with quiet_overflow():
        forward = _Forward(network.put(inputs.placement), inputs, None, None)
        forward.know(found)
        forward.run(None, None)
    xp = inputs.placement.xp
    lows, highs = (
        tuple(xp.broadcast_to(end, (rows, end.shape[1])) for end in ends) for ends in (found.lower, found.upper)
    )
    infinity = xp.full_like(forward.lower[-1], float("inf"))
    low, high = (
        xp.where(xp.isnan(end), filler, end)
        for end, filler in ((forward.lower[-1], -infinity), (forward.upper[-1], infinity))
    )
    return PreactivationBounds(lows, highs, origin=Origin(network, inputs)), (low, high)


def _check_rows(bounds: PreactivationBounds, boxes: int) -> None:
    for k, end in enumerate(bounds.lower):
        if end.shape[0] not in (1, boxes):
            raise InputError(
                f"The pre-activation bounds of activation {k} have {end.shape[0]} rows for a box of {boxes}; give one "
                "row, or one per box."
            )


class _Forward:
    """Bounds of all nodes in order; with a budget, CROWN refines the affine nodes that feed activations, and slope
    ascent what CROWN leaves open.
    """

    def __init__(
        self,
        network: Network,
        inputs: InputSet,
        budget: Budget | None,
        settings: TightenSettings | None,
    ) -> None:
        self.network, self.budget, self.settings = network, budget, settings
        low, high = inputs.range
        self.inputs, self.lower, self.upper = inputs, [low], [high]
        self.reduced = Reduced(network, inputs)
        self.known: dict[int, tuple[Array, Array]] = {}
        self.given: dict[int, tuple[Array, Array]] = {}
        self.keep: Callable[[Derivation], None] | None = None
        self.readers = relaxations_by_source(network)

    def know(self, bounds: PreactivationBounds) -> None:
        """Take over bounds of every activation's input that hold already."""
        for source, low, high in zip(self.network.sources, bounds.lower, bounds.upper, strict=True):
            self.given[source] = self._cut(self.given.get(source, (low, high)), (low, high))

    def _with_given(self, index: int, low: Array, high: Array) -> tuple[Array, Array]:
        """The interval of a node cut with what was given for it."""
        if index not in self.given:
            return low, high
        low, high = self._cut((low, high), self.given[index])
        if bool(namespace(low).any(low > high)):
            raise InputError(
                f"The pre-activation bounds given for node {index} exclude every value that interval arithmetic allows "
                "there. Give bounds that hold over this box."
            )
        return low, high

    def run(self, progress: Callable[[int, int], None] | None, stop: Callable[[], bool] | None) -> None:
        """All nodes from the input on. Raises: Stopped once `stop` says so, which is asked before every node."""
        self._with_given(0, self.lower[0], self.upper[0])
        for i, node, k in self.network.steps:
            if stop is not None and stop():
                raise Stopped
            if node is not None:
                low, high = affine_interval(self.network, node, self.lower, self.upper)
                low, high = self._with_given(i, low, high)
                # A node that reads the input alone is an exact affine image: nothing is left to refine.
                if self.budget is not None and i in self.readers and any(term.source != 0 for term in node.terms):
                    open = self._open(i, low, high)
                    better = self._refined(i, node, low, high, self.budget)
                    # What else was bounded on the way depends on the other boxes of the batch, and must not count.
                    low, high = (
                        namespace(low).where(open, new, old) for new, old in zip(better, (low, high), strict=True)
                    )
                    low, high = self._tightened(i, node, low, high)
                if self.budget is not None:
                    self.reduced.add_affine(node)
            else:
                function = self.network.functions[k]
                pair = self.lower[function.source], self.upper[function.source]
                self.known[i] = pair
                if self.budget is not None:
                    self.reduced.add_activation(k, *pair)
                low, high = self._with_given(i, *relaxation_of(function).image(*pair))
                if progress is not None:
                    progress(len(self.known), len(self.network.activations))
            self.lower.append(low)
            self.upper.append(high)

    def _refined(self, index: int, node: Affine, low: Array, high: Array, budget: Budget) -> tuple[Array, Array]:
        """The intervals of an affine node cut with CROWN bounds where those can matter."""
        xp = namespace(low)
        open = to_numpy(self._open(index, low, high))
        wanted = np.flatnonzero(open.any(axis=0))
        if not len(wanted):
            return low, high
        field = receptive_field(self.network, index)
        cost = len(wanted) * self.network.weight_count
        try:
            if field is None and np.count_nonzero(open) < _PACKED_SHARE * len(wanted) * len(open):
                return packed_crown(WholeLayers(self.reduced.region(node)), open, (low, high), budget)
            # A crop computes all channels of a position; products of whole planes cost some three times their count.
            if field is not None and field.cost(wanted) < 3 * cost:
                tight = field.bounds(wanted, self.inputs, self.known, budget)
            else:
                tight = linear_bounds(self.reduced.region(node), wanted, budget)
        except Stopped:
            self.budget = None
            return low, high
        infinity = xp.full_like(low[:, :1], float("inf"))
        spread = np.full(node.size, len(wanted), dtype=np.int64)
        spread[wanted] = np.arange(len(wanted))
        pick = Placement.of(low).put_indices(spread)
        tight_low, tight_high = (
            xp.take(xp.concat([part, filler], axis=-1), pick, axis=-1)
            for part, filler in zip(tight, (-infinity, infinity), strict=True)
        )
        return self._cut((low, high), (tight_low, tight_high))

    def _cut(self, first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        """The intersection of two intervals."""
        xp = namespace(self.lower[0])
        return xp.maximum(first[0], second[0]), xp.minimum(first[1], second[1])

    def _tightened(self, index: int, node: Affine, low: Array, high: Array) -> tuple[Array, Array]:
        """The bounds of an affine node cut with slope ascent for every neuron that is still open in its box."""
        wanted = to_numpy(self._open(index, low, high))
        if self.settings is None or self.budget is None or not wanted.any():
            return low, high
        field, keep = receptive_field(self.network, index), self.keep
        if keep is None and field is not None and field.multiplications < 3 * self.network.weight_count:
            view: View = Crops(field, self.inputs, self.known)
            return tighten(view, wanted, (low, high), self.settings, self.budget)
        # Activations appended so far are those below, some without the neurons that are inactive everywhere.
        below = [i for i in self.network.activations if i < len(self.reduced.kept)]
        kept = tuple(self.reduced.kept[i] for i in below)

        def told(steps: Steps) -> None:
            if keep is not None:
                keep(Derivation(index, kept, steps))

        return tighten(WholeLayers(self.reduced.region(node)), wanted, (low, high), self.settings, self.budget, told)

    def _open(self, index: int, low: Array, high: Array) -> Array:
        """Where better bounds of an affine node can matter, [boxes, n]."""
        return open_to(self.readers[index], low, high)
