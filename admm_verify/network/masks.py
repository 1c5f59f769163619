"""Scores of which a mask leaves some out: constants of minus infinity that are added or written, until a softmax.

exp(-infinity) is 0, so that a softmax of such scores is that of the others. Where the entries of minus infinity are
does not depend on the input: an operation on -1 instead of values that depend on it tells, for products and quotients
by these give plus infinity then and are refused. What it does to the other entries, it does to values that hold 0
instead of minus infinity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Scored, Tensor, UnsupportedUse
from admm_verify.network.softmax import masked_softmax


@dataclass(frozen=True, eq=False)
class Masked:
    """Values that depend on the input but where they are minus infinity.

    Shapes: blocked [*scores.shape], true where the value is minus infinity and `scores` hold anything.
    """

    scores: Tensor
    blocked: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.scores.shape

    @property
    def size(self) -> int:
        return self.scores.size


def holds_infinity(value: Any) -> bool:
    """Whether a constant, or a single number, is minus infinity somewhere."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind == "f" and bool(np.isneginf(value).any())
    return isinstance(value, float) and value == -np.inf


def finite_part(value: Any) -> Any:
    """A value with 0 instead of minus infinity."""
    if isinstance(value, Masked):
        return value.scores
    if not holds_infinity(value):
        return value
    return np.where(np.isneginf(value), np.zeros_like(value), value) if isinstance(value, np.ndarray) else 0.0


def without_input(value: Any, element_type: str) -> Any:
    """A value with -1 instead of what depends on the input."""
    if isinstance(value, Masked):
        return np.where(value.blocked, -np.inf, -1.0).astype(element_type)
    return np.full(value.shape, -1.0, element_type) if isinstance(value, Tensor) else value


def joined(value: Any, pattern: Any) -> Any:
    """What an operation gives, of what it makes of finite parts and of values without input.

    Raises: UnsupportedUse where that is no value with entries of minus infinity.
    """
    if isinstance(value, list | tuple):
        return [joined(part, of_part) for part, of_part in zip(value, pattern, strict=True)]
    if not isinstance(pattern, np.ndarray) or np.isnan(pattern).any() or np.isposinf(pattern).any():
        raise UnsupportedUse("it makes something else than minus infinity of minus infinity")
    blocked = np.isneginf(pattern)
    if not blocked.any():
        return value
    if not isinstance(value, Tensor):
        return np.where(blocked, -np.inf, value)
    return Masked(value, blocked.reshape(value.shape))


def softmax_of(builder: Builder, x: Masked, head: Callable[[Tensor], Any]) -> Tensor:
    """The softmax that `head` makes of scores, of those that the mask leaves."""
    scored = head(x.scores)
    if not isinstance(scored, Scored) or scored.head.steps != ("softmax",):
        raise UnsupportedUse("of scores of minus infinity a softmax is read, and nothing else")
    groups = scored.head.groups
    return builder.reshape(masked_softmax(builder, x.scores, groups, ~x.blocked.reshape(groups)), x.shape)
