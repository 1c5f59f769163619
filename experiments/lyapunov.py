"""Regions of attraction of neural controllers, certified by Lyapunov functions, with pictures.

    python -m experiments.lyapunov [--seconds S] [--only NAME] [--output FOLDER]

A network computes, as in the benchmark lsnc of VNN-COMP, how much V falls in a step, V itself and the next state. For a
level c, `verify` is asked for a state with c/20 <= V <= c where V does not fall; none means that all states with V <= c
come down to V <= c/20 and stay there, as {V <= c} is an ellipsoid and V(x+) < V(x). The largest level found by halving
is drawn in a plane, with trajectories from its border and the states that simulations find to come down. A cart-pole
with a controller trained here, and, where the shared data set is, the quadrotor in the plane of that benchmark.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from scipy.linalg import solve_discrete_are
from torch import nn

import admm_verify as av
from problems.lp_instances import shared_folder

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results" / "lyapunov"
HOLE = 0.05
"""Of a level: below it V need not fall."""

FALL = 0.7
"""What the cart-pole's controller is made for: V(x+) about this times V(x)."""


@dataclass(frozen=True, eq=False)
class Loop:
    """A closed loop as a network x -> (how much V falls, V, x+), with V(x) = x'P x.

    plane: two states that pictures show, the others being 0. largest: the level that is tried first.
    """

    name: str
    states: tuple[str, ...]
    network: av.Network
    matrix: np.ndarray
    plane: tuple[int, int]
    largest: float

    def box(self, level: float) -> av.Box:
        """The box around {V <= level}, a little larger: |x_i| <= sqrt(level (P^-1)_ii)."""
        half = np.sqrt(level * np.diag(np.linalg.inv(self.matrix))) * (1 + 1e-9)
        return av.Box(-half, half)

    def next(self, x: np.ndarray) -> np.ndarray:
        """The states after those of x [points, n]."""
        return self.network(x)[:, 2:]


class CartPole(nn.Module):
    """A cart-pole around its upright state (position, angle, speeds), under a network minus its value at 0, cut.

    x+ from v+ = v + dt a and p+ = p + dt (v + v+)/2, with a of the equations of motion of a point mass on a rod.
    """

    CART, POLE, LENGTH, GRAVITY, PERIOD, LIMIT = 1.0, 0.1, 1.0, 9.81, 0.1, 30.0

    def __init__(self) -> None:
        super().__init__()
        self.controller = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.register_buffer("matrix", torch.eye(4))
        self.register_buffer("pick", torch.eye(4))

    def force(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.controller(x) - self.controller(torch.zeros(1, 4, dtype=x.dtype))
        return torch.clamp(raw, -self.LIMIT, self.LIMIT)

    def moved(self, x: torch.Tensor, force: torch.Tensor) -> torch.Tensor:
        position, angle, speed, turn = (x[:, i : i + 1] for i in range(4))
        sine, cosine = torch.sin(angle), torch.cos(angle)
        mass = self.CART + self.POLE * sine * sine
        pull = self.LENGTH * turn * turn
        cart = (force - self.POLE * sine * (pull - self.GRAVITY * cosine)) / mass
        total = (self.CART + self.POLE) * self.GRAVITY
        pole = (force * cosine - self.POLE * cosine * sine * pull + total * sine) / (self.LENGTH * mass)
        later = torch.cat([speed + self.PERIOD * cart, turn + self.PERIOD * pole], dim=1)
        before = torch.cat([speed, turn], dim=1)
        places = torch.cat([position, angle], dim=1) + self.PERIOD / 2 * (before + later)
        return torch.cat([places, later], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        after = self.moved(x, self.force(x))
        value = (x * (x @ self.matrix)).sum(dim=1, keepdim=True)
        falls = ((x - after) * ((x + after) @ self.matrix)).sum(dim=1, keepdim=True)
        return torch.cat([falls, value, after], dim=1)


def cart_pole() -> Loop:
    """The cart-pole under a network that was trained to follow the linear-quadratic regulator, with its V."""
    torch.manual_seed(0)
    module = CartPole().double()
    zero, none = torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    by_state, by_force = torch.autograd.functional.jacobian(module.moved, (zero, none))
    # Of the system sped up, so that V falls by this factor in a step where the loop is linear.
    a, b = (part.numpy() / np.sqrt(FALL) for part in (by_state[0, :, 0], by_force[0, :, 0]))
    matrix = solve_discrete_are(a, b, np.diag([1.0, 1.0, 1.0, 1.0]), np.eye(1))
    gain = np.linalg.solve(np.eye(1) + b.T @ matrix @ b, b.T @ matrix @ a)
    wanted = -torch.as_tensor(gain).T
    optimiser = torch.optim.Adam(module.controller.parameters(), lr=1e-2)
    spread = torch.as_tensor(np.sqrt(np.diag(np.linalg.inv(matrix))))
    for step in range(3000):
        x = torch.randn(512, 4, dtype=torch.float64) * spread * (10.0 if step % 2 else 1.0)
        loss = (
            (module.force(x) - torch.clamp(x @ wanted, -module.LIMIT, module.LIMIT)) ** 2 / (1 + x.pow(2).sum(1, True))
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module.matrix = torch.as_tensor(matrix / matrix.max())
    network = av.trace(module.eval().requires_grad_(False), zero)
    return Loop("cartpole", ("x", "angle", "speed", "turn"), network, module.matrix.numpy(), (1, 3), 2.0)


def quadrotor() -> Loop:
    """The quadrotor in the plane of lsnc, whose V is a quadratic form, read off its values."""
    path = shared_folder() / "data" / "vnncomp_new" / "lsnc" / "onnx" / "quadrotor2d_state.onnx.gz"
    network = av.read_onnx(path)
    units = np.eye(6)
    pairs = (units[:, None] + units[None]).reshape(36, 6)
    both = network(pairs)[:, 1].reshape(6, 6)
    alone = np.diag(both) / 4
    matrix = (both - alone[:, None] - alone[None]) / 2
    return Loop("quadrotor", ("x", "y", "angle", "vx", "vy", "turn"), network, matrix, (2, 5), 1.3392)


def certified(loop: Loop, level: float, seconds: float) -> av.Outcome:
    """Whether V falls wherever level/20 <= V <= level."""
    condition = f"y0 <= 0 and y1 <= {level!r} and y1 >= {HOLE * level!r}"
    return av.verify(av.query(loop.network, loop.box(level), condition), run=av.Run(timeout=seconds))


def sampled(loop: Loop, level: float, count: int = 200_000) -> float:
    """The largest share of the level within which V falls at all points of random directions and lengths."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, len(loop.states)))
    x /= np.sqrt(np.einsum("ki,ij,kj->k", x, loop.matrix, x))[:, None]
    share = rng.uniform(HOLE, 1.0, count)
    falls = loop.network(x * np.sqrt(level * share)[:, None])[:, 0]
    return float(share[falls <= 0].min(initial=1.0))


def search(loop: Loop, seconds: float) -> tuple[float, list[dict]]:
    """The largest level that was certified, by halving below what samples leave, and what was tried."""
    level, tried = loop.largest * sampled(loop, loop.largest) * 0.95, []
    for _ in range(6):
        began = time.process_time()
        found = certified(loop, level, seconds)
        used = time.process_time() - began
        tried.append({"level": level, "verdict": found.verdict.value, "processor seconds": used})
        print(loop.name, tried[-1], flush=True)
        if found.verdict is av.Verdict.UNSAT:
            return level, tried
        level /= 2
    return 0.0, tried


def draw(loop: Loop, level: float, path: Path) -> int:
    """The region in its plane, with trajectories; how many of those from the border did not come down."""
    first, second = loop.plane
    n = len(loop.states)
    circle = np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 200)), np.sin(t)], axis=1)
    inverse = np.linalg.inv(np.linalg.cholesky(loop.matrix)).T
    part = loop.matrix[np.ix_(loop.plane, loop.plane)]
    border = np.sqrt(level) * circle @ np.linalg.inv(np.linalg.cholesky(part))
    wide = 2.5 * np.abs(border).max(axis=0)
    grid = np.stack(np.meshgrid(*(np.linspace(-w, w, 161) for w in wide)), axis=-1).reshape(-1, 2)
    x = np.zeros((len(grid), n))
    x[:, [first, second]] = grid
    start = x
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(600):
            x = np.clip(loop.next(x), -1e3, 1e3)
        down = np.einsum("ki,ij,kj->k", x, loop.matrix, x) <= HOLE * level
    directions = np.random.default_rng(1).standard_normal((2000, n))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    x = np.sqrt(level) * directions @ inverse.T
    for _ in range(2000):
        x = loop.next(x)
    stayed = int((np.einsum("ki,ij,kj->k", x, loop.matrix, x) > HOLE * level).sum())
    figure, axes = plt.subplots(figsize=(6, 5))
    axes.contourf(
        *(grid[:, k].reshape(161, 161) for k in (0, 1)), down.reshape(161, 161), [0.5, 1.5], colors=["#dce9f5"]
    )
    del start
    for point in border[::10]:
        way = [np.zeros(n)]
        way[0][[first, second]] = point
        for _ in range(400):
            way.append(loop.next(way[-1][None])[0])
        axes.plot(*np.array(way)[:, [first, second]].T, color="#888888", linewidth=0.6)
    axes.plot(*border.T, color="#b2182b", label=f"certified: V <= {level:.4g}")
    axes.set(
        xlabel=loop.states[first],
        ylabel=loop.states[second],
        title=f"{loop.name}: where simulations come down, and what is certified",
    )
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
    return stayed


def main() -> None:
    """Certify, draw and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="limit for each level")
    parser.add_argument("--only", default="", help="cartpole or quadrotor")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, build in (("cartpole", cart_pole), ("quadrotor", quadrotor)):
        if options.only in name:
            loop = build()
            level, tried = search(loop, options.seconds)
            report = {
                "system": name,
                "level": level,
                "tried": tried,
                "half widths": list(map(float, loop.box(level).upper)),
            }
            if level:
                report["trajectories that stay up"] = draw(loop, level, options.output / f"{name}.png")
            (options.output / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
            print(report, flush=True)


if __name__ == "__main__":
    main()
