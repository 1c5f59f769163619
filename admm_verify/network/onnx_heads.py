"""ONNX operators at the end of a classifier: softmax and its like, argmax, and what may follow them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from admm_verify.network.builder import Builder, Result, Scored, Tensor, UnsupportedUse
from admm_verify.network.head_nodes import written_out
from admm_verify.network.heads import Head, groups_along
from admm_verify.network.onnx_checks import CLASSIC
from admm_verify.network.onnx_classic import check_samples, linear_scores
from admm_verify.network.onnx_inputs import Attributes, axis_given, text
from admm_verify.network.onnx_operators import OPERATORS

HeadHandler = Callable[[Builder, Sequence[Result | None], Attributes, int], Sequence[Result | None]]

_KEEPING = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that leave every entry where it is."""

_LABEL_TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 11: np.float64}
"""The codes of the element types that labels may be cast to."""

_NORMS = {"L1": "l1", "L2": "l2"}


def _softmax(step: str) -> HeadHandler:
    def handler(builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int) -> list[Result]:
        x = _scores(inputs[0])
        axis = axis_given(attributes, len(x.shape), -1 if opset >= 13 else 1)
        if opset >= 13:
            return [Scored(x, Head.along(step, x.shape, axis), x.shape)]
        # Until then all axes from that one on were one.
        groups = prod(x.shape[:axis]), prod(x.shape[axis:]), 1
        return [Scored(x, Head((step,), groups, x.shape), x.shape)]

    return handler


def _log(builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int) -> list[Result]:
    found = inputs[0]
    if not isinstance(found, Scored) or found.head.steps != ("softmax",):
        raise UnsupportedUse("a logarithm is read behind a softmax alone")
    return [replace(found, head=found.head.then("log"))]


def _argmax(builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int) -> list[Result]:
    found = inputs[0]
    step = "last_argmax" if attributes.get("select_last_index", 0) else "argmax"
    shape = found.shape if isinstance(found, Tensor | Scored) else ()
    axis = axis_given(attributes, len(shape), 0)
    head = _continued(found, step, shape, axis)
    kept = [1] if attributes.get("keepdims", 1) else []
    return [Scored(_scores(found), head, (*shape[:axis], *kept, *shape[axis + 1 :]))]


def _normalizer(builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int) -> list[Result]:
    found, norm = inputs[0], text(attributes, "norm", "MAX")
    if norm not in _NORMS:
        raise UnsupportedUse(f"its norm {norm} can change the order of classes; L1 and L2 do not")
    builder.check_cast("float32")
    shape = found.shape if isinstance(found, Tensor | Scored) else ()
    check_samples(shape)
    head = _continued(found, _NORMS[norm], shape, len(shape) - 1)
    return [Scored(_scores(found), head, shape)]


def _continued(found: Result | None, step: str, shape: tuple[int, ...], axis: int) -> Head:
    """The head of a value with one more step along an axis."""
    if not isinstance(found, Scored):
        return Head.along(step, shape, axis)
    if groups_along(shape, axis) != found.head.groups:
        raise UnsupportedUse(f"it goes along another axis than {found.head.words} before it")
    return found.head.then(step)


def _scores(found: Result | None) -> Tensor:
    if isinstance(found, np.ndarray) or found is None:
        raise UnsupportedUse("its data input is a constant or missing")
    return found.scores if isinstance(found, Scored) else found


def _linear_classifier(
    builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int
) -> list[Result | None]:
    """The label of the largest of some linear scores, and what a softmax or the like makes of all of them."""
    labels = attributes.get("classlabels_ints", ())
    scores = linear_scores(builder, _scores(inputs[0]), attributes)
    classes = scores.shape[1]
    if len(labels or attributes.get("classlabels_strings", ())) != classes:
        raise UnsupportedUse(f"it has {classes} rows of coefficients, which is not one for each class")
    if classes < 2 or not attributes.get("intercepts"):
        raise UnsupportedUse("it has a single class or no intercepts, which runtimes refuse")
    best = replace(Head.along("argmax", scores.shape, 1), labels=tuple(labels) if labels else None)
    # Labels in text are no numbers.
    label = Scored(scores, best, scores.shape[:1]) if labels else None
    transform = text(attributes, "post_transform", "NONE")
    if transform == "SOFTMAX":
        return [label, Scored(scores, Head.along("softmax", scores.shape, 1), scores.shape)]
    if transform not in ("NONE", "LOGISTIC"):
        raise UnsupportedUse(f"its post_transform is {transform}; NONE, SOFTMAX and LOGISTIC are read")
    return [label, scores if transform == "NONE" else builder.activation("sigmoid", scores)]


def _labels(builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int) -> list[Result]:
    """The labels of classes at the place of the best one."""
    known, found = inputs[0], inputs[1]
    if not isinstance(found, Scored) or not found.head.places or not isinstance(known, np.ndarray):
        raise UnsupportedUse("it does not select labels by the place of the largest score")
    if known.size != found.head.groups[1] or known.dtype.kind not in "fiu" or found.head.labels is not None:
        raise UnsupportedUse(f"its {known.size} labels of type {known.dtype} are not one number for each class")
    return [replace(found, head=replace(found.head, labels=tuple(known.reshape(-1).tolist())))]


def _gathered_labels(
    builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int
) -> list[Result]:
    if isinstance(inputs[0], np.ndarray) and inputs[0].ndim != 1:
        raise UnsupportedUse("it does not select from a list of labels")
    return _labels(builder, inputs, attributes, opset)


def _kept(name: str) -> HeadHandler:
    """An operator that leaves every entry of a head's result where it is; itself tells the shape."""

    def handler(builder: Builder, inputs: Sequence[Result | None], attributes: Attributes, opset: int) -> list[Result]:
        found, *rest = inputs
        assert isinstance(found, Scored), "asked for no other"
        if name == "Cast" and found.head.places:
            _check_labels(found.head, int(attributes["to"]))
            return [found]
        others = [None if isinstance(value, Scored) else value for value in rest]
        (moved, *_) = OPERATORS[name](builder, [Tensor(found.scores.node, found.shape), *others], attributes, opset)
        if not isinstance(moved, Tensor) or moved.node != found.scores.node:
            return [*OPERATORS[name](builder, [written_out(builder, found), *others], attributes, opset)]
        return [replace(found, shape=moved.shape)]

    return handler


def _check_labels(head: Head, code: int) -> None:
    """Refuse a cast of labels to a type that does not hold them."""
    if code not in _LABEL_TYPES or not head.holds_labels(_LABEL_TYPES[code]):
        raise UnsupportedUse("it casts labels to a type that may not hold them")


STARTS: dict[tuple[str, str], HeadHandler] = {
    ("", "ArgMax"): _argmax,
    ("", "LogSoftmax"): _softmax("log_softmax"),
    ("", "Softmax"): _softmax("softmax"),
    (CLASSIC, "LinearClassifier"): _linear_classifier,
    (CLASSIC, "Normalizer"): _normalizer,
}
"""What makes a head of scores, by domain and name."""

GOES_ON: dict[tuple[str, str], HeadHandler] = {
    ("", "ArgMax"): _argmax,
    ("", "Log"): _log,
    (CLASSIC, "Normalizer"): _normalizer,
    **{("", name): _kept(name) for name in _KEEPING},
    ("", "Gather"): _gathered_labels,
    (CLASSIC, "ArrayFeatureExtractor"): _labels,
}
"""What reads the result of a head."""
