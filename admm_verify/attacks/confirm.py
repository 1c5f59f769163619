"""Confirmed counterexamples: a point counts once the network itself, run on it, satisfies the query exactly."""

from fractions import Fraction

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.network.onnx_runtime import runtime_output
from admm_verify.properties.property import Disjunct
from admm_verify.properties.query import Query
from admm_verify.properties.rows import inner_box


def confirm(query: Query, disjunct: Disjunct, x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A point near x that satisfies the disjunct when the network itself is run on it, with its output; else None.

    Shapes: x [inputs] -> [*input_shape], [*output_shape] in the network's element type.
    """
    network = query.network
    dtype = np.float64 if network.element_type == "float64" else np.float32
    lower, upper = inner_box(disjunct, dtype)
    with quiet_overflow():
        point = np.minimum(np.maximum(x.astype(dtype), lower), upper)
    if not np.isfinite(point).all():
        return None
    exact = [Fraction(float(value)) for value in point]
    if not disjunct.box.holds(exact):
        return None
    with quiet_overflow():
        own = to_numpy(network(point.reshape(network.input_shape))).reshape(-1)
    if not _holds(disjunct, own, exact):
        return None
    replayed = None if query.model is None else runtime_output(query.model, point)
    output = own if replayed is None else replayed
    if not _holds(disjunct, output, exact):
        return None
    return point.reshape(network.input_shape), output.reshape(network.output_shape)


def _holds(disjunct: Disjunct, output: np.ndarray, exact: list[Fraction]) -> bool:
    return bool(np.isfinite(output).all()) and disjunct.holds(exact, [Fraction(float(value)) for value in output])
