"""What is known so far of every image and radius, and what one result says about the others."""

import numpy as np

from admm_verify.errors import InputError
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.verdict import Answer


class Findings:
    """Answers and certified margins; an instance is open until it has an answer other than TIMED_OUT.

    searched: seconds that branch and bound was given in vain. counterexamples: of what is falsified, else None. fresh:
    what changed since it was last set to False.

    Shapes: answer (of `Answer`), lower, open, searched, counterexamples, fresh [images, radii]; correct [images]; radii
    [radii].
    """

    def __init__(self, images: int, radii: np.ndarray) -> None:
        self.radii = radii
        self.answer = np.full((images, len(radii)), Answer.TIMED_OUT, dtype=object)
        self.lower = np.full(self.answer.shape, -np.inf)
        self.open = np.ones(self.answer.shape, dtype=bool)
        self.searched = np.zeros(self.answer.shape)
        self.counterexamples = np.full(self.answer.shape, None, dtype=object)
        self.fresh = np.zeros(self.answer.shape, dtype=bool)
        self.correct = np.zeros(images, dtype=bool)
        # What a record says of each image: the largest radius verified, and the smallest falsified.
        self._verified = np.full(images, -np.inf)
        self._falsified = np.full(images, np.inf)

    def recall_verified(self, image: int, k: int, margin: float) -> None:
        """Take over what an earlier run verified; a repetition changes nothing."""
        self._verified[image] = max(self._verified[image], self.radii[k])
        self.lower[image, k] = max(self.lower[image, k], margin)
        self._settle(np.array([image]), self._only(k), Answer.VERIFIED)

    def recall_falsified(self, image: int, k: int, margin: float, found: Counterexample) -> None:
        """Take over a counterexample of an earlier run, and its bound; a repetition changes nothing."""
        self._falsified[image] = min(self._falsified[image], self.radii[k])
        self.lower[image, k] = max(self.lower[image, k], margin)
        self._falsify(image, self._only(k), found)

    def recall_unknown(self, image: int, k: int, margin: float, searched: float) -> None:
        """Take over what an earlier run could not decide; a repetition changes nothing."""
        self.searched[image, k] = max(self.searched[image, k], searched)
        if self.answer[image, k] not in (Answer.VERIFIED, Answer.FALSIFIED):
            self.lower[image, k] = max(self.lower[image, k], margin)
            self._settle(np.array([image]), self._only(k), Answer.UNKNOWN)

    def spread(self) -> None:
        """Tell what the recalled instances say about the others; what is recalled is not fresh.

        Raises: InputError where these contradict each other.
        """
        self._check_recalled()
        self.fresh[:] = False
        for image, k in np.argwhere(self.answer == Answer.VERIFIED):
            self.verified(np.array([image]), np.array([k]), self.lower[[image], k])
        for image, k in np.argwhere(self.answer == Answer.FALSIFIED):
            self.falsified(int(image), int(k), self.counterexamples.item((image, k)))

    def bounded(self, images: np.ndarray, ks: np.ndarray, margin: np.ndarray) -> None:
        """Certified margins of images, each at a radius, which hold at every smaller one too; above 0 they verify them.

        Shapes: images, each once, ks (numbers of radii), margin [m].
        """
        smaller = self.radii <= self.radii[ks][:, None]
        before = self.lower[images]
        raised = smaller & (self.answer[images] != Answer.FALSIFIED)
        self.lower[images] = np.where(raised, np.maximum(before, margin[:, None]), before)
        self._settle(images, smaller & (margin > 0)[:, None], Answer.VERIFIED)

    def verified(self, images: np.ndarray, ks: np.ndarray, margin: np.ndarray | None = None) -> None:
        """A proof that no input within a radius is misclassified, which holds at every smaller one too, for each image.

        margin: certified bounds; None where all that is known is that the true margins lie above 0.
        Shapes: as `bounded`.
        """
        self.bounded(images, ks, np.zeros(len(images)) if margin is None else margin)
        self._settle(images, self.radii <= self.radii[ks][:, None], Answer.VERIFIED)

    def falsified(self, image: int, k: int, found: Counterexample) -> None:
        """A misclassified input within a radius, which is within every larger one too."""
        self._falsify(image, self.radii >= self.radii[k], found)

    def judged(self, images: np.ndarray, margin: np.ndarray) -> None:
        """The margins of the images themselves, as computed, above 0 where they are classified like their labels."""
        self.correct[images] = margin > 0

    def misclassified(self, image: int, found: Counterexample) -> None:
        """An image that is a counterexample itself.

        Raises: InputError where a recalled instance contradicts that.
        """
        self._falsified[image] = 0.0
        self._check_recalled()
        self._falsify(image, np.ones(len(self.radii), dtype=bool), found)

    def given_up(self, images: np.ndarray) -> None:
        """Bounds do not decide what is open of these images."""
        self._settle(images, self.open[images], Answer.UNKNOWN)

    def is_unknown(self, image: int, k: int) -> bool:
        """Whether bounds have not decided an instance, nor anything else."""
        return self.answer[image, k] is Answer.UNKNOWN

    def search_ended(self, image: int, k: int, seconds: float) -> None:
        """Branch and bound was given so many seconds for the image; where that was in vain, it is noted."""
        if self.is_unknown(image, k):
            self.searched[image, k], self.fresh[image, k] = seconds, True

    def unsearched(self, image: int, seconds: float) -> np.ndarray:
        """The radii that are unknown and for which branch and bound was never given so many seconds."""
        return np.flatnonzero((self.answer[image] == Answer.UNKNOWN) & (self.searched[image] < seconds))

    def unsearched_everywhere(self, seconds: float) -> np.ndarray:
        """The instances that are unknown and for which branch and bound was never given so many seconds."""
        return (self.answer == Answer.UNKNOWN) & (self.searched < seconds)

    def reopen(self, seconds: float) -> None:
        """What is unknown and was not given so many seconds of branch and bound is not done with."""
        cut = self.unsearched_everywhere(seconds)
        self.answer[cut], self.open[cut] = Answer.TIMED_OUT, True

    def undecided(self, images: np.ndarray | int) -> np.ndarray:
        """Which instances of some images are neither verified nor falsified, [..., radii]."""
        return (self.answer[images] == Answer.TIMED_OUT) | (self.answer[images] == Answer.UNKNOWN)

    def undecided_at(self, images: np.ndarray, ks: np.ndarray) -> np.ndarray:
        """Which of some instances are neither verified nor falsified, [m]."""
        answer = self.answer[images, ks]
        return (answer == Answer.TIMED_OUT) | (answer == Answer.UNKNOWN)

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

    def _only(self, k: int) -> np.ndarray:
        return np.arange(len(self.radii)) == k

    def _falsify(self, image: int, which: np.ndarray, found: Counterexample) -> None:
        settled = self._settle(np.array([image]), which[None], Answer.FALSIFIED)[0]
        for k in np.flatnonzero(settled):
            self.counterexamples[image, k] = found

    def _settle(self, images: np.ndarray, which: np.ndarray, answer: Answer) -> np.ndarray:
        """Answer some instances that are open, or unknown if this is better; returns which.

        Shapes: images [m], each once; which [m, radii] or one row for all -> [m, radii].
        """
        settled = which & (self.open[images] if answer is Answer.UNKNOWN else self.undecided(images))
        known = self.answer[images]
        known[settled] = answer
        self.answer[images] = known
        self.open[images] &= ~settled
        self.fresh[images] |= settled
        return settled
