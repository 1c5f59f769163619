"""Fully connected ReLU networks straight from their matrices."""

from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import Array, to_numpy
from admm_verify.errors import ModelError
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import DenseMap
from admm_verify.network.simplify import simplify


def network_from_layers(weights: Sequence[Array], biases: Sequence[Array], name: str = "network") -> Network:
    """f(x) = W_L relu(... relu(W_1 x + b_1) ...) + b_L.

    Shapes: weights[k] [n_{k+1}, n_k]; biases[k] [n_{k+1}].
    Raises: ModelError for shapes that do not chain, NaN or infinite numbers.
    """
    if not weights or len(weights) != len(biases):
        raise ModelError(f"{len(weights)} weights and {len(biases)} biases were given; give one bias per weight.")
    nodes: list[Node] = [Input(to_numpy(weights[0]).shape[1])]
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        matrix, shift = to_numpy(weight).astype(np.float64), to_numpy(bias).astype(np.float64)
        width = nodes[-1].size
        if matrix.shape != (len(shift), width):
            raise ModelError(
                f"Weight {k} has shape {matrix.shape}, bias {k} {shift.shape}, and the layer below {width} outputs; "
                f"the weight must be [{len(shift)}, {width}]."
            )
        nodes.append(Affine((Term(len(nodes) - 1, DenseMap(matrix)),), shift, np.abs(shift)))
        if k < len(weights) - 1:
            nodes.append(Activation("relu", len(nodes) - 1, len(shift)))
    network = simplify(Network(tuple(nodes), (nodes[0].size,), (nodes[-1].size,), name))
    network.check_finite()
    return network
