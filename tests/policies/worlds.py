"""Small environments of our own, and policies whose returns in them are known."""

import numpy as np

import admm_verify as av
from admm_verify.network.layers import network_from_layers


def chooser(matrix, bias=None, name="chooser"):
    """A policy of discrete actions with linear scores."""
    weight = np.asarray(matrix, dtype=np.float64)
    shift = np.zeros(len(weight)) if bias is None else np.asarray(bias, dtype=np.float64)
    return av.Policy(network_from_layers([weight], [shift], name), av.DiscreteActions(len(weight)))


def steering(matrix, low, high, name="steering"):
    """A policy of continuous actions, linear in the observation."""
    weight = np.asarray(matrix, dtype=np.float64)
    ends = np.full(len(weight), float(low)), np.full(len(weight), float(high))
    return av.Policy(network_from_layers([weight], [np.zeros(len(weight))], name), av.ContinuousActions(*ends))


class Corridor:
    """x moves by the action's sign and a push of its own; a step earns 1 until |x| >= 1, which ends it.

    The action 1 goes up, 0 down, as far as 0.3; observed are x and twice x.
    """

    def __init__(self, limit=20, kind=np.float64):
        self.limit, self.kind, self.x, self.steps = limit, kind, 0.0, 0

    def reset(self, seed=None):
        self.rng = np.random.default_rng(seed)
        self.x, self.steps = float(self.rng.uniform(-0.2, 0.2)), 0
        return self.seen(), {}

    def seen(self):
        return np.array([self.x, 2.0 * self.x], dtype=self.kind)

    def step(self, action):
        # Taking anything else for an action would hide a mistake.
        assert action in (0, 1) and isinstance(action, int)
        self.x += (0.3 if action == 1 else -0.3) + float(self.rng.uniform(-0.05, 0.05))
        self.steps += 1
        over = abs(self.x) >= 1.0
        return self.seen(), 1.0, over, self.steps >= self.limit and not over, {}


class Listed(Corridor):
    """Observations as lists, as of gym: no seed, no notes at reset, four results of a step."""

    def reset(self):
        self.rng = getattr(self, "rng", np.random.default_rng(5))
        self.x, self.steps = float(self.rng.uniform(-0.2, 0.2)), 0
        return list(self.seen())

    def step(self, action):
        seen, reward, over, cut, _ = super().step(action)
        return list(seen), reward, over or cut, {"TimeLimit.truncated": cut}


class Trap:
    """The action 1 earns 1 at once, and nothing is earned from the third step after it on; 0 earns 0.9 until then.

    What is observed never changes.
    """

    def __init__(self):
        self.trapped, self.steps = 0, 0

    def reset(self, seed=None):
        self.trapped, self.steps = 0, 0
        return np.array([0.5]), {}

    def step(self, action):
        self.steps += 1
        self.trapped += int(action) or bool(self.trapped)
        reward = 0.0 if self.trapped > 3 else 1.0 if action else 0.9
        return np.array([0.5]), reward, False, self.steps >= 12, {}


class Slider:
    """x goes where the action says, and costs its square; observed exactly."""

    def reset(self, seed=None):
        self.x, self.steps = 1.0, 0
        return np.array([self.x], dtype=np.float32), {}

    def step(self, action):
        assert action.shape == (1,) and action.dtype == np.float64
        self.x += float(action[0])
        self.steps += 1
        return np.array([self.x], dtype=np.float32), -(self.x**2), False, self.steps >= 10, {}


UPRIGHT = chooser([[1.0, 0.0], [-1.0, 0.0]], name="upright")
"""Goes down where x is positive, up elsewhere, which keeps x within 0.6 in a corridor."""
