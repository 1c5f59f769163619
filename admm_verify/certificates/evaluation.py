"""How far a network computed in floating point can be from the network in real numbers."""

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, gamma
from admm_verify.certificates.ranges import CheckedNetwork, CheckedRanges
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Affine
from admm_verify.network.originals import are_charged
from admm_verify.run import paced


def evaluation_error(model: CheckedNetwork, ranges: CheckedRanges, arithmetic: str) -> np.ndarray:
    """Bound on |floating point evaluation - real value| of each output over each box, of a model in float64; zeros for
    "real".

    e_y = M e_x + gamma_N (M (max|x| + e_x) + bias_magnitude) through affine nodes, with gamma in the type's unit
    roundoff; e_y = max|phi'| e_x + the function's own roundings through activations.

    Shapes: [boxes, outputs].
    Valid when: products are rounded to the type or better, sums are of any order.
    Raises: CertificateError where a value can come near the type's largest number.
    Reference: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    if arithmetic == "real":
        return np.zeros(ranges.lower[-1].shape)
    single = arithmetic == "float32"
    roundoff, limit = (SINGLE_ROUNDOFF, 2.0**126) if single else (DOUBLE_ROUNDOFF, 2.0**1022)
    if not are_charged((model.network.as_read or model.network).nodes):
        raise CertificateError(
            f"The network computes a normalisation, of whose errors in {arithmetic} nothing is known. Prove it in real "
            "numbers."
        )
    # What is flushed to zero, even in float32: one smallest normal number per operation.
    tiny, spare = 2.0**-126 * model.roundings, 1.0 + 1e-9
    reach = [np.maximum(abs(ranges.lower[0]), abs(ranges.upper[0]))]
    error, largest = [np.zeros(reach[0].shape)], [np.max(reach[0])]
    for i, node, k in paced(model.network.steps):
        if node is not None:
            shape = len(reach[0]), node.size
            inflated, carried = np.broadcast_to(node.bias_magnitude, shape), np.zeros(shape)
            for term in node.terms:
                size = reach[term.source] + error[term.source]
                inflated = term.map.magnitude_apply(size) + inflated
                carried = term.map.magnitude_apply(error[term.source]) + carried
                # Merged nodes hide values that may be larger than those before and after.
                largest.append(len(node.terms) * node.peak_gain * np.max(size) + node.peak_shift)
            relative = gamma(node.roundings, roundoff)
            if relative == float("inf"):
                raise CertificateError(f"A node sums too many products to be computed in {arithmetic}.")
            error.append((carried + relative * inflated + tiny) * spare)
            reach.append(inflated)
            largest.append(np.max(inflated + error[i]))
        else:
            kind, source = model.kinds[k], model.network.sources[k]
            before = error[source]
            low, high = ranges.lower[source] - before, ranges.upper[source] + before
            read = model.network.nodes[source]
            if isinstance(read, Affine) and read.nonnegative:
                low = np.maximum(low, 0.0)
            ends = kind.image(model.numbers, low, high)
            reach.append(np.maximum(abs(ends[0]), abs(ends[1])))
            carried = kind.carried(low, high, before) * spare
            own = kind.own_error(low, high, reach[i], roundoff)
            error.append(carried + own + (tiny if kind.evaluation_roundings > 0 else 0.0))
            largest.append(np.max(reach[i] + error[i]))
    if not all(size <= limit for size in largest):
        raise CertificateError(f"Values of the network may overflow in {arithmetic}, of which no bound says anything.")
    return error[-1]


def output_reach(ranges: CheckedRanges, error: np.ndarray) -> np.ndarray:
    """A bound on the size of every output over each box where what is computed is off by so much, [boxes].

    Error: rounded upward.
    Shapes: error [boxes, outputs].
    """
    size = np.maximum(abs(ranges.lower[-1]), abs(ranges.upper[-1])) + error
    return 1.0000001 * np.max(size, axis=-1)
