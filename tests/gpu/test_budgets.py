"""What the GPU and the host may be asked for: kernels, host reads and copies, counted on the pretend GPU.

Counts do not depend on widths of layers, so networks here have the depth of the benchmarks' and few neurons: "dense"
four hidden layers, "convolutional" two convolutions and a dense one. `AIMS` holds what is wanted; where more is asked
for today, `TODAY` holds how much, which may only sink.
"""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify.complete.input_split import InputSplitter
from admm_verify.complete.neuron_split import NeuronSplitter
from admm_verify.network.layers import network_from_layers
from tests.gpu.events import Events, What, calling_lines
from tests.gpu.pretend import pretend_gpu
from tests.test_proofs import case

torch = pytest.importorskip("torch")

KINDS = ["dense", "convolutional"]
METHODS = ["ascent", "primal_dual", "admm"]
AIMS = {
    "kernels ascent": 30,
    "kernels admm": 60,
    "check point reads": 1,
    "search step reads": 2,
    "launches crown": 5,
    "launches tightened": 20,
}
TODAY = {
    ("kernels ascent", "dense"): 28,
    ("kernels ascent", "convolutional"): 25,
    ("kernels primal_dual", "dense"): 44,
    ("kernels primal_dual", "convolutional"): 41,
    ("kernels admm", "dense"): 41,
    ("kernels admm", "convolutional"): 48,
    ("check point copies", "dense"): 1,
    ("check point copies", "convolutional"): 1,
    ("search step reads", "InputSplitter"): 4,
    ("arrays in", ""): 8,
    ("arrays out", ""): 4,
}


def limit(what: str, of: str = "") -> int:
    """What may be asked for at most."""
    return TODAY.get((what, of), AIMS.get(what, 0))


@cache
def network(kind: str) -> av.Network:
    if kind == "dense":
        rng, sizes = np.random.default_rng(1), (9, 14, 13, 12, 11, 5)
        weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
        return network_from_layers(weights, [0.1 * rng.standard_normal(m) for m in sizes[1:]], kind)
    torch.manual_seed(2)
    first, second = (torch.nn.Conv2d(m, n, 3, stride=2, padding=1) for m, n in ((2, 3), (3, 4)))
    relu = torch.nn.ReLU()
    dense = (torch.nn.Flatten(), torch.nn.Linear(16, 10), torch.nn.ReLU(), torch.nn.Linear(10, 5))
    return av.trace(torch.nn.Sequential(first, relu, second, torch.nn.ReLU(), *dense), torch.rand(1, 2, 8, 8))


@cache
def problem(kind: str, count: int = 4) -> av.Problem:
    rng, of = np.random.default_rng(7), network(kind)
    inside = av.Box.around(rng.random((count, *of.input_shape)), radius=0.1)
    objective = rng.standard_normal((count, of.output_size))
    return av.Problem(of, inside, objective, preactivation=av.preactivation_bounds(of, inside))


@cache
def iterations(kind: str, method: str) -> tuple[list[Events], list[Events]]:
    """What iterations ask for: those without a check point, and those with one."""
    marks, interval, of = [], 3, problem(kind)
    with pretend_gpu() as gpu:

        def stop() -> bool:
            if any(line.startswith("splitting/loop.py") for line in calling_lines()):
                marks.append(len(list(gpu.events)))
            return False

        settings = av.SolverSettings(check_interval=interval, tolerance=1e-14)
        run = av.Run(stop=stop)
        av.solve(of, method, max_passes=16, device="cuda", settings=settings, run=run)
        events = list(gpu.events)
    # The run is asked before the check point, which so belongs to the next iteration.
    between = [Events(events[a:b]) for a, b in pairwise(marks)]
    checked = between[interval - 1 :: interval] if method != "ascent" else []
    return [each for each in between if each not in checked], checked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_iterations(kind: str, method: str) -> None:
    """Kernels and host reads of an iteration: at most, but for ADMM, which changes penalties at times, the median."""
    plain, _ = iterations(kind, method)
    assert len(plain) >= 4
    kernels = [each.kernels for each in plain]
    most = int(np.median(kernels)) if method == "admm" else max(kernels)
    assert 0 < most <= limit(f"kernels {method}", kind), plain[-1].table()
    assert max(each.host_reads for each in plain) <= limit("reads", kind), plain[-1].table()
    assert max(each.count(What.TO_DEVICE) for each in plain) == 0, plain[-1].table()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS[1:])
def test_check_points(kind: str, method: str) -> None:
    """Host reads, beside those of the iteration, and copies to the device of a check point."""
    plain, checked = iterations(kind, method)
    own = int(np.median([each.host_reads for each in plain]))
    assert checked
    assert max(each.host_reads for each in checked) - own <= limit("check point reads", kind), checked[0].table()
    most = max(each.count(What.TO_DEVICE) for each in checked)
    assert most <= limit("check point copies", kind), checked[0].table()


@pytest.mark.parametrize(("inputs", "share", "splitter"), [(3, 0.05, InputSplitter), (24, 1.2, NeuronSplitter)])
def test_a_search_step(inputs: int, share: float, splitter: type, monkeypatch) -> None:
    """Host reads of a step of the search, which expands a batch of parts."""
    query, expand, steps = case(inputs, 0, share=share), splitter.expand, []
    with pretend_gpu() as gpu:

        def counted(self: Any, nodes: Any) -> Any:
            before = len(list(gpu.events))
            grown = expand(self, nodes)
            steps.append(Events(list(gpu.events)[before:]))
            return grown

        monkeypatch.setattr(splitter, "expand", counted)
        # Without refinement the root decides less.
        settings = av.VerifySettings()
        settings = replace(settings, search=replace(settings.search, refinement=av.RefineSettings(rounds=0)))
        assert av.verify(query, settings=settings, device="cuda", timeout=60).verdict is av.Verdict.UNSAT
    assert steps
    assert max(each.host_reads for each in steps) <= limit("search step reads", splitter.__name__), steps[0].table()


def test_what_crosses_in_solve() -> None:
    """Arrays of rows times neurons that cross, beside the boxes, from NumPy boxes with known bounds of layers."""
    rows, of = 6, problem("dense", 6)
    neurons = {node.size for node in of.network.nodes if node.size not in (of.network.input_size, 5)}
    with pretend_gpu() as gpu:
        av.solve(of, "ascent", max_passes=8, device="cuda")
        for what, name in ((What.TO_DEVICE, "in"), (What.TO_HOST, "out")):
            crossing = [
                e for e in gpu.events if e.what is what and e.shape[:1] == (rows,) and set(e.shape[1:]) & neurons
            ]
            assert len(crossing) <= limit(f"arrays {name}"), [str(event) for event in crossing]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["crown", "tightened"])
def test_launches_for_a_box(method: str) -> None:
    """Launches for each of 1000 boxes, from those of a few, in a network as wide as the benchmarks' for MNIST."""
    rng, sizes = np.random.default_rng(3), (784, 600, 400, 200, 100, 10)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    of = network_from_layers(weights, [0.1 * rng.standard_normal(m) for m in sizes[1:]], "wide")
    # From some ten boxes on each is bounded at its own neurons, by as many launches for few as for many.
    few, more = 20, 36
    launches = []
    with pretend_gpu() as gpu:
        for count in (few, more):
            inside = av.Box.around(rng.random((count, 784)), radius=0.002)
            there = av.Box(gpu.tensor(inside.lower), gpu.tensor(inside.upper))
            gpu.events.clear()
            av.preactivation_bounds(of, there, method)
            launches.append(gpu.events.launches)
    one = max(launches[1] - launches[0], 0) / (more - few)
    assert launches[0] > 0
    assert (launches[0] + (1000 - few) * one) / 1000 <= limit(f"launches {method}"), gpu.events.table()
