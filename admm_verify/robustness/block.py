"""Images that `certify` works on together, and what it keeps of them from stage to stage."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.bounds.ranges import Origin, PreactivationBounds
from admm_verify.robustness.findings import Findings
from admm_verify.robustness.instances import Instances
from admm_verify.sets.contract import WalkableSet

Derived = Callable[[WalkableSet, str], list[PreactivationBounds] | None]
"""derived(inputs, bounds): the bounds of some inputs, part by part; None when interrupted."""


@dataclass(frozen=True)
class Stage:
    """Bounds for all open instances of a block before any of them gets the next stage's; passes 0: no iterations."""

    bounds: str
    passes: int


class ImageBlock:
    """Images worked on together in one place; the bounds of pre-activations are kept as long as a stage asks for them.

    rows: certified lower bound of every row of an instance, -inf before there is one. hopeless: instances that no
    further passes over the present bounds can verify. Instances are named by their image's place in the block and the
    number of their radius.
    Shapes: images [n]; rows [n, radii, classes - 1]; hopeless [n, radii].
    """

    def __init__(self, instances: Instances, images: np.ndarray, home: Placement) -> None:
        self.images, self.home, self.stage, self._network = images, home, Stage("", 0), instances.network
        shape = len(images), len(instances.radii)
        self.rows = np.full((*shape, instances.network.output_size - 1), -np.inf)
        self.hopeless = np.zeros(shape, dtype=bool)
        self._tried = np.zeros(shape, dtype=bool)
        self._kept: PreactivationBounds | None = None
        self._row_of = np.full(shape, -1)

    def begin(self, stage: Stage) -> None:
        """Go on to a stage."""
        if stage.bounds != self.stage.bounds:
            self._kept = None
            self._row_of[:], self.hopeless[:] = -1, False
        self.stage, self._tried = stage, self.hopeless.copy()

    def next_pairs(self, findings: Findings) -> tuple[np.ndarray, np.ndarray]:
        """For every image one open instance not tried in this stage, the middle radius first; none when all are."""
        # Whatever comes out at the middle radius often settles half of the others.
        places, ks = middle(findings.radii, findings.open[self.images] & ~self._tried)
        self._tried[places, ks] = True
        return places, ks

    def bounds_of(
        self, places: np.ndarray, ks: np.ndarray, inputs: WalkableSet, derived: Derived
    ) -> PreactivationBounds | None:
        """The stage's bounds of some instances, derived for those that do not have them yet; None when interrupted.

        Shapes: inputs [len(places), n], what is near the instances.
        """
        new = np.flatnonzero(self._row_of[places, ks] < 0)
        parts = [] if self._kept is None else [self._kept]
        if len(new):
            found = derived(
                inputs if len(new) == len(places) else inputs.at(self.home.put_indices(new)), self.stage.bounds
            )
            if found is None:
                return None
            count = 0 if self._kept is None else int(self._row_of.max()) + 1
            self._row_of[places[new], ks[new]] = count + np.arange(len(new))
            parts += found
        made = Origin(self._network, inputs)
        rows = self._row_of[places, ks]
        self._kept = kept = parts[0] if len(parts) == 1 else PreactivationBounds.joined(parts, made)
        whole = len(rows) == int(self._row_of.max()) + 1 and bool((rows == np.arange(len(rows))).all())
        taken = kept if whole else PreactivationBounds(kept.lower, kept.upper).take(self.home.put_indices(rows))
        return PreactivationBounds(taken.lower, taken.upper, origin=made)


def middle(radii: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every image the middle one of the radii wanted of it, by size: the image's place and the radius's number.

    Shapes: radii [radii]; wanted [n, radii] -> two arrays [images with any].
    """
    order = np.argsort(radii)
    sorted_ = wanted[:, order]
    place = np.flatnonzero(sorted_.any(axis=1))
    rank = np.cumsum(sorted_[place], axis=1)
    k = np.argmax(rank > (rank[:, -1:] - 1) // 2, axis=1)
    return place, order[k]
