"""Tables and plots of policies: certified actions and deviations, returns with and without noise.

    python -m experiments.policies [--states N] [--episodes N] [--only WORD] [--shared FOLDER] [--output FOLDER]

Every policy of the shared data set (folders rl/sb3 and rl) is read by `read_policy` and played in its environment
without noise; of the observations met, evenly spread, the actions are certified under noise of several radii, in raw
units without a normalisation and in standard deviations with one. Where gymnasium has no such environment here, the
observations are drawn instead: as many standard deviations around the means as a normal variable has, and the table
says so. Continuous actions get the certified deviation over the attacked one, and samples that exceed it are counted,
which must be none. The returns under attack are estimates, never bounds; where the library knows the environment's
dynamics, a certified return stands beside them, of all noise of radius 0.001 in raw units from one start state.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import admm_verify as av
from admm_verify.text_tables import table

RESULTS = Path(__file__).parent / "results" / "policies"
SHARED = Path(os.environ.get("ADMM_VERIFY_SHARED", Path(__file__).resolve().parents[2] / "shared"))

RADII = (0.005, 0.01, 0.02, 0.05)
SAMPLES = 10_000

KNOWN = {"CartPole-v1": ([0.0] * 4, 500), "Pendulum-v1": ([0.5, 0.0], 50), "MountainCar-v0": ([-0.5, 0.0], 200)}
"""Start states and steps of certified returns, by environments whose dynamics are known."""

CERTIFIED_RADIUS = 0.001

SUCCESSORS = {"LunarLander-v2": "LunarLander-v3"}
"""Environments that gymnasium has under another name now."""


@dataclass
class Row:
    """Figures of one policy; lists have an entry per radius."""

    name: str
    environment: str
    states: str
    units: str
    kind: str
    radii: list[float]
    certified: list[float] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    falsified: list[int] = field(default_factory=list)
    ratio_median: list[float] = field(default_factory=list)
    certified_deviation: list[float] = field(default_factory=list)
    attacked_deviation: list[float] = field(default_factory=list)
    violations: int | None = None
    seconds: float = 0.0
    clean_return: float | None = None
    attacked_return: list[float] = field(default_factory=list)
    certified_return: float | None = None
    certified_return_seconds: float = 0.0


def policies(shared: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, environment and file of every policy of dense layers."""
    for path in sorted((shared / "data" / "rl" / "sb3").glob("*/*.zip")):
        yield path.parent.name, path.stem, path
    for path in sorted((shared / "data" / "rl").glob("*/model.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["kind"] == "mlp":
            yield path.parent.name, told["env"], path.parent


def environment(name: str) -> Any | None:
    """An environment of gymnasium, None where it is not to be had here."""
    import gymnasium

    try:
        return gymnasium.make(SUCCESSORS.get(name, name))
    except (gymnasium.error.Error, ImportError):
        return None


def met(policy: av.Policy, played: Any, count: int) -> np.ndarray:
    """Observations of three episodes without noise, of 1000 steps at most, evenly spread."""
    seen = []
    for seed in range(3):
        observation, _ = played.reset(seed=seed)
        for _ in range(1000):
            seen.append(observation)
            action = policy(observation[None])[0]
            observation, _, over, cut, _ = played.step(int(action) if policy.is_discrete else action)
            if over or cut:
                break
    return np.stack(seen)[np.linspace(0, len(seen) - 1, count).astype(int)]


def drawn(policy: av.Policy, count: int) -> np.ndarray:
    """Observations drawn around the means of the policy's normalisation, or around 0."""
    draws = np.random.default_rng(0).standard_normal((count, policy.network.input_size))
    scale = policy.scale
    return draws if scale is None else scale.mean + draws * scale.std


def violations(policy: av.Policy, found: av.DeviationBounds, observations: np.ndarray) -> int:
    """How many of many random inputs near the observations move the action further than is certified."""
    rng, exceeding = np.random.default_rng(1), 0
    network = policy.network
    for i, x in enumerate(observations.astype(np.float64)):
        for k, reach in enumerate(found.reach):
            # Ends of the box and its inside, half each.
            noise = rng.uniform(-1.0, 1.0, (SAMPLES // len(found.reach), x.size))
            noise[::2] = np.sign(noise[::2])
            moved = np.abs(network(x + noise * reach) - network(x[None])).max(axis=1)
            exceeding += int(np.sum(moved > found.certified[i, k]))
    return exceeding


def certify(policy: av.Policy, observations: np.ndarray, row: Row) -> None:
    """The certified share of actions, or the certified deviations, at all radii."""
    units = row.units
    if policy.is_discrete:
        found = av.certify_policy(policy, observations, RADII, settings=av.PolicySettings(units=units))
        assert isinstance(found, av.PolicyCertification), "the actions are discrete"
        row.certified, row.seconds = found.certified_ratio.tolist(), found.seconds
        row.unknown, row.falsified = (
            found.count(answer).tolist() for answer in (av.Answer.UNKNOWN, av.Answer.FALSIFIED)
        )
        return
    settings = av.DeviationSettings(units=units, euclidean=False)
    bounds = av.certify_deviation(policy, observations, RADII, settings=settings, run=av.Run(timeout=60))
    row.seconds = bounds.seconds
    row.ratio_median = np.median(bounds.ratio, axis=0).tolist()
    row.attacked_deviation, row.certified_deviation = bounds.adiv.tolist()
    row.violations = violations(policy, bounds, observations)


def play(policy: av.Policy, name: str, episodes: int, row: Row, folder: Path) -> None:
    """Returns without noise and under attack, and a plot of both."""
    attacks = ("random", "mad", "least") if policy.is_discrete else ("random", "mad")
    settings = av.EvaluateSettings(
        episodes=episodes,
        steps=500,
        states=50,
        attacks=attacks,
        descent=5,
        certifying=av.PolicySettings(units=row.units),
    )
    found = av.evaluate_policy(policy, name, RADII, settings=settings, run=av.Run(timeout=60))
    row.clean_return, row.attacked_return = found.clean_return, found.attacked_return.tolist()
    folder.mkdir(exist_ok=True)
    av.policy_plot(str(folder / f"{row.name}.png"), found)


def bounded_below(policy: av.Policy, row: Row) -> None:
    """The certified return, where dynamics are known."""
    if row.environment not in KNOWN:
        return
    start, steps = KNOWN[row.environment]
    found = av.certified_return(policy, row.environment, start, CERTIFIED_RADIUS, steps, run=av.Run(timeout=30))
    row.certified_return, row.certified_return_seconds = found.lower, found.seconds


def measure(name: str, env: str, path: Path, options: argparse.Namespace) -> Row:
    """All figures of one policy."""
    policy = av.read_policy(path)
    played = environment(env)
    units = "raw" if policy.scale is None else "normalised"
    states = "met" if played is not None else "drawn"
    row = Row(name, env, states, units, "discrete" if policy.is_discrete else "continuous", list(RADII))
    count = options.states
    observations = met(policy, played, count) if played is not None else drawn(policy, count)
    certify(policy, observations, row)
    bounded_below(policy, row)
    if played is not None and options.episodes:
        play(policy, SUCCESSORS.get(env, env), options.episodes, row, options.output / "returns")
    return row


def told(rows: list[Row]) -> str:
    """Two tables: certified shares of discrete policies, deviations of continuous ones."""
    radii = [f"{radius:g}" for radius in RADII]
    discrete, continuous = ([row for row in rows if row.kind == kind] for kind in ("discrete", "continuous"))

    def returns(row: Row) -> list[str]:
        certified = "none" if row.certified_return is None else f"{row.certified_return:.5g}"
        if row.clean_return is None:
            return ["-", "-", certified]
        return [f"{row.clean_return:.5g}", f"{row.attacked_return[-1]:.5g}", certified]

    shares, moves = [], []
    for row in discrete:
        found = [f"{one:.1%}" for one in row.certified]
        shares.append(
            [row.name, row.states, row.units, *found, f"{sum(row.unknown)}", f"{row.seconds:.2f}", *returns(row)]
        )
    for row in continuous:
        found = [f"{one:.3f}" for one in row.ratio_median]
        ends_of = [f"{row.certified_deviation[-1]:.4g}", f"{row.attacked_deviation[-1]:.4g}", f"{row.violations}"]
        moves.append([row.name, row.states, row.units, *found, *ends_of, f"{row.seconds:.1f}", *returns(row)])
    ends = ["clean return", f"attacked at {radii[-1]}", f"certified at {CERTIFIED_RADIUS}"]
    head = ["policy", "states", "units"]
    last = ["ADIV certified", "attacked", "exceeded", "s", *ends]
    return "\n".join(
        [
            "Share of observations at which the action is certified, by radius; unknown: of all radii together.",
            table([*head, *radii, "unknown", "s", *ends], shares),
            "Certified deviation over attacked deviation, median over observations, by radius; then at the largest.",
            table([*head, *radii, *last], moves),
            "Returns: of 500 steps at most; attacked ones are estimates. Certified ones hold for all noise of that "
            "radius, from one start, over "
            + ", ".join(f"{steps} steps of {name}" for name, (_, steps) in KNOWN.items())
            + ".",
        ]
    )


def shares_plot(path: Path, rows: list[Row]) -> None:
    """Certified share against radius of all discrete policies."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for k, row in enumerate(one for one in rows if one.kind == "discrete"):
        label = row.name + (" (standard deviations)" if row.units == "normalised" else "")
        axes.plot(row.radii, row.certified, marker="osv^D"[k % 5], label=label, markersize=4, alpha=0.8)
    axes.set(xlabel="linf radius of noise", ylabel="share of actions certified", xscale="log", ylim=(-0.03, 1.03))
    axes.set_xticks(RADII, [f"{radius:g}" for radius in RADII], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(visible=True, color="0.92")
    axes.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure all policies, one by one, and write the tables and plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=200, help="observations of each policy")
    parser.add_argument("--episodes", type=int, default=3, help="episodes of each policy and attack, 0 for none")
    parser.add_argument("--only", default="", help="policies whose names hold this")
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, env, path in policies(options.shared):
        if options.only in name:
            began = time.process_time()
            rows.append(measure(name, env, path, options))
            print(f"{name}: {time.process_time() - began:.1f} s", flush=True)
    (options.output / "policies.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    (options.output / "policies.txt").write_text(told(rows) + "\n")
    print(told(rows))
    shares_plot(options.output / "certified.png", rows)


if __name__ == "__main__":
    main()
