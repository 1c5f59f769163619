"""Random tiny networks for distances."""

from itertools import pairwise

import numpy as np

from admm_verify import Network
from tests.nearest.exact import Chain
from tests.random_networks import chain

SCALES = (1e-6, 1e-2, 1.0, 1.0, 1.0, 1e3, 1e6)


def drawn(rng: np.random.Generator, inputs: int, outputs: int, hidden: list[int]) -> tuple[Chain, Network]:
    """A chain as it is enumerated, and as a network; sometimes with a dead layer or a scale of its own."""
    sizes = [inputs, *hidden, outputs]
    weights = [rng.standard_normal((b, a)) for a, b in pairwise(sizes)]
    biases = [0.5 * rng.standard_normal(size) for size in sizes[1:]]
    if rng.random() < 0.1:
        weights[0][0] = 0.0
    if rng.random() < 0.05:
        biases[0][:] = -100.0
    scale = rng.choice(SCALES)
    weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale
    return Chain(weights, biases), chain(weights, biases)
