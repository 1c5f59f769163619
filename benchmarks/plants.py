"""Tubes of nonlinear plants in discrete time with networks in feedback, beside simulated trajectories.

    python -m benchmarks.plants [--only NAME ...] [--points N] [--tolerance SHARE] [--seconds S] [--json FILE]

Each of the plants of `problems/train_plants.py`, pendulum, bilinear plant and cart-pole, over its whole horizon: the
tube of the initial box, halved until no bound exceeds what trajectories attain by more than the tolerance's share of
their width, and how wide it is at the end for the width of so many trajectories of its own, from corners, edges and
the inside of the initial box, every state of which has to be in the tube. Width is counted state by state, the worst
one first; seconds are of CPU, on one thread, and the tubes' own.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.text_tables import table
from benchmarks.shares import RESULTS, environment, write_json
from problems.train_plants import PROBLEMS, TARGET

CHUNK = 20_000
"""Trajectories simulated at once."""


@dataclass(frozen=True)
class Tube:
    """A tube at the end of its horizon, beside trajectories.

    ratios: its width over theirs by state. outside: how many of them leave it at some step.
    """

    plant: str
    steps: int
    valid_steps: int
    cells: int
    ratios: dict[str, float]
    trajectories: int
    outside: int
    verdicts: list[str]
    processor_seconds: float
    wall_seconds: float

    @property
    def worst(self) -> float:
        """The largest ratio."""
        return max(self.ratios.values())


def measured(name: str, points: int, tolerance: float, seconds: float) -> Tube:
    """The tube of one plant."""
    task = av.read_task(TARGET / f"{name}.json")
    used, began = time.process_time(), time.monotonic()
    report = av.reach_sets(task, "box", timeout=seconds, settings=av.ReachSettings(tolerance=tolerance))
    used, spent = time.process_time() - used, time.monotonic() - began
    sets = report.sets
    low, high, outside = simulated(task, sets, points)
    end = sets.box(sets.valid_steps)
    widths = {
        state: float(outer / inner) for state, outer, inner in zip(task.names, end[1] - end[0], high - low, strict=True)
    }
    verdicts = [one.outcome.value for one in report.judgements]
    valid, cells = sets.valid_steps, len(sets.cells_lower)
    return Tube(name, task.steps, valid, cells, widths, points, outside, verdicts, used, spent)


def simulated(task: av.Task, sets: av.ReachSets, points: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Ends of the box of so many trajectories at the last step, and how many leave the sets."""
    rng, outside = np.random.default_rng(1), 0
    low, high = (np.asarray(end) for end in task.initial.range)
    least, most = np.full(low.shape, np.inf), np.full(low.shape, -np.inf)
    for first in range(0, points, CHUNK):
        x = rng.uniform(low, high, (min(CHUNK, points - first), len(low)))
        # Half of them start in corners, the others with ever fewer states at an end.
        pinned = rng.random(x.shape) < np.linspace(2.0, 0.0, len(x))[:, None]
        x = np.where(pinned, np.where(rng.random(x.shape) < 0.5, low, high), x)
        states = av.simulate(task.system, x, sets.valid_steps, rng)
        excess = states @ sets.directions.T - sets.upper[: sets.valid_steps + 1]
        outside += int((excess[:, 1:] > 0).any(axis=(1, 2)).sum())
        last = states[:, -1]
        least, most = np.minimum(least, last.min(axis=0)), np.maximum(most, last.max(axis=0))
    return least, most, outside


def main() -> None:
    names = [problem().name for problem in PROBLEMS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="plants")
    parser.add_argument("--points", type=int, default=100_000, help="trajectories of each plant")
    parser.add_argument(
        "--tolerance", type=float, default=0.05, help="share of the sampled width at which halving ends"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="limit for each tube")
    parser.add_argument("--json", type=Path, default=RESULTS / "plants.json", help="where to write the results")
    options = parser.parse_args()
    tubes = [measured(name, options.points, options.tolerance, options.seconds) for name in options.only]
    header = ["plant", "steps", "cells", "width over sampled", "outside", "CPU s", "verdicts"]
    print(
        table(
            header,
            (
                [
                    tube.plant,
                    f"{tube.valid_steps} of {tube.steps}",
                    str(tube.cells),
                    f"{tube.worst:.3f}",
                    f"{tube.outside} of {tube.trajectories}",
                    f"{tube.processor_seconds:.2f}",
                    ", ".join(tube.verdicts),
                ]
                for tube in tubes
            ),
        )
    )
    report: dict[str, Any] = {"environment": environment(), "tolerance": options.tolerance}
    write_json(options.json, report | {"plants": [asdict(tube) for tube in tubes]})


if __name__ == "__main__":
    main()
