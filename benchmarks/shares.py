"""What the benchmarks measure: the share of the way from the CROWN bound to the LP optimum that a bound closes."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import admm_verify as av
from benchmarks import THREADS
from problems.lp_instances import LpInstance

RESULTS = Path(__file__).parent / "results"

LEAST_DISTANCE = 1e-3
"""Rows whose CROWN bound is nearer to the LP optimum than this say nothing about convergence and are left out."""

Result = TypeVar("Result")


def crown_bound(problem: av.Problem) -> np.ndarray:
    """The bound before any iteration, [rows]."""
    return av.solve(problem, settings=av.SolverSettings(max_passes=0)).lower


def closed(instance: LpInstance, crown: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Share of the distance closed, in the rows that have one; 1 means the LP optimum."""
    distance = instance.lp_optimum - crown
    far = distance > LEAST_DISTANCE
    return (lower[far] - crown[far]) / distance[far]


def timed(work: Callable[[], Result], runs: int = 3) -> tuple[Result, float]:
    """The result and CPU seconds of this process; the median of several runs where they are short.

    CPU seconds on one thread are the wall seconds of an idle machine, and other processes disturb them least.
    """
    seconds: list[float] = []
    while True:
        began = time.process_time()
        result = work()
        seconds.append(time.process_time() - began)
        if len(seconds) == runs or sum(seconds) > 0.5:
            return result, statistics.median(seconds)


def least_seconds(work: Callable[[], object], runs: int, clock: Callable[[], float] = time.process_time) -> float:
    """The least seconds of some runs: of CPU, or by another clock."""
    seconds = []
    for _ in range(runs):
        began = clock()
        work()
        seconds.append(clock() - began)
    return min(seconds)


def environment() -> dict[str, str | int]:
    """Versions and threads behind a measurement."""
    found: dict[str, str | int] = {"python": platform.python_version(), "threads": THREADS}
    for name in ("numpy", "scipy", "highspy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | {"admm_verify": av.__version__}


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report with numbers of six digits, enough for every figure quoted from it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_short(report), indent=1) + "\n", encoding="utf-8")


def measure_parts(path: Path, ways: dict[str, Callable[[], Any]], parts: list[str]) -> None:
    """Measure some parts, or all of none; each replaces at once what the file says of it, and leaves the others."""
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in parts or ways:
        measured[name] = ways[name]()
        measured["environment"] = environment()
        write_json(path, measured)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
