"""The cart-pole with its Lyapunov function, and how its region is searched."""

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import evaluate
from experiments import lyapunov
from problems.train_lyapunov import cartpole_decrease, cartpole_step
from problems.train_plants import cartpole


def _states(count: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).uniform(-0.4, 0.4, (count, 4)))


def test_the_step_is_that_of_the_plant_as_text():
    x, force = _states(50), torch.linspace(-10.0, 10.0, 50, dtype=torch.float64)[:, None]
    plant = cartpole().plant
    for state, u, found in zip(x.tolist(), force.tolist(), cartpole_step(x, force).tolist(), strict=True):
        np.testing.assert_allclose(found, evaluate(plant.rates, plant.values(state, u), FLOATS), rtol=1e-12)


def test_outputs_are_the_decrease_the_value_and_the_next_state():
    module, x = cartpole_decrease(), _states(200)
    with torch.no_grad():
        decrease, value, *following = module(x).T
        moved = torch.stack(following, -1)
        force = torch.clamp(module.controller(x), -10.0, 10.0)
        rest = float(module.controller(torch.zeros(1, 4, dtype=torch.float64)).abs())
    form = module.form

    def level(states: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ni,ij,nj->n", states, form, states)

    torch.testing.assert_close(value, level(x))
    torch.testing.assert_close(moved, cartpole_step(x, force))
    torch.testing.assert_close(decrease, level(x) - level(moved), atol=1e-11, rtol=1e-9)
    assert float(torch.linalg.eigvalsh(form).min()) > 0
    assert rest < 1e-14


@pytest.mark.parametrize("level", [4.1234567, 1.0, 0.5, 0.0123456, 1.5e-5])
def test_levels_are_short_and_not_above(level):
    short = lyapunov.rounded(level)
    assert 0.98 * level <= short <= level and len(repr(short)) <= 8


def _loop(matrix: np.ndarray, limit: float, rate: float) -> lyapunov.Loop:
    """x+ = matrix x with V = |x|^2."""

    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            moved = x @ torch.tensor(matrix).T
            rise = ((moved - x) * (moved + x)).sum(-1, keepdim=True)
            return torch.cat([-rise, (x * x).sum(-1, keepdim=True), moved], -1)

    network = av.trace(Linear(), torch.zeros(1, 2, dtype=torch.float64))
    return lyapunov.Loop("linear", network, np.eye(2), np.full(2, limit), ("p", "q"), rate, 0.1, ((0, 1), (1, 0)))


def test_a_contraction_attracts_all_that_its_limits_hold():
    loop = _loop(np.array([[0.8, 0.3], [-0.3, 0.8]]), 1.0, 0.1)
    level, answers = lyapunov.grown(loop, 60.0)
    assert level == loop.most > 0.99
    assert {answer.verdict for answer in answers} == {"unsat"}
    shells = [answer for answer in answers if answer.what == "shell"]
    assert [answer.what for answer in answers] == ["containment", "core", *["shell", "containment"] * len(shells)]
    assert [answer.inner for answer in shells] == [loop.core, *(answer.outer for answer in shells[:-1])]
    contained = [answer.outer for answer in answers if answer.what == "containment"]
    assert contained == [loop.core, *(answer.outer for answer in shells)], "no level is left out"


def test_what_grows_attracts_nothing():
    level, answers = lyapunov.grown(_loop(np.diag([1.5, 0.5]), 1.0, 0.1), 60.0)
    assert level == 0.0 and [answer.verdict for answer in answers] == ["unsat", "sat"]


def test_a_decrease_that_is_too_slow_is_refuted_shell_by_shell():
    loop = _loop(np.diag([0.99, 0.5]), 1.0, 0.1)
    level, answers = lyapunov.grown(loop, 60.0)
    assert level == 0.0 and {answer.verdict for answer in answers if answer.what == "shell"} == {"sat"}
