"""What classifiers do with their scores at the end: softmax and its like, which keep their order, and argmax.

A network's nodes end at the scores. What only compares scores may leave such a head out; nothing else can.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from admm_verify.arrays import Array, namespace, quiet_overflow

_NAMES = {
    "softmax": "a softmax",
    "log_softmax": "a log-softmax",
    "log": "a logarithm",
    "l1": "a normalisation to sum 1",
    "l2": "a normalisation to length 1",
    "argmax": "an argmax",
    "last_argmax": "an argmax",
}
"""The steps of heads, in words."""

_PLACES = ("argmax", "last_argmax")


@dataclass(frozen=True)
class Head:
    """What comes after the scores, step by step; every step but an argmax keeps the order within a group of classes.

    steps: of softmax, log_softmax, log, l1, l2, and at the end argmax (of equals the first) or last_argmax. groups:
    (outer, classes, inner), the shape in which the scores of classes stand along the middle axis. shape: of the scores.
    labels: what an argmax gives for each class, None for its number. source: the scores' name in the model, if any.
    """

    steps: tuple[str, ...]
    groups: tuple[int, int, int]
    shape: tuple[int, ...]
    labels: tuple[float, ...] | None = None
    source: str = ""

    @classmethod
    def along(cls, step: str, shape: tuple[int, ...], axis: int) -> "Head":
        """A step along one axis of scores of a literal shape."""
        return cls((step,), groups_along(shape, axis), shape)

    @property
    def places(self) -> bool:
        """Whether its result is the label of the best class, not one number per class."""
        return self.steps[-1] in _PLACES

    @property
    def exact(self) -> bool:
        """Whether it does the same to scores as computed: an argmax compares, everything else rounds."""
        return len(self.steps) == 1 and self.places

    @property
    def keeps_differences(self) -> bool:
        """Whether differences of two results are those of their scores."""
        return self.steps in (("log_softmax",), ("softmax", "log"))

    @property
    def words(self) -> str:
        """The steps in words."""
        return " and ".join(_NAMES[step] for step in self.steps)

    def then(self, step: str) -> "Head":
        """One more step."""
        return replace(self, steps=(*self.steps, step))

    def class_labels(self) -> tuple[float, ...]:
        """The result of an argmax for each class."""
        return tuple(range(self.groups[1])) if self.labels is None else self.labels

    def holds_labels(self, dtype: type[np.number]) -> bool:
        """Whether an element type has all labels of its classes."""
        with quiet_overflow():
            labels = np.array(self.class_labels())
            return np.array_equal(labels.astype(dtype), labels)

    def note(self, name: str) -> str:
        """What is done with it where only comparisons are asked for, in words."""
        before = f" ({self.source})" if self.source else ""
        return f"{name} ends in {self.words}, which is left out: what is compared are the scores before it{before}"

    def apply(self, scores: Array) -> Array:
        """The result for a batch of flat scores, in their library and dtype; places are whole numbers.

        Shapes: scores [batch, scores] -> [batch, scores], or [batch, outer inner] for an argmax.
        """
        xp = namespace(scores)
        x = xp.reshape(scores, (-1, *self.groups))
        # A probability that is 0 in the type has the logarithm -inf.
        with quiet_overflow():
            for step in self.steps:
                x = self._labelled(_place(x, step)) if step in _PLACES else _step(x, step)
        return xp.reshape(x, (scores.shape[0], -1))

    def _labelled(self, places: Array) -> Array:
        if self.labels is None:
            return places
        xp = namespace(places)
        known = xp.asarray(self.labels, device=places.device)
        return xp.reshape(xp.take(known, xp.reshape(places, (-1,)), axis=0), places.shape)


def groups_along(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """The shape (outer, length, inner) of an array around one of its axes."""
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def _step(x: Array, step: str) -> Array:
    xp = namespace(x)
    if step == "log":
        return xp.log(x)
    if step in ("l1", "l2"):
        size = xp.sum(xp.abs(x), axis=2, keepdims=True) if step == "l1" else _length(x)
        # Runtimes leave what has no size as it is.
        return x / xp.where(size == 0, xp.ones_like(size), size)
    shifted = x - xp.max(x, axis=2, keepdims=True)
    total = xp.sum(xp.exp(shifted), axis=2, keepdims=True)
    return shifted - xp.log(total) if step == "log_softmax" else xp.exp(shifted) / total


def _length(x: Array) -> Array:
    xp = namespace(x)
    return xp.sqrt(xp.sum(x * x, axis=2, keepdims=True))


def _place(x: Array, step: str) -> Array:
    xp = namespace(x)
    if step == "argmax":
        return xp.argmax(x, axis=2)
    return x.shape[2] - 1 - xp.argmax(xp.flip(x, axis=2), axis=2)
