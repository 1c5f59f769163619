"""A controller's forms hold the network's exact values at every point z."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import AscentSettings, Network
from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.network.graph import Activation, Affine
from admm_verify.network.maps import DenseMap
from admm_verify.reach.control import ControlSettings, between, controlled
from admm_verify.reach.planes import both_sides, climbed, relaxed_over
from tests.enclosures.exact import elementary
from tests.enclosures.plants import exact_point, linear_network, relu_network, tanh_network
from tests.laws.laws import law

SEEDS = st.integers(0, 10**6)
CROWN = ControlSettings(iterations=0, tighten=0)
ASCENT = AscentSettings()


def drawn(rng: np.random.Generator, cells: int, inputs: int, width: float) -> AffineForms:
    generators = width * rng.standard_normal((cells, inputs, 4))
    return AffineForms(rng.uniform(-1, 1, (cells, inputs)), generators, np.zeros((cells, inputs)))


def exact_value(network: Network, x: list[Fraction]) -> list[Fraction]:
    """f(x) in exact arithmetic, tanh to 40 digits."""
    values = [x]
    for node in network.nodes[1:]:
        if isinstance(node, Affine):
            total = [Fraction(float(shift)) for shift in node.bias]
            for term in node.terms:
                weight = term.map.dense().weight
                for i, row in enumerate(weight):
                    total[i] += sum(Fraction(float(w)) * v for w, v in zip(row, values[term.source], strict=True))
            values.append(total)
        elif isinstance(node, Activation) and node.kind == "relu":
            values.append([max(v, Fraction(0)) for v in values[node.source]])
        else:
            assert isinstance(node, Activation)
            # Long fractions are cut to what cannot matter at 40 digits.
            short = [Fraction(round(v * 10**50), 10**50) for v in values[node.source]]
            values.append([elementary("tanh", v) for v in short])
    return values[-1]


@pytest.mark.parametrize("settings", [CROWN, ControlSettings()], ids=["crown", "ascent"])
@pytest.mark.parametrize("kind", ["relu", "tanh"])
@law(12)
@given(SEEDS)
def test_forms_hold_exact_values_at_every_point(kind, settings, seed):
    rng = np.random.default_rng(seed)
    network = relu_network(seed, 3, 6, 5, 2, gain=2.0) if kind == "relu" else tanh_network(seed, 3, 5, 4, 2)
    state = drawn(rng, 3, 3, 10.0 ** rng.uniform(-4, -0.3))
    control, shared = controlled(network, state, settings)
    assert control.symbols == shared.symbols == 6 and not control.radius.any()
    np.testing.assert_array_equal(shared.generators[..., :4], state.generators)
    for cell in range(3):
        z = [Fraction(int(share), 4) for share in rng.integers(-4, 5, 4)]
        values = exact_value(network, exact_point(state, cell, z))
        for j, value in enumerate(values):
            own = Fraction(float(control.generators[cell, j, 4 + j]))
            middle = exact_point(control, cell, [*z, Fraction(0), Fraction(0)])[j]
            assert abs(value - middle) <= own + (Fraction(1, 10**35) if kind == "tanh" else 0)


def test_networks_that_are_affine_lose_nothing():
    gain = np.array([[0.5, -2.0], [1.0, 3.0]])
    state = drawn(np.random.default_rng(0), 2, 2, 0.3)
    control, _ = controlled(linear_network(gain), state, ControlSettings())
    np.testing.assert_allclose(control.centre, state.centre @ gain.T, rtol=1e-14)
    np.testing.assert_allclose(control.generators[..., :4], gain @ state.generators, rtol=1e-14)
    assert (np.abs(control.generators[..., 4:]) < 1e-12).all()


def test_stable_neurons_lose_nothing():
    """Around a point where no kink is near, a ReLU network is affine."""
    network = relu_network(4, 3, 8, 8, 1)
    state = drawn(np.random.default_rng(2), 5, 3, 1e-9)
    control, _ = controlled(network, state, ControlSettings())
    assert (np.abs(control.generators[..., 4:]) < 1e-12).all()


@pytest.mark.parametrize("make", [relu_network, tanh_network])
def test_ascent_is_never_worse(make):
    network = make(9, 3, 12, 12, 2)
    state = drawn(np.random.default_rng(1), 8, 3, 0.2)
    errors = [
        np.abs(controlled(network, state, settings)[0].generators[..., 4:]).sum(axis=-1)
        for settings in (CROWN, ControlSettings(iterations=30, tighten=0), ControlSettings(iterations=30, tighten=10))
    ]
    assert (errors[1] <= errors[0] * (1 + 1e-12)).all()
    assert errors[2].sum() < 0.98 * errors[0].sum()


def test_blocks_of_cells_change_nothing():
    network, state = relu_network(9, 3, 12, 12, 2), drawn(np.random.default_rng(1), 7, 3, 0.2)
    whole, blocks = (
        controlled(network, state, ControlSettings(block_numbers=numbers))[0] for numbers in (2**21, 2 * 12 * 12 * 3)
    )
    np.testing.assert_allclose(whole.centre, blocks.centre, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(whole.generators, blocks.generators, rtol=1e-9, atol=1e-12)


def test_correlation_is_worth_something():
    """Over a thin slanted set the planes are far closer than over the box around it."""
    network = relu_network(5, 2, 20, 20, 1)
    thin = AffineForms(np.zeros((1, 2)), np.array([[[0.5, 0.01], [0.5, -0.01]]]), np.zeros((1, 2)))
    box = AffineForms.around(thin)
    slanted, boxed = (controlled(network, state, CROWN)[0].generators[0, 0, -1] for state in (thin, box))
    assert slanted < 0.7 * boxed


@law(20)
@given(SEEDS)
def test_planes_are_below_the_network(seed):
    rng = np.random.default_rng(seed)
    network, state = relu_network(seed, 3, 6, 4), drawn(rng, 2, 3, 0.4)
    with quiet_overflow():
        relaxed = relaxed_over(network, state, 3, ASCENT)
        rows = both_sides(relaxed, np.arange(4))
        choices = [[line.start for line in relaxed.lines], [line.parallel for line in relaxed.lines]]
        for slopes in (*choices, climbed(relaxed, rows, choices[0], ASCENT, 5)):
            slope, shift = relaxed.plane(rows, slopes)
            over = state.image(slope, shift)
            for cell in range(2):
                z = [Fraction(int(sign)) for sign in rng.choice([-1, 1], 4)]
                x = exact_point(state, cell, z)
                for j, value in enumerate(exact_value(network, x)):
                    weights = [Fraction(float(w)) for w in slope[cell, j]]
                    plane = Fraction(float(shift[cell, j])) + sum(w * v for w, v in zip(weights, x, strict=True))
                    assert plane <= value
                    middle = exact_point(over, cell, z)[j]
                    assert abs(plane - middle) <= Fraction(float(over.radius[cell, j]))


@law(30)
@given(SEEDS)
def test_between_two_planes(seed):
    """Any value between the planes lies in the form, exactly."""
    rng = np.random.default_rng(seed)
    state = drawn(rng, 2, 3, 0.5)
    slope = rng.standard_normal((2, 2, 3))
    shift = np.stack([rng.uniform(-9, -5, 2), rng.uniform(-9, -5, 2)], axis=1)
    form = between(slope, shift, state)
    for cell in range(2):
        z = [Fraction(int(sign)) for sign in rng.choice([-1, 1], 4)]
        x = exact_point(state, cell, z)
        low, high = (
            Fraction(float(shift[cell, j]))
            + sum(Fraction(float(w)) * v for w, v in zip(slope[cell, j], x, strict=True))
            for j in range(2)
        )
        middle = exact_point(form, cell, z)[0]
        for value in (low, -high):
            assert abs(value - middle) <= Fraction(float(form.radius[cell, 0]))


def test_dense_maps_are_what_the_reference_reads():
    network = relu_network(0, 2, 3, 1)
    first = network.nodes[1]
    assert isinstance(first, Affine) and isinstance(first.terms[0].map, DenseMap)
    x = np.array([0.3, -0.4])
    exact = exact_value(network, [Fraction(float(v)) for v in x])[0]
    assert float(exact) == pytest.approx(float(network(x)[0]), rel=1e-12)
