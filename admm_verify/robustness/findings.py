"""What is known so far of every image and radius, and what one result says about the others."""

import numpy as np

from admm_verify.robustness.certification import Answer


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

    def recall(self, image: int, k: int, answer: Answer, margin: float) -> None:
        """Take over what an earlier run found; a repetition changes nothing."""
        if self.open[image, k]:
            self.lower[image, k] = max(self.lower[image, k], margin)
            self._settle(image, np.arange(len(self.radii)) == k, answer)

    def spread(self) -> None:
        """Tell the open instances what the recalled ones say about them."""
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
        """The margins of the images themselves, as computed; NaN says nothing."""
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

    def _settle(self, image: int, which: np.ndarray, answer: Answer) -> None:
        closed = self.open[image] & which
        self.answer[image, closed] = answer
        self.open[image, closed] = False
