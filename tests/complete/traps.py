"""Networks with a known point of interest that bounds and attacks get wrong easily, all in numbers of float32.

Needles that are zero but for a tiny region, plateaus whose gradient vanishes, large weights that cancel, denormal
numbers, and values next to the largest number.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np

from admm_verify import Network
from admm_verify.network.graph import Activation, Affine, Input, Node, Term
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from tests.reference.pieces import ExactPieces

Randomness = np.random.Generator


@dataclass(frozen=True, eq=False)
class Trap:
    """A network of one output, a box and points of interest in it, all exact in float32."""

    network: Network
    lower: np.ndarray
    upper: np.ndarray
    points: np.ndarray


def single(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, dtype=np.float32).astype(np.float64)


def chain(weights: list[np.ndarray], biases: list[np.ndarray]) -> Network:
    with np.errstate(under="ignore", over="ignore"):
        return network_from_layers(list(map(single, weights)), list(map(single, biases)), "trap")


def _box(inputs: int) -> tuple[np.ndarray, np.ndarray]:
    return -np.ones(inputs), np.ones(inputs)


def _place(rng: Randomness, inputs: int, step: float) -> np.ndarray:
    """A point on a grid on which differences to it are exact."""
    return np.rint(rng.uniform(-0.9, 0.9, inputs) / step) * step


def needle(rng: Randomness) -> Trap:
    """y = -relu(sum_i hat((x_i - p_i) / w) - (n - 1/2)): 0 but for a box of width w around p, where it is -1/2."""
    inputs, exponent = int(rng.integers(2, 6)), int(rng.integers(10, 18))
    width = 2.0**-exponent
    p = _place(rng, inputs, width)
    first = np.repeat(np.eye(inputs), 3, axis=0) / width
    shift = np.concatenate([[1 - x / width, -x / width, -1 - x / width] for x in p])
    hats = np.tile([1.0, -2.0, 1.0], inputs)[None]
    weights = [first, hats, -np.ones((1, 1))]
    network = chain(weights, [shift, np.array([0.5 - inputs]), np.zeros(1)])
    return Trap(network, *_box(inputs), np.stack([p, single(p + width / 4)]))


def dead(rng: Randomness) -> Trap:
    """Several needles behind layers of ReLUs that are off everywhere else."""
    inputs, width = int(rng.integers(2, 4)), 2.0**-12
    points = np.stack([_place(rng, inputs, width) for _ in range(3)])
    first = np.concatenate([np.repeat(np.eye(inputs), 2, axis=0) * np.tile([1, -1], inputs)[:, None] for _ in points])
    shift = np.concatenate([np.stack([-p, p], axis=1).reshape(-1) for p in points])
    # relu(1 - |x - p|_1 / w) each, then what exceeds the height of one of them.
    second = np.kron(np.eye(3), -np.ones((1, 2 * inputs)) / width)
    heights = rng.permutation([1.0, 1.5, 2.0])
    weights = [first, second, heights[None], -np.ones((1, 1))]
    network = chain(weights, [shift, np.ones(3), np.array([-1.25]), np.zeros(1)])
    return Trap(network, *_box(inputs), points)


def plateau(rng: Randomness) -> Trap:
    """Sigmoids saturated but for slabs of width 1e-3 to 1e-5, whose crossing holds p."""
    inputs, steep = int(rng.integers(2, 5)), 2.0 ** int(rng.integers(14, 20))
    width = 2.0 ** -int(rng.integers(10, 14))
    p = _place(rng, inputs, width)
    first = np.repeat(np.eye(inputs), 2, axis=0) * steep
    shift = np.concatenate([[steep * (width - x), -steep * (width + x)] for x in p])
    nodes: list[Node] = [Input(inputs)]

    def affine(weight: np.ndarray, bias: np.ndarray) -> None:
        nodes.append(Affine((Term(len(nodes) - 1, DenseMap(single(weight))),), single(bias), np.abs(single(bias))))

    affine(first, shift)
    nodes.append(Activation("sigmoid", 1, 2 * inputs))
    affine(np.tile([4.0, -4.0], inputs)[None], np.array([2.0 - 4 * inputs]))
    nodes.append(Activation("sigmoid", 3, 1))
    affine(-np.ones((1, 1)), np.zeros(1))
    return Trap(Network(tuple(nodes), (inputs,), (1,), "plateau"), *_box(inputs), p[None])


def cancelling(rng: Randomness) -> Trap:
    """Pairs of neurons that differ by little, with weights +-M, and a small ordinary network beside them."""
    inputs, size = int(rng.integers(2, 5)), 10.0 ** rng.uniform(6, 12)
    pairs = int(rng.integers(1, 4))
    row = single(rng.standard_normal((pairs, inputs)))
    nearly = np.nextafter(row.astype(np.float32), np.float32(9) * (rng.random(row.shape) < 0.5)).astype(np.float64)
    first = np.concatenate([row, nearly, rng.standard_normal((3, inputs))])
    bias = rng.standard_normal(pairs)
    shift = np.concatenate([bias, bias, rng.standard_normal(3)])
    output = np.concatenate([np.full(pairs, size), np.full(pairs, -size), rng.standard_normal(3)])[None]
    if rng.random() < 0.5:
        # The pair cancels one layer later.
        second = np.concatenate([output, rng.standard_normal((2, output.shape[1]))])
        weights = [first, second, rng.standard_normal((1, 3))]
        biases = [shift, rng.standard_normal(3), rng.standard_normal(1)]
    else:
        weights, biases = [first, output], [shift, rng.standard_normal(1)]
    return _sampled(chain(weights, biases), *_box(inputs), rng)


def denormal(rng: Randomness) -> Trap:
    """Weights or inputs near or below the smallest normal number of float32 or float64."""
    inputs = int(rng.integers(1, 4))
    exponent = float(rng.choice([-42, -39, -30, -160, -310, -320]))
    scale = 10.0**exponent
    down, up = (scale, 1.0) if rng.random() < 0.5 else (1.0, scale)
    weights = [rng.standard_normal((4, inputs)) * up, rng.standard_normal((3, 4)), rng.standard_normal((1, 3))]
    biases = [0.3 * rng.standard_normal(4) * scale, 0.3 * rng.standard_normal(3) * scale, np.zeros(1)]
    lower, upper = (single(end * down) if exponent > -45 else end * down for end in _box(inputs))
    make = chain if exponent > -45 else _double
    return _sampled(make(weights, biases), lower, upper, rng, exponent > -45)


def _double(weights: list[np.ndarray], biases: list[np.ndarray]) -> Network:
    """Numbers that float32 does not have."""
    return replace(network_from_layers(weights, biases, "trap"), element_type="float64")


def saturated(rng: Randomness) -> Trap:
    """Values on the way next to the largest number of float32, some beyond it, scaled back before the output."""
    inputs = int(rng.integers(1, 4))
    size = float(rng.choice([1e38, 3e38, 1e37, 3.4e38, 1e30]))
    weights = [rng.uniform(-1, 1, (4, inputs)) * size, rng.uniform(-1, 1, (1, 4)) * float(rng.choice([1.0, 1e-30]))]
    biases = [0.1 * size * rng.standard_normal(4), np.zeros(1)]
    return _sampled(chain(weights, [np.clip(b, -3.4e38, 3.4e38) for b in biases]), *_box(inputs), rng)


def _sampled(network: Network, lower: np.ndarray, upper: np.ndarray, rng: Randomness, rounded: bool = True) -> Trap:
    """Points of the box where the output is least and greatest among samples."""
    x = lower + rng.random((200, len(lower))) * (upper - lower)
    x[:50] = np.where(rng.random((50, len(lower))) < 0.5, lower, upper)
    x = np.clip(single(x), lower, upper) if rounded else x
    with np.errstate(all="ignore"):
        y = network(x)[:, 0]
    return Trap(network, lower, upper, x[[int(y.argmin()), int(y.argmax()), 7]])


KINDS: dict[str, Callable[[Randomness], Trap]] = {
    "needle": needle,
    "dead": dead,
    "plateau": plateau,
    "cancelling": cancelling,
    "denormal": denormal,
    "saturated": saturated,
}


def exact_ends(network: Network, x: np.ndarray) -> tuple[Fraction, Fraction]:
    """Bounds on the output in real numbers at x; equal where there are no curves."""
    if all(network.nodes[i].kind in ("relu", "prelu") for i in network.activations):
        value = ExactPieces(network).values(x)[-1][0]
        return value, value
    return _with_sigmoids(network, x)


def _with_sigmoids(network: Network, x: np.ndarray) -> tuple[Fraction, Fraction]:
    """Sixty digits, of which the last twenty are given away."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**12), 10**12
        values = [[Decimal(float(v)) for v in x]]
        for node in network.nodes[1:]:
            if isinstance(node, Activation):
                assert node.kind == "sigmoid"
                values.append([1 / (1 + (-v).exp()) for v in values[node.source]])
                continue
            assert isinstance(node, Affine)
            (term,) = node.terms
            weight, source = term.map.dense().weight, values[term.source]
            values.append(
                [
                    sum((Decimal(float(w)) * v for w, v in zip(row, source, strict=True)), Decimal(float(b)))
                    for row, b in zip(weight, node.bias, strict=True)
                ]
            )
        (value,) = values[-1]
        slack = Decimal(10) ** -40 * (1 + abs(value))
        return Fraction(value - slack), Fraction(value + slack)


def _in_turn(weight: np.ndarray, x: np.ndarray, bias: np.ndarray, order: np.ndarray, last: bool) -> np.ndarray:
    """One sum in float32 with every rounding of its own, the bias first or last."""
    total = np.zeros_like(bias) if last else bias.copy()
    for j in order:
        total = total + weight[:, j] * x[j]
    return total + bias if last else total


def evaluations(network: Network, x: np.ndarray, seed: int = 0) -> list[float]:
    """The output in the network's own type, in several orders of summation."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(network.element_type)
    with np.errstate(all="ignore"):
        found = [float(network(x.astype(dtype))[0])]
        for manner in range(6):
            values = [x.astype(dtype)]
            for node in network.nodes[1:]:
                if isinstance(node, Activation):
                    values.append(node(values[node.source]))
                    continue
                assert isinstance(node, Affine)
                (term,) = node.terms
                weight, source = term.map.dense().weight.astype(dtype), values[term.source]
                order = np.arange(len(source))[:: -1 if manner % 2 else 1]
                order = rng.permutation(order) if manner >= 4 else order
                values.append(_in_turn(weight, source, node.bias.astype(dtype), order, manner // 2 == 1))
            assert values[-1].dtype == dtype
            found.append(float(values[-1][0]))
    return found
