"""Reachable sets of networks in feedback: tables, checks against simulated trajectories, and pictures.

    python -m experiments.reachability [--only TEXT] [--points N] [--seconds S] [--output FOLDER]

Parts: "double integrator" (areas by method, octagon, a million trajectories), "fitzhugh" (bounds on the largest x1,
unsplit and split), "shared" (every shared system: how far the tube goes, its width over the sampled one, verdicts, and
trajectories outside), "avoidance" (vehicles that steer round an obstacle, as stored and otherwise), "noise" (process
and sensor noise against noisy trajectories). Writes one JSON per part and PNGs.
Trajectories in continuous time are integrated numerically; what two step sizes differ by is their own error, and a
trajectory counts as outside where it is further out than that.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, HalfspaceIntersection

import admm_verify as av
from problems import feedback, train_avoidance

RESULTS = Path(__file__).parent / "results" / "reachability"
CHUNK = 20_000
"""Trajectories simulated at once."""


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="parts and systems whose name holds it")
    parser.add_argument("--points", type=int, default=100_000, help="trajectories of each system")
    parser.add_argument("--seconds", type=float, default=120.0, help="limit for each shared system")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[argparse.Namespace], Any]] = {
        "avoidance": avoidance,
        "double_integrator": double_integrator,
        "fitzhugh_nagumo": fitzhugh_nagumo,
        "noise": noise,
        "shared": shared,
    }
    for name, part in parts.items():
        if options.only in name or (name == "shared" and any(options.only in one for one in feedback.SHARED)):
            found = part(options)
            (options.output / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def avoidance(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both vehicles: as stored, from a larger box, other pupils, control periods and places of the obstacle."""
    rows = []
    for vehicle in (train_avoidance.robot, train_avoidance.flyer):
        variants = {
            "stored": (vehicle(), 0),
            "larger box": (vehicle(size=1.5), 0),
            "other pupil": (vehicle(), 1),
            "coarse": (vehicle(1.0, 11), 5),
            "fine": (vehicle(0.1, 110), 0),
            "shifted": (vehicle(shift=0.5), 3),
        }
        for name, (variant, seed) in variants.items():
            with TemporaryDirectory() as folder:
                task = av.read_task(train_avoidance.write(variant, Path(folder), seed))
            began, used = time.monotonic(), time.process_time()
            report = av.reach_sets(task, timeout=options.seconds)
            row = {
                "system": task.name,
                "variant": name,
                "all seconds": time.monotonic() - began,
                "processor seconds": time.process_time() - used,
                **summary(task, report.sets),
                **outside(task, report.sets, options.points),
                "verdicts": [one.outcome.value for one in report.judgements],
            }
            rows.append(row)
            print(row, flush=True)
            if name == "stored":
                av.tube_plot(options.output / f"{task.name}.png", task, report.sets, report.judgements)
    return rows


def double_integrator(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Areas after six steps."""
    task, rows = feedback.double_integrator(), []
    ways = {
        "boxing every step, CROWN": av.ReachSettings(method="crown", iterations=0, window=1),
        "one graph, CROWN": av.ReachSettings(method="crown", iterations=0),
        "one graph, tightened": av.ReachSettings(),
        "halved cells": av.ReachSettings(tolerance=0.02),
        "halved cells, octagon": av.ReachSettings(tolerance=0.02),
    }
    for name, settings in ways.items():
        report = av.reach_sets(task, "octagon" if "octagon" in name else "box", settings=settings)
        sets = report.sets
        row = {
            "method": name,
            "area": polygon_area(sets, task.steps) if "octagon" in name else sets.volume(task.steps),
            "cells": len(sets.cells_lower),
            "seconds": sets.seconds,
            **outside(task, sets, max(options.points, 1_000_000) if "halved" in name else options.points),
        }
        rows.append(row)
        print(row, flush=True)
        if name == "halved cells, octagon":
            av.tube_plot(options.output / "double_integrator.png", task, sets, report.judgements)
    return rows


def fitzhugh_nagumo(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Bounds on the largest x1 after five steps."""
    rows = []
    long = av.TightenSettings(iterations=250, shallow=250, ascent=av.AscentSettings())
    for width, split in ((100, False), (100, True), (400, True), (400, False)):
        task = feedback.fitzhugh_nagumo(width)
        settings = av.ReachSettings(tighten=long, iterations=200)
        if split:
            settings = av.ReachSettings(method="crown", tolerance=0.005 if width == 100 else 0.02)
        sets = av.reach_sets(task, "box", timeout=None if width == 100 or not split else 60.0, settings=settings).sets
        row = {
            "width": width,
            "split": split,
            "largest x1": float(sets.upper[-1, 0]),
            "attained": float(sets.inner[-1, 0]),
            "relaxation": feedback.FITZHUGH_LP[width],
            "cells": len(sets.cells_lower),
            "seconds": sets.seconds,
            **outside(task, sets, options.points),
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def noise(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Noise in states and sensors."""
    rows = []
    for task, process, sensor in (
        (feedback.double_integrator(), 0.01, 0.02),
        (feedback.shared_task("quadrotor_nfl"), 0.005, 0.01),
    ):
        noisy = feedback.noisy(task, process, sensor)
        sets = av.reach_sets(noisy, "octagon").sets
        rows.append({"system": noisy.name, **summary(noisy, sets), **outside(noisy, sets, options.points)})
        print(rows[-1], flush=True)
    return rows


def shared(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every shared system."""
    rows = []
    for name in feedback.SHARED:
        if options.only in "shared" or options.only in name:
            task = feedback.shared_task(name)
            continuous = isinstance(task.system, av.ContinuousSystem)
            settings = av.ReachSettings(cells=1024, batch=32, samples=3000)
            if not continuous:
                settings = av.ReachSettings(tolerance=0.05, cells=2000)
            report = av.reach_sets(task, "octagon", timeout=options.seconds, settings=settings)
            sets = report.sets
            row = {"system": name, **summary(task, sets), **outside(task, sets, options.points)}
            row["sampled bounds inside"] = holds_sampled(task, sets)
            row["verdicts"] = [
                {"text": one.requirement.text, "verdict": one.outcome.value, "seconds": one.seconds, "parts": one.parts}
                for one in report.judgements
            ]
            rows.append(row)
            print(row, flush=True)
            av.tube_plot(options.output / f"{name}.png", task, sets, report.judgements)
            av.time_plot(options.output / f"{name}_time.png", task, sets, report.judgements)
    return rows


def summary(task: av.Task, sets: av.ReachSets) -> dict[str, Any]:
    """How far the sets go, and their width over the sampled one at a few steps."""
    low, high = sets.sampled_box
    steps = sorted({1, task.steps // 4, task.steps // 2, sets.valid_steps} - {0})
    ratios = {}
    for t in (t for t in steps if t <= sets.valid_steps):
        outer = sets.box(t)
        width, inner = outer[1] - outer[0], high[t] - low[t]
        kept = inner > 1e-9 * (1.0 + np.abs(high[t]))
        ratios[str(t)] = float((width[kept] / inner[kept]).max()) if kept.any() else 1.0
    return {
        "steps": task.steps,
        "valid steps": sets.valid_steps,
        "cells": len(sets.cells_lower),
        "seconds": sets.seconds,
        "ended": sets.ended.value,
        "largest width over sampled width, by step": ratios,
    }


def outside(task: av.Task, sets: av.ReachSets, points: int) -> dict[str, int]:
    """How many of so many random trajectories leave the sets at some step, beyond the error of their integration."""
    rng, found = np.random.default_rng(1), 0
    low, high = (np.asarray(end) for end in task.initial.range)
    for first in range(0, points, CHUNK):
        count = min(CHUNK, points - first)
        x = rng.uniform(low, high, (count, len(low)))
        corners = np.where(rng.random(x.shape) < 0.5, low, high)
        x[: count // 4] = corners[: count // 4]
        states = av.simulate(task.system, x, sets.valid_steps, rng)
        slack = 0.0
        if isinstance(task.system, av.ContinuousSystem):
            finer = av.simulate(task.system, x, sets.valid_steps, rng, 20)
            slack = 2.0 * (np.abs(states - finer) @ np.abs(sets.directions).T) + 1e-12
            states = finer
        excess = states @ sets.directions.T - sets.upper[: sets.valid_steps + 1]
        found += int((excess[:, 1:] > np.broadcast_to(slack, excess.shape)[:, 1:]).any(axis=(1, 2)).sum())
    return {"trajectories": points, "outside": found}


def holds_sampled(task: av.Task, sets: av.ReachSets) -> bool | None:
    """Whether the stored bounds of simulated states, printed with 9 digits, lie in the sets as far as these go."""
    if task.sampled is None:
        return None
    for t in range(1, sets.valid_steps + 1):
        low, high = sets.box(t)
        digits = 5e-9 * np.maximum(np.abs(task.sampled[0][t]), np.abs(task.sampled[1][t]))
        if (task.sampled[0][t] + digits < low).any() or (task.sampled[1][t] - digits > high).any():
            return False
    return True


def polygon_area(sets: av.ReachSets, step: int) -> float:
    """Area of the polygon of two states after a step."""
    low, high = sets.box(step)
    rows = np.concatenate([sets.directions, -sets.upper[step][:, None]], axis=1)
    return float(ConvexHull(HalfspaceIntersection(rows, (low + high) / 2).intersections).volume)


if __name__ == "__main__":
    start = time.monotonic()
    main()
    print(f"{time.monotonic() - start:.0f} s")
