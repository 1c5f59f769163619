"""What is known so far of every image and radius, and what one result says about the others."""

import numpy as np

from admm_verify.errors import InputError
from admm_verify.verdict import Answer


class Findings:
    """Answers and certified margins; an instance is open until it has an answer other than TIMED_OUT.

    Shapes: answer (of `Answer`), lower, open [images, radii]; correct [images]; radii [radii].
    """

    def __init__(self, images: int, radii: np.ndarray) -> None:
        self.radii = radii
        self.answer = np.full((images, len(radii)), Answer.TIMED_OUT, dtype=object)
        self.lower = np.full(self.answer.shape, -np.inf)
        self.open = np.ones(self.answer.shape, dtype=bool)
        self.correct = np.zeros(images, dtype=bool)
        # What a record says of each image: the largest radius verified, and the smallest falsified.
        self._verified = np.full(images, -np.inf)
        self._falsified = np.full(images, np.inf)

    def recall(self, image: int, k: int, answer: Answer, margin: float) -> None:
        """Take over what an earlier run found; a repetition changes nothing."""
        if answer is Answer.VERIFIED:
            self._verified[image] = max(self._verified[image], self.radii[k])
        elif answer is Answer.FALSIFIED:
            self._falsified[image] = min(self._falsified[image], self.radii[k])
        if self.open[image, k]:
            self.lower[image, k] = max(self.lower[image, k], margin)
            self._settle(image, np.arange(len(self.radii)) == k, answer)

    def spread(self) -> None:
        """Tell the open instances what the recalled ones say about them.

        Raises: InputError where these contradict each other.
        """
        self._check_recalled()
        for image, k in np.argwhere(self.answer == Answer.VERIFIED):
            self.bounded(int(image), int(k), float(self.lower[image, k]))
        for image, k in np.argwhere(self.answer == Answer.FALSIFIED):
            self.falsified(int(image), int(k))

    def bounded(self, image: int, k: int, margin: float) -> None:
        """A certified margin at a radius, which holds at every smaller one too; above 0 it verifies them."""
        smaller = self.radii <= self.radii[k]
        raised = smaller & (self.open[image] | (self.answer[image] == Answer.VERIFIED))
        self.lower[image, raised] = np.maximum(self.lower[image, raised], margin)
        if margin > 0:
            self._settle(image, smaller, Answer.VERIFIED)

    def falsified(self, image: int, k: int) -> None:
        """A misclassified input within a radius, which is within every larger one too."""
        self._settle(image, self.radii >= self.radii[k], Answer.FALSIFIED)

    def judged(self, images: np.ndarray, margin: np.ndarray) -> None:
        """The margins of the images themselves, as computed; NaN says nothing.

        Raises: InputError where a recalled instance contradicts them.
        """
        self._falsified[images[margin <= 0]] = 0.0
        self._check_recalled()
        self.correct[images] = margin > 0
        for image in images[margin <= 0]:
            self._settle(int(image), np.ones(len(self.radii), dtype=bool), Answer.FALSIFIED)

    def given_up(self, images: np.ndarray) -> None:
        """Nothing more is tried for these images."""
        for image in images:
            self._settle(int(image), self.open[image].copy(), Answer.UNKNOWN)

    def text(self) -> str:
        """Counts in words."""
        kinds = (Answer.VERIFIED, Answer.FALSIFIED, Answer.UNKNOWN)
        return ", ".join(f"{np.sum(self.answer == kind)} {kind.value}" for kind in kinds)

    def _check_recalled(self) -> None:
        wrong = np.flatnonzero(self._verified >= self._falsified)
        if len(wrong):
            image = wrong[0]
            raise InputError(
                f"The record says that image {image} is verified at the radius {self._verified[image]:g}, but it is "
                f"misclassified within the radius {self._falsified[image]:g}: the file is damaged. Delete it."
            )

    def _settle(self, image: int, which: np.ndarray, answer: Answer) -> None:
        closed = self.open[image] & which
        self.answer[image, closed] = answer
        self.open[image, closed] = False
