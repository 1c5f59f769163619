"""An input near an image that the network gives another class, as computed."""

from dataclasses import dataclass

import numpy as np

from admm_verify.sets.norm_names import NORMS, NormName


@dataclass(frozen=True, eq=False)
class Counterexample:
    """An input of the balls in which an image is falsified, and what the network computes there for it alone.

    label: of the image; prediction: the class of the largest other output, which is at least as large as the label's.
    norm: of the balls.

    Shapes: original (the image as the network takes it), input [*input_shape] in the network's element type; output
    [classes].
    Error: exact; the input lies in the balls in real numbers, and the output is computed in the network's element type.
    """

    image: int
    label: int
    prediction: int
    original: np.ndarray
    input: np.ndarray
    output: np.ndarray
    norm: NormName = "linf"

    @property
    def distance(self) -> float:
        """How far the input is from the image in the balls' norm, as computed; with "linf" the largest change."""
        change = (self.input.astype(np.float64) - self.original.astype(np.float64)).reshape(-1)
        return float(np.linalg.norm(change, NORMS[self.norm]))

    def __repr__(self) -> str:
        """In one line."""
        return f"image {self.image}: {self.label} becomes {self.prediction}, distance {self.distance:.4g}"
