"""Pre-activation bounds [l, u] of every activation: interval, CROWN or tightened, batched over input sets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, own_copy, quiet_overflow, to_numpy
from admm_verify.backends.device import budget_at, full_precision
from admm_verify.backends.placement import iteration_placements
from admm_verify.backends.several import Devices
from admm_verify.bounds.bands import Bands, reads_input
from admm_verify.bounds.domains import check_domains
from admm_verify.bounds.influence import influence
from admm_verify.bounds.interval import Forward, cut, wide
from admm_verify.bounds.linear import linear_bounds
from admm_verify.bounds.ranges import Origin, PreactivationBounds
from admm_verify.bounds.receptive import receptive_field
from admm_verify.bounds.tighten import Crops, Steps, WholeLayers, packed_crown, tighten
from admm_verify.bounds.work import bounding_work
from admm_verify.errors import InputError
from admm_verify.memory import Budget, keep_freed_memory, memory_errors, once_more
from admm_verify.network.graph import Affine, Network, check_network
from admm_verify.network.layout import flatten_batch
from admm_verify.network.placed import moved
from admm_verify.options import choice, instance, shown
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.registry import open_to
from admm_verify.run import Run, Stopped
from admm_verify.sets.contract import InputSet, WalkableSet
from admm_verify.settings import TightenSettings
from admm_verify.threads import threads_for, workers_for

METHODS = ("interval", "forward", "crown", "tightened")

_PACKED_SHARE = 0.7
"""Where fewer of a node's rows are open, each box gets rows of its own, which costs a little more a row."""

_PROBES = 16
"""Neurons of a layer that tell whether sweeps for all of them are worth their time."""

_PROBED = 6
"""Times as many are to be open for that."""

_NEARLY = 0.8
"""Share of the bands' widths that sweeps have to leave for bands to do."""


@dataclass(frozen=True, eq=False)
class Derivation:
    """How tightened bounds of some neurons of affine node `node` come about.

    kept[k]: the neurons of activation k that the slopes are of, None for all of them; for the activations below.
    """

    node: int
    kept: tuple[np.ndarray | None, ...]
    steps: Steps


@memory_errors()
def preactivation_bounds(
    network: Network,
    inputs: WalkableSet,
    method: str = "crown",
    *,
    known: PreactivationBounds | None = None,
    settings: TightenSettings | None = None,
    run: Run | None = None,
) -> PreactivationBounds:
    """Certified bounds l <= pre <= u of every activation's input over the input set.

    "interval": forward interval arithmetic, from the set's own minima where a layer reads the input alone. "forward":
    bands around affine functions of the inputs as well, where inputs are few and layers wide. "crown": backward linear
    bounds over the layers below, intersected with the forward ones; a ReLU that those alone prove stable is exact
    already and keeps them. "tightened": CROWN over the tightened layers below, then a few steps of slope ascent for
    both sides of every neuron still open. Each is at least as tight as the one before it over the same layers below.

    known: bounds that hold already, which are never made looser; they are believed, as `PreactivationBounds` says.
    run: once it is over no bound is tightened any more and the remaining layers keep their interval bounds; it is told
    of every layer. Bounds live where the set does, and are computed on the run's device, by default there: for tensors
    on the host by NumPy, unless the run names the device "cpu". Blocks of sets go round several devices.
    Shapes: inputs of numbers [*input_shape] or [rows, *input_shape]; one bound for each set.
    Raises: InputError for an unknown method, inputs or known bounds that do not fit the network, known bounds that were
    made for a set that does not hold this one, or that contradict interval arithmetic, and where a function such as log
    may be undefined in every set; DeviceError where the device is missing.
    Error: rounded outward, in float64.
    Reference: Gowal et al., arXiv 1810.12715 (interval); Singh et al., NeurIPS 2018 (forward, parallel lines); Zhang et
    al., NeurIPS 2018 (CROWN); Xu et al., ICLR 2021 (optimised slopes).
    """
    begun, inputs = Run.of(run), once_more(partial(input_rows, network, inputs))
    home, count = inputs.placement.double, inputs.lead[0]
    places = iteration_placements(home, begun.device, "float64", bounding_work(network, method, inputs), begun.left)
    how = begun.unless((devices := Devices.of(places, begun.endless())).given_up)
    there = cache(lambda at: inputs if at == home else inputs.put(at))
    checked = cache(lambda at: None if known is None else fitting(known, network, there(at)))

    def bounded(place: Placement, first: int, last: int) -> PreactivationBounds:
        own, part, given = slice(first, last), there(place), known
        if last - first < count:
            part, all_given = part.at(own), checked(place)
            if all_given is not None:
                _check_rows(all_given, count)
                given = PreactivationBounds(*_parts(all_given, own), origin=Origin(network, part, all_given.implied))
        found = derived_bounds(network, part, method, how, known=given, settings=settings, abandon=False, looks=True)
        return found.put(devices.home, found.origin)

    # All at once while that fits; each block still ends with what it has once the run is over.
    parts = devices.blocks(count, count, bounded)
    made = Origin(network, inputs, all(part.implied for part in parts))
    found = parts[0] if len(parts) == 1 else PreactivationBounds.joined(parts, made)
    # What cannot be cut into blocks is tried again.
    once_more(lambda: check_domains(network.put(devices.home.double), found))
    return found.put(home, made)


def derived_bounds(
    network: Network,
    inputs: WalkableSet,
    method: str,
    run: Run,
    *,
    known: PreactivationBounds | None = None,
    settings: TightenSettings | None = None,
    keep: Callable[[Derivation], None] | None = None,
    abandon: bool = True,
    plain: bool = False,
    looks: bool = False,
    objective: np.ndarray | None = None,
) -> PreactivationBounds:
    """`preactivation_bounds` of all layers or of none: with `abandon`, Stopped is raised once the run is over.

    inputs: rows, as `input_rows` makes them; parts of sets among them may be empty, and have any bounds then.
    keep: told how tightened bounds are derived, block by block; they are then derived on whole layers.
    plain: without bands and for all neurons, as the checker of certificates derives bounds. objective: rows [..., n] of
    the outputs that matter; neurons that these do not depend on keep their forward bounds. looks: with a second look at
    the planes of functions of several operands, which searches do better without: subproblems become fewer, but not by
    what it takes.
    """
    choice(method, "The bound method", METHODS)
    chosen = TightenSettings() if settings is None else instance(settings, TightenSettings, "settings")
    placement = inputs.placement.double
    placed = moved(network, placement)
    work = bounding_work(network, method, inputs)
    workers = workers_for(work, run.threads) if placement.is_numpy else 1
    budget = budget_at(placement, run, workers)
    keep_freed_memory()
    with threads_for(work, workers, run.threads), full_precision(placement), quiet_overflow():
        given = None if known is None else fitting(known, network, inputs)
        if given is not None:
            _check_rows(given, inputs.lead[0])
        first_only = method in ("interval", "forward")
        refine = _Refinement(budget, first_only, chosen if method == "tightened" else None, keep, looks)
        banded = method != "interval" and not plain and keep is None
        if objective is not None and not plain and not first_only:
            wanted = np.any(objective.reshape(-1, objective.shape[-1]) != 0, axis=0)
            refine.seen = None if wanted.all() else influence(network, wanted)
        bands = Bands.where_useful(placed, inputs, budget.bytes / workers) if banded else None

        def after(done: int) -> None:
            activations = len(network.activations)
            run.say(f"pre-activation bounds of {done} of {activations} layers", done, activations)

        needless = first_only and inputs.fills_range
        forward = Forward(placed, inputs, None if needless else refine, given, bands)
        forward.run(run.check if abandon else None, after)
    low, high = (tuple(side[i] for i in network.sources) for side in (forward.lower, forward.upper))
    return PreactivationBounds(low, high, origin=Origin(network, inputs, given is None or given.implied))


def input_rows(network: Network, inputs: WalkableSet) -> WalkableSet:
    """Sets of a network's inputs as sets of vectors [rows, n], copied.

    Raises: InputError for what is no network or no set of inputs, and for one that does not fit the network.
    """
    check_network(network)
    if not isinstance(inputs, WalkableSet):
        raise InputError(
            f"A set of inputs is wanted here, and {shown(inputs)} was given; make one: av.Box(lower, upper), "
            "av.Ball(center, radius), av.Polytope(normals, limits), av.Ellipsoid(center, shape), "
            "av.Zonotope(center, generators), av.Product(..) or av.Sparse(center, count, radius)."
        )
    what = f"the input of {network.name}"
    flat = inputs.flattened(lambda part: flatten_batch(part, network.input_shape, what))
    return flat.mapped(own_copy)


def fitting(bounds: PreactivationBounds, network: Network, inputs: InputSet) -> PreactivationBounds:
    """Bounds that were handed in for input sets [rows, n], checked as far as they can be.

    Raises: InputError as `PreactivationBounds.checked`, for bounds made for sets that do not hold these, and for
    bounds that exclude every value that interval arithmetic allows.
    """
    placement = inputs.placement
    found = instance(bounds, PreactivationBounds, "preactivation").checked(network, placement)
    if inputs.lead[0] > 1:
        _check_rows(found, inputs.lead[0])
    if found.origin is not None and not found.origin.covers(inputs):
        raise InputError(
            "The pre-activation bounds were made for a set that does not hold this one, where they may be wrong. Make "
            "them for this set, or for one that holds it."
        )
    # Wherever they come from, their numbers may have been changed since.
    placed, rows = network.put(placement), inputs.lead[0]
    budget = budget_at(placement, Run())
    step = max(1, budget.block(sum(node.size for node in network.nodes)))

    def compared(first: int, last: int) -> None:
        whole, own = last - first == rows, slice(first, last)
        known = found if whole else PreactivationBounds(*_parts(found, own))
        Forward(placed, inputs if whole else inputs.at(own), known=known).run()

    with quiet_overflow():
        budget.blocks(rows, step, compared)
    return found


def _parts(bounds: PreactivationBounds, rows: slice) -> tuple[tuple[Array, ...], ...]:
    """Both ends of some rows, of which those of an activation may have one row for all."""
    return tuple(
        tuple(end if end.shape[0] == 1 else end[rows, :] for end in ends) for ends in (bounds.lower, bounds.upper)
    )


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
        forward = Forward(network.put(inputs.placement), inputs, known=found).run()
    xp = inputs.placement.xp
    lows, highs = (
        tuple(xp.broadcast_to(end, (rows, end.shape[1])) for end in ends) for ends in (found.lower, found.upper)
    )
    infinity = xp.full_like(forward.lower[-1], float("inf"))
    low, high = (
        xp.where(xp.isnan(end), filler, end)
        for end, filler in ((forward.lower[-1], -infinity), (forward.upper[-1], infinity))
    )
    return PreactivationBounds(lows, highs, origin=Origin(network, inputs, found.implied)), (low, high)


def _check_rows(bounds: PreactivationBounds, boxes: int) -> None:
    for k, end in enumerate(bounds.lower):
        if end.shape[0] not in (1, boxes):
            raise InputError(
                f"The pre-activation bounds of activation {k} have {end.shape[0]} rows for a box of {boxes}; give one "
                "row, or one per box."
            )


class _Refinement:
    """Better intervals of the affine nodes that feed activations: CROWN's, and slope ascent for what those leave open.

    Those of nodes that read the input alone are exact: from the range where it is all of the set, else by the set's own
    minima, which is CROWN without any activation below. Once stopped, no interval is refined any more.
    """

    def __init__(
        self,
        budget: Budget,
        first_only: bool,
        settings: TightenSettings | None,
        keep: Callable[[Derivation], None] | None,
        looks: bool = False,
    ) -> None:
        """first_only: refine nothing but nodes that read the input alone. settings: of slope ascent, None for CROWN
        alone. looks: at planes of products and differences once more; before an ascent that gains nothing.
        """
        self.budget, self.first_only, self.settings, self.keep = budget, first_only, settings, keep
        self.looks = looks and settings is None
        self.stopped = False
        self.seen: list[np.ndarray] | None = None

    def __call__(self, forward: Forward, index: int, node: Affine, low: Array, high: Array) -> tuple[Array, Array]:
        if self.stopped or (forward.inputs.fills_range if reads_input(node) else self.first_only):
            return low, high
        with self.budget.run.watching():
            return self._better(forward, index, node, low, high)

    def _better(self, forward: Forward, index: int, node: Affine, low: Array, high: Array) -> tuple[Array, Array]:
        xp = namespace(low)
        # Intervals take all they can get, linear bounds nothing of neurons that are linear.
        open = xp.ones_like(low, dtype=xp.bool) if self.first_only else self._open(forward, index, low, high)
        chosen = self._promising(forward, index, node, (low, high), to_numpy(open))
        better = self._refined(forward, index, node, (low, high), chosen)
        # What else was bounded on the way depends on the other boxes of the batch, and must not count.
        low, high = (xp.where(open, new, old) for new, old in zip(better, (low, high), strict=True))
        if self.settings is None or self.stopped or reads_input(node):
            return low, high
        wanted = to_numpy(self._open(forward, index, low, high))
        if not wanted.any():
            return low, high
        try:
            return self._tightened(forward, index, node, (low, high), wanted, self.settings)
        except Stopped:
            self.stopped = True
            return low, high

    def _open(self, forward: Forward, index: int, low: Array, high: Array) -> Array:
        """Where sweeps can matter to the outputs that are asked for, and were not made elsewhere."""
        readers, place = forward.readers[index], Placement.of(low)
        operands = max((hull.operands for hull in readers if isinstance(hull, Hull)), default=1)
        open = open_to(readers, low, high) & wide(low, high, operands)
        if index in forward.repeated:
            open = open & place.put_flags(~forward.repeated[index])
        return open if self.seen is None else open & place.xp.asarray(self.seen[index], device=low.device)

    def _promising(
        self, forward: Forward, index: int, node: Affine, ends: tuple[Array, Array], open: np.ndarray
    ) -> np.ndarray:
        """The open neurons, or a few of them where sweeps for those say that bands are nearly as good in this layer."""
        wanted = np.flatnonzero(open.any(axis=0))
        if forward.bands is None or self.first_only or self.settings is not None or len(wanted) < _PROBED * _PROBES:
            return open
        few = np.zeros_like(open)
        probes = wanted[:: len(wanted) // _PROBES]
        few[:, probes] = open[:, probes]
        low, high = self._refined(forward, index, node, ends, few)
        share = to_numpy((high - low) / (ends[1] - ends[0]))[few]
        return few if self.stopped or share.mean() > _NEARLY else open

    def _refined(
        self, forward: Forward, index: int, node: Affine, ends: tuple[Array, Array], open: np.ndarray
    ) -> tuple[Array, Array]:
        """The intervals of an affine node cut with CROWN bounds where those can matter."""
        network, wanted = forward.network, np.flatnonzero(open.any(axis=0))
        if not len(wanted):
            return ends
        field = receptive_field(network, index)
        try:
            if field is None and np.count_nonzero(open) < _PACKED_SHARE * len(wanted) * len(open):
                return packed_crown(WholeLayers(forward.reduced.below(node)), open, ends, self.budget, self.looks)
            # A crop computes all channels of a position; products of whole planes cost some three times their count.
            if field is not None and field.cost(wanted) < 3 * len(wanted) * network.weight_count:
                tight = field.bounds(wanted, forward.inputs, _known(forward, index), self.budget)
            else:
                tight = linear_bounds(forward.reduced.below(node), wanted, self.budget, self.looks)
        except Stopped:
            self.stopped = True
            return ends
        xp = namespace(ends[0])
        infinity = xp.full_like(ends[0][:, :1], float("inf"))
        spread = np.full(node.size, len(wanted), dtype=np.int64)
        spread[wanted] = np.arange(len(wanted))
        pick = Placement.of(ends[0]).put_indices(spread)
        low, high = (
            xp.take(xp.concat([part, filler], axis=-1), pick, axis=-1)
            for part, filler in zip(tight, (-infinity, infinity), strict=True)
        )
        return cut(ends, (low, high))

    def _tightened(
        self,
        forward: Forward,
        index: int,
        node: Affine,
        ends: tuple[Array, Array],
        wanted: np.ndarray,
        settings: TightenSettings,
    ) -> tuple[Array, Array]:
        """The bounds of an affine node cut with slope ascent for the wanted neurons of every box."""
        network, keep = forward.network, self.keep
        field = receptive_field(network, index)
        if keep is None and field is not None and field.multiplications < 3 * network.weight_count:
            return tighten(Crops(field, forward.inputs, _known(forward, index)), wanted, ends, settings, self.budget)
        # Activations appended so far are those below, some without the neurons that are inactive everywhere.
        kept = tuple(forward.reduced.kept[i] for i in network.activations if i < index)

        def told(steps: Steps) -> None:
            if keep is not None:
                keep(Derivation(index, kept, steps))

        # Whoever keeps the slopes keeps those of all activations.
        below = forward.reduced.below(node) if keep is None else forward.reduced.region(node)
        return tighten(WholeLayers(below), wanted, ends, settings, self.budget, told)


def _known(forward: Forward, index: int) -> dict[int, tuple[Array, Array]]:
    """The intervals of the inputs of all activations below a node, by the activations' nodes."""
    below = [k for k, i in enumerate(forward.network.activations) if i < index]
    return {forward.network.activations[k]: forward.of_activation(k) for k in below}
