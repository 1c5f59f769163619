"""Makers of pairs: the same network with weights rounded, quantised, pruned, trained a little further, or disturbed.

Each takes a network of the library, whatever it was read from (`av.read_onnx`, `av.read_nnet`, `av.trace`), and returns
another of the same inputs and outputs. Weights are the matrices and kernels of a network as it was read; constants that
rewrite a function into others (softmax, normalisation by the value itself) stay as they are. New numbers are float32
ones, so that the second network can be deployed as it is verified. Neurons are removed of, and training goes on in,
fully connected networks of rectifiers alone.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from admm_verify import Network
from admm_verify.arrays import to_numpy
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Node, Term
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap, LinearMap, TransposedMap
from admm_verify.network.simplify import simplify

Change = Callable[[np.ndarray], np.ndarray]
"""What becomes of a matrix [outputs, inputs], kernels flat, or of a bias [outputs]; the result has the same shape."""


def half(network: Network) -> Network:
    """Every weight and bias rounded to IEEE binary16, the 16-bit networks of NeuroDiff.

    Raises: ValueError where one is too large for it.
    """
    return changed(network, _half, _half, "16bit")


def quantised(network: Network, bits: int = 8, per_channel: bool = True) -> Network:
    """Weights as whole numbers q of so many bits times a scale, q s with s = max|w| / (2^(bits - 1) - 1), ties to even.

    per_channel: a scale for each output of a layer, else one for each layer. Biases stay, as quantisers keep them in 32
    bits.
    Raises: ValueError for fewer than 2 or more than 16 bits.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"Weights of {bits} bits were asked for; give 2 to 16.")
    top = float(2 ** (bits - 1) - 1)

    def change(weight: np.ndarray) -> np.ndarray:
        largest = np.abs(weight).max(axis=1 if per_channel else None, keepdims=True)
        scale = (largest / top).astype(np.float32)
        whole = np.rint(weight / np.where(scale > 0, scale, 1.0).astype(np.float64))
        # As DequantizeLinear computes it.
        return np.clip(whole, -top, top).astype(np.float32) * scale

    return changed(network, change, _same, f"int{bits}")


def pruned(network: Network, share: float) -> Network:
    """The share of each layer's weights that are smallest in magnitude set to zero, rounded down; biases stay.

    Raises: ValueError for shares outside [0, 1].
    """
    _check_share(share)

    def change(weight: np.ndarray) -> np.ndarray:
        flat = weight.reshape(-1).copy()
        flat[np.argsort(np.abs(flat), kind="stable")[: int(share * flat.size)]] = 0.0
        return flat.reshape(weight.shape)

    return changed(network, change, _same, f"pruned {share:g}")


def noisy(network: Network, sigma: float, seed: int = 0) -> Network:
    """Every weight and bias times 1 + sigma N(0, 1), drawn for each by itself: a lookalike.

    The same seed draws the same numbers for every sigma.
    """
    rng = np.random.default_rng(seed)

    def change(numbers: np.ndarray) -> np.ndarray:
        return numbers * (1.0 + sigma * rng.standard_normal(numbers.shape))

    return changed(network, change, change, f"noise {sigma:g}")


def thinned(network: Network, share: float) -> Network:
    """The share of each hidden layer's neurons with the smallest |incoming| |outgoing| weights removed, rounded down,
    and whatever is dead then: layers get narrower. At least one neuron is left in each layer.

    Raises: ValueError for shares outside [0, 1] and for networks that are no chains of dense layers and rectifiers.
    """
    _check_share(share)
    weights, biases = layers_of(network)
    for k in range(len(weights) - 1):
        # Measured on what earlier layers have left.
        size = np.linalg.norm(weights[k], axis=1) * np.linalg.norm(weights[k + 1], axis=0)
        gone = np.argsort(size, kind="stable")[: min(int(share * len(size)), len(size) - 1)]
        kept = np.delete(np.arange(len(size)), gone)
        weights[k], biases[k], weights[k + 1] = weights[k][kept], biases[k][kept], weights[k + 1][:, kept]
    return without_dead(network_from_layers(weights, biases, f"{network.name} thinned {share:g}"))


def without_dead(network: Network) -> Network:
    """Neurons removed that nothing reads, or that read nothing: what these add to the next layer joins its bias, in
    float32. At least one neuron is left in each layer.

    Raises: ValueError for networks that are no chains of dense layers and rectifiers.
    """
    weights, biases = layers_of(network)
    for k in range(len(weights) - 1):
        silent = ~weights[k].any(axis=1)
        biases[k + 1] = biases[k + 1] + weights[k + 1][:, silent] @ np.maximum(biases[k][silent], 0.0)
        weights[k + 1][:, silent] = 0.0
    # From the end: a neuron that only removed ones read goes, too.
    for k in reversed(range(len(weights) - 1)):
        kept = np.flatnonzero(weights[k + 1].any(axis=0))
        kept = kept if len(kept) else np.arange(1)
        weights[k], biases[k], weights[k + 1] = weights[k][kept], biases[k][kept], weights[k + 1][:, kept]
    return network_from_layers([_single(w) for w in weights], [_single(b) for b in biases], network.name)


def fine_tuned(
    network: Network, images: np.ndarray, labels: np.ndarray, steps: int = 10, rate: float = 0.01
) -> Network:
    """The network after some steps of gradient descent on the cross-entropy of all images, in a fixed order of sums.

    Shapes: images [count, inputs], labels [count].
    Raises: ValueError for networks that are no chains of dense layers and rectifiers.
    """
    weights, biases = layers_of(network)
    count, rows = len(images), np.arange(len(images))
    for _ in range(steps):
        values = [np.asarray(images, dtype=np.float64).reshape(count, -1)]
        for weight, bias in zip(weights, biases, strict=True):
            values.append(np.maximum(values[-1] @ weight.T + bias, 0.0))
        scores = values[-2] @ weights[-1].T + biases[-1]
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        back = likely / likely.sum(axis=1, keepdims=True)
        back[rows, labels] -= 1.0
        for k in reversed(range(len(weights))):
            slope, shift = back.T @ values[k] / count, back.mean(axis=0)
            back = (back @ weights[k]) * (values[k] > 0)
            weights[k], biases[k] = weights[k] - rate * slope, biases[k] - rate * shift
    name = f"{network.name} tuned"
    return network_from_layers([_single(w) for w in weights], [_single(b) for b in biases], name)


def changed(network: Network, weights: Change, biases: Change, name: str) -> Network:
    """The network with other weights and biases, its name followed by one that says which.

    Raises: ValueError for networks that read whole numbers.
    """
    if type(network) is not Network:
        raise ValueError(f"{network.name} reads whole numbers; give a network of real ones.")
    read = network.as_read or network
    # What is not computed relaxes a function that is: its numbers are that function's.
    computed = {i for i, _ in read.schedule}
    nodes = tuple(_node(node, weights, biases) if i in computed else node for i, node in enumerate(read.nodes))
    made = simplify(replace(read, nodes=nodes, name=f"{network.name} {name}"))
    made.check_finite()
    return replace(made, input_shape=network.input_shape, output_shape=network.output_shape, head=network.head)


def layers_of(network: Network) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The matrices and biases of a chain of dense layers with rectifiers between them, affine ones merged.

    Raises: ValueError for another network.
    """
    weights, biases = [], []
    for k, node in enumerate(network.nodes[1:]):
        chained = isinstance(node, Activation) and node.kind == "relu" and node.source == k
        if k % 2:
            if not chained:
                raise ValueError(f"{network.name} is no chain of dense layers and rectifiers.")
            continue
        if not isinstance(node, Affine) or [term.source for term in node.terms] != [k]:
            raise ValueError(f"{network.name} is no chain of dense layers and rectifiers.")
        weights.append(to_numpy(node.terms[0].map.dense().weight).copy())
        biases.append(to_numpy(node.bias).copy())
    return weights, biases


def _node(node: Node, weights: Change, biases: Change) -> Node:
    if not isinstance(node, Affine) or node.original is not None:
        return node
    terms = tuple(Term(term.source, _map(term.map, weights)) for term in node.terms)
    bias = _single(biases(to_numpy(node.bias)))
    return replace(node, terms=terms, bias=bias, bias_magnitude=np.abs(bias))


def _map(map: LinearMap, change: Change) -> LinearMap:
    """A map with other weights, which are what it holds now: nothing is left of how they were computed.

    Maps whose numbers are all the same, as those of pooling and of sums, have learnt nothing and stay.
    """
    turned = isinstance(map, TransposedMap)
    inner = map.inner if turned else map
    if not isinstance(inner, DenseMap | BlockMap | ConvolutionMap):
        return map
    weight = to_numpy(inner.weight)
    if weight.size > 1 and np.ptp(weight) == 0:
        return map
    if isinstance(inner, ConvolutionMap):
        own = replace(inner, weight=_kernels(weight, change, inner.groups if turned else None), magnitude=None)
    else:
        own = replace(inner, weight=_single(change(weight)), magnitude=None)
    return TransposedMap(own) if turned else own


def _kernels(weight: np.ndarray, change: Change, groups: int | None) -> np.ndarray:
    """Other kernels; groups: those of a transposed convolution, whose outputs are the second axis, group by group."""
    if groups is None:
        return _single(change(weight.reshape(len(weight), -1))).reshape(weight.shape)
    outputs, depth, *kernel = weight.shape
    turned = weight.reshape(groups, outputs // groups, depth, *kernel).swapaxes(1, 2)
    rows = _single(change(turned.reshape(groups * depth, -1))).reshape(turned.shape)
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(weight.shape)


def _single(numbers: np.ndarray) -> np.ndarray:
    """Numbers rounded to float32."""
    return numbers.astype(np.float32).astype(np.float64)


def _half(numbers: np.ndarray) -> np.ndarray:
    if np.abs(numbers).max(initial=0.0) > np.finfo(np.float16).max:
        raise ValueError("Some weights are too large for 16 bits.")
    return numbers.astype(np.float16).astype(np.float64)


def _same(numbers: np.ndarray) -> np.ndarray:
    return numbers


def _check_share(share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"A share of {share:g} was asked for; give one from 0 to 1.")
