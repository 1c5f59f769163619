"""Which images an attack broke at which radii, and the nearest input that did it."""

import numpy as np

from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness.instances import Instances

_HALVINGS = 16
"""Of the way from an image to an input of another class, to where the class changes."""


class Breaches:
    """What one attack found of images that are classified like their labels.

    inputs: of each ball that is broken, an input of it, exactly, that has another class as the network computes it;
    tried: whether the attack went to its end there; nearest: of each image the input that changed least, None where
    there is none.
    Shapes: inputs, broken, tried [images, radii]; nearest [images].
    """

    def __init__(self, instances: Instances) -> None:
        self.instances = instances
        shape = len(instances.images), len(instances.radii)
        self.tried = np.zeros(shape, dtype=bool)
        self.inputs = np.full(shape, None, dtype=object)
        self.nearest: list[Counterexample | None] = [None] * shape[0]

    @property
    def broken(self) -> np.ndarray:
        """Which balls hold an input of another class, as far as was found, [images, radii]."""
        return self.inputs.astype(bool)

    def absorb(self, image: int, point: np.ndarray) -> bool:
        """Take an input [inputs] of the element type as one of another class where it is, and one nearer on the way to
        the image; returns whether it is.
        """
        found = self.instances.counterexample(image, point)
        if found is None:
            return False
        best = self._nearer(found)
        known = self.nearest[image]
        if known is None or best.distance < known.distance:
            self.nearest[image] = best
        # Both: rounding may leave the farther one alone inside a ball.
        for one in (found, best):
            self._note(one)
        return True

    def _note(self, found: Counterexample) -> None:
        """Every ball that an input is in, exactly, and with it every larger one."""
        near, image = self.instances.near, found.image
        for k in np.argsort(near.radii):
            radius = float(near.radii[k])
            if self.inputs[image, k] is not None:
                return
            if near.holds(image, radius, found.input.reshape(-1)):
                for larger in np.flatnonzero(near.radii >= radius):
                    self.inputs[image, larger] = self.inputs[image, larger] or found
                return

    def _nearer(self, found: Counterexample) -> Counterexample:
        """The input nearest to the image, of those tried on the straight way to it, that is of another class."""
        start, end = (x.reshape(-1).astype(np.float64) for x in (found.original, found.input))
        low, high, best = 0.0, 1.0, found
        # No coordinate leaves the stretch between both, so that all are in every ball and range that holds the input.
        least, most = np.minimum(start, end), np.maximum(start, end)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            point = np.clip(start + middle * (end - start), least, most).astype(found.input.dtype)
            nearer = self.instances.counterexample(found.image, point)
            if nearer is None:
                low = middle
            else:
                high, best = middle, nearer
        return best
