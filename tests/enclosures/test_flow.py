"""Sets of one control period against exact solutions, with zero slack where those are rational."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.linalg import expm

from admm_verify import Box, Plant
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.expressions import evaluate
from admm_verify.enclosures.flow import FlowSettings, flow, next_substeps, picard, taylor_step
from admm_verify.enclosures.intervals import ENCLOSURES, Interval
from admm_verify.reach.continuous.simulation import integrate
from problems.flight import RIGID_BODY
from tests.enclosures.plants import (
    CHAIN,
    DOUBLE_INTEGRATOR,
    PENDULUM,
    RICCATI,
    UNICYCLE,
    exact_point,
)
from tests.laws.laws import law

SEEDS = st.integers(0, 10**6)
SETTINGS = FlowSettings()


def drawn(rng: np.random.Generator, plant: Plant, cells: int, width: float) -> tuple[AffineForms, AffineForms]:
    """States and controls over four shared symbols."""
    size = plant.states + plant.inputs
    centre, generators = rng.uniform(-1, 1, (cells, size)), width * rng.standard_normal((cells, size, 4))
    forms = AffineForms(centre, generators, np.zeros((cells, size)))
    parts = forms.coordinates()
    return AffineForms.stack(parts[: plant.states]), AffineForms.stack(parts[plant.states :])


def fractions(rng: np.random.Generator) -> list[Fraction]:
    return [Fraction(int(share), 8) for share in rng.integers(-8, 9, 4)]


def inside(forms: AffineForms, cell: int, z: list[Fraction], values: list[Fraction]) -> bool:
    """Whether values lie in forms over z and possibly more symbols, which count as radius."""
    more = np.abs(forms.generators[cell][:, 4:])
    assert not more.any(), "the symbols of a first substep are those of its start"
    middle = exact_point(forms, cell, z)
    return all(
        abs(value - mean) <= Fraction(float(radius))
        for value, mean, radius in zip(values, middle, forms.radius[cell], strict=True)
    )


@law(25)
@given(SEEDS)
def test_double_integrators_are_followed_exactly(seed):
    """x1 + x2 t + u t^2 / 2, x2 + u t: in the forms at the same z, and in every tube box on the way."""
    rng = np.random.default_rng(seed)
    state, control = drawn(rng, DOUBLE_INTEGRATOR, 2, 0.3)
    length = Fraction(1, 10)
    step, loss = taylor_step(DOUBLE_INTEGRATOR, state, control, length, SETTINGS)
    assert np.isfinite(loss).all()
    boxes = [piece.box for piece in step.pieces(4)]
    for cell in range(2):
        z = fractions(rng)
        (x, v), (u,) = exact_point(state, cell, z), exact_point(control, cell, z)

        def at(t: Fraction, x=x, v=v, u=u) -> list[Fraction]:
            return [x + v * t + u * t * t / 2, v + u * t]

        assert inside(step.end, cell, z, at(length))
        assert (step.end.radius[cell] < 1e-14).all()
        for j in range(17):
            values = at(length * j / 16)
            piece = boxes[min(j // 4, 3)]
            for i, value in enumerate(values):
                assert Fraction(float(step.box.lower[cell, i])) <= value <= Fraction(float(step.box.upper[cell, i]))
                assert Fraction(float(piece.lower[cell, i])) <= value
                assert value <= Fraction(float(piece.upper[cell, i]))
            direction = np.array([[1.0, -2.0], [-0.5, 0.25]])
            most = step.support(direction)[cell]
            for d, bound in zip(direction, most, strict=True):
                assert sum(Fraction(float(c)) * value for c, value in zip(d, values, strict=True)) <= Fraction(
                    float(bound)
                )


@pytest.mark.parametrize("order", [1, 2, 4])
@law(25)
@given(SEEDS)
def test_a_riccati_equation_is_followed_exactly(order, seed):
    """x' = -x^2 has the rational solution x / (1 + x t); low orders leave much to the remainder."""
    rng = np.random.default_rng(seed)
    centre, width = rng.uniform(-2, 2, (3, 1)), 10.0 ** rng.uniform(-5, -1.3)
    state = AffineForms(centre, width * rng.standard_normal((3, 1, 4)), np.zeros((3, 1)))
    control = AffineForms(np.zeros((3, 1)), np.zeros((3, 1, 4)), np.zeros((3, 1)))
    length = Fraction(1, 16)
    step, loss = taylor_step(RICCATI, state, control, length, FlowSettings(order=order))
    assert np.isfinite(loss).all()
    for cell in range(3):
        z = fractions(rng)
        x = exact_point(state, cell, z)[0]
        assert inside(step.end, cell, z, [x / (1 + x * length)])
        for j in range(9):
            value = x / (1 + x * length * j / 8)
            assert Fraction(float(step.box.lower[cell, 0])) <= value <= Fraction(float(step.box.upper[cell, 0]))


@pytest.mark.parametrize("push", [-1.0, 1.0])
def test_solutions_between_the_ends_are_held_tightly(push):
    """From x = 0, v = -u h / 2 under u the solution is back at 0 after h, and -u h^2 / 8 away half-way."""
    h, u = Fraction(1, 4), Fraction(push)
    state = AffineForms(np.array([[0.0, float(-u * h / 2)]]), np.zeros((1, 2, 4)), np.zeros((1, 2)))
    control = AffineForms(np.array([[push]]), np.zeros((1, 1, 4)), np.zeros((1, 1)))
    step, _ = taylor_step(DOUBLE_INTEGRATOR, state, control, h, SETTINGS)
    away = -u * h * h / 8
    up, down = step.support(np.array([[1.0, 0.0], [-1.0, 0.0]]))[0]
    for low, high in ((-down, up), (step.box.lower[0, 0], step.box.upper[0, 0])):
        assert Fraction(float(low)) <= min(away, 0) and Fraction(float(high)) >= max(away, 0)
        assert high - low <= abs(float(away)) * (1 + 1e-12) + 1e-14


def test_linear_plants_against_the_matrix_exponential():
    """Ends of the set along many directions within 1e-8 of the exact zonotope, never inside it."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((3, 3)), rng.standard_normal((3, 1))
    rows = [" + ".join([f"({a[i, j]!r})*x{j + 1}" for j in range(3)] + [f"({b[i, 0]!r})*u1"]) for i in range(3)]
    plant = Plant.read([row.replace("np.float64", "") for row in rows], 1)
    state, control = drawn(rng, plant, 4, 0.2)
    steps, loss = flow(plant, state, control, Fraction(1, 5), FlowSettings(order=8))
    assert np.isfinite(loss).all()
    big = expm(np.block([[a, b], [np.zeros((1, 4))]]) * 0.2)[:3]
    joint = AffineForms.stack([*state.coordinates(), *control.coordinates()])
    directions = rng.standard_normal((20, 3))
    image = directions @ big
    exact = image @ joint.centre[..., None]
    most = exact[..., 0] + np.abs(image @ joint.generators).sum(axis=-1)
    found = steps[-1].end.support(directions)
    # The matrix exponential itself is accurate to some 1e-15.
    assert (found >= most - 1e-13).all() and (found <= most + 1e-8).all()


@pytest.mark.parametrize(("plant", "length"), [(PENDULUM, Fraction(1, 20)), (UNICYCLE, Fraction(1, 5))])
def test_trajectories_stay_in_their_forms_and_boxes(plant, length):
    rng = np.random.default_rng(8)
    state, control = drawn(rng, plant, 3, 0.05)
    steps, loss = flow(plant, state, control, length, SETTINGS)
    assert np.isfinite(loss).all() and len(steps) >= SETTINGS.substeps
    z = rng.choice([-1.0, 1.0], (500, 4))
    part = float(length) / len(steps) / 8
    for cell in range(3):
        x, u = (form.centre[cell] + z @ form.generators[cell].T for form in (state, control))
        for step in steps:
            for piece in step.pieces(8):
                x = integrate(plant, x, u, part, 8)
                # The simulation's own error.
                assert (x >= piece.box.lower[cell] - 1e-12).all() and (x <= piece.box.upper[cell] + 1e-12).all()
                assert (x >= step.box.lower[cell] - 1e-12).all() and (x <= step.box.upper[cell] + 1e-12).all()
            end = step.end.interval
            assert (x >= end.lower[cell] - 1e-12).all() and (x <= end.upper[cell] + 1e-12).all()
            widths = end.upper[cell] - end.lower[cell]
            assert (widths <= 1.35 * (x.max(axis=0) - x.min(axis=0)) + 1e-6).all()


def test_pieces_are_smaller_than_the_whole():
    state = AffineForms.around(Box.of(np.array([[0.0, 0.0, 1.0, 0.8]]), np.array([[0.01, 0.01, 1.01, 0.81]])))
    control = AffineForms(np.zeros((1, 2)), np.zeros((1, 2, 4)), np.zeros((1, 2)))
    step, _ = taylor_step(UNICYCLE, state, control, Fraction(1, 5), SETTINGS)
    pieces = [piece.box for piece in step.pieces(10)]
    assert len(pieces) == 10
    for box in pieces:
        assert (box.lower >= step.box.lower - 1e-12).all() and (box.upper <= step.box.upper + 1e-12).all()
        assert ((box.upper - box.lower)[:, 0] < 0.3 * (step.box.upper - step.box.lower)[:, 0]).all()


def test_enclosures_hold_their_own_images():
    start = Interval(np.array([[0.9, 0.0], [0.5, -0.1]]), np.array([[1.1, 0.2], [0.6, 0.1]]))
    control = Interval(np.full((2, 1), -0.5), np.full((2, 1), 0.5))
    box, found = picard(PENDULUM, start, control, Fraction(1, 20), SETTINGS)
    assert found.all() and box.contains(start).all()


@pytest.mark.parametrize("width", [0.0, 1e-300, 1e-15, 1e-9, 1e-4, 0.1])
@pytest.mark.parametrize(
    "plant", [PENDULUM, UNICYCLE, RIGID_BODY, CHAIN], ids=["pendulum", "unicycle", "body", "chain"]
)
def test_sets_of_any_size_have_enclosures_also_at_rest(plant, width):
    """Not much larger than what they start from and how far they can get."""
    half = np.full((1, plant.states), 0.5 * width)
    for centre in (0.0, 0.7):
        start, control = Interval(centre - half, centre + half), Interval.point(np.zeros((1, plant.inputs)))
        for length in (Fraction(1, 20), Fraction(1, 5)):
            box, found = picard(plant, start, control, length, SETTINGS)
            assert found.all() and box.contains(start).all()
            speeds = evaluate(plant.rates, plant.values(box.coordinates(), control.coordinates()), ENCLOSURES)
            for i, speed in enumerate(speeds):
                spread = (box.upper - box.lower)[0, i]
                assert spread <= 1.2 * (width + 2.0 * float(length) * speed.magnitude) + 1e-12


@pytest.mark.parametrize("text", ["x1**2", "1/(x1-1)", "sqrt(x1-1)", "exp(exp(x1))"])
def test_no_enclosure_is_a_status_not_an_error(text):
    """Solutions that end before the period does, beside a cell that goes on."""
    plant = Plant.read([text + "+0*u1"], 1)
    lower = np.array([[0.999], [-3.0 if "sqrt" not in text else 2.0]])
    state = AffineForms.around(Box.of(lower, lower + 0.01))
    control = AffineForms(np.zeros((2, 1)), np.zeros((2, 1, 1)), np.zeros((2, 1)))
    steps, loss = flow(plant, state, control, Fraction(2 if "sqrt" not in text else 1), FlowSettings(most=16))
    assert loss[0] == np.inf and loss[1] < 1 and len(steps) == 16


def test_remainders_that_count_are_made_smaller():
    """An order of 2 needs more substeps than one of 6, and a period after an easy one begins with fewer."""
    state = AffineForms.around(Box.of(np.array([[1.0, 0.5]]), np.array([[1.1, 0.6]])))
    control = AffineForms(np.ones((1, 1)), np.zeros((1, 1, 2)), np.zeros((1, 1)))
    counts = []
    for order in (2, 6):
        settings = FlowSettings(order=order, most=64, substeps=1)
        steps, loss = flow(PENDULUM, state, control, Fraction(1, 2), settings)
        assert loss[0] <= settings.remainder
        counts.append(len(steps))
        assert next_substeps(8, np.array([settings.remainder / 2]), settings) == 8
        assert next_substeps(8, np.array([settings.remainder / 2 ** (order + 2), np.inf]), settings) == 4
        assert next_substeps(1, np.zeros(1), settings) == 1
    assert counts[0] > counts[1]
    begun, _ = flow(PENDULUM, state, control, Fraction(1, 2), FlowSettings(), 8)
    assert len(begun) == 8


def test_stiff_plants_take_short_substeps_from_their_first_period_on():
    """x1 follows x2 within a two-hundredth: eight substeps of 0.1 are too long for any enclosure."""
    plant = Plant.read(["-200*(x1 - x2)", "u1 - x2"], 1)
    state = AffineForms.around(Box.of(np.array([[0.0, 0.5]]), np.array([[0.1, 0.6]])))
    control = AffineForms(np.zeros((1, 1)), np.zeros((1, 1, 2)), np.zeros((1, 1)))
    steps, loss = flow(plant, state, control, Fraction(1, 10), SETTINGS)
    assert np.isfinite(loss).all() and SETTINGS.most < len(steps) < SETTINGS.finest
    again, loss = flow(plant, steps[-1].end.reduced(0), control, Fraction(1, 10), SETTINGS, len(steps))
    assert np.isfinite(loss).all() and len(again) == len(steps)
    for fewer in (2, 8):
        tried, loss = flow(plant, state, control, Fraction(1, 10), SETTINGS, fewer)
        assert not np.isfinite(loss).any() and len(tried) <= max(SETTINGS.most, 2 * fewer)
