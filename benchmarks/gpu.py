"""The parts of `benchmarks/gpu.sh` that time the library on a device: one process each, so that none hampers another.

    python -m benchmarks.gpu PART [--device cuda|cpu] [--carried FOLDER] [--small] [--seconds S] --json FILE

What is found is written line by line, so that a part whose time is up has said what it knows. Wall seconds, until the
numbers are on the host. On a GPU, "one core" and "one solve" in the lines are of the same machine and the same process.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.splitting import replay
from benchmarks.gpu_cases import Cases
from benchmarks.shares import write_json
from problems.crown_family import CrownInstance
from problems.resnet18 import build

SHARE = 0.99
"""Of the way from CROWN's bound to where a long ascent gets, on average over rows that have a way to go."""

LONG = 400
"""Passes of that ascent."""

PASSES = (10, 14, 20, 28, 40, 60)
LEAST = 1e-3
RADII = (0.01, 0.02, 0.05)
RADIUS = 0.02


@dataclass
class Part:
    """What a part works on, and what it has found so far."""

    cases: Cases
    device: str
    small: bool
    seconds: float
    path: Path
    carried: Path
    began: float = field(default_factory=time.monotonic)
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def say(self, **line: Any) -> None:
        self.lines.append(line)
        write_json(self.path, self.lines)
        print("  ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()), flush=True)

    def put(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, device=self.device)

    def clock(self) -> float:
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """A result, and seconds until it is there."""
        began = self.clock()
        found = work()
        return found, self.clock() - began

    def run(self, **how: Any) -> av.Run:
        return av.Run(device=self.device, **how)


def boxes_of(part: Part, instances: tuple[CrownInstance, ...]) -> av.Box:
    """The boxes of some instances on the device, [instances, *input_shape]."""
    shape = (-1, *instances[0].network.input_shape)
    ends = [np.concatenate([np.reshape(end(i), shape) for i in instances]) for end in (_lower, _upper)]
    return av.Box(*map(part.put, ends))


def _lower(instance: CrownInstance) -> np.ndarray:
    return instance.box.range[0]


def _upper(instance: CrownInstance) -> np.ndarray:
    return instance.box.range[1]


def batch(part: Part, instances: tuple[CrownInstance, ...], box: av.Box, known: Any, count: int) -> av.Problem:
    """So many rows of the boxes in turn, all of it on the device."""
    owner = np.arange(count) % len(instances)
    rows = [instances[k].objective[(n // len(instances)) % len(instances[k].objective)] for n, k in enumerate(owner)]
    index = part.put(owner)
    boxes = box.mapped(lambda end: end[index])
    return av.Problem(instances[0].network, boxes, part.put(np.stack(rows)), preactivation=known.take(index))


def rows(part: Part) -> None:
    """Rows a second to 99 % for two networks, from boxes on the device."""
    counts = (20, 60) if part.small else (100, 1000, 10_000, 100_000)
    for name, instances in part.cases.instances.items():
        box = boxes_of(part, instances)
        known = av.preactivation_bounds(instances[0].network, box, run=part.run())
        few = batch(part, instances, box, known, 9 * len(instances))

        def solved(problem: av.Problem, passes: int) -> np.ndarray:
            settings = av.SolverSettings(max_passes=passes, precision="float32")
            return to_numpy(av.solve(problem, "ascent", settings=settings, device=part.device).lower)

        crown, far = solved(few, 0), solved(few, LONG)
        open = far - crown > LEAST
        share, passes = 0.0, 0
        for passes in PASSES:
            share = float(np.mean((solved(few, passes) - crown)[open] / (far - crown)[open]))
            if share >= SHARE:
                break
        each = 0.0
        for count in counts:
            if 3 * each * count > part.left:
                part.say(network=name, rows=count, skipped="no time")
                continue
            problem = batch(part, instances, box, known, count)
            seconds = min(part.timed(partial(solved, problem, passes))[1] for _ in range(3))
            each = seconds / count
            part.say(network=name, rows=count, passes=passes, share=share, seconds=seconds, rows_per_second=1 / each)


def several(part: Part) -> None:
    """Rows a second on all GPUs together beside the first one alone, from boxes on the host."""
    count, passes = (40, 10) if part.small else (100_000, 20)
    instances = part.cases.instances["MNIST FC"]
    chosen = [instances[k % len(instances)] for k in range(count)]
    box = av.Box(*(np.concatenate([np.reshape(end(i), (1, -1)) for i in chosen]) for end in (_lower, _upper)))
    rows = np.stack([one.objective[(n // len(instances)) % len(one.objective)] for n, one in enumerate(chosen)])
    network = instances[0].network
    known = av.preactivation_bounds(network, box, run=part.run())
    problem = av.Problem(network, box, rows, preactivation=known)
    settings = av.SolverSettings(max_passes=passes, precision="float32")
    lower = None
    for device in (part.device, "cpu" if part.device == "cpu" else "cuda:all"):
        av.solve(problem.block(0, min(count, 2000)), "ascent", settings=settings, device=device)
        found, seconds = part.timed(lambda device=device: av.solve(problem, "ascent", settings=settings, device=device))
        same = lower is None or bool(np.allclose(found.lower, lower, rtol=1e-3, atol=1e-3))
        lower = found.lower
        there = 0 if device == "cpu" else torch.cuda.device_count()
        part.say(device=device, gpus=there, rows=count, seconds=seconds, rows_per_second=count / seconds, same=same)


def tightening(part: Part) -> None:
    """Tightened bounds of many images at once, and of a few on one core of the host."""
    network = part.cases.instances["MNIST FC"][0].network
    count = 4 if part.small else len(part.cases.images)
    images = part.cases.images[:count].reshape(count, *network.input_shape).astype(np.float64)
    few = av.Box.around(images[:4], RADIUS, within=(0.0, 1.0))
    with threadpool_limits(1):
        alone = av.Run(device="cpu", threads=1)
        # Kernels are compiled, and their libraries loaded, before the clock starts.
        av.preactivation_bounds(network, few.at(slice(1)), "tightened", run=alone)
        began = time.process_time()
        av.preactivation_bounds(network, few, "tightened", run=alone)
        core = (time.process_time() - began) / few.count
    for number in sorted({min(count, n) for n in (10, 100, count)}):
        box = av.Box.around(part.put(images[:number]), RADIUS, within=(0.0, 1.0))
        for method in ("crown", "tightened"):

            def bounded(box: av.Box = box, method: str = method) -> np.ndarray:
                return to_numpy(av.preactivation_bounds(network, box, method, run=part.run()).lower[-1])

            seconds = part.timed(bounded)[1]
            line = {"images": number, "method": method, "seconds": seconds, "images_per_second": number / seconds}
            part.say(**line, **({"one_core": core * number / seconds} if method == "tightened" else {}))


def certifying(part: Part) -> None:
    """Certified accuracy of many images at three radii."""
    network = part.cases.instances["MNIST FC"][0].network
    count = 10 if part.small else len(part.cases.images)
    images, labels = part.cases.images[:count], part.cases.labels[:count]
    for bounds in ("crown", "tightened"):
        settings, how = av.CertifySettings(bounds=bounds), part.run(timeout=max(1.0, 0.45 * part.seconds))
        found, seconds = part.timed(
            lambda settings=settings, how=how: av.certify(network, images, labels, RADII, settings=settings, run=how)
        )
        counts = {answer.value: found.count(answer).tolist() for answer in av.Answer}
        part.say(bounds=bounds, images=count, seconds=seconds, images_per_second=count / seconds, **counts)


def search(part: Part) -> None:
    """Parts bounded a second by branch and bound."""
    limit = 3.0 if part.small else 0.7 * part.seconds
    found, seconds = part.timed(lambda: av.verify(part.cases.query, timeout=limit, device=part.device))
    part.say(
        query=part.cases.query.name,
        verdict=found.verdict.value,
        subproblems=found.subproblems,
        seconds=seconds,
        nodes_per_second=found.subproblems / seconds,
    )


def admm(part: Part) -> None:
    """An iteration of the layered splitting on a ResNet-18, in passes of torch on the same device."""
    width, count = (8, 2) if part.small else (64, 10)
    module, random = build(0, width).to(part.device), np.random.default_rng(0)
    network = av.trace(build(0, width), torch.zeros(1, 3, 32, 32))
    box = av.Box.around(random.random((1, 3, 32, 32)), 1 / 255, within=(0.0, 1.0)).mapped(part.put)
    bounds = av.preactivation_bounds(network, box, "interval", run=part.run())
    problem = av.Problem(network, box, part.put(random.standard_normal((count, 10))), preactivation=bounds)
    images = part.put(random.random((count, 3, 32, 32)).astype(np.float32)).requires_grad_()

    def solved(passes: int) -> np.ndarray:
        settings = av.SolverSettings(tolerance=0.0, max_passes=passes, precision="float32")
        return to_numpy(av.solve(problem, "admm", settings=settings, device=part.device).lower)

    few, many = (4, 12) if part.small else (20, 120)
    # The first one factorises for the caches that there are.
    first = part.timed(lambda: solved(few))[1]
    short, long = part.timed(lambda: solved(few))[1], part.timed(lambda: solved(many))[1]
    one = min(part.timed(lambda: module(images).sum().backward())[1] for _ in range(5))
    each = (long - short) / ((many - few) / 2)
    part.say(rows=count, width=width, first=first, iteration=each, torch_pass=one, passes_per_iteration=each / one)


def graphs(part: Part) -> None:
    """ADMM's iterations as CUDA graphs and launched kernel by kernel, on as many rows as launches can hold up."""
    instances, largest = part.cases.instances["MNIST FC"], replay._LARGEST
    box = boxes_of(part, instances)
    known = av.preactivation_bounds(instances[0].network, box, run=part.run())
    passes = 40 if part.small else 400
    settings = av.SolverSettings(tolerance=0.0, max_passes=passes, check_interval=passes, precision="float32")
    for count in (4,) if part.small else (10, 100, 1000, 10_000):
        problem = batch(part, instances, box, known, count)

        def solved(problem: av.Problem = problem) -> np.ndarray:
            return to_numpy(av.solve(problem, "admm", settings=settings, device=part.device).lower)

        seconds, lower = {}, {}
        for name, limit in (("one_by_one", 0), ("replayed", largest)):
            replay._LARGEST = limit
            solved()
            lower[name], seconds[name] = part.timed(solved)
        same = bool(np.array_equal(lower["one_by_one"], lower["replayed"]))
        part.say(rows=count, iterations=passes // 2, same=same, **seconds)


def reach(part: Part) -> None:
    """Five unsplit steps of the FitzHugh-Nagumo network of 400 neurons a layer, by long tightening."""
    iterations = 2 if part.small else 250
    tighten = av.TightenSettings(iterations=iterations, shallow=iterations, ascent=av.AscentSettings())
    settings = av.ReachSettings(tighten=tighten, iterations=200, method="crown" if part.small else "tightened")
    how = part.run(timeout=max(1.0, 0.9 * part.left))
    found, seconds = part.timed(lambda: av.reach_sets(part.cases.task, settings=settings, run=how))
    sets = found.sets
    part.say(
        system=part.cases.task.name,
        seconds=seconds,
        ended=sets.ended.value,
        largest=float(sets.upper[-1, 0]),
        attained=float(sets.inner[-1, 0]),
    )


def lirpa(part: Part) -> None:
    """CROWN and alpha-CROWN of auto_LiRPA beside ours, on the same boxes and device; both fix CROWN's bounds."""
    from benchmarks.lirpa import BatchLirpa, load

    part.say(**load(part.carried / "auto_LiRPA"))
    instances, iterations = part.cases.instances["MNIST FC"], 20
    network, box = instances[0].network, boxes_of(part, instances)
    for count in (3,) if part.small else (30, 300):
        index = part.put(np.arange(count) % len(instances))
        boxes = box.mapped(lambda end, index=index: end[index])
        objective = np.stack([instances[k % len(instances)].objective for k in range(count)])
        theirs = BatchLirpa(network, boxes, objective, iterations, part.device)
        owner = part.put(np.repeat(np.arange(count), objective.shape[1]))

        def ours(passes: int, boxes: av.Box = boxes, owner: Any = owner, objective: np.ndarray = objective) -> Any:
            known = av.preactivation_bounds(network, boxes, run=part.run())
            spread, flat = boxes.mapped(lambda end: end[owner]), part.put(objective.reshape(-1, objective.shape[2]))
            problem = av.Problem(network, spread, flat, preactivation=known.take(owner))
            settings = av.SolverSettings(max_passes=passes, precision="float32")
            return to_numpy(av.solve(problem, "ascent", settings=settings, device=part.device).lower)

        for name, work in (
            ("ours, CROWN", lambda ours=ours: ours(0)),
            ("auto_LiRPA, CROWN", theirs.crown),
            ("ours, ascent", lambda ours=ours: ours(2 * iterations)),
            ("auto_LiRPA, alpha-CROWN", theirs.alpha),
        ):
            work()
            bound, seconds = part.timed(work)
            part.say(side=name, boxes=count, seconds=seconds, mean_bound=float(np.mean(bound)))


PARTS: dict[str, Callable[[Part], None]] = {
    "rows": rows,
    "several": several,
    "tightening": tightening,
    "certifying": certifying,
    "search": search,
    "admm": admm,
    "graphs": graphs,
    "reach": reach,
    "lirpa": lirpa,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="One part of benchmarks/gpu.sh.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--carried", type=Path, default=Path("carried"))
    parser.add_argument("--small", action="store_true", help="a rehearsal")
    parser.add_argument("--seconds", type=float, default=60.0, help="what the part may take")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    cases = Cases.found(options.carried)
    PARTS[options.part](Part(cases, options.device, options.small, options.seconds, options.json, options.carried))


def lines_of(found: dict[str, Any]) -> Iterator[str]:
    """A table of all that the parts have written, of `gpu.sh`'s file."""
    for verb in found.get("verbs", {}).get("verbs", ()):
        share = verb["bandwidth"] / verb["copy_bandwidth"]
        name = f"{verb['verb']}, bounds {verb['bounds']}"
        yield f"{'verbs':12}{name}: {1e3 * verb['seconds']:.4g} ms, {share:.0%} of a copy's bandwidth"
    for name in PARTS:
        for line in found.get(name, ()):
            cells = [f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in line.items()]
            yield f"{name:12}" + "  ".join(cells)


if __name__ == "__main__":
    main()
