"""Operators of the domain ai.onnx.ml, which exporters write for pipelines of scikit-learn, as builder calls.

Classifiers are in `onnx_heads.py`, where their scores end. Most return float32 whatever they are given.
"""

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.onnx_inputs import Attributes, Handler, Inputs, constant, present, tensor, text


def linear_scores(builder: Builder, x: Tensor, attributes: Attributes, targets: int | None = None) -> Tensor:
    """x W' + b, of the coefficients and the intercepts of a linear model; targets: rows of W, None to count them.

    Shapes: x [n, features] or [features] -> [n, rows].
    """
    builder.check_cast("float32")
    check_samples(x.shape)
    samples, features = (1, *x.shape)[-2:]
    rows = builder.reshape(x, (samples, features))
    weights = np.array(attributes["coefficients"], dtype=np.float32)
    if weights.size % features or (targets is not None and weights.size != targets * features):
        raise UnsupportedUse(f"its {weights.size} coefficients do not fit an input of {features} features")
    matrix = weights.reshape(-1, features)
    shift = np.array(attributes.get("intercepts", ()) or np.zeros(len(matrix)), dtype=np.float32)
    if shift.shape != (len(matrix),):
        raise UnsupportedUse(f"it has {shift.size} intercepts for {len(matrix)} rows of coefficients")
    return builder.add(builder.matmul(rows, matrix.T), shift)


def check_samples(shape: tuple[int, ...]) -> None:
    """Refuse what is neither a sample nor a list of samples, of which runtimes take features along other axes."""
    if len(shape) not in (1, 2):
        raise UnsupportedUse(f"its input of shape {shape} is no list of samples")


def _linear_regressor(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    if text(attributes, "post_transform", "NONE") != "NONE":
        raise UnsupportedUse("it has a post_transform other than NONE")
    return [linear_scores(builder, tensor(inputs[0]), attributes, int(attributes.get("targets", 1)))]


def _scaler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = tensor(inputs[0])
    builder.check_cast("float32")
    check_samples(x.shape)
    shift, factor = (np.array(attributes.get(name, ()), dtype=np.float32) for name in ("offset", "scale"))
    if shift.size not in (1, x.shape[-1]) or factor.size != shift.size:
        raise UnsupportedUse(
            f"its {shift.size} offsets and {factor.size} factors are not one of each, or one per feature"
        )
    return [builder.scale(builder.add(x, -shift), factor)]


def _imputer(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    if not np.isnan(attributes.get("replaced_value_float", 0.0)):
        raise UnsupportedUse("it replaces numbers other than NaN")
    return [tensor(inputs[0])]


def _feature_extractor(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, places = tensor(inputs[0]), constant(inputs[1], "list of features").reshape(-1).astype(np.int64)
    if (places < 0).any():
        raise UnsupportedUse("its list of features holds negative numbers, which runtimes refuse")
    return [builder.move(x, lambda entries: entries[..., places])]


def _feature_vectorizer(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    builder.check_cast("float32")
    parts = [present(value) for value in inputs]
    # Runtimes cut or fill up parts of other widths.
    if [value.shape[1:] for value in parts] != [(width,) for width in attributes.get("inputdimensions", ())]:
        raise UnsupportedUse("its inputs are no lists of samples with as many features as its inputdimensions say")
    return [builder.concat(parts, -1)]


CLASSICAL: dict[str, Handler] = {
    "ArrayFeatureExtractor": _feature_extractor,
    "FeatureVectorizer": _feature_vectorizer,
    "Imputer": _imputer,
    "LinearRegressor": _linear_regressor,
    "Scaler": _scaler,
}
"""Handlers by operator name."""
