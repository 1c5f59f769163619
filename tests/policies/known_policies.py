"""Small policies made by hand, and trajectories of them under noise of all kinds."""

import numpy as np

import admm_verify as av
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from admm_verify.policies.returns.known_environments import KnownEnvironment

WITHIN = 0.999
"""Share of the radius that simulated noise takes: policies are evaluated in float64, certified in real numbers."""


def curved(weights: list[np.ndarray], biases: list[np.ndarray]) -> Network:
    """A network of two layers with tanh between them."""
    builder = Builder((weights[0].shape[1],), "float64")
    first = Tensor(builder.affine(builder.input, DenseMap(weights[0]), biases[0]), biases[0].shape)
    bent = builder.activation("tanh", first)
    return builder.finish(Tensor(builder.affine(bent, DenseMap(weights[1]), biases[1]), biases[1].shape), "curved")


def balancing(hidden: bool = False) -> av.Policy:
    """A policy that balances CartPole: push to where 16 x + 60 v + 153 angle + 62 speed points."""
    w = np.array([[0.16, 0.6, 1.53, 0.62]])
    if hidden:
        # tanh keeps the sign of each part, and is nearly straight there.
        weights = [0.2 * np.eye(4), np.concatenate([-5.0 * w, 5.0 * w])]
        network = curved(weights, [np.zeros(4), np.array([0.01, -0.01])])
    else:
        network = network_from_layers([np.concatenate([-w, w])], [np.zeros(2)], "balancing")
    return av.Policy(network, av.DiscreteActions(2))


def swinging() -> av.Policy:
    """A policy that pushes MountainCar along its speed, and does nothing where it hardly moves."""
    weights = np.array([[0.0, -20.0], [0.0, 0.0], [0.0, 20.0]])
    network = network_from_layers([weights], [np.array([-0.01, 0.0, -0.01])], "swinging")
    return av.Policy(network, av.DiscreteActions(3))


def upright(seed: int = 0) -> av.Policy:
    """A policy of two layers that holds the pendulum of (cos, sin, speed) up, nearly."""
    rng = np.random.default_rng(seed)
    first = np.array([[0.1, -2.0, -0.5], [0.0, 1.5, 0.4], [0.2, 0.3, -0.2]]) + 0.05 * rng.standard_normal((3, 3))
    network = curved([first, np.array([[1.5, -1.5, 0.2]])], [np.zeros(3), np.zeros(1)])
    return av.Policy(network, av.ContinuousActions(np.array([-2.0]), np.array([2.0])))


def played(
    policy: av.Policy, environment: KnownEnvironment, state: np.ndarray, radius: np.ndarray, steps: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """States [points, n] at all steps, which of them go on, and what each earned, under noise.

    A quarter of the trajectories sees random noise, a quarter random corners, the others the noise that moves the
    difference of the outer scores, or the action, up or down most among some corners: for good, or turn by turn.
    """
    rng = np.random.default_rng(seed)
    count, table = len(state), environment.actions
    kind, aim = np.arange(count) % 4, rng.choice([-1.0, 1.0], count)
    states, going, earned = [state], [np.ones(count, dtype=bool)], np.zeros(count)
    corners = rng.choice([-1.0, 1.0], (8, radius.size))
    for t in range(steps):
        seen = environment.seen(state)
        noise = np.where((kind == 0)[:, None], rng.uniform(-1, 1, seen.shape), rng.choice([-1.0, 1.0], seen.shape))
        tried = np.stack([lead(policy, seen + corner * radius) for corner in corners])
        wanted = aim * np.where(kind == 3, np.sign(np.sin(0.3 * t) + 1e-9), 1.0)
        noise = np.where((kind >= 2)[:, None], corners[np.argmax(tried * wanted, axis=0)], noise)
        outputs = np.asarray(policy.network.evaluate(seen + WITHIN * noise * radius)[-1])
        control = outputs if table is None else table[np.argmax(outputs, axis=1)]
        earned = np.where(going[-1], earned + environment.earned(state, control), earned)
        state = environment.simulated(state, control)
        going.append(going[-1] & environment.goes_on(state))
        states.append(state)
        if not going[-1].any():
            break
    return states, going, earned


def lead(policy: av.Policy, seen: np.ndarray) -> np.ndarray:
    """The last output less the first, or the only one."""
    outputs = np.asarray(policy.network.evaluate(seen)[-1])
    return outputs[:, -1] - outputs[:, 0] if outputs.shape[1] > 1 else outputs[:, 0]
