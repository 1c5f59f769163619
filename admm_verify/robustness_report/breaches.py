"""Which images an attack broke at which radii, and the nearest input that did it."""

import numpy as np

from admm_verify.arrays import Placement
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

    def absorb(self, images: np.ndarray, points: np.ndarray, closer: bool = True) -> None:
        """Take inputs, one for each of some images, as such of another class where they are.

        closer: whether one nearer to the image is looked for on the way there.
        Shapes: images [m], points [m, inputs] in the element type.
        """
        given = (self.instances.counterexample(int(i), x) for i, x in zip(images, points, strict=True))
        found = [one for one in given if one is not None]
        for one, best in zip(found, self._nearer(found) if closer else found, strict=True):
            known = self.nearest[one.image]
            if known is None or best.distance < known.distance:
                self.nearest[one.image] = best
            # Both: rounding may leave the farther one alone inside a ball.
            self._note(one)
            self._note(best)

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

    def _nearer(self, found: list[Counterexample]) -> list[Counterexample]:
        """The inputs nearest to their images, of those tried on the straight way to them, that are of another class."""
        if not found:
            return []
        images = np.array([one.image for one in found])
        start, end = (
            np.stack([part.reshape(-1).astype(np.float64) for part in parts])
            for parts in ([one.original for one in found], [one.input for one in found])
        )
        # No coordinate leaves the stretch between both, so that all are in every ball and range that holds the input.
        least, most = np.minimum(start, end), np.maximum(start, end)
        low, high = np.zeros((len(found), 1)), np.ones((len(found), 1))

        def along(share: np.ndarray) -> np.ndarray:
            return np.clip(start + share * (end - start), least, most).astype(self.instances.images.dtype)

        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            margin = self.instances.computed_margin(images, along(middle), Placement.numpy())
            there = (margin <= 0)[:, None]
            low, high = np.where(there, low, middle), np.where(there, middle, high)
        near = (self.instances.counterexample(int(i), x) for i, x in zip(images, along(high), strict=True))
        # Alone, another rounding may say otherwise.
        return [far if one is None else one for far, one in zip(found, near, strict=True)]
