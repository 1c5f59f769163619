"""Torch operations at the end of a classifier: softmax and its like, argmax, and what may follow them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Scored, Tensor, UnsupportedUse
from admm_verify.network.heads import Head, groups_along
from admm_verify.network.torch_layers import UNFOLLOWED
from admm_verify.network.torch_operations import OPERATIONS

HeadOperation = Callable[..., Any]

_KEEPING = "alias clone contiguous detach"
"""Operations that leave every entry where it is, beside those that might move them."""

_LABEL_TYPES: dict[str, type[np.number]] = {
    "torch.float32": np.float32,
    "torch.float64": np.float64,
    "torch.int32": np.int32,
    "torch.int64": np.int64,
}
"""The element types that labels may be cast to."""


def _softmax(step: str) -> HeadOperation:
    def handler(builder: Builder, x: Any, axis: int, half: Any = None, *, dtype: Any = None) -> Scored:
        # The last argument of one form asks for half precision, of another one for a type.
        if half not in (None, False) and str(half) != f"torch.{builder.element_type}":
            raise UnsupportedUse(f"it computes in {half}; use one type throughout")
        if dtype is not None and str(dtype) != f"torch.{builder.element_type}":
            raise UnsupportedUse(f"it computes in {dtype}; use one type throughout")
        scores = _scores(x)
        return Scored(scores, Head.along(step, scores.shape, _axis(axis, scores.shape)), scores.shape)

    return handler


def _argmax(builder: Builder, x: Any, axis: int | None = None, keepdim: bool = False) -> Scored:
    shape = x.shape if axis is not None else (_scores(x).size,)
    place = _axis(0 if axis is None else axis, shape)
    if isinstance(x, Scored):
        if groups_along(shape, place) != x.head.groups:
            raise UnsupportedUse(f"it goes along another axis than {x.head.words} before it")
        head = x.head.then("argmax")
    else:
        head = Head.along("argmax", shape, place)
    kept = (1,) if keepdim else ()
    return Scored(x.scores if isinstance(x, Scored) else x, head, (*shape[:place], *kept, *shape[place + 1 :]))


def _log(builder: Builder, x: Any) -> Scored:
    if not isinstance(x, Scored) or x.head.steps != ("softmax",):
        raise UnsupportedUse("a logarithm is read behind a softmax alone")
    return replace(x, head=x.head.then("log"))


def _scores(x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise UnsupportedUse("it is no function of scores alone")
    return x


def _axis(axis: int, shape: tuple[int, ...]) -> int:
    if not -len(shape) <= axis < len(shape):
        raise UnsupportedUse(f"its axis {axis} is not one of shape {shape}")
    return axis % len(shape)


def _same(name: str) -> HeadOperation:
    """An operation that leaves a head's result as it is, where its options are known."""

    def handler(builder: Builder, x: Any, *arguments: Any, **options: Any) -> Scored:
        return kept(x, OPERATIONS[name](builder, Tensor(x.scores.node, x.shape), *arguments, **options))

    return handler


def _cast(name: str) -> HeadOperation:
    """A cast of a head's result, of labels also to whole numbers."""
    of_numbers = _same(name)

    def handler(builder: Builder, x: Any, *arguments: Any, **options: Any) -> Scored:
        kinds = [str(value) for value in (*arguments, *options.values()) if str(value).startswith("torch.")]
        if not x.head.places or any(kind not in _LABEL_TYPES for kind in kinds):
            return of_numbers(builder, x, *arguments, **options)
        if not all(x.head.holds_labels(_LABEL_TYPES[kind]) for kind in kinds):
            raise UnsupportedUse("it casts labels to a type that may not hold them")
        return x

    return handler


def _max(builder: Builder, x: Any, axis: Any = None, keepdim: bool = False) -> Any:
    """As `OPERATIONS` has it; along an axis with the places of the largest, of equals the first."""
    if isinstance(axis, int):
        values = UNFOLLOWED if isinstance(x, Scored) else OPERATIONS["max"](builder, x, axis, keepdim)[0]
        return [values, _argmax(builder, x, axis, keepdim)]
    if isinstance(x, Scored):
        raise UnsupportedUse(f"it takes the largest entry of the result of {x.head.words}")
    return OPERATIONS["max"](builder, x, axis, keepdim)


def kept(x: Scored, moved: Any) -> Scored:
    """A head's result after an operation whose result on the scores, in the head's shape, is `moved`."""
    if not stays(x, moved):
        raise UnsupportedUse(f"it moves the entries of the result of {x.head.words}")
    return replace(x, shape=moved.shape)


def stays(x: Scored, moved: Any) -> bool:
    """Whether an operation whose result on the scores is `moved` leaves every entry where it is."""
    return isinstance(moved, Tensor) and moved.node == x.scores.node


STARTS: dict[str, HeadOperation] = {
    "_log_softmax": _softmax("log_softmax"),
    "_softmax": _softmax("softmax"),
    "argmax": _argmax,
    "log_softmax": _softmax("log_softmax"),
    "max": _max,
    "softmax": _softmax("softmax"),
}
"""What makes a head of scores, by ATen operator name."""

GOES_ON: dict[str, HeadOperation] = {
    "_assert_tensor_metadata": OPERATIONS["_assert_tensor_metadata"],
    "_to_copy": _cast("_to_copy"),
    "argmax": _argmax,
    "log": _log,
    "max": _max,
    "to": _cast("to"),
    **{name: _same(name) for name in _KEEPING.split()},
}
"""What reads the result of a head."""
