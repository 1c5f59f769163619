"""What `certify` returns."""

from dataclasses import dataclass

import numpy as np

from admm_verify.options import member
from admm_verify.sets.norm_names import NormName, norm_name
from admm_verify.text_tables import table
from admm_verify.verdict import Answer


@dataclass(frozen=True, eq=False, repr=False)
class Certification:
    """Results per image and radius.

    lower: certified lower bound of min over j != t of f_t - f_j within the radius, -inf where none was computed.
    It is 0 where all that branch and bound has shown is that the minimum is above. correct: whether the image itself is
    classified like its label. counterexamples: of every instance that is falsified, else None. seconds: of this call,
    without what a file held.
    unwritten: why the file of finished instances lacks some of them, None where it does not. note: what was left out of
    the network, such as a softmax at its end, None for nothing. norm: of the balls, "l1", "l2" or "linf".

    Shapes: radii [radii], in the order given; status (of `Answer`), lower, counterexamples [images, radii]; correct
    [images].
    Error: lower is rounded downward.
    """

    radii: np.ndarray
    status: np.ndarray
    lower: np.ndarray
    correct: np.ndarray
    counterexamples: np.ndarray
    seconds: float
    unwritten: str | None = None
    note: str | None = None
    norm: NormName = "linf"

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", norm_name(self.norm))
        status = np.empty(np.shape(self.status), dtype=object)
        for place, answer in np.ndenumerate(np.asarray(self.status, dtype=object)):
            status[place] = member(answer, "The answer about an image", Answer)
        object.__setattr__(self, "status", status)

    @property
    def certified_accuracy(self) -> np.ndarray:
        """Share of all images that are verified, [radii]."""
        return self.count(Answer.VERIFIED) / len(self.correct)

    @property
    def clean_accuracy(self) -> float:
        """Share of the images that are classified like their label, of those that were evaluated in time."""
        known = self.correct | (self.status != Answer.TIMED_OUT).any(axis=1)
        return float(np.sum(self.correct) / max(1, np.sum(known)))

    @property
    def certified_radius(self) -> np.ndarray:
        """The largest radius at which each image is verified, 0 where there is none, [images]."""
        return np.max(np.where(self.status == Answer.VERIFIED, self.radii, 0.0), axis=1)

    @property
    def falsified_radius(self) -> np.ndarray:
        """The smallest radius at which each image is falsified, infinite where there is none, [images]."""
        return np.min(np.where(self.status == Answer.FALSIFIED, self.radii, np.inf), axis=1)

    def count(self, answer: Answer) -> np.ndarray:
        """How many images have this answer, given as itself or as its word, [radii].

        Raises: InputError for an unknown answer.
        """
        return np.sum(self.status == member(answer, "The answer", Answer), axis=0)

    def __repr__(self) -> str:
        """A line per radius."""
        counts = {answer.value: self.count(answer) for answer in Answer}
        rows = [
            [f"{radius:g}", *(str(int(found[k])) for found in counts.values()), f"{self.certified_accuracy[k]:.2%}"]
            for k, radius in enumerate(self.radii)
        ]
        head = f"{len(self.correct)} images, clean accuracy {self.clean_accuracy:.2%}, {self.seconds:.1f} s"
        head += "" if self.note is None else f"\n{self.note}"
        return f"{head}\n{table([radius_name(self.norm), *counts, 'certified accuracy'], rows)}"


def radius_name(norm: NormName) -> str:
    """What radii of a norm are called; those of boxes have no further word."""
    return "radius" if norm == "linf" else f"{norm} radius"
