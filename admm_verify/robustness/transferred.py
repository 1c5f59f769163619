"""What `transfer_table` takes and returns."""

from dataclasses import dataclass, field

import numpy as np

from admm_verify.options import Count, Positive, Settings
from admm_verify.robustness.distortion import DistortionSettings, MinimalDistortion
from admm_verify.run import Ended
from admm_verify.text_tables import table


@dataclass(frozen=True, repr=False)
class TransferSettings(Settings):
    """How `transfer_table` works.

    attack: what makes the examples. common: the distortion that all examples are brought to for the lower half of the
    table. seed: of the noise.
    """

    attack: DistortionSettings = field(default_factory=DistortionSettings)
    common: Positive = 0.1
    seed: Count = 0


@dataclass(frozen=True, eq=False, repr=False)
class TransferTable:
    """Which share of the adversarial examples of one network lead others astray.

    clean: error rates on the images themselves. examples: how many each network has: images of the right class that a
    point was found for. distortion: the mean of theirs, sqrt(sum_i (x'_i - x_i)^2 / n), NaN without any. errors[i, j]:
    error rate of network j on the examples of network i, NaN without any; 1 for i = j. magnified: the same where every
    example is as far from its image as `common` says, in its own direction, or as far as the range allows; reached: the
    mean of what it is then. noise: error rates on all images under normal noise brought to the distortions noisy, the
    mean of `distortion` and `common`, in the same way. found: the examples themselves.

    Shapes: clean, examples, distortion, reached [networks]; errors, magnified [networks, networks]; noise [2,
    networks]; noisy [2].
    Error: rates as each network computes in its element type, to which images and examples are rounded.
    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, tables 2 and 4.
    """

    names: tuple[str, ...]
    found: tuple[MinimalDistortion, ...]
    clean: np.ndarray
    examples: np.ndarray
    distortion: np.ndarray
    errors: np.ndarray
    common: float
    reached: np.ndarray
    magnified: np.ndarray
    noisy: np.ndarray
    noise: np.ndarray
    seconds: float

    @property
    def status(self) -> Ended:
        """How the attacks ended."""
        return next((one.status for one in self.found if one.status is not Ended.COMPLETE), Ended.COMPLETE)

    def __repr__(self) -> str:
        """In the form of the paper: a row for each network's examples, a column for each network that is tried."""
        count = len(self.found[0].labels)
        lines = [["none", *_percent(self.clean), "0"]]
        parts = zip(self.names, self.errors, self.distortion, strict=True)
        lines += [[f"for {name}", *_percent(row), f"{size:.3g}"] for name, row, size in parts]
        lines.append(["noise", *_percent(self.noise[0]), f"{self.noisy[0]:.3g}"])
        parts = zip(self.names, self.magnified, self.reached, strict=True)
        lines += [[f"for {name}, magnified", *_percent(row), f"{size:.3g}"] for name, row, size in parts]
        lines.append(["noise", *_percent(self.noise[1]), f"{self.noisy[1]:.3g}"])
        failed = sum(one.failed for one in self.found)
        head = f"{count} images, {int(self.examples.sum())} examples, {failed} failed; {self.seconds:.1f} s"
        return f"{head}\n{table(['distorted', *self.names, 'distortion'], lines)}"


def _percent(rates: np.ndarray) -> list[str]:
    return ["-" if np.isnan(rate) else f"{rate:.1%}" for rate in rates]
