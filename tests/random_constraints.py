"""Random problems with constraints on the input, the output and hidden values around those of a point."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import admm_verify as av
from tests.random_networks import chain


@dataclass(frozen=True, eq=False)
class ConstrainedCase:
    """A problem, the same without constraints, and an input around whose values the constraints were drawn."""

    problem: av.Problem
    free: av.Problem
    x: np.ndarray


def constrained_case(
    seed: int, shift: tuple[float, float] = (-0.05, 0.5), rows: int = 2, scale: float = 1.0
) -> ConstrainedCase:
    """A chain of dense layers; shift: how far constraints are moved from the point, shares of what they vary."""
    rng = np.random.default_rng([seed, 11])
    depth, inputs = int(rng.integers(1, 4)), int(rng.integers(2, 8))
    widths = [inputs, *(int(rng.integers(4, 16)) for _ in range(depth)), int(rng.integers(2, 5))]
    weights = [rng.standard_normal((o, i)) * np.sqrt(2 / i) for i, o in pairwise(widths)]
    network = chain(weights, [scale * rng.standard_normal(o) * 0.3 for o in widths[1:]])
    centre, radius = scale * rng.standard_normal(inputs), scale * rng.uniform(0.1, 1.0)
    box = av.Box(centre - radius, centre + radius)
    x = box.sample(1, rng)[0]
    values = network.evaluate(x[None])

    def near(places: dict, count: int) -> av.Constraint:
        coefficients, offset, size = {}, np.zeros(count), np.zeros(count)
        for place, value in places.items():
            coefficients[place] = rng.standard_normal((count, len(value)))
            offset -= coefficients[place] @ value
            size += np.abs(coefficients[place]).sum(axis=1) * radius
        return av.Constraint(coefficients, offset - size * rng.uniform(*shift, count))

    constraints = [near({"input": x}, int(rng.integers(1, 4)))]
    kind, k = int(rng.integers(4)), int(rng.integers(depth))
    pre, post = values[network.sources[k]][0], values[network.activations[k]][0]
    if kind >= 1:
        constraints.append(near({"output": values[-1][0]}, 2))
    if kind >= 2:
        constraints.append(near({("post", k): post, ("pre", k): pre, "input": x}, 1))
    if kind == 3:
        neuron = int(rng.integers(len(pre)))
        constraints.append(av.Constraint.split(network, k, neuron, 1 if pre[neuron] > 0 else -1))
    objective = rng.standard_normal((2, widths[-1]))
    free = av.Problem(network, box, objective)
    return ConstrainedCase(av.Problem(network, box, objective, constraints=constraints), free, x)
