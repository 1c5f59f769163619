"""Functions that are not defined everywhere: refused at once where nothing is split, mended by splitting elsewhere."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.builder import Builder
from admm_verify.properties.vnnlib import parse_vnnlib

FUNCTIONS = {
    "log": ("log", ()),
    "reciprocal": ("reciprocal", ()),
    "root": ("sqrt", ()),
    "reciprocal root": ("power", (-0.5,)),
    "tan": ("tan", ()),
}


def network_of(name: str, centre: float = 0.0) -> av.Network:
    """Two scores, phi(x^2 - x + 0.3) and 0; the quadratic is at least 0.05, of which intervals know nothing."""
    kind, parameters = FUNCTIONS[name]
    builder = Builder((2,), "real")
    first = builder.select(builder.input, np.array([0]))
    shifted = builder.add(first, np.array([centre]))
    curve = builder.add(builder.add(builder.activation("square", shifted), shifted, -1.0), np.array([0.3]))
    curve = builder.scale(curve, np.array([1.0 if kind != "tan" else 1.5]))
    value = builder.activation(kind, curve, *parameters)
    return builder.finish(builder.concat([value, builder.scale(value, np.array([0.0]))], 0), name)


def query(network: av.Network, bound: str) -> av.Query:
    text = f"""(vnnlib-version <2.0>) (declare-network f (declare-input X real [2]) (declare-output Y real [2]))
    (assert (and (>= X[0] 0.0) (<= X[0] 1.0) (>= X[1] 0.0) (<= X[1] 1.0))) (assert {bound})"""
    return av.Query("domains", parse_vnnlib(text), network)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "tan"])
def test_a_range_beyond_the_domain_is_named(name):
    network = network_of(name)
    box = av.Box(np.zeros(2), np.array([2.0, 1.0]))
    with pytest.raises(av.InputError, match=r"node \d+ of .* is defined for .* between -.*smaller input set"):
        av.preactivation_bounds(network, box, "interval")
    with pytest.raises(av.InputError, match="smaller input set"):
        av.solve(av.Problem(network, box, np.eye(2)))
    near = av.Box(np.array([0.4, 0.0]), np.array([0.6, 1.0]))
    lower = av.solve(av.Problem(network, near, np.array([[1.0, 0.0], [-1.0, 0.0]]))).lower
    values = network(np.stack([np.linspace(0.4, 0.6, 101), np.zeros(101)], 1))[:, 0]
    assert (lower <= [values.min(), -values.max()]).all() and (lower >= [values.min() - 3, -values.max() - 3]).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_splitting_keeps_ranges_inside_the_domain(name):
    network = network_of(name)
    values = network(np.stack([np.linspace(0.0, 1.0, 1001), np.zeros(1001)], 1))[:, 0]
    assert av.verify(query(network, f"(<= Y[0] {values.min() - 0.1:.4f})")).verdict.value == "unsat"
    assert av.verify(query(network, f"(<= Y[0] {values.min() + 0.1:.4f})")).verdict.value == "sat"


@pytest.mark.parametrize("name", ["log", "root", "reciprocal root"])
def test_what_is_undefined_is_never_excluded(name):
    """Arguments are on both sides of 0: values below -1 are no values of a root, but nothing is known left of 0."""
    kind, parameters = FUNCTIONS[name]
    builder = Builder((2,), "real")
    value = builder.activation(kind, builder.add(builder.input, np.array([-0.5])), *parameters)
    network = builder.finish(value, name)
    limit = "(>= Y[0] 1.0)" if kind == "log" else "(<= Y[0] -1.0)"
    found = av.verify(query(network, limit), settings=av.VerifySettings(max_subproblems=200))
    assert found.verdict.value == "unknown"


@pytest.mark.parametrize("above", ["floor", "heaviside", "relu", "sign"])
def test_softsign_of_what_overflows_keeps_its_bounds(above):
    """The exponential of 1000 is no float64; what reads the softsign of it is bounded still."""
    builder = Builder((1,), "real")
    curve = builder.activation("softsign", builder.activation("exp", builder.input))
    network = builder.finish(builder.activation(above, curve, *([0.5] if above == "heaviside" else [])), above)
    found = av.output_bounds(network, av.Box(np.array([-0.5]), np.array([1000.0])))
    least, most = (float(np.reshape(end, -1)[0]) for end in (found.lower, found.upper))
    assert -1.0 <= least <= 1.0 <= most <= 1.0 + 1e-12
