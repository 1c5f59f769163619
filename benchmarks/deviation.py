"""Certified over attacked deviations of policies with continuous actions, on states that they visit.

    python benchmarks/deviation.py [--policies NAME ..] [--states 200] [--radius 0.05] [--seconds 60]

Pendulum and BipedalWalker are played by the policies themselves (extra rl, and Box2D for the walker); observations of
Hopper are drawn from the normal distribution of its normalisation. The radius is in normalised units, of every feature;
where a policy has no normalisation these are raw ones. Every state is also tried at uniform points, none of which may
move the action farther than is certified. Writes results/deviation.json, a record for each policy.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import admm_verify as av
from problems.lp_instances import shared_folder

RESULTS = Path(__file__).parent / "results" / "deviation.json"
POLICIES = {
    "ppo-Pendulum-v1": "sb3/ppo-Pendulum-v1/Pendulum-v1.zip",
    "a2c-Pendulum-v1": "sb3/a2c-Pendulum-v1/Pendulum-v1.zip",
    "sac-Pendulum-v1": "sb3/sac-Pendulum-v1/Pendulum-v1.zip",
    "ppo_hopper_vanilla": "ppo_hopper_vanilla",
    "ppo_hopper_sa_convex": "ppo_hopper_sa_convex",
    "ppo-BipedalWalker-v3": "sb3/ppo-BipedalWalker-v3/BipedalWalker-v3.zip",
}
SAMPLES = 10_000


@dataclass(frozen=True)
class Measured:
    """A policy's figures; violations: sampled deviations beyond what is certified; none: share of states whose action
    nothing moves; converged: share of states where the ratio is what was asked for.
    """

    policy: str
    norm: str
    radius: float
    states: int
    asked: float
    median: float
    largest: float
    median_l2: float
    largest_l2: float
    adiv: list[float]
    mad: list[float]
    none: float
    converged: float
    violations: int
    parts: int
    seconds: float
    cpu_seconds: float


def visited(environment: str, policy: av.Policy, count: int) -> np.ndarray:
    """Observations of episodes that the policy plays, some of them at random."""
    import gymnasium

    seen: list[np.ndarray] = []
    game = gymnasium.make(environment)
    rng, seed = np.random.default_rng(0), 0
    while len(seen) < 4 * count:
        x, _ = game.reset(seed=seed)
        ended, seed = False, seed + 1
        while not ended:
            seen.append(x)
            x, _, terminated, truncated, _ = game.step(policy(x[None])[0])
            ended = terminated or truncated
    return np.array(seen)[rng.choice(len(seen), count, replace=False)].astype(np.float64)


def observations(name: str, policy: av.Policy, count: int) -> np.ndarray:
    """The states of a policy."""
    if "hopper" not in name:
        return visited(name.split("-", 1)[1], policy, count)
    assert policy.scale is not None, "the files of Hopper hold a normalisation"
    drawn = np.random.default_rng(0).standard_normal((count, policy.network.input_size))
    return policy.scale.mean + policy.scale.std * drawn


def violations(policy: av.Policy, x: np.ndarray, found: av.DeviationBounds, rng: np.random.Generator) -> int:
    """How many attacks and uniform points of the balls move an action farther than is certified."""
    count = int(np.count_nonzero(found.attacked > found.certified))
    count += int(np.count_nonzero(found.attacked_l2 > found.certified_l2))
    for i, centre in enumerate(x):
        if found.norm == "linf":
            points = centre + rng.uniform(-1.0, 1.0, (SAMPLES, x.shape[1])) * found.reach[0]
        else:
            points = np.reshape(av.Ball(centre[None], found.reach, found.norm).sample(SAMPLES, rng), (SAMPLES, -1))
        moves = np.abs(np.asarray(policy.network(points)) - np.asarray(policy.network(centre[None])))
        count += int(np.count_nonzero(moves.max(axis=1) > found.certified[i, 0]))
        count += int(np.count_nonzero(np.linalg.norm(moves, axis=1) > found.certified_l2[i, 0]))
    return count


def measured(options: argparse.Namespace) -> Iterator[Measured]:
    """One policy after the other."""
    for name in options.policies:
        policy = av.read_policy(shared_folder() / "data" / "rl" / POLICIES[name])
        x = observations(name, policy, options.states)
        settings = av.DeviationSettings(
            ratio=options.ratio,
            euclidean=options.euclidean,
            units="raw" if policy.scale is None else "normalised",
            norm=options.norm,
        )
        parts = [x[first : first + options.block] for first in range(0, len(x), options.block)]
        began, cpu, found = time.perf_counter(), time.process_time(), []
        for part in parts:
            run = av.Run(timeout=options.seconds * len(part) / len(x))
            found.append(av.certify_deviation(policy, part, [options.radius], settings=settings, run=run))
        spent, cpu = time.perf_counter() - began, time.process_time() - cpu
        rng = np.random.default_rng(1)
        ratio, length, certified, attacked = (
            np.concatenate([getattr(one, field)[:, 0] for one in found])
            for field in ("ratio", "ratio_l2", "certified", "attacked")
        )
        yield Measured(
            name,
            options.norm,
            options.radius,
            len(x),
            options.ratio,
            float(np.median(ratio)),
            float(ratio.max()),
            float(np.median(length)),
            float(length.max()),
            [float(attacked.mean()), float(certified.mean())],
            [float(attacked.max()), float(certified.max())],
            float(np.mean(certified <= settings.least)),
            float(np.mean(ratio <= options.ratio)),
            sum(violations(policy, part, one, rng) for part, one in zip(parts, found, strict=True)),
            sum(one.subproblems for one in found),
            spent,
            cpu,
        )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--states", type=int, default=200)
    parser.add_argument("--radius", type=float, default=0.05)
    parser.add_argument("--norm", default="linf", choices=["linf", "l2", "l1"])
    parser.add_argument("--ratio", type=float, default=1.05, help="at which a state is done")
    parser.add_argument("--euclidean", action="store_true", help="search for Euclidean lengths as well")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all states of a policy")
    parser.add_argument("--block", type=int, default=200, help="states that are certified at once")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    records = []
    for one in measured(options):
        records.append(asdict(one))
        print(
            f"{one.policy} {one.norm} {one.radius:g}: {one.states} states, certified / attacked median {one.median:.3f}"
            f" largest {one.largest:.3f} (l2: {one.median_l2:.3f}, {one.largest_l2:.3f}), {one.violations} violations, "
            f"{one.cpu_seconds:.1f} s of CPU, {one.seconds:.1f} s",
            flush=True,
        )
        options.out.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
