"""Many functionals of one network over many parts of its input box: certified bounds, and where to halve."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.backends.placement import iteration_placement
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.complete.branching import side_scores
from admm_verify.complete.tables import join
from admm_verify.network.graph import Network
from admm_verify.reach.settings import ReachSettings
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.settings import AscentSettings, SearchSettings


@dataclass(frozen=True, eq=False)
class Cells:
    """Boxes with certified upper bounds of all functionals over each.

    points: where the linear bounds are attained, candidates for large values. side: the input whose halving promises
    most for the functionals that are wanted. Shapes: inputs [cells, n]; bound [cells, rows]; points [cells, rows, n];
    side [cells].
    """

    inputs: Box
    bound: np.ndarray
    points: np.ndarray
    side: np.ndarray

    def __len__(self) -> int:
        return len(self.bound)

    def at_most(self, known: np.ndarray) -> "Cells":
        """The same cells with bounds that are never above known ones, [cells, rows]."""
        return replace(self, bound=np.minimum(self.bound, known))


class CellBounder:
    """Upper bounds of rows C f(x) over parts of a set that lie in boxes."""

    def __init__(
        self,
        network: Network,
        rows: np.ndarray,
        settings: ReachSettings,
        run: Run,
        part: Callable[[Box], WalkableSet] | None = None,
    ) -> None:
        """settings: method, tighten and iterations count. part: of the set in each of some boxes, None for all of it.

        Shapes: rows [rows, outputs].
        """
        self.part = part
        work = float(max(len(rows), *(node.size for node in network.nodes))) * network.weight_count
        home = iteration_placement(Placement.numpy(), run.device, "float64", work, run.left)
        self.bounder = Bounder(network, home, AscentSettings(), run)
        self.network, self.rows, self.settings = self.bounder.network, rows, settings

    def cells(self, inputs: Box, inner: np.ndarray, scale: np.ndarray) -> Cells:
        """The bounds over cells [cells, inputs], given values that the rows attain and the units of their gaps, [rows].

        Raises: Stopped; MemoryError when not even one box fits.
        """
        network, how = self.network, self.settings
        sets = (inputs if self.part is None else self.part(inputs)).put(self.bounder.home)
        pre = derived_bounds(network, sets, how.method, self.bounder.run, settings=how.tighten)

        work = partial(self._block, inputs, sets, pre, inner, scale)
        return join(self.bounder.in_blocks(inputs.count, len(self.rows), SearchSettings(), work))

    def _block(
        self,
        cells: Box,
        sets: WalkableSet,
        bounds: PreactivationBounds,
        inner: np.ndarray,
        scale: np.ndarray,
        first: int,
        last: int,
    ) -> Cells:
        inputs = cells.at(slice(first, last))
        ends = [tuple(end[first:last, :] for end in side) for side in (bounds.lower, bounds.upper)]
        pre = PreactivationBounds(*ends)
        region = spread_region(self.network, sets.part(first, last), pre.lower, pre.upper)
        shape = (inputs.count, *self.rows.shape)
        put = self.bounder.home.put
        rows = self.bounder.rows(put(np.broadcast_to(-self.rows, shape)), put(np.zeros(shape[:2])))
        with quiet_overflow():
            found = self.bounder.bound(region, rows, None, self.settings.iterations)
            bound = -to_numpy(found.lower)
            gap = np.maximum(bound - inner, 0.0) / scale
            # The scores weigh rows by the inverse square of these numbers.
            width, atoms = to_numpy(inputs.width), -1.0 / np.maximum(gap, 1e-9)
            score = to_numpy(side_scores(self.network, width, pre, found, atoms))
        score = np.where(inputs.halvable, score, -1.0)
        side = np.where(score.max(axis=1) >= 0, score.argmax(axis=1), -1)
        return Cells(inputs, bound, to_numpy(found.vertices), side)
