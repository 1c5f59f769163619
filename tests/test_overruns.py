"""Timeouts where a single product takes a second: a large network, as seen from the clock."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.cli import main
from admm_verify.commands import bound
from admm_verify.network import from_onnx
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from admm_verify.properties.property import Disjunct
from admm_verify.run import Stopped, paced
from tests.complete.queries import at_most, box_of, query_of
from tests.network.onnx_models import model, node

SIZES = (8, 6, 6, 6, 6, 6, 4)
LATEST = 6.0
"""Half a second that is granted, and the node that is being computed by then: a few products."""


class Slow:
    """A clock that goes on by a second with every product, and by little whenever somebody looks at it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Slow:
    slow = Slow()

    def timed(product):
        def work(self, *given):
            slow.now += 1.0
            return product(self, *given)

        return work

    monkeypatch.setattr(time, "monotonic", slow)
    for name in ("apply", "transpose", "absolute_apply", "magnitude_apply", "rows_at"):
        monkeypatch.setattr(DenseMap, name, timed(getattr(DenseMap, name)))
    return slow


def network() -> av.Network:
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(m, n)) / np.sqrt(n) for n, m in pairwise(SIZES)]
    return network_from_layers(weights, [rng.normal(size=m) * 0.1 for m in SIZES[1:]])


def query(limit: float) -> av.Query:
    return query_of(network(), [Disjunct(box_of([-1] * 8, [1] * 8), (at_most([1, 0, 0, 0], 0, limit),))])


@contextmanager
def in_time(clock: Slow, timeout: float) -> Iterator[None]:
    """Whether what is done within takes no longer."""
    began = clock.now
    yield
    assert clock.now - began <= timeout + LATEST


TIMES = (1.0, 7.0, 20.0, 45.0, 90.0, 150.0, 400.0)
WAYS = (
    *({"method": method} for method in ("auto", "admm", "primal_dual", "ascent")),
    {"certificate": True},
    {"search": av.SearchSettings(input_sides=0)},
)


@pytest.mark.parametrize("given", WAYS, ids=["auto", "admm", "primal_dual", "ascent", "certificate", "neurons"])
def test_verify_ends_in_time(given, clock) -> None:
    sample = float(network()(np.random.default_rng(0).uniform(-1, 1, (4000, 8)))[:, 0].min())
    for timeout in TIMES:
        with in_time(clock, timeout):
            found = av.verify(query(sample - 0.2), timeout=timeout, settings=av.VerifySettings(**given))
        assert found.verdict is not av.Verdict.SAT


@pytest.mark.parametrize("method", ["auto", "admm", "primal_dual", "ascent"])
def test_solve_ends_in_time_with_what_it_has(method, clock) -> None:
    box = av.Box(-np.ones(8), np.ones(8))
    problem = av.Problem(network(), box, np.concatenate([np.eye(4), -np.eye(4)]))
    crown = av.solve(problem, method, settings=av.SolverSettings(max_passes=0)).lower
    # As many rows a block as a large network would allow.
    settings = av.SolverSettings(block_numbers=1, tolerance=0.0)
    for timeout in TIMES:
        with in_time(clock, timeout):
            found = av.solve(problem, method, timeout=timeout, settings=settings)
        known = found.lower > -np.inf
        assert (
            (found.lower[known] >= crown[known] - 1e-9).all()
            and known.any() >= (timeout > 40)
            and known.all() >= (timeout > 300)
        )
        assert all(one is av.Ended.TIMED_OUT for one, bounded in zip(found.status, known, strict=True) if not bounded)
        assert (found.relaxation_upper >= found.lower).all() and (np.abs(found.primal) <= 1).all()


def test_certify_ends_in_time(clock) -> None:
    images = np.random.default_rng(1).uniform(-0.5, 0.5, (9, 8))
    labels, unbounded = np.asarray(network()(images)).argmax(axis=1), av.CertifySettings(within=None)
    for timeout in TIMES:
        with in_time(clock, timeout):
            found = av.certify(network(), images, labels, [0.01, 0.3], settings=unbounded, run=av.Run(timeout=timeout))
        assert found.clean_accuracy in (0.0, 1.0)
        assert found.correct.all() or (found.status[~found.correct] == av.Answer.TIMED_OUT).all()


def test_bounds_of_layers_end_in_time_and_hold(clock) -> None:
    box = av.Box(-np.ones(8), np.ones(8))
    interval = av.preactivation_bounds(network(), box, "interval")
    for timeout in TIMES:
        found = av.preactivation_bounds(network(), box, "tightened", run=av.Run(timeout=timeout))
        for end, loose in zip(found.lower, interval.lower, strict=True):
            assert (end >= loose).all()


def test_rows_without_any_bound_are_told_as_such(clock, monkeypatch) -> None:
    asked = query(0.0)
    for timeout in (3.0, 30.0):
        run = av.Run.of(None, timeout=timeout)
        monkeypatch.setattr(bound, "asked_query", lambda *_: asked)
        options = argparse.Namespace(objective=None, bounds="crown", method="auto")
        with in_time(clock, timeout), run.watching():
            found = bound._solved(asked, options, av.SolverSettings(), run)
        assert found.status == (av.Ended.TIMED_OUT,) and found.lower.shape == (1,)


def test_reading_ends_in_time(clock, monkeypatch, tmp_path, capsys) -> None:
    read = from_onnx.read_tensor

    def slow(tensor, where):
        clock.now += 1.0
        return read(tensor, where)

    monkeypatch.setattr(from_onnx, "read_tensor", slow)
    names, constants = [f"w{k}" for k in range(30)], {}
    nodes = [node("MatMul", ["x", names[0]], ["g0"])]
    for k, name in enumerate(names):
        constants[name] = np.eye(2, dtype=np.float32)
        nodes += [node("MatMul", [f"g{k - 1}", name], [f"g{k}"])] if k else []
    path = tmp_path / "net.onnx"
    path.write_bytes(model([*nodes, node("Identity", ["g29"], ["y"])], [1, 2], constants))
    bounds = "".join(f"(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in (0, 1))
    declared = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
    (tmp_path / "q.vnnlib").write_text(f"{declared}{bounds}(assert (<= Y_0 -1))")
    np.savez(tmp_path / "set.npz", images=np.zeros((1, 2)), labels=np.zeros(1, dtype=int))
    with in_time(clock, 3.0), pytest.raises(av.StoppedError):
        av.read_query(tmp_path / "q.vnnlib", path, timeout=3.0)
    given = ["--network", str(path), "--timeout", "3"]
    with in_time(clock, 3.0):
        assert main(["verify", str(tmp_path / "q.vnnlib"), *given]) == 0
    assert capsys.readouterr().out.startswith("timed-out")
    with in_time(clock, 3.0):
        assert main(["certify", "--images", str(tmp_path / "set.npz"), "--radii", "0.1", *given]) == 1
    assert "net.onnx was not read to its end" in capsys.readouterr().err


def test_steps_are_paced_by_the_first_deadline_of_all_that_watch(clock) -> None:
    def count() -> int:
        done = 0
        try:
            for _ in paced(range(100)):
                clock.now += 1.0
                done += 1
        except Stopped:
            return done
        return done

    late, soon = av.Run.of(None, timeout=20.0), av.Run.of(None, timeout=3.0)
    with late.watching(), soon.watching():
        assert count() == 4
    with late.watching(), av.Run.of(None).watching():
        assert 10 < count() < 20
    assert count() == 100
