"""Networks from plain arrays."""

from collections.abc import Sequence

import numpy as np

from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import DenseMap
from admm_verify.network.simplify import simplify


def network_from_layers(
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    input_shape: tuple[int, ...] | None = None,
    name: str = "network",
) -> Network:
    """A fully connected network with ReLU between the layers y = weight x + bias.

    Shapes: weights[k] [n_k+1, n_k]; biases[k] [n_k+1]; input_shape [n_0] unless given.
    """
    size = weights[0].shape[1]
    nodes: list[Node] = [Input(size)]
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if k > 0:
            nodes.append(Activation("relu", len(nodes) - 1, weight.shape[1]))
        matrix, shift = np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)
        nodes.append(Affine((Term(len(nodes) - 1, DenseMap(matrix)),), shift, np.abs(shift)))
    shape = (size,) if input_shape is None else input_shape
    return simplify(Network(tuple(nodes), shape, (biases[-1].shape[0],), name))
