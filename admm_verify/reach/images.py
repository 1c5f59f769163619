"""The image of an input set under a network: certified support functions beside what samples attain."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, quiet_overflow
from admm_verify.errors import InputError
from admm_verify.memory import memory_errors
from admm_verify.network.builder import Builder
from admm_verify.network.graph import Network, check_network
from admm_verify.network.splice import splice
from admm_verify.options import instance
from admm_verify.reach.chart import Chart
from admm_verify.reach.directions import MOST_DIRECTIONS
from admm_verify.reach.discrete.cells import CellBounder
from admm_verify.reach.inputs import array, input_set
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.starts import scattered, starts_of
from admm_verify.reprs import short_repr
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet


@dataclass(frozen=True, eq=False, repr=False)
class SetImage:
    """For every direction d, inner <= max d'f(x) over the input set <= max upper.

    upper is certified, over the part of the set in each of the cells that it was cut into; inner is attained by a
    sample, up to rounding. points, values: samples x of the set and f(x).
    Shapes: directions [d, outputs]; upper [cells, d]; inner [d]; points [samples, n]; values [samples, outputs].
    """

    inputs: WalkableSet
    directions: np.ndarray
    upper: np.ndarray
    inner: np.ndarray
    points: np.ndarray
    values: np.ndarray

    __repr__ = short_repr

    @property
    def support(self) -> np.ndarray:
        """Certified upper bounds over the whole set, [d]."""
        return self.upper.max(axis=0)


@memory_errors()
def set_image(
    network: Network,
    inputs: WalkableSet,
    directions: Array,
    *,
    settings: ReachSettings | None = None,
    run: Run | None = None,
) -> SetImage:
    """Certified bounds of d'f(x) over an input set, for every direction d.

    Of the settings, the method of the pre-activation bounds, the iterations of the final ones, the grid of cells and
    the count of samples matter.
    Shapes: inputs [n], the flat inputs of the network; directions [d, outputs].
    Raises: InputError for what is no network, a set or directions that do not fit it, and a setting that has no meaning
    here; Stopped where the run ends first.
    Error: rounded outward; the network is meant in real numbers.
    """
    check_network(instance(network, Network, "The network"))
    settings = ReachSettings() if settings is None else instance(settings, ReachSettings, "The settings of an image")
    if settings.window is not None or settings.tolerance is not None:
        raise InputError("An image has no window of steps, and its cells are not halved; leave out both settings.")
    own = input_set(inputs, network.input_size, "input set")
    rows = array(directions, (None, network.output_size), "directions")
    if not len(rows) or len(rows) > MOST_DIRECTIONS:
        raise InputError(f"There are {len(rows)} directions; give from 1 to {MOST_DIRECTIONS}.")
    starts = starts_of(own, None, Box.point(np.zeros(0)))
    points = scattered(own, settings.samples, np.random.default_rng(0))
    with quiet_overflow():
        values = np.asarray(network(points.reshape(-1, *network.input_shape))).reshape(len(points), -1)
        bounder = CellBounder(_of_numbers(network, starts.first), rows, settings, Run.of(run), starts.part)
        inner = (values @ rows.T).max(axis=0)
        found = bounder.cells(starts.grid(settings.grid), inner, np.ones_like(inner))
    return SetImage(own, rows, found.bound, inner, points, values)


def _of_numbers(network: Network, chart: Chart) -> Network:
    """The network as one of the numbers that give its flat input."""
    if chart.is_plain:
        return network
    builder = Builder((chart.numbers,), "float64")
    return builder.finish(splice(builder, network, chart.applied(builder, builder.input)), "image")
