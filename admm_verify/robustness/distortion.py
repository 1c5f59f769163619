"""What `minimal_distortion` takes and returns."""

from dataclasses import dataclass, field

import numpy as np

from admm_verify.attacks.closest_hits import PricedDescent
from admm_verify.options import AtLeastOne, Settings
from admm_verify.robustness.settings import Within
from admm_verify.run import Ended
from admm_verify.sets.box import range_ends


@dataclass(frozen=True, repr=False)
class DistortionSettings(Settings):
    """How `minimal_distortion` works.

    within: (lowest, highest), finite numbers, one per channel, or arrays of the input's shape, that points lie in.
    classes: how many classes are tried for each image without a target, the nearest of those of the largest outputs if
    the network were linear. descent: how points near the images are looked for.

    Raises: InputError for a value of another type or range.
    """

    within: Within = (0.0, 1.0)
    classes: AtLeastOne = 3
    descent: PricedDescent = field(default_factory=PricedDescent)

    def __post_init__(self) -> None:
        object.__setattr__(self, "within", range_ends(self.within))
        super().__post_init__()


@dataclass(frozen=True, eq=False, repr=False)
class MinimalDistortion:
    """The nearest points found that a network gives another class than the images' labels, or their targets.

    points: NaN where none was found, the images themselves where those fulfil it already. predictions: the network's
    class at the points, -1 without one. l2: |x' - x|_2 of point and image, 0 where the image is the point, infinite
    without one. targets: None where any class but the label will do. note: what was left out of the network, such as a
    softmax at its end, None for nothing.

    Shapes: images, points [images, *input_shape] in the network's element type; the others [images].
    Error: l2 is rounded upward, an upper bound of the least distortion; points lie in the range, and the network,
    computed on one alone in its element type, gives the class by a strictly larger output.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None
    points: np.ndarray
    predictions: np.ndarray
    l2: np.ndarray
    seconds: float
    status: Ended = Ended.COMPLETE
    note: str | None = None

    @property
    def distortion(self) -> np.ndarray:
        """sqrt(sum_i (x'_i - x_i)^2 / n) for n inputs, [images].

        Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.2.
        """
        return self.l2 / np.sqrt(self.images[0].size)

    @property
    def fulfilled(self) -> np.ndarray:
        """Whether the image itself is a point, misclassified or already of its target's class, [images]."""
        return self.l2 == 0.0

    @property
    def moved(self) -> np.ndarray:
        """Whether the image is none and a point was found, [images]."""
        return ~self.fulfilled & np.isfinite(self.l2)

    @property
    def failed(self) -> int:
        """How many images no point was found for."""
        return int(np.sum(~np.isfinite(self.l2)))

    @property
    def average(self) -> float:
        """The mean distortion of the images that were moved; NaN without one."""
        return float(np.mean(self.distortion[self.moved])) if self.moved.any() else float("nan")

    def __repr__(self) -> str:
        lengths = self.l2[self.moved]
        mean = f", mean l2 {lengths.mean():.4g}" if len(lengths) else ""
        already = "of their targets' classes" if self.targets is not None else "misclassified"
        text = (
            f"{len(self.l2)} images: {int(np.sum(self.fulfilled))} {already} as they are, {self.failed} failed, "
            f"{len(lengths)} moved, average distortion {self.average:.4g}{mean}; {self.seconds:.1f} s"
        )
        return "\n".join([text, *([] if self.note is None else [self.note])])
