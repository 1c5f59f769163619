"""Forms anchored in a set: bounds hold for every point of it, in exact numbers, and are those of the set itself."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.reach.anchor import Anchor, AnchoredForms
from admm_verify.sets.box import Box
from tests.enclosures.plants import relu_network
from tests.reach.initial_sets import SETS, inside
from tests.sets.laws import dot, exact


def anchored(kind: str, rng: np.random.Generator, scale: float) -> tuple[AnchoredForms, np.ndarray]:
    """Forms of two quantities over three numbers of a set and two more symbols, and points of the set."""
    first = SETS[kind](rng, 3)
    points = inside(rng, first, 20)
    anchor, _ = Anchor.of(first.at(None))
    forms = AffineForms(
        scale * rng.standard_normal((1, 2)),
        scale * rng.standard_normal((1, 2, 5)),
        scale * np.abs(rng.standard_normal((1, 2))),
    )
    found = anchor.over(forms)
    assert isinstance(found, AnchoredForms)
    return found, points


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
@pytest.mark.parametrize("kind", SETS)
def test_a_minimum_is_a_bound_for_every_point_of_the_set(kind: str, scale: float) -> None:
    rng = np.random.default_rng(41)
    known, points = anchored(kind, rng, scale)
    c = rng.standard_normal((1, 6, 2))
    least, plain = known.spread().minimum(c)[0][0], known.forms.spread().minimum(c)[0][0]
    assert (least >= plain).all() and (least > plain).any()
    centre, radius = exact(known.centre[0]), exact(known.radius[0])
    for z in points:
        # s of this point, in exact numbers.
        s = [(a - b) / r for a, b, r in zip(exact(z), centre, radius, strict=True)]
        assert all(abs(one) <= 1 for one in s)
        e = [*s, *exact(np.sign(rng.standard_normal(2)))]
        for row, bound in zip(c[0], known.spread().least(c)[0], strict=True):
            spare = -np.sign(row)
            x = [
                Fraction(float(known.forms.centre[0, i]))
                + dot(exact(known.forms.generators[0, i]), e)
                + Fraction(float(spare[i])) * Fraction(float(known.forms.radius[0, i]))
                for i in range(2)
            ]
            assert Fraction(float(bound)) <= dot(exact(row), x)


@pytest.mark.parametrize("kind", SETS)
def test_a_minimiser_attains_the_minimum(kind: str) -> None:
    rng = np.random.default_rng(42)
    known, _ = anchored(kind, rng, 1.0)
    c = rng.standard_normal((1, 6, 2))
    value = (known.spread().minimiser(c) * c).sum(axis=-1)
    least = known.spread().minimum(c)[0]
    assert (value >= least).all() and np.allclose(value, least, rtol=1e-6, atol=1e-6)


def test_boxes_need_no_anchor() -> None:
    anchor, forms = Anchor.of(Box(np.zeros((1, 2)), np.ones((1, 2))))
    assert anchor.over(forms) is forms and anchor.kept == 0


@pytest.mark.parametrize("kind", SETS)
def test_no_trajectory_of_a_pendulum_leaves_the_sets(kind: str) -> None:
    rng = np.random.default_rng(43)
    plant = av.Plant.read(["x2", "-sin(x1) - 0.2*x2 + u1"], 1)
    system = av.ContinuousSystem(av.Controller.of(relu_network(1, 2, 10, 1)), plant, Fraction(1, 10))
    first = SETS[kind](rng, 2)
    task = av.Task("pendulum", system, first, 10)
    sets = av.reach_sets(task, "octagon", settings=av.ReachSettings(samples=100, grid=2)).sets
    states = av.simulate(system, inside(rng, first, 300), 10, substeps=40)
    assert sets.valid_steps == 10
    # The simulation's own error.
    assert (states @ sets.directions.T <= sets.upper + 1e-9).all()
