"""Regions of attraction of networks in feedback, certified by Lyapunov functions level by level, with pictures.

    python -m experiments.lyapunov [--only NAME ...] [--seconds S] [--points N] [--output FOLDER]

A network gives (V(x) - V(x+), V(x), x+) for V(x) = x'P x and x+ the next state. What is shown, each by `verify` in real
numbers:
- containment: of all x within the limits, V(x) <= c_k holds only inside a box well within them, where the others look;
- core: V(x) <= c0 implies V(x+) < 2 c0;
- shells: c_k <= V(x) <= c_(k+1) implies V(x+) < (1 - rate) V(x), from c0 on outward;
- in all of them x+ is within the limits again.
So for c >= 2 c0 every trajectory from V(x) <= c stays there and ends in V(x) <= 2 c0 for good, after log(c / c0) / rate
steps at most.
The levels grow by doubling; where a shell is refuted or takes longer than the limit, thinner ones are tried, down to a
tenth. Networks: the cart-pole of `problems/train_lyapunov.py`, and the quadrotor of the competition's set lsnc, from
the shared data set. Pictures: the slice and the outline of the region by two pairs of states, coloured by V(x+)/V(x) on
the slice, and trajectories from its boundary, whose V is drawn beside.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import onnx
import torch
from matplotlib.axes import Axes
from onnx import numpy_helper

import admm_verify as av
from problems.lp_instances import shared_folder
from problems.train_lyapunov import cartpole_decrease

RESULTS = Path(__file__).parent / "results" / "lyapunov"
STEPS, DRAWN = 400, 24
"""Steps of simulated trajectories, and how many of them are drawn."""

THINNEST = 1.1
"""Quotient of a shell's levels below which no thinner one is tried."""

SPARE = 1.0001
"""How much wider than the region the boxes around it are."""


@dataclass(frozen=True, eq=False)
class Loop:
    """A network of a Lyapunov function, and what is to be shown of it.

    form: P, for boxes around levels and for pictures only. limits: half the sides of the box that states are in. rate:
    of the decrease. core: the level below which nothing is shown but that V does not jump above its double. slices:
    pairs of states to draw.
    """

    name: str
    network: av.Network
    form: np.ndarray
    limits: np.ndarray
    states: tuple[str, ...]
    rate: float
    core: float
    slices: tuple[tuple[int, int], tuple[int, int]]

    @property
    def radii(self) -> np.ndarray:
        """Half the sides of the box around V <= 1."""
        return np.sqrt(np.diag(np.linalg.inv(self.form)))

    @property
    def most(self) -> float:
        """The largest level whose box is within the limits."""
        return rounded(float(np.min((self.limits / (SPARE**2 * self.radii)) ** 2)))

    def values(self, x: np.ndarray) -> np.ndarray:
        """The network's, [points, 2 + n]."""
        return np.concatenate([np.asarray(self.network(part)) for part in np.array_split(x, -(-len(x) // 2000))])

    def box(self, level: float) -> np.ndarray:
        """Half the sides of the box that V <= level is looked at in."""
        return SPARE * np.sqrt(level) * self.radii


@dataclass(frozen=True)
class Answer:
    """What became of one question, from level `inner` to level `outer`."""

    what: str
    inner: float
    outer: float
    verdict: str
    parts: int
    processor_seconds: float
    wall_seconds: float


def rounded(level: float) -> float:
    """A level of few digits, not above the given one."""
    return float(np.floor(level * 1e4) / 1e4) if level >= 1e-2 else float(f"{level * (1 - 5e-4):.3g}")


def cartpole() -> Loop:
    """Position and velocity of the cart, angle and rate of the pole."""
    module = cartpole_decrease()
    network = av.trace(module, torch.zeros(1, 4, dtype=torch.float64))
    limits, states = np.array([2.4, 4.0, 0.6, 4.0]), ("position", "velocity", "angle", "rate")
    return Loop("cartpole", network, module.form.numpy(), limits, states, 0.01, 0.01, ((2, 3), (0, 1)))


def quadrotor() -> Loop:
    """Two positions and the tilt, and their velocities; the limits are those of the competition's properties."""
    path = shared_folder() / "data" / "vnncomp_new" / "lsnc" / "onnx" / "quadrotor2d_state.onnx.gz"
    model = onnx.load_from_string(gzip.decompress(path.read_bytes()))
    arrays = {one.name: numpy_helper.to_array(one).astype(float) for one in model.graph.initializer}
    root = arrays["lyapunov.R"]
    form = root.T @ root + float(np.float32(0.01)) * np.eye(6)
    limits = np.array([0.75, 0.75, 1.57, 4.0, 4.0, 3.0])
    states = ("x", "z", "tilt", "speed x", "speed z", "rate")
    return Loop("quadrotor", av.read_onnx(model), form, limits, states, 0.001, 0.05, ((0, 2), (1, 4)))


LOOPS: dict[str, Callable[[], Loop]] = {"cartpole": cartpole, "quadrotor": quadrotor}


def asked(loop: Loop, what: str, levels: tuple[float, float], half: np.ndarray, condition: str, run: float) -> Answer:
    """One question about a box around the origin."""
    query = av.query(loop.network, av.Box(-half, half), condition)
    began, used = time.monotonic(), time.process_time()
    found = av.verify(query, settings=av.VerifySettings(arithmetic="real"), timeout=run)
    spent = time.process_time() - used, time.monotonic() - began
    answer = Answer(what, *levels, found.verdict.value, found.subproblems, *spent)
    print(f"{loop.name}: {what} {levels[0]:g} to {levels[1]:g}: {answer.verdict}, {spent[0]:.1f} CPU s", flush=True)
    return answer


def leaves(limits: np.ndarray, names: str, first: int) -> list[str]:
    """Conditions under which some variable is at a limit or beyond."""
    pairs = (
        (f"{names}{first + i} >= {end!r}", f"{names}{first + i} <= {-end!r}") for i, end in enumerate(limits.tolist())
    )
    return list(chain.from_iterable(pairs))


def shell(loop: Loop, inner: float, outer: float, seconds: float) -> Answer:
    """Whether V decreases by the rate from inner to outer level, and the next state is within the limits."""
    bad = " or ".join([f"y0 <= {loop.rate!r}*y1", *leaves(loop.limits, "y", 2)])
    condition = f"y1 >= {inner!r} and y1 <= {outer!r} and ({bad})"
    return asked(loop, "shell", (inner, outer), loop.box(outer), condition, seconds)


def core(loop: Loop, seconds: float) -> Answer:
    """Whether no step from the core ends beyond twice its level."""
    bad = " or ".join([f"y1 - y0 >= {2.0 * loop.core!r}", *leaves(loop.limits, "y", 2)])
    return asked(loop, "core", (0.0, loop.core), loop.box(loop.core), f"y1 <= {loop.core!r} and ({bad})", seconds)


def containment(loop: Loop, level: float, seconds: float) -> Answer:
    """Whether the level is inside its box, of all states within the limits."""
    bad = " or ".join(leaves(loop.box(level), "x", 0))
    return asked(loop, "containment", (0.0, level), loop.limits, f"y1 <= {level!r} and ({bad})", seconds)


def grown(loop: Loop, seconds: float) -> tuple[float, list[Answer]]:
    """The largest level found, 0 for none, and all answers on the way."""
    answers: list[Answer] = []

    def shown(*questions: Callable[[], Answer]) -> bool:
        """Whether all are answered as wanted; none is asked after one that is not."""
        for question in questions:
            answers.append(question())
            if answers[-1].verdict != "unsat":
                return False
        return True

    inside = shown(partial(containment, loop, loop.core, seconds), partial(core, loop, seconds))
    level, factor = loop.core if inside else 0.0, 2.0
    while level and level < loop.most and factor >= THINNEST:
        outer = min(rounded(factor * level), loop.most)
        if shown(partial(shell, loop, level, outer, seconds), partial(containment, loop, outer, seconds)):
            level = outer
        else:
            factor = float(np.sqrt(factor))
    if level < 2.0 * loop.core:
        level = 0.0
    return level, answers


def boundary(loop: Loop, level: float, count: int) -> np.ndarray:
    """Random states of V = level."""
    directions = np.random.default_rng(0).standard_normal((count, len(loop.form)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.sqrt(level) * directions @ np.linalg.cholesky(np.linalg.inv(loop.form)).T


def trajectories(loop: Loop, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States and V of trajectories, [steps + 1, points, n] and [steps + 1, points]."""
    states, levels = [x], []
    for _ in range(STEPS):
        found = loop.values(states[-1])
        levels.append(found[:, 1])
        states.append(found[:, 2:])
    levels.append(loop.values(states[-1])[:, 1])
    return np.stack(states), np.stack(levels)


def sampled(loop: Loop, level: float, points: int) -> dict[str, Any]:
    """What random states say: the worst V(x+)/V(x) in the region, and whether trajectories do what is shown."""
    rng = np.random.default_rng(1)
    sizes = np.exp(rng.uniform(np.log(loop.core / level), 0.0, points))[:, None]
    x = boundary(loop, level, points) * np.sqrt(sizes)
    found = loop.values(x)
    states, levels = trajectories(loop, boundary(loop, level, min(points, 2000)))
    inside = np.abs(states) <= loop.limits
    return {
        "states": points,
        "largest ratio of V": float((1.0 - found[:, 0] / found[:, 1]).max()),
        "trajectories": states.shape[1],
        "left the limits": int((~inside).any(axis=(0, 2)).sum()),
        "left the region": int((levels > level * (1 + 1e-6)).any(axis=0).sum()),
        "below twice the core's level at the end": int((levels[-1] <= 2.0 * loop.core).sum()),
    }


def outline(loop: Loop, level: float, pair: tuple[int, int], whole: bool) -> np.ndarray:
    """The edge of the region on the slice through the origin, or of all of it seen along the other states."""
    chosen = np.ix_(pair, pair)
    form = np.linalg.inv(np.linalg.inv(loop.form)[chosen]) if whole else loop.form[chosen]
    angles = np.linspace(0.0, 2.0 * np.pi, 400)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.sqrt(level) * circle @ np.linalg.cholesky(np.linalg.inv(form)).T


def draw_slice(axes: Axes, loop: Loop, level: float, pair: tuple[int, int], states: np.ndarray) -> None:
    """The region by two states."""
    wide = 1.1 * np.abs(outline(loop, level, pair, True)).max(axis=0)
    grid = np.stack(np.meshgrid(*(np.linspace(-end, end, 161) for end in wide)), axis=-1)
    x = np.zeros((grid.shape[0] * grid.shape[1], len(loop.form)))
    x[:, list(pair)] = grid.reshape(-1, 2)
    found = loop.values(x)
    ratio = (1.0 - found[:, 0] / np.maximum(found[:, 1], 1e-12)).reshape(grid.shape[:2])
    image = axes.pcolormesh(grid[..., 0], grid[..., 1], ratio, cmap="RdYlGn_r", vmin=0.9, vmax=1.1, rasterized=True)
    axes.figure.colorbar(image, ax=axes, label="V(x+) / V(x) on the slice")
    axes.plot(*outline(loop, level, pair, False).T, "k-", label=f"V = {level:g} on the slice")
    axes.plot(*outline(loop, level, pair, True).T, "k--", label="seen along the other states")
    axes.plot(*outline(loop, loop.core, pair, False).T, "k:", label=f"core, V = {loop.core:g}")
    axes.plot(states[:, :, pair[0]], states[:, :, pair[1]], "b-", linewidth=0.5)
    axes.set_xlabel(loop.states[pair[0]])
    axes.set_ylabel(loop.states[pair[1]])
    axes.legend(loc="upper right", fontsize=7)


def picture(loop: Loop, level: float, answers: list[Answer], path: Path) -> None:
    """Two slices and the levels over time."""
    figure, panels = plt.subplots(1, 3, figsize=(16, 4.8), layout="constrained")
    states, levels = trajectories(loop, boundary(loop, level, DRAWN))
    for axes, pair in zip(panels, loop.slices, strict=False):
        draw_slice(axes, loop, level, pair, states)
    panels[2].semilogy(levels, "b-", linewidth=0.5)
    shells = [answer for answer in answers if answer.what == "shell" and answer.verdict == "unsat"]
    for end in {loop.core, *(answer.outer for answer in shells)}:
        panels[2].axhline(end, color="k", linewidth=0.5, linestyle=":")
    bound = level * (1.0 - loop.rate) ** np.arange(STEPS + 1)
    panels[2].plot(np.maximum(bound, 2.0 * loop.core), "r-", label="certified")
    panels[2].set_xlabel("step")
    panels[2].set_ylabel("V, with the levels of shells")
    panels[2].legend(loc="upper right", fontsize=7)
    figure.suptitle(f"{loop.name}: every trajectory from V <= {level:g} ends in V <= {2.0 * loop.core:g}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def examined(loop: Loop, seconds: float, points: int, output: Path) -> dict[str, Any]:
    """The region of one network."""
    level, answers = grown(loop, seconds)
    report: dict[str, Any] = {"network": loop.name, "level": level, "core": loop.core, "rate": loop.rate}
    report["largest level within the limits"] = loop.most
    report["processor seconds"] = sum(answer.processor_seconds for answer in answers)
    if level:
        report["box of the region"] = loop.box(level).tolist()
        report["sampled"] = sampled(loop, level, points)
        picture(loop, level, answers, output / f"{loop.name}.png")
    print(json.dumps(report), flush=True)
    return report | {"answers": [asdict(answer) for answer in answers]}


def main() -> None:
    """The chosen networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=LOOPS, default=list(LOOPS), help="networks")
    parser.add_argument("--seconds", type=float, default=60.0, help="limit for each question")
    parser.add_argument("--points", type=int, default=100_000, help="random states of each region")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        report = examined(LOOPS[name](), options.seconds, options.points, options.output)
        (options.output / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
