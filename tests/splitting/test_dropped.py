"""Finished rows are dropped: on a GPU down to few numbers of rows only, with the same results."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.splitting.ledger import Ledger
from admm_verify.splitting.loop import bucket, filled_up
from admm_verify.splitting.primal import best_response
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.replay import Iterations
from admm_verify.splitting.sweeps import DualPoint, slope_sweep
from tests.random_networks import chain

pytest.importorskip("torch")
from tests.gpu.pretend import pretend_gpu

ROWS = 24


def problem(seed: int = 3) -> av.Problem:
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(shape) * np.sqrt(2.0 / shape[1]) for shape in ((16, 6), (12, 16), (4, 12))]
    network = chain(weights, [0.1 * rng.standard_normal(len(weight)) for weight in weights])
    centre = rng.uniform(-1.0, 1.0, (ROWS, network.input_size))
    # Gaps of the widest boxes close last.
    radius = np.geomspace(0.03, 0.5, ROWS)[:, None]
    objective = rng.standard_normal((ROWS, network.output_size))
    return av.Problem(network, av.Box(centre - radius, centre + radius), objective)


def solved(some: av.Problem, monkeypatch, device: str | None) -> tuple[av.Solution, list[int]]:
    """The solution, and the numbers of rows that were iterated."""
    counts, real = [], Iterations.__init__

    def noted(self, scheme, rows) -> None:
        counts.append(rows.offset.shape[0])
        real(self, scheme, rows)

    monkeypatch.setattr(Iterations, "__init__", noted)
    settings = av.SolverSettings(max_passes=200, tolerance=1e-2, precision="float64", check_interval=5)
    found = av.solve(some, "primal_dual", device=device, settings=settings)
    monkeypatch.undo()
    return found, counts


@pytest.mark.parametrize("seed", [2, 6])
def test_a_gpu_goes_on_with_few_numbers_of_rows(monkeypatch, seed: int) -> None:
    some = problem(seed)
    expected, plain = solved(some, monkeypatch, None)
    with pretend_gpu():
        found, counts = solved(some, monkeypatch, "cuda")
    assert set(counts) <= {bucket(count, counts[0]) for count in plain} and len(set(plain)) >= 3
    assert len(set(counts)) == len(counts) <= len(plain) and not set(counts) <= set(plain)
    # What came along has neither more passes nor other bounds.
    assert np.array_equal(np.asarray(found.passes), expected.passes)
    assert np.allclose(found.lower, expected.lower, rtol=1e-9, atol=1e-9)
    assert np.allclose(found.relaxation_upper, expected.relaxation_upper, rtol=1e-9, atol=1e-9)
    assert found.status == expected.status


def test_results_of_settled_rows_stay() -> None:
    some = problem()
    rows = Rows.of(some, Placement.numpy(np.float64))
    ledger = Ledger(rows)
    settled = np.arange(ROWS) % 2 == 0
    ledger.settled = settled
    dual = slope_sweep(rows, DualPoint.start(rows))
    multipliers = ledger.multipliers
    ledger.record(np.arange(ROWS), multipliers, best_response(rows, dual), dual.sweep)
    assert np.array_equal(np.isneginf(ledger.lower), settled)
    assert np.array_equal(np.isposinf(ledger.upper), settled)


@pytest.mark.parametrize("most", [1, 2, 7, 108, 1000])
def test_numbers_of_rows_are_halves_of_the_first(most: int) -> None:
    sizes = [bucket(count, most) for count in range(most + 1)]
    assert all(count <= size <= max(1, 2 * count - 1) for count, size in enumerate(sizes) if 0 < count < most)
    assert sizes[0] == 0 and sizes[-1] == most and len(set(sizes)) <= np.ceil(np.log2(most)) + 2


def test_finished_rows_make_up_the_number() -> None:
    wanted = np.array([False, True, False, False, True])
    assert filled_up(wanted, 2).tolist() == [1, 4]
    assert filled_up(wanted, 4).tolist() == [0, 1, 2, 4]
    assert filled_up(np.zeros(3, dtype=bool), 0).tolist() == []
