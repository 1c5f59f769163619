"""Many functionals of one network over many parts of its input box: certified bounds, and where to halve."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.complete.branching import side_scores
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.settings import AscentSettings, SearchSettings, TightenSettings


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
    """Upper bounds of rows C f(x) over boxes."""

    def __init__(
        self,
        network: Network,
        rows: np.ndarray,
        method: str,
        iterations: int,
        tighten: TightenSettings,
        run: Run,
    ) -> None:
        """method, tighten: of the pre-activation bounds; iterations: of slope ascent. Shapes: rows [rows, outputs]."""
        self.settings, self.tighten = SearchSettings(), tighten
        self.bounder = Bounder(network, Placement.numpy(), AscentSettings(), run)
        self.network, self.rows, self.method, self.iterations = self.bounder.network, rows, method, iterations

    def cells(self, inputs: Box, inner: np.ndarray, scale: np.ndarray) -> Cells:
        """The bounds over boxes [cells, inputs], given values that the rows attain and the units of their gaps, [rows].

        Raises: Stopped; MemoryError when not even one box fits.
        """
        pre = derived_bounds(self.network, inputs, self.method, self.bounder.run, settings=self.tighten)

        def work(first: int, last: int) -> Cells:
            part = slice(first, last)
            ends = [tuple(to_numpy(end)[part] for end in side) for side in (pre.lower, pre.upper)]
            return self._block(inputs.at(part), PreactivationBounds(*ends), inner, scale)

        blocks = self.bounder.in_blocks(inputs.count, len(self.rows), self.settings, work)
        return joined(blocks)

    def _block(self, inputs: Box, pre: PreactivationBounds, inner: np.ndarray, scale: np.ndarray) -> Cells:
        region = spread_region(self.network, inputs, pre.lower, pre.upper)
        shape = (inputs.count, *self.rows.shape)
        rows = self.bounder.rows(np.broadcast_to(-self.rows, shape), np.zeros(shape[:2]))
        with quiet_overflow():
            found = self.bounder.bound(region, rows, None, self.iterations)
            bound = -to_numpy(found.lower)
            gap = np.maximum(bound - inner, 0.0) / scale
            # The scores weigh rows by the inverse square of these numbers.
            score = side_scores(self.network, inputs.width, pre, found, -1.0 / np.maximum(gap, 1e-9))
        score = np.where(inputs.halvable, score, -1.0)
        side = np.where(score.max(axis=1) >= 0, score.argmax(axis=1), -1)
        return Cells(inputs, bound, to_numpy(found.vertices), side)


def joined(parts: list[Cells]) -> Cells:
    """All cells as one."""
    return Cells(
        Box.joined([part.inputs for part in parts]),
        np.concatenate([part.bound for part in parts]),
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.side for part in parts]),
    )


def taken(cells: Cells, index: np.ndarray) -> Cells:
    """The given cells."""
    return Cells(cells.inputs.at(index), cells.bound[index], cells.points[index], cells.side[index])
