"""`minimal_distortion`: how little images have to change for a network to give them another class."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.attacks.closest_hits import ClosestHits, ClosestSearch
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.targets import Targets
from admm_verify.errors import InputError
from admm_verify.memory import Budget, memory_errors
from admm_verify.network.computing import Computing
from admm_verify.network.graph import Network
from admm_verify.network.onnx_files import ModelSource
from admm_verify.options import instance
from admm_verify.robustness.certify import scores_of
from admm_verify.robustness.data_sets import images_and_labels
from admm_verify.robustness.distortion import DistortionSettings, MinimalDistortion
from admm_verify.robustness.images import CheckedImages, checked_labels
from admm_verify.robustness.settings import CertifySettings
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.box import Box
from admm_verify.sets.lengths import length_above

_FARTHER = (0.0, 2.0**-20, 2.0**-16, 2.0**-12, 2.0**-8)
"""By what share of their length changes grow where rounding to the element type took back what they did."""

_BLOCK = 64
"""Images attacked side by side at most: a moment between two questions to the run."""

_CANDIDATES = 20
"""Classes of the largest outputs of which the nearest, as far as the network is linear, are tried."""

_ARRAYS = 16
"""Arrays of one number per target and input beside the pairs of L-BFGS."""


@memory_errors()
def minimal_distortion(
    network: Network | ModelSource,
    inputs: Any,
    labels: Any,
    *,
    targets: Array | None = None,
    settings: DistortionSettings | None = None,
    run: Run | None = None,
) -> MinimalDistortion:
    """The nearest inputs that a network gives another class than an image's label, or the class that is its target.

    min |x' - x|_2 over x' in the range with f_j(x') > f_t(x') for some class j but the label t, or, for a target k,
    with f_k(x') > f_j(x') for all others j. An attack: L-BFGS in the box on c |x' - x|_2 plus the cross-entropy (of the
    two classes j and t, for each of the `settings.classes` largest, without a target), with a search for the largest c
    that leads to a point, then steps to the nearest point of the linearised border. What it finds is an upper bound,
    checked; `av.certify` with norm="l2" has lower ones. A softmax or the like at the end of a classifier is left out.

    network, inputs and labels as for `certify`. run: asked all the time, and told of the images done; those that it
    ends before count as failed.
    Shapes: inputs [images, *input_shape] or [images, inputs], rounded to the network's element type; labels, targets
    [images], integers.
    Units: distortions in those of the inputs.
    Raises: InputError for anything that does not fit, a range without finite ends, and a target that is the label;
    ModelError for weights that are not finite.
    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.1.
    """
    began, run = time.monotonic(), Run.of(run)
    chosen = DistortionSettings() if settings is None else instance(settings, DistortionSettings, "settings")
    scores, note = scores_of(network, CertifySettings(within=chosen.within))
    subject = Subjects.of(scores, *images_and_labels(inputs, labels), targets, chosen)
    return subject.attacked(run, note, began)


@dataclass(frozen=True, eq=False)
class Subjects:
    """Images to be given other classes.

    Shapes: labels, and targets where there are any, [images].
    """

    network: Network
    images: CheckedImages
    labels: np.ndarray
    targets: np.ndarray | None
    settings: DistortionSettings

    @classmethod
    def of(
        cls, network: Network, images: Array, labels: Array, targets: Array | None, settings: DistortionSettings
    ) -> "Subjects":
        """Checked input of a network of scores.

        Raises: InputError, ModelError.
        """
        classes = network.output_size
        if classes < 2:
            raise InputError(f"{network.name} has {classes} output; a classifier has one per class.")
        network.check_finite()
        checked = CheckedImages.of(network, images, settings.within, finite=True)
        found = checked_labels(labels, len(checked.images), classes)
        wanted = None if targets is None else checked_labels(targets, len(found), classes, "target")
        if wanted is not None and (same := np.flatnonzero(wanted == found)).size:
            raise InputError(
                f"The target of image {same[0]} is its label, {wanted[same[0]]}; give another class, or None as the "
                "targets for any other one."
            )
        return cls(network.put(Placement.numpy()), checked, found, wanted, settings)

    def attacked(self, run: Run, note: str | None, began: float) -> MinimalDistortion:
        """The nearest points of all images, as far as the run allows."""
        images, count = self.images.images, len(self.labels)
        points, predictions, l2 = np.full_like(images, np.nan), np.full(count, -1), np.full(count, np.inf)
        with run.watching(), quiet_overflow():
            try:
                for i, x, now in self._found(run):
                    change = x.astype(np.float64) - images[i].astype(np.float64)
                    points[i], predictions[i], l2[i] = x, now, length_above(change)
                status = Ended.COMPLETE
            except Stopped:
                status = run.ended() or Ended.TIMED_OUT
        shape = (count, *self.network.input_shape)
        arrays = images.reshape(shape), self.labels, self.targets, points.reshape(shape), predictions, l2
        return MinimalDistortion(*arrays, time.monotonic() - began, status, note)

    def _found(self, run: Run) -> Iterator[tuple[int, np.ndarray, int]]:
        """Images, the points found for them, and the classes of these; images without a point do not come.

        Raises: Stopped.
        """
        images, left = self.images.images, []
        for i, image in enumerate(images):
            now = self.prediction(i, image)
            if now is None:
                left.append(i)
            else:
                yield i, image, now
        for first in range(0, len(left), step := self._step(run)):
            run.check()
            run.say(f"{len(images) - len(left) + first} of {len(images)} images", first, len(left))
            yield from self._nearest(np.array(left[first : first + step]), run)
            run.check()

    def prediction(self, i: int, point: np.ndarray) -> int | None:
        """The class that a point [inputs] of the element type is given, by a strictly larger output, where that is what
        is wanted of image i; else None.
        """
        output = to_numpy(self._compute(point[None])).reshape(-1)
        wanted = None if self.targets is None else int(self.targets[i])
        if not np.isfinite(output).all():
            return None
        now = int(np.argmax(output)) if wanted is None else wanted
        others = np.delete(output, wanted) if wanted is not None else output[self.labels[i]]
        return now if (output[now] > others).all() else None

    @cached_property
    def _compute(self) -> Computing:
        """The network in its element type, on the host."""
        return Computing(self.network, Placement.numpy(self.images.images.dtype))

    @property
    def _each(self) -> int:
        """Targets of the attack for each image."""
        return 1 if self.targets is not None else min(self.settings.classes, self.network.output_size - 1)

    def _step(self, run: Run) -> int:
        """How many images are attacked side by side."""
        arrays = 2 * self.settings.descent.memory + _ARRAYS
        numbers = 8 * arrays * self._each * self.network.input_size
        return int(max(1, min(_BLOCK, Budget.of(run).bytes // numbers)))

    def _nearest(self, block: np.ndarray, run: Run) -> Iterator[tuple[int, np.ndarray, int]]:
        """The nearest points found of some images with their classes, of those that have any."""
        start = self.images.images[block].astype(np.float64)
        objective = self._objective(block, start, run)
        rows = np.repeat(np.arange(len(block)), self._each)
        landscape = self._landscape(objective, run)
        # Single precision takes half the time; where the border is, the refinement looks in double.
        quick = Landscape.of(self.network, landscape.targets.put(Placement.numpy(self.images.images.dtype)), run)
        settings = self.settings.descent
        hits = ClosestSearch(landscape, start[rows], settings, self._roundoff, run, quick).search()
        for k, i in enumerate(block):
            found = self._confirmed(int(i), start[k], hits, rows == k)
            if found is not None:
                yield int(i), *found

    @property
    def _range(self) -> tuple[np.ndarray, np.ndarray]:
        return self.images.lowest, self.images.highest

    @property
    def _roundoff(self) -> float:
        return float(np.finfo(self.images.images.dtype).eps)

    def _landscape(self, objective: np.ndarray, run: Run) -> Landscape:
        """Of targets that look for points of the range with objective [targets, atoms, outputs] at most zero."""
        shape = (len(objective), self.network.input_size)
        box = Box(*(np.broadcast_to(end.astype(np.float64), shape) for end in self._range))
        return Landscape.of(self.network, Targets(box, objective, np.zeros(objective.shape[:2])), run)

    def _objective(self, block: np.ndarray, start: np.ndarray, run: Run) -> np.ndarray:
        """What is to be at most zero: f_t - f_j for the classes j, a target each, or f_j - f_k for all j as its atoms.

        Shapes: start [images, inputs] -> [targets, atoms, outputs].
        """
        identity = np.eye(self.network.output_size)
        if self.targets is not None:
            wanted = self.targets[block]
            return np.stack([np.delete(identity, k, axis=0) - identity[k] for k in wanted])
        own = self.labels[block]
        output = to_numpy(self.network(start)).reshape(len(block), -1).copy()
        output[np.arange(len(block)), own] = -np.inf
        count = min(max(_CANDIDATES, self._each), output.shape[1] - 1)
        others = np.argsort(-output, axis=1, kind="stable")[:, :count]
        objective = (identity[own][:, None] - identity[others]).reshape(-1, 1, len(identity))
        if count > self._each:
            value, slope = self._landscape(objective, run).linearised(np.repeat(start, count, axis=0), self._roundoff)
            steep = np.sqrt(np.sum(slope[:, 0] ** 2, axis=-1))
            far = np.where(steep > 0, np.maximum(value[:, 0], 0.0) / np.where(steep > 0, steep, 1.0), np.inf)
            near = np.argsort(far.reshape(len(block), count), axis=1, kind="stable")[:, : self._each]
            objective = objective[(near + count * np.arange(len(block))[:, None]).reshape(-1)]
        return objective

    def _confirmed(
        self, i: int, start: np.ndarray, hits: ClosestHits, own: np.ndarray
    ) -> tuple[np.ndarray, int] | None:
        """The nearest of an image's hits at which the network, as computed, gives a class that is wanted, and that."""
        points, length = to_numpy(hits.x)[own], to_numpy(hits.length)[own]
        for row in np.argsort(length, kind="stable"):
            if not np.isfinite(length[row]):
                return None
            for more in _FARTHER:
                far = points[row] + more * (points[row] - start)
                x = np.clip(far.astype(self.images.images.dtype), *self._range)
                now = self.prediction(i, x)
                if now is not None:
                    return x, now
        return None
