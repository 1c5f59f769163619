"""Neurons are tightened harder for as long as that pays, and never to looser bounds."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.reach.discrete import effort
from problems import feedback


def task(steps: int = 4, width: int = 12) -> av.Task:
    """A network in feedback whose relaxation is loose after some steps."""
    rng = np.random.default_rng(3)
    weights = [
        rng.standard_normal((width, 2)),
        rng.standard_normal((width, width)) / 3,
        rng.standard_normal((2, width)),
    ]
    biases = [rng.standard_normal(len(part)) / 2 for part in weights]
    return av.Task(
        "loose", av.NetworkSystem(network_from_layers(weights, biases)), av.Box(-np.ones(2), np.ones(2)), steps
    )


def test_what_is_loose_is_tightened_in_more_steps_and_holds_all_trajectories():
    said: list[str] = []
    once = av.reach_sets(task(), settings=av.ReachSettings(tighten=av.TightenSettings(), samples=500)).sets
    run = av.Run(tell=lambda progress: said.append(progress.text))
    free = av.reach_sets(task(), settings=av.ReachSettings(samples=500), run=run).sets
    assert any("tightening in 32 steps" in text for text in said)
    assert (free.upper <= once.upper).all() and (free.upper[-1] < once.upper[-1]).all()
    assert (free.inner <= free.upper).all()


def test_what_is_close_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(effort, "_CLOSE", np.inf)
    once = av.reach_sets(task(), settings=av.ReachSettings(tighten=av.TightenSettings(), samples=500)).sets
    free = av.reach_sets(task(), settings=av.ReachSettings(samples=500)).sets
    assert np.array_equal(free.upper, once.upper)


def test_a_round_that_is_cut_short_leaves_the_bounds_of_the_one_before():
    once = av.reach_sets(task(), settings=av.ReachSettings(tighten=av.TightenSettings(), samples=500)).sets
    began: list[str] = []

    def tell(progress: av.Progress) -> None:
        if "tightening in" in progress.text:
            began.append(progress.text)

    run = av.Run(stop=lambda: bool(began), tell=tell)
    cut = av.reach_sets(task(), settings=av.ReachSettings(samples=500), run=run).sets
    assert began and (cut.upper <= once.upper).all() and np.isfinite(cut.upper).all()


@pytest.mark.slow
@pytest.mark.data
def test_fitzhugh_nagumo_comes_to_its_relaxation_by_default():
    sets = av.reach_sets(feedback.fitzhugh_nagumo(100), settings=av.ReachSettings(samples=1000)).sets
    assert feedback.FITZHUGH_TRUE[100] <= sets.upper[5, 0] <= 1.01 * feedback.FITZHUGH_LP[100]
