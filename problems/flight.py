"""Bodies with twelve states and small ReLU networks that imitate linear-quadratic regulators.

States: position, velocity along the body's axes, roll, pitch and yaw, rates of turn about the body's axes.

- Rigid body: thrust along and torque about every axis, unit mass; after a push it comes back to rest at the origin.
  Positions and rates of turn start at exactly 0, as those of the airplane of ARCH-COMP's AINNCS category do.
- Quadrotor: one upward thrust beside hovering's and torques for roll and pitch, masses as in that category's QUAD; it
  climbs by a metre and hovers there.

Networks are trained on the spot, in seconds, on random states with one seed. The equations are Newton's and Euler's.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
import torch
from scipy.linalg import expm, solve_discrete_are

import admm_verify as av
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import evaluate
from admm_verify.network.layers import network_from_layers

STATES = 12
PERIOD = Fraction(1, 10)
WIDTH, SAMPLES, BATCHES, RATE = 32, 256, 800, 5e-3

_WAVES = [(f"{letter}{i}", f"{name}(x{i + 6})") for i in (1, 2, 3) for letter, name in (("s", "sin"), ("c", "cos"))]
_PATH = [
    "c2*c3*x4 + (s1*s2*c3 - c1*s3)*x5 + (c1*s2*c3 + s1*s3)*x6",
    "c2*s3*x4 + (s1*s2*s3 + c1*c3)*x5 + (c1*s2*s3 - s1*c3)*x6",
    "-s2*x4 + s1*c2*x5 + c1*c2*x6",
]
_TURN = ["x10 + (s1*x11 + c1*x12)*s2/c2", "c1*x11 - s1*x12", "(s1*x11 + c1*x12)/c2"]


@dataclass(frozen=True, eq=False)
class Flight:
    """A body, and the costs of the states that its regulator looks after and of its controls.

    Shapes: costs [12], 0 for states that nothing steers; controls [inputs]; most [inputs], the largest controls; goal
    [12]; reach [12], half the sides of the box of training states around the goal.
    """

    plant: av.Plant
    costs: np.ndarray
    controls: np.ndarray
    most: np.ndarray
    goal: np.ndarray
    reach: np.ndarray

    def teacher(self, states: np.ndarray) -> np.ndarray:
        """The regulator's controls, cut to the largest: [points, 12] -> [points, inputs]."""
        return np.clip((self.goal - states) @ self.gain.T, -self.most, self.most)

    @cached_property
    def gain(self) -> np.ndarray:
        """Of the regulator for the linearised plant at rest under controls held for a period, [inputs, 12]."""
        kept, inputs = np.flatnonzero(self.costs), self.plant.inputs
        jacobian = self._jacobian()[kept][:, [*kept, *range(STATES, STATES + inputs)]]
        big = expm(np.block([[jacobian], [np.zeros((inputs, len(kept) + inputs))]]) * float(PERIOD))[: len(kept)]
        a, b, effort = big[:, : len(kept)], big[:, len(kept) :], np.diag(self.controls)
        cost = solve_discrete_are(a, b, np.diag(self.costs[kept]), effort)
        gain = np.zeros((inputs, STATES))
        gain[:, kept] = np.linalg.solve(effort + b.T @ cost @ b, b.T @ cost @ a)
        return gain

    def _jacobian(self) -> np.ndarray:
        """Derivatives of the rates by states and controls at rest, [12, 12 + inputs], by central differences."""
        size, step = STATES + self.plant.inputs, 1e-5
        points = np.concatenate([np.eye(size), -np.eye(size)]) * step
        named = self.plant.values(list(points[:, :STATES].T), list(points[:, STATES:].T))
        rates = np.stack([np.broadcast_to(r, len(points)) for r in evaluate(self.plant.rates, named, FLOATS)])
        return (rates[:, :size] - rates[:, size:]) / (2.0 * step)

    def controller(self) -> av.Controller:
        """The pupil: least squares on random states, most of them near the goal."""
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        sizes = (STATES, WIDTH, WIDTH, self.plant.inputs)
        linear = [torch.nn.Linear(*pair) for pair in pairwise(sizes)]
        module = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
        optimiser = torch.optim.Adam(module.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, BATCHES)
        # So small products gain nothing from threads, which wait for each other beside other work.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for _ in range(BATCHES):
            shares = rng.uniform(-1, 1, (SAMPLES, STATES)) * rng.uniform(0, 1, (SAMPLES, 1))
            wanted = self.teacher(self.goal + self.reach * shares) / self.most
            found = module(torch.tensor(shares, dtype=torch.float32))
            loss = torch.mean((found - torch.tensor(wanted, dtype=torch.float32)) ** 2)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        torch.set_num_threads(threads)
        weights = [layer.weight.detach().double().numpy() for layer in linear]
        biases = [layer.bias.detach().double().numpy() for layer in linear]
        scaled = np.diag(1.0 / self.reach)
        return av.Controller(
            network_from_layers(weights, biases), scaled, -scaled @ self.goal, self.most, np.zeros(len(self.most))
        )


RIGID_BODY = av.Plant.read(
    [
        *_PATH,
        *("x12*x5 - x11*x6 + u1", "x10*x6 - x12*x4 + u2", "x11*x4 - x10*x5 + u3"),
        *_TURN,
        *("u4", "u5", "u6"),
    ],
    6,
    let=_WAVES,
)
QUADROTOR = av.Plant.read(
    [
        *_PATH,
        *("x12*x5 - x11*x6 + g*s2", "x10*x6 - x12*x4 - g*c2*s1", "x11*x4 - x10*x5 - g*c2*c1 + g + u1/m"),
        *_TURN,
        *("(Jy - Jz)/Jx*x11*x12 + u2/Jx", "(Jz - Jx)/Jy*x10*x12 + u3/Jy", "(Jx - Jy)/Jz*x10*x11"),
    ],
    3,
    {"g": 9.81, "m": 1.4, "Jx": 0.054, "Jy": 0.054, "Jz": 0.104},
    _WAVES,
)


def _ends(limits: dict[int, tuple[float, float]]) -> list[list[Fraction | None]]:
    """Lower and upper ends of a box that limits some states, as decimals."""
    return [[Fraction(str(limits[i][side])) if i in limits else None for i in range(STATES)] for side in (0, 1)]


def _near(states: range, most: float) -> av.Polytope:
    """Where some states are at most so far from 0."""
    return av.Polytope.box(*_ends(dict.fromkeys(states, (-most, most))))


def _always(region: av.Polytope, steps: int, text: str) -> av.Requirement:
    return av.Requirement(av.Kind.ALWAYS_IN, region, Fraction(0), Fraction(steps), text)


def _at_end(region: av.Polytope, steps: int, text: str) -> av.Requirement:
    return av.Requirement(av.Kind.REACH_AT_END, region, Fraction(steps), Fraction(steps), text)


@cache
def rigid_body() -> av.Task:
    """Forty periods from a push: it never gets far, and is nearly at rest at the end.

    Decided: verified, verified.
    """
    body = Flight(
        RIGID_BODY,
        costs=np.repeat([0.3, 1.0, 1.0, 1.0], 3),
        controls=np.ones(6),
        most=np.full(6, 2.0),
        goal=np.zeros(STATES),
        reach=np.repeat([1.0, 1.0, 0.6, 1.0], 3),
    )
    pushed = np.repeat([0.0, 1.0, 1.0, 0.0], 3)
    initial = av.Box(0.15 * pushed, 0.2 * pushed)
    requirements = (
        _always(_near(range(3), 0.6), 40, "never far away"),
        _at_end(_near(range(3, 6), 0.15), 40, "slow at the end"),
    )
    return av.Task("rigid body", av.ContinuousSystem(body.controller(), RIGID_BODY, PERIOD), initial, 40, requirements)


@cache
def quadrotor() -> av.Task:
    """Forty periods of a climb: it stays below 1.2 metres and is near its height at the end, so not always below half.

    Decided: verified, verified, falsified.
    """
    body = Flight(
        QUADROTOR,
        costs=np.array([0.2, 0.2, 1.0, 0.2, 0.2, 0.3, 1.0, 1.0, 0.0, 0.3, 0.3, 0.0]),
        controls=np.array([0.2, 20.0, 20.0]),
        most=np.array([6.0, 0.3, 0.3]),
        goal=np.eye(STATES)[2],
        reach=np.repeat([1.2, 1.0, 0.4, 0.6], 3),
    )
    initial = av.Box(*(np.repeat([end, end, 0.0, 0.0], 3) for end in (-0.05, 0.05)))
    requirements = (
        _always(av.Polytope.box(*_ends({2: (-0.5, 1.2)})), 40, "below 1.2 metres"),
        _at_end(av.Polytope.box(*_ends({2: (0.9, 1.1)})), 40, "near its height at the end"),
        _always(av.Polytope.box(*_ends({2: (-0.5, 0.5)})), 40, "always below half a metre"),
    )
    return av.Task("quadrotor", av.ContinuousSystem(body.controller(), QUADROTOR, PERIOD), initial, 40, requirements)
