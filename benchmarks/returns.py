"""Certified worst-case returns of trained policies beside what they earn without noise and under attack.

    python -m benchmarks.returns [--timeout SECONDS] [--only PART] [--json FILE]

Policies of stable-baselines3 from the shared data set, from one start state over the environment's limit of steps
(Pendulum: 50). Attacked is what the worst of 400 trajectories earns: under random noise, random corners, and the
corners that move what the policy prefers most up or down, for good or in turns of some steps: an estimate. Seconds
are CPU seconds on one thread.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.policies.returns.shipped import SHIPPED
from benchmarks.shares import RESULTS, environment, write_json
from problems.lp_instances import shared_folder

TRAJECTORIES = 400
KEYS = ("policy", "start", "width", "radius", "steps")
"""What tells rows apart."""


@dataclass(frozen=True)
class Case:
    """A policy, where it starts and how far around that, the radii, for how long, and with how many cells."""

    policy: str
    start: tuple[float, ...]
    radii: tuple[float, ...]
    steps: int
    width: float = 0.0
    cells: int = 512

    @property
    def name(self) -> str:
        return self.policy.split("-", 1)[1]


CARTPOLE, RADII = (0.0, 0.0, 0.0, 0.0), (0.001, 0.005)
CASES = (
    *(Case(f"{kind}-CartPole-v1", CARTPOLE, RADII, 500) for kind in ("ppo", "a2c")),
    Case("ppo-CartPole-v1", CARTPOLE, (0.01,), 500),
    Case("ppo-CartPole-v1", CARTPOLE, RADII, 500, 0.05, 1024),
    *(Case(f"{kind}-CartPole-v1", CARTPOLE, RADII, 500, 0.0, 1024) for kind in ("trpo", "ars", "dqn")),
    *(Case(f"{kind}-Pendulum-v1", (3.0, 0.0), RADII, 50) for kind in ("ppo", "a2c", "sac")),
    *(Case(f"{kind}-Pendulum-v1", (0.5, 0.0), RADII, 50) for kind in ("ppo", "a2c", "sac")),
    Case("ppo-MountainCar-v0", (-0.5, 0.0), RADII, 200),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds for each return")
    parser.add_argument("--only", default="", help="cases whose policy holds this text; the file keeps other rows")
    parser.add_argument("--json", type=Path, default=RESULTS / "returns.json")
    given = parser.parse_args()
    rows = json.loads(given.json.read_text(encoding="utf-8"))["rows"] if given.only and given.json.exists() else []
    for case in CASES:
        if given.only not in case.policy:
            continue
        policy = av.read_policy(shared_folder() / "data/rl/sb3" / case.policy / f"{case.name}.zip")
        for radius in case.radii:
            found = measured(policy, case, radius, given.timeout)
            rows = [row for row in rows if any(row[key] != found[key] for key in KEYS)] + [found]
            print(found, flush=True)
            write_json(given.json, {"environment": environment(), "rows": rows})


def measured(policy: av.Policy, case: Case, radius: float, timeout: float) -> dict[str, object]:
    """Clean, attacked and certified return of one case at one radius."""
    start = np.array(case.start)
    box = (start - case.width, start + case.width)
    settings = av.ReturnSettings(cells=case.cells, rounds=0)
    began = time.process_time()
    found = av.certified_return(
        policy, case.name, box, radius, case.steps, settings=settings, run=av.Run(timeout=timeout)
    )
    seconds = time.process_time() - began
    clean, attacked = earned(policy, case, 0.0), earned(policy, case, radius)
    assert found.lower <= attacked.min(), "A certified return is never above what is earned"
    return {
        "policy": case.policy,
        "start": list(case.start),
        "width": case.width,
        "radius": radius,
        "steps": case.steps,
        "clean": float(clean.min()),
        "attacked": float(attacked.min()),
        "certified": found.lower,
        "survived": found.survived,
        "undecided": float(found.undecided.mean()),
        "cells": case.cells,
        "cpu_seconds": seconds,
        "ended": found.ended.value,
    }


def earned(policy: av.Policy, case: Case, radius: float) -> np.ndarray:
    """What trajectories under noise of a radius earn, from points and corners of the box of starts, [points]."""
    known, rng = SHIPPED[case.name](), np.random.default_rng(0)
    spread = np.where(
        rng.random((TRAJECTORIES, 1)) < 0.5,
        np.sign(rng.uniform(-1, 1, (TRAJECTORIES, len(case.start)))),
        rng.uniform(-1, 1, (TRAJECTORIES, len(case.start))),
    )
    state = np.array(case.start) + case.width * spread
    total, going = np.zeros(TRAJECTORIES), np.ones(TRAJECTORIES, dtype=bool)
    kind, aim = np.arange(TRAJECTORIES) % 4, rng.choice([-1.0, 1.0], TRAJECTORIES)
    period = rng.integers(2, 60, TRAJECTORIES)
    for t in range(case.steps):
        seen = known.seen(state)
        noise = np.where((kind == 0)[:, None], rng.uniform(-1, 1, seen.shape), rng.choice([-1.0, 1.0], seen.shape))
        slope = _gradient(policy, seen)
        corners = np.stack([np.sign(slope), -np.sign(slope)])
        tried = np.stack([_lead(policy, seen + radius * corner) for corner in corners])
        wanted = aim * np.where(kind == 3, np.where(t // period % 2, 1.0, -1.0), 1.0)
        chosen = np.where((np.argmax(tried * wanted, axis=0) == 0)[:, None], *corners)
        seen = seen + radius * np.where((kind >= 2)[:, None], chosen, noise)
        outputs = np.asarray(policy.network.evaluate(seen)[-1])
        control = outputs if known.actions is None else known.actions[np.argmax(outputs, axis=1)]
        total = np.where(going, total + known.earned(state, control), total)
        state = known.simulated(state, control)
        going &= known.goes_on(state)
        if not going.any():
            break
    return total


def _lead(policy: av.Policy, seen: np.ndarray) -> np.ndarray:
    outputs = np.asarray(policy.network.evaluate(seen)[-1])
    return outputs[:, -1] - outputs[:, 0] if outputs.shape[1] > 1 else outputs[:, 0]


def _gradient(policy: av.Policy, seen: np.ndarray) -> np.ndarray:
    steps = 1e-4 * np.eye(seen.shape[1])
    return np.stack([_lead(policy, seen + step) - _lead(policy, seen - step) for step in steps], axis=1)


if __name__ == "__main__":
    main()
