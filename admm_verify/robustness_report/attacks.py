"""The attacks of a report: PGD and Auto-PGD in the balls, radius by radius, and L-BFGS for the nearest input."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.attacks.apgd import Apgd
from admm_verify.attacks.method import Method
from admm_verify.attacks.pgd import FGSM, Pgd
from admm_verify.attacks.search import attack
from admm_verify.attacks.starts import Starts
from admm_verify.attacks.targets import Targets
from admm_verify.backends.placement import iteration_placements
from admm_verify.robustness.distortion import DistortionSettings
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.minimal_distortion import Subjects
from admm_verify.robustness_report.breaches import Breaches
from admm_verify.run import Run, Stopped

GRADIENT: dict[str, Sequence[Method]] = {
    "PGD": (FGSM, Pgd(Starts(restarts=2, most=2))),
    "Auto-PGD": (Apgd(Starts(restarts=1, most=1)),),
}
"""By the names that reports give them."""

DISTORTION = "L-BFGS"
"""What the search for the nearest input in l2 is called, of "Intriguing properties of neural networks"."""


_TOGETHER = 20_000_000
"""Numbers of all nodes that are held at once for images that are only computed."""


def parts(instances: Instances) -> list[slice]:
    """The images in parts that are computed together."""
    count, step = len(instances.images), max(1, _TOGETHER // sum(node.size for node in instances.network.nodes))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


@dataclass(frozen=True, eq=False)
class Assault:
    """Images to be attacked: those that are classified like their labels.

    Shapes: correct [images]; rivals [images, rivals], the other classes aimed at, that of the largest output first.
    """

    instances: Instances
    correct: np.ndarray
    rivals: np.ndarray
    seed: int

    @classmethod
    def of(cls, instances: Instances, correct: np.ndarray, rivals: int, seed: int) -> "Assault":
        """The images that are correct, with so many rivals of each."""
        with quiet_overflow():
            found = [to_numpy(instances.network(instances.images[part])) for part in parts(instances)]
        output = np.concatenate([part.reshape(len(part), -1) for part in found])
        output[np.arange(len(output)), instances.labels] = -np.inf
        order = np.argsort(-np.nan_to_num(output, nan=-np.inf), axis=1, kind="stable")
        return cls(instances, correct, order[:, : min(rivals, instances.network.output_size - 1)], seed)

    def descend(self, name: str, run: Run) -> Breaches:
        """Descent in the balls, the smallest radius first: what is broken there is broken at larger ones."""
        instances, found = self.instances, Breaches(self.instances)
        work = 3.0 * instances.network.weight_count * len(instances.images)
        home = iteration_placements(Placement.numpy(), run.device, None, work, run.left)[0]
        place = instances.element(home)
        best = instances.images.copy()
        for k in np.argsort(instances.radii):
            radius = float(instances.radii[k])
            whole = True
            for rank in range(self.rivals.shape[1] if radius > 0 else 0):
                numbers = np.flatnonzero(self.correct & ~found.broken[:, k])
                run.say(f"{name}, radius {radius:g}: {len(numbers)} of {int(self.correct.sum())} hold out")
                if run.over() or not len(numbers):
                    whole = not len(numbers)
                    break
                self._aim(GRADIENT[name], numbers, (k, rank), best, (found, place, run))
                whole = not run.over()
            found.tried[:, k] = found.broken[:, k] | ~self.correct | whole
        return found

    def _aim(
        self,
        methods: Sequence[Method],
        numbers: np.ndarray,
        at: tuple[int, int],
        best: np.ndarray,
        how: tuple[Breaches, Placement, Run],
    ) -> None:
        """Attack some images at a radius, each for its rival of a rank; best takes the inputs where it got closest."""
        instances, (k, rank), (found, place, run) = self.instances, at, how
        radii = np.full(len(numbers), instances.radii[k])
        inputs = instances.near.around(numbers, radii).put(place.double)
        identity = np.eye(instances.network.output_size)
        rows = place.put((identity[instances.labels[numbers]] - identity[self.rivals[numbers, rank]])[:, None])
        targets = Targets(inputs, rows, 0.0 * rows[..., 0])
        starts = place.put(best[numbers][:, None])
        try:
            with run.watching():
                reached = attack(instances.network, targets, methods, starts=starts, seed=self.seed, run=run.silent())
        except Stopped:
            return
        inside = instances.near.inside(numbers, radii, to_numpy(reached.x))
        margin = instances.computed_margin(numbers, inside, place.double)
        best[numbers] = inside
        reaching = margin <= 0
        found.absorb(numbers[reaching], inside[reaching], closer=not run.over())

    def nearest(self, run: Run) -> Breaches:
        """L-BFGS for the nearest input of another class in l2, wherever it is; the balls that hold it are broken."""
        instances, found = self.instances, Breaches(self.instances)
        numbers = np.flatnonzero(self.correct)
        if len(numbers):
            settings = DistortionSettings(within=self._within(), classes=self.rivals.shape[1])
            images, labels = instances.images[numbers], instances.labels[numbers]
            subject = Subjects.of(instances.network, images, labels, None, settings)
            reached = subject.attacked(run, None, 0.0)
            finished, moved = not run.over(), reached.moved
            found.absorb(numbers[moved], reached.points.reshape(len(numbers), -1)[moved], closer=finished)
            found.tried[numbers] = finished | np.isfinite(reached.l2)[:, None]
        found.tried[~self.correct] = True
        return found

    def _within(self) -> tuple[np.ndarray, np.ndarray]:
        """The range of the images; where it has no end, one far beyond the largest radius."""
        near, shape = self.instances.near, self.instances.network.input_shape
        low, high = near.images.min(axis=0).astype(np.float64), near.images.max(axis=0).astype(np.float64)
        far = 10.0 * float(near.radii.max()) + float(np.max(high) - np.min(low)) + 1.0
        floor = np.where(np.isfinite(near.floor), near.floor, low - far)
        ceiling = np.where(np.isfinite(near.ceiling), near.ceiling, high + far)
        return floor.reshape(shape), ceiling.reshape(shape)
