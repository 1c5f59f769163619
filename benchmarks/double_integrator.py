"""Box of the states a closed loop reaches in 6 steps, from one network for all steps, and its seconds.

    python -m benchmarks.double_integrator [--steps N] [--passes N] [--bounds METHOD] [--points N] [--json FILE]

The box comes from four rows, each coordinate and its negative. Simulated trajectories from random starting points and
the corners must all end inside it.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from benchmarks.shares import RESULTS, environment, timed, write_json
from problems.double_integrator import EXACT_AREA, ClosedLoop, double_integrator

STEPS = 6
LARGEST_AREA, MOST_SECONDS = 0.00070, 0.5
"""What is asked of 6 steps; the LP over layer-wise tightened bounds gives 0.00069."""


def reached(loop: ClosedLoop, steps: int, bounds: str, passes: int) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper ends of the box after so many steps, the network written from scratch."""
    network = loop.unrolled(steps)
    known = av.preactivation_bounds(network, loop.start, method=bounds)
    identity = np.eye(network.output_size)
    problem = av.Problem(network, loop.start, np.vstack([identity, -identity]), preactivation=known)
    lower = av.solve(problem, "ascent", max_passes=passes).lower
    return lower[: len(identity)], -lower[len(identity) :]


def starts(box: av.Box, points: int) -> np.ndarray:
    """Random points of the box and its corners, [points + corners, n]."""
    ends = np.array(list(product(*zip(box.lower, box.upper, strict=True))))
    random = np.random.default_rng(0).uniform(box.lower, box.upper, (points, len(box.lower)))
    return np.vstack([random, ends])


def measure(steps: int, bounds: str, passes: int, points: int) -> dict[str, Any]:
    """Area, seconds and simulated trajectories outside, for every number of steps up to the last."""
    loop = double_integrator()
    ends = starts(loop.start, points)
    lines = []
    for count in range(1, steps + 1):
        ends = loop.simulate(ends, 1)
        (lower, upper), seconds = timed(lambda count=count: reached(loop, count, bounds, passes))
        outside = int(np.sum(((ends < lower) | (ends > upper)).any(axis=1)))
        lines.append(
            {
                "steps": count,
                "area": float(np.prod(upper - lower)),
                "simulated_area": float(np.prod(np.ptp(ends, axis=0))),
                "seconds": seconds,
                "outside": outside,
                "lower": lower.tolist(),
                "upper": upper.tolist(),
            }
        )
    last = lines[-1]
    good = all(line["outside"] == 0 for line in lines)
    if steps == STEPS:
        good = good and last["area"] <= LARGEST_AREA and last["seconds"] <= MOST_SECONDS
    return {"bounds": bounds, "passes": passes, "trajectories": len(ends), "passed": good, "steps": lines}


def table(found: dict[str, Any]) -> str:
    """A line per number of steps."""
    out = [f"{'steps':>5}{'area':>14}{'simulated':>14}{'seconds':>10}{'outside':>9}"]
    out += [
        f"{line['steps']:5d}{line['area']:14.6g}{line['simulated_area']:14.6g}{line['seconds']:10.3f}{line['outside']:9d}"
        for line in found["steps"]
    ]
    return "\n".join([*out, f"exact after {STEPS} steps: {EXACT_AREA}; {'passed' if found['passed'] else 'FAILED'}"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Reachable box of a double integrator from one unrolled network.")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the closed loop")
    parser.add_argument("--passes", type=int, default=40, help="budget of passes of the final rows")
    parser.add_argument("--bounds", default="tightened", help="method for the pre-activation bounds")
    parser.add_argument("--points", type=int, default=1_000_000, help="simulated trajectories")
    parser.add_argument("--json", type=Path, default=RESULTS / "double_integrator.json", help="where to write")
    options = parser.parse_args()
    found = measure(options.steps, options.bounds, options.passes, options.points)
    write_json(options.json, {"environment": environment(), **found})
    print(table(found))


if __name__ == "__main__":
    main()
