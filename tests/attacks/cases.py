"""Targets on random networks, for the tests of the attacks."""

from itertools import pairwise

import numpy as np

from admm_verify import Box, Network
from admm_verify.attacks.targets import Targets
from admm_verify.network.layers import network_from_layers
from tests.random_layers import layer_case
from tests.random_networks import Case, chain, random_case


def of_case(case: Case, dtype=np.float64, atoms: int = 1) -> Targets:
    """A target per objective row, each with that row and further random ones as atoms."""
    rng, count = np.random.default_rng(7), len(case.offset)
    objective = rng.standard_normal((count, atoms, case.objective.shape[1]))
    offset = rng.standard_normal((count, atoms))
    objective[:, 0], offset[:, 0] = case.objective, case.offset
    lower, upper = (np.tile(np.reshape(end, -1), (count, 1)).astype(dtype) for end in (case.box.lower, case.box.upper))
    return Targets(Box(lower, upper), objective.astype(dtype), offset.astype(dtype))


def loss_at(network: Network, targets: Targets, x: np.ndarray) -> np.ndarray:
    """The losses of points [targets, inputs], by the definition."""
    y = network(x.reshape(-1, *network.input_shape)).reshape(len(x), -1)
    return np.max(np.einsum("tao,to->ta", targets.objective, y) + targets.offset, axis=1)


def mnist_like(seed: int = 0) -> tuple[Network, Targets]:
    """A network of 20 inputs, and nine targets of one atom with boxes around one point."""
    rng = np.random.default_rng(seed)
    sizes = (20, 30, 30, 10)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    network = network_from_layers(weights, [0.1 * rng.standard_normal(m) for m in sizes[1:]], "random")
    x = rng.uniform(-1, 1, (9, 20))
    objective = np.eye(10)[:1] - np.eye(10)[1:]
    return network, Targets(Box(x - 0.3, x + 0.3), objective[:, None, :], np.full((9, 1), 0.5))


def all_cases() -> list[tuple[Network, np.random.Generator]]:
    """Networks with every kind of activation node, dense ones and convolutional ones."""
    dense = [random_case(seed).network for seed in range(14)]
    layered = [layer_case(seed, smooth).network for seed in range(12) for smooth in (False, True)]
    return [(network, np.random.default_rng(i)) for i, network in enumerate(dense + layered)]


def kinds(networks: list[Network]) -> set[str]:
    return {node.kind for network in networks for node in network.functions}


def planted_linear() -> tuple[Network, Targets]:
    """f(x) = x on [-1, 1]^3 with hits in the corner region x_0 <= -0.9, x_1 >= 0.8 only."""
    network = chain([np.eye(3)], [np.zeros(3)])
    objective = np.array([[[1.0, 0, 0], [0, -1.0, 0]]])
    return network, Targets(Box(-np.ones((1, 3)), np.ones((1, 3))), objective, np.array([[0.9, 0.8]]))


def planted_convex() -> tuple[Network, Targets]:
    """f(x) = |x_0 - 0.3| + |x_1 + 0.2|, to be at most 0.01: a small diamond."""
    first = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    network = chain([first, np.ones((1, 4))], [np.array([-0.3, 0.3, 0.2, -0.2]), np.zeros(1)])
    return network, Targets(Box(-np.ones((1, 2)), np.ones((1, 2))), np.ones((1, 1, 1)), np.full((1, 1), -0.01))
