"""Reachable sets from sets that are no boxes: tables beside the boxes around them, checks against trajectories, tubes.

    python -m experiments.reach_from_sets [--points N] [--seconds S] [--output FOLDER]

A double integrator with noise and without, and a vehicle that steers round an obstacle, each from its box and from an
ellipsoid, a ball, a polytope and a zonotope inside that box. Writes one JSON and a picture of every tube.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.commands.reach import EXAMPLE
from admm_verify.sets.contract import WalkableSet
from problems import train_avoidance

RESULTS = Path(__file__).parent / "results" / "reach_from_sets"


def main() -> None:
    """Bound, compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000, help="trajectories from each set")
    parser.add_argument("--seconds", type=float, default=30.0, help="limit for each of them")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for task in (integrator(), noisy(integrator()), vehicle()):
        for name, inputs in sets_inside(task.initial):
            used, own = time.process_time(), replace(task, initial=inputs, sampled=None)
            report = av.reach_sets(own, "octagon", timeout=options.seconds)
            sets = report.sets
            row = {
                "system": task.name,
                "set": name,
                "volume after each quarter": [sets.volume(t * sets.steps // 4) for t in range(5)],
                "gap": sets.gap,
                "cells": len(sets.cells_lower),
                "valid steps": sets.valid_steps,
                "processor seconds": time.process_time() - used,
                "trajectories outside": outside(own, sets, options.points),
                "trajectories": options.points,
                "verdicts": [one.outcome.value for one in report.judgements],
            }
            rows.append(row)
            print(row, flush=True)
            words = f"{task.name} from {name}".replace(",", "").replace(" ", "_")
            av.tube_plot(str(options.output / f"{words}.png"), own, sets, report.judgements)
    (options.output / "reach_from_sets.json").write_text(json.dumps(rows, indent=1) + "\n")


def integrator() -> av.Task:
    """The embedded double integrator."""
    return replace(av.read_task(EXAMPLE), name="double integrator")


def noisy(task: av.Task) -> av.Task:
    """With a gust from a disc in every step, and sensors that are off by an l1 ball."""
    system = task.system
    assert isinstance(system, av.LinearSystem), "That is what the example is"
    controller = replace(system.controller, noise=av.Ball(np.zeros(2), 0.05, norm="l1"))
    gusty = replace(system, controller=controller, e=np.eye(2), noise=av.Ball(np.zeros(2), 0.02))
    return replace(task, name=f"{task.name}, noisy", system=gusty)


def vehicle() -> av.Task:
    """A robot that steers round an obstacle, in continuous or discrete time as its file says."""
    return replace(av.read_task(train_avoidance.TARGET / "avoid_robot.json"), name="avoiding robot")


def sets_inside(box: WalkableSet) -> Iterator[tuple[str, WalkableSet]]:
    """The box, and sets inside it that touch its sides."""
    middle, half = np.asarray(box.centre), np.asarray(box.half)
    wide = half > 0
    share = np.where(wide, half, 0.0)
    yield "box", box
    yield "l2 ball", av.Ball(middle, share)
    yield "l1 ball", av.Ball(middle, share, norm="l1")
    if wide.all():
        # Along one diagonal, a third as wide across.
        own = np.eye(len(half)) + 0.8 * (np.ones((len(half),) * 2) - np.eye(len(half)))
        yield "ellipsoid", av.Ellipsoid(middle, own * np.outer(half, half))
    shorter = np.concatenate([np.eye(len(half)), np.ones((1, len(half)))]) / np.where(wide, half, 1.0)
    yield "polytope", av.Polytope(shorter, shorter @ middle + 0.5, av.Box(*box.range))
    along = np.stack([0.6 * share, 0.4 * share * np.where(np.arange(len(half)) % 2, 1.0, -1.0)], axis=-1)
    yield "zonotope", av.Zonotope(middle, along)


def outside(task: av.Task, sets: av.ReachSets, points: int) -> int:
    """How many random trajectories leave the sets at some step, beyond the error of their integration."""
    rng = np.random.default_rng(1)
    extreme = np.asarray(task.initial.minimiser(rng.standard_normal((points // 4, task.initial.size))))
    x = np.concatenate([extreme, np.asarray(task.initial.sample(points - len(extreme), rng))])
    x = np.asarray(task.initial.drawn_in(x))
    states, slack = av.simulate(task.system, x, sets.valid_steps, rng), np.zeros(1)
    if isinstance(task.system, av.ContinuousSystem):
        finer = av.simulate(task.system, x, sets.valid_steps, rng, 20)
        slack = 2.0 * (np.abs(states - finer) @ np.abs(sets.directions).T) + 1e-12
        states = finer
    excess = states @ sets.directions.T - sets.upper[: sets.valid_steps + 1]
    return int((excess > np.broadcast_to(slack, excess.shape)).any(axis=(1, 2)).sum())


if __name__ == "__main__":
    main()
