"""Neurons are tightened harder for as long as that pays, and never to looser bounds."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.reach.discrete.cells import CellBounder, Cells
from admm_verify.reach.discrete.effort import tightened
from admm_verify.reach.discrete.rollout import rollout
from admm_verify.run import Run, Stopped
from problems import feedback
from tests.shared import needs_shared


class Loose:
    """A network in feedback whose relaxation is loose after some steps, and the rounds that are asked of it."""

    def __init__(self) -> None:
        rng, width = np.random.default_rng(3), 12
        weights = [rng.standard_normal(shape) / size for shape, size in (((width, 2), 1), ((width, width), 3))]
        weights.append(rng.standard_normal((2, width)))
        network = network_from_layers(weights, [rng.standard_normal(len(part)) / 2 for part in weights])
        self.graph, self.box = rollout(av.NetworkSystem(network), 4), av.Box(-np.ones((1, 2)), np.ones((1, 2)))
        self.rows = self.graph.rows(np.concatenate([np.eye(2), -np.eye(2)]))[-4:]
        points = rng.uniform(-1, 1, (500, 2))
        self.attained = (self.graph.trajectories(points).reshape(500, -1) @ self.rows.T).max(axis=0)
        self.rounds: list[int] = []

    def bound(self, how: av.ReachSettings) -> tuple[Cells, float]:
        """The bounds, and how far the worst is from what points attain."""
        self.rounds.append((how.tighten or av.TightenSettings()).iterations)
        ones = np.ones(len(self.rows))
        cells = CellBounder(self.graph.network, self.rows, how, Run()).cells(self.box, self.attained, ones)
        return cells, float((cells.bound - self.attained).max())


def test_what_is_loose_is_tightened_in_more_steps_and_holds_all_trajectories():
    loose = Loose()
    once, gap = loose.bound(av.ReachSettings())
    found = tightened(loose.bound, av.ReachSettings(), Run())
    assert loose.rounds[1:3] == [8, 32] and gap > 0.1
    assert (loose.attained <= found.bound).all() and (found.bound <= once.bound).all()
    assert found.bound.sum() < 0.98 * once.bound.sum()


@pytest.mark.parametrize(
    "settings",
    [av.ReachSettings(tighten=av.TightenSettings()), av.ReachSettings(method="crown"), av.ReachSettings(tolerance=0.1)],
)
def test_one_round_where_settings_say_how_or_cells_are_halved(settings):
    loose = Loose()
    tightened(loose.bound, settings, Run())
    assert len(loose.rounds) == 1


@pytest.mark.parametrize("gaps", [[0.05], [float("inf")], [5.0, 4.95], [5.0, 4.0, 3.99]])
def test_rounds_end_where_they_gain_nothing(gaps):
    cells, asked = Cells(av.Box(np.zeros((1, 1)), np.ones((1, 1))), *np.zeros((3, 1, 1))), []

    def bound(how: av.ReachSettings) -> tuple[Cells, float]:
        asked.append(how)
        return cells, gaps[len(asked) - 1]

    tightened(bound, av.ReachSettings(), Run())
    assert len(asked) == len(gaps)


def test_a_round_that_is_cut_short_leaves_the_bounds_of_the_one_before():
    loose = Loose()

    def bound(how: av.ReachSettings) -> tuple[Cells, float]:
        if loose.rounds:
            raise Stopped
        return loose.bound(how)

    found = tightened(bound, av.ReachSettings(), Run())
    assert np.array_equal(found.bound, Loose().bound(av.ReachSettings())[0].bound)


@needs_shared
@pytest.mark.data
@pytest.mark.parametrize("width", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_fitzhugh_nagumo_is_far_below_its_relaxation_by_default(width):
    sets = av.reach_sets(feedback.fitzhugh_nagumo(width), settings=av.ReachSettings(samples=1000)).sets
    assert feedback.FITZHUGH_TRUE[width] - 0.01 <= sets.upper[5, 0] <= feedback.FITZHUGH_LP[width] / 10
