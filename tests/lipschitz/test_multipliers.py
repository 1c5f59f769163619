"""Multipliers by closed forms, descents and frequencies, beside one another and beside dense systems."""

from functools import partial

import numpy as np
import pytest

import admm_verify as av
from admm_verify.lipschitz import segments
from admm_verify.lipschitz.descent import descended
from admm_verify.lipschitz.frequency_system import frequency_system
from admm_verify.lipschitz.interior_point import best_multipliers
from admm_verify.lipschitz.multipliers import closed_forms, constant_of_waves, forms_of, proved_constant
from admm_verify.lipschitz.slope_forms import SlopeForms, constants_of, judged
from admm_verify.lipschitz.slope_system import Multipliers, slope_system
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import LinearMap
from admm_verify.network.selection import SelectionMap
from tests.lipschitz.test_constants import dense_chain, steepest_seen
from tests.random_networks import Builder

CONVOLUTIONS = [
    ((5, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((5, 5), (3, 2), (2, 1), (1, 0, 0, 2), (1, 1), 2),
    ((7, 4), (2, 3), (2, 2), (0, 1, 1, 1), (2, 1), 1),
    ((4, 4), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    ((6, 6), (5, 4), (3, 2), (2, 2, 2, 2), (1, 1), 2),
]


def residual_block(rng, size, kernel, stride, padding, dilation, groups):
    """Two channels, a strided convolution, one of 3 x 3 behind a rectifier, and a skip of one pixel in each window."""
    builder = Builder(2 * size[0] * size[1])
    shape = (2, *size)
    first = ConvolutionMap.of(rng.standard_normal((2, 2 // groups, *kernel)), shape, stride, padding, dilation, groups)
    hidden = builder.relu(builder.affine([(0, first)], np.zeros(first.rows)))
    second = ConvolutionMap.of(rng.standard_normal((2, 2, 3, 3)), first.output_shape, (1, 1), (1, 1, 1, 1))
    parts: list[tuple[int, LinearMap]] = [(hidden, second)]
    whole = ConvolutionMap.of(rng.standard_normal((2, 2, *kernel)), shape, stride, padding, dilation)
    identity = SelectionMap.identity(whole.columns)
    parts.append((0, identity if whole.input_shape == whole.output_shape else whole))
    builder.affine(parts, np.zeros(second.rows))
    return builder.network()


@pytest.mark.parametrize("seed", range(3))
def test_turned_systems_have_the_same_constants(seed):
    rng = np.random.default_rng(seed)
    system = slope_system(dense_chain(rng, [4, 6, 5, 3]), 0, 5)
    assert system is not None
    again = system.turned.turned
    assert again.stops == system.stops and np.array_equal(again.inner, system.inner)
    assert np.array_equal(again.outer, system.outer)
    for found in closed_forms(system):
        turned = Multipliers(found.constant, 1.0 / found.weights[::-1])
        proofs = [proved_constant(one, point) for one, point in ((system, found), (system.turned, turned))]
        assert proofs == pytest.approx([found.constant] * 2, rel=2e-3)


def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(0)
    system = slope_system(dense_chain(rng, [4, 6, 5, 3]), 0, 5)
    assert system is not None
    forms = forms_of(system)
    found = next(closed_forms(system))
    weights = found.weights / found.constant * rng.uniform(0.8, 0.95, system.neurons)
    here = judged(forms, weights, 7.0)
    assert here is not None
    for i in range(system.neurons):
        step = np.zeros(system.neurons)
        step[i] = 1e-6
        ends = [judged(forms, weights + sign * step, 7.0) for sign in (1, -1)]
        assert ends[0] is not None and ends[1] is not None
        assert here.gradient[i] == pytest.approx((ends[0].value - ends[1].value) / 2e-6, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_descents_come_to_the_optimum(seed):
    rng = np.random.default_rng(seed)
    system = slope_system(dense_chain(rng, [6, 10, 8, 3]), 0, 5)
    assert system is not None
    start = next(closed_forms(system))
    points = best_multipliers(system, Multipliers(1.3 * start.constant, 1.3 * start.weights), 1e-5)
    optimum = min(point.constant for point in points)
    stages = list(descended(partial(judged, forms_of(system)), start.weights / start.constant, 3, 1e-3, 300))
    assert stages[-1].is_close
    found = proved_constant(system, Multipliers(stages[-1].constant, stages[-1].constant * stages[-1].weights))
    assert optimum * (1 - 1e-4) <= found <= optimum * (1 + 1e-3)


@pytest.mark.parametrize("case", range(len(CONVOLUTIONS)))
@pytest.mark.parametrize("theta", [(0, 0), (1, 0), (1, 1)])
def test_frequencies_are_those_of_the_dense_system(case, theta):
    """Parseval: a'N z and y'Y z of images within their frames are means over the frequencies of any mesh."""
    rng = np.random.default_rng(case)
    network = residual_block(rng, *CONVOLUTIONS[case])
    system, dense = frequency_system(network, 0, network.output), slope_system(network, 0, network.output)
    assert system is not None and dense is not None
    shapes = [(2, *CONVOLUTIONS[case][0]), *[(2, *part.output_shape[1:]) for part in convolutions(network)]]
    stride = CONVOLUTIONS[case][2]
    x, a, y = (rng.standard_normal(shape) for shape in shapes)
    z = np.concatenate([x.reshape(-1), a.reshape(-1)])
    expected = [a.reshape(-1) @ (dense.inner @ z), y.reshape(-1) @ (dense.outer @ z)]
    rows, columns = system.period
    waves = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    waves = 2 * waves + np.array(theta)
    inner, outer = system.at(waves)
    x_, a_ = transformed(x, stride, waves, system), transformed(a, (1, 1), waves, system)
    y_ = transformed(y, (1, 1), waves, system)
    z_ = np.concatenate([x_, a_], axis=1)
    found = [np.einsum("kp,kpz,kz->", np.conj(left), m, z_) / len(waves) for left, m in ((a_, inner), (y_, outer))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def convolutions(network):
    found = [node.terms[0].map for node in network.affine.values()]
    return [part for part in found if isinstance(part, ConvolutionMap)]


def transformed(image, stride, waves, system):
    """sum over pixels j of x_j exp(-i w j), of every image of every q-th pixel."""
    found = []
    for i in range(stride[0]):
        for j in range(stride[1]):
            part = image[:, i :: stride[0], j :: stride[1]]
            angles = [
                np.pi * waves[:, axis, None] * np.arange(part.shape[1 + axis]) / system.period[axis] for axis in (0, 1)
            ]
            found.append(np.einsum("chw,kh,kw->kc", part, np.exp(-1j * angles[0]), np.exp(-1j * angles[1])))
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("case", range(len(CONVOLUTIONS)))
def test_constants_of_frequencies_hold(case, monkeypatch):
    """Never below what points show; where the image is not all border, far below the product."""
    monkeypatch.setattr(segments, "MOST_NEURONS", 0)
    monkeypatch.setattr("admm_verify.lipschitz.slope_system.MOST_NEURONS", 0)
    rng = np.random.default_rng(case)
    network = residual_block(rng, *CONVOLUTIONS[case])
    found = av.lipschitz_constant(network, settings=av.LipschitzSettings(points=16, rounds=8))
    product = next(bound.value for bound in found.bounds if bound.method == "product of norms")
    assert steepest_seen(network, "l2", rng, 2000) <= found.upper <= (0.95 if case < 2 else 1.0) * product
    assert found.lower <= found.upper


def test_tied_multipliers_are_at_least_the_dense_constant_and_no_less_is_proved():
    rng = np.random.default_rng(0)
    network = residual_block(rng, *CONVOLUTIONS[0])
    system, dense = frequency_system(network, 0, network.output), slope_system(network, 0, network.output)
    assert system is not None and dense is not None
    waves = system.waves((1, 1))
    forms = SlopeForms.of(system.inputs, *system.at(waves), system.stops)
    for _ in range(5):
        weights = np.exp(rng.standard_normal(2)) * 0.05
        constants = constants_of(forms, weights)
        whole = constants_of(forms_of(dense), np.repeat(weights, dense.neurons // 2))
        assert np.max(constants) >= whole[0] * (1 - 1e-9)
        if np.isfinite(constants).all():
            worst = np.max(constants)
            assert worst <= constant_of_waves(system, waves, Multipliers(worst, worst * weights)) <= worst * 1.002
            low = 0.9 * whole[0]
            assert constant_of_waves(system, waves, Multipliers(low, worst * weights)) > low
