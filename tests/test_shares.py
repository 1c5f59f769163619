"""Shares of sums, p_i / sum p_j: written as softmaxes of logarithms they compute the same, and verdicts are proved."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from onnx import load_from_string

import admm_verify as av
from admm_verify.bounds.arithmetic import output_error
from admm_verify.bounds.preactivation import input_rows
from admm_verify.certificates.check import check
from admm_verify.certificates.files import Extent, read, write
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.graph import Activation, Affine
from admm_verify.network.shares import shares_in, with_logarithms
from tests.network.onnx_models import model, node

INPUTS, WIDTH, TERMS = 6, 8, 4
LEVELS = np.array([[1.0], [2.0], [4.0], [8.0]], np.float32)


def run_of(name: str, terms: str) -> list:
    """v'p / sum p for p = terms(y) and y = W relu(U x + b) + 2, of one half of the input."""
    nodes = [
        node("MatMul", [f"x{name}", "u"], [f"a{name}"]),
        node("Add", [f"a{name}", "b"], [f"b{name}"]),
        node("Relu", [f"b{name}"], [f"h{name}"]),
        node("MatMul", [f"h{name}", "w"], [f"c{name}"]),
        node("Add", [f"c{name}", "two"], [f"y{name}"]),
    ]
    if terms == "Exp":
        nodes.append(node("Exp", [f"y{name}"], [f"p{name}"]))
    else:
        nodes.append(node("Relu", [f"y{name}"], [f"r{name}"]))
        nodes.append(node("Pow", [f"r{name}", "three"], [f"p{name}"]))
    return [
        *nodes,
        node("ReduceSum", [f"p{name}", "axes"], [f"s{name}"], keepdims=1),
        node("Div", [f"p{name}", f"s{name}"], [f"q{name}"]),
        node("MatMul", [f"q{name}", "levels"], [f"o{name}"]),
    ]


def compared(seed: int, terms: str = "Pow", shift: float = 2.0) -> bytes:
    """The difference of two runs of one network, each on half of the input."""
    rng = np.random.default_rng(seed)
    nodes = [node("Split", ["x", "halves"], ["x1", "x2"], axis=1), *run_of("1", terms), *run_of("2", terms)]
    nodes.append(node("Sub", ["o1", "o2"], ["y"]))
    drawn = {name: rng.standard_normal(shape) for name, shape in (("u", (INPUTS, WIDTH)), ("b", WIDTH))}
    drawn |= {"w": rng.standard_normal((WIDTH, TERMS)) / 4, "two": np.full(TERMS, shift), "three": 3.0}
    constants = {name: np.asarray(value).astype(np.float32) for name, value in drawn.items()}
    constants |= {"levels": LEVELS, "axes": np.array([1]), "halves": np.array([INPUTS, INPUTS])}
    return model(nodes, [1, 2 * INPUTS], constants, opset=13, input_shape=[1, 2 * INPUTS])


KNOWN = {"relu": lambda value: max(value, Fraction(0)), "power": lambda value: value**3}


def exact(network: av.Network, x: np.ndarray) -> Fraction:
    """The output of a network of powers at a point, in rational numbers."""
    read = network.as_read or network
    values = [[Fraction(float(value)) for value in x]]
    for one in read.nodes[1:]:
        if isinstance(one, Activation):
            # What the ratio is rewritten as is not what is computed.
            function = KNOWN.get(one.kind, lambda value: Fraction(0))
            values.append([function(value) for value in values[one.source][: one.size]])
            continue
        assert isinstance(one, Affine)
        if one.original is not None and one.original.kind == "ratio":
            numerators, sums = (values[source] for source in one.original.sources)
            values.append([p / s for p, s in zip(numerators, sums, strict=True)])
            continue
        total = [Fraction(float(value)) for value in one.bias]
        for term in one.terms:
            weight = np.asarray(term.map.dense().weight)
            for row, column in zip(*np.nonzero(weight), strict=True):
                total[row] += Fraction(float(weight[row, column])) * values[term.source][column]
        values.append(total)
    return values[-1][0]


def box_around(x: np.ndarray, radius: float) -> av.Box:
    return av.Box(x - radius, x + radius)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_bounds_hold_in_rational_numbers(seed, real):
    network = network_from_bytes(compared(seed), "compared")
    ratios = [shares.ratio for shares in shares_in(network)]
    assert len(ratios) == 2
    written = with_logarithms(network, ratios, real)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.3, 0.3, 2 * INPUTS)
    box = box_around(x, 0.02)
    low, high = (av.output_bounds(written, box).lower, av.output_bounds(written, box).upper)
    points = x + 0.02 * rng.choice([-1.0, 1.0], (12, 2 * INPUTS)) * rng.choice([1.0, rng.random()], (12, 1))
    for point in np.clip(points, x - 0.02, x + 0.02):
        value = exact(network, point)
        assert Fraction(float(low[0])) <= value <= Fraction(float(high[0]))
        np.testing.assert_allclose(written.evaluate(point[None])[-1][0], float(value), rtol=1e-10, atol=1e-10)


def test_bounds_of_wide_ranges_are_tighter():
    widths = []
    for seed in (0, 2):
        network = network_from_bytes(compared(seed), "compared")
        box = box_around(np.random.default_rng(seed).uniform(-0.3, 0.3, 2 * INPUTS), 0.1)
        written = with_logarithms(network, [shares.ratio for shares in shares_in(network)], True)
        found = [av.output_bounds(form, box) for form in (written, network)]
        widths.append([float(one.upper[0] - one.lower[0]) for one in found])
    assert np.median([new / old for new, old in widths]) < 0.85


@pytest.mark.parametrize("seed", range(4))
def test_float32_is_as_far_from_rational_numbers_as_is_charged(seed):
    network = network_from_bytes(compared(seed), "compared")
    written = with_logarithms(network, [shares.ratio for shares in shares_in(network)], False)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.3, 0.3, 2 * INPUTS).astype(np.float32).astype(np.float64)
    box = box_around(x, 2.0**-12)
    error = output_error(written, input_rows(written, box), av.preactivation_bounds(written, box), "float32")[0, 0]
    assert 0 < error < 1e-3
    for _ in range(20):
        point = (x + rng.integers(-16, 17, x.shape) * 2.0**-16).astype(np.float32)
        value = exact(network, point.astype(np.float64))
        assert abs(Fraction(network(point).reshape(-1)[0].item()) - value) <= Fraction(float(error))


def question(data: bytes, box: av.Box, level: float) -> av.Query:
    low, high = (np.ravel(end).tolist() for end in box.range)
    sides = " and ".join(f"x{i} >= {a!r} and x{i} <= {b!r}" for i, (a, b) in enumerate(zip(low, high, strict=True)))
    return av.query(load_from_string(data), None, f"{sides} and y0 <= {level!r}")


def sampled(network: av.Network, box: av.Box, count: int = 4000) -> float:
    low, high = (np.ravel(end) for end in box.range)
    x = low + np.random.default_rng(0).choice([0.0, 0.5, 1.0], (count, low.size)) * (high - low)
    return float(network(x).min())


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
@pytest.mark.parametrize("terms", ["Pow", "Exp"])
def test_proofs_of_two_runs_are_checked(terms, arithmetic, tmp_path):
    data = compared(0, terms)
    network = network_from_bytes(data, "compared")
    box = box_around(np.random.default_rng(0).uniform(-0.3, 0.3, 2 * INPUTS), 0.05)
    least = sampled(network, box)
    query = question(data, box, least - 0.3)
    settings = av.VerifySettings(arithmetic=arithmetic, certificate=True)
    found = av.verify(query, settings=settings, timeout=60)
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    assert len(found.certificate.shares) == 2
    report = check(found.certificate, query.property, query.network, arithmetic=arithmetic)
    assert report.proved, report.reason
    write(found.certificate, tmp_path / "proof.npz")
    back = read(tmp_path / "proof.npz", extent=Extent.of(query.property, query.network))
    assert back.shares == found.certificate.shares
    assert check(back, query.property, query.network, arithmetic=arithmetic).proved
    for shares in ((), (1,), (-3,), found.certificate.shares[:1]):
        wrong = replace(found.certificate, shares=shares)
        assert not check(wrong, query.property, query.network, arithmetic=arithmetic).proved
    # The very least value is there.
    above = av.verify(question(data, box, least + 1e-3), settings=av.VerifySettings(arithmetic=arithmetic), timeout=60)
    assert above.verdict is av.Verdict.SAT


@pytest.mark.parametrize("seed", range(3))
def test_terms_that_may_be_zero_stay_quotients(seed):
    """Where a term touches zero the logarithm is not defined, and verdicts are those of samples all the same."""
    data = compared(seed, shift=0.5)
    network = network_from_bytes(data, "compared")
    rng = np.random.default_rng(seed)
    draws = rng.uniform(-0.5, 0.5, (200, 2 * INPUTS))
    read = network.as_read
    assert read is not None
    ratios = [read.affine[one.ratio].original for one in shares_in(network)]
    sums = [source for ratio in ratios if ratio is not None for source in ratio.sources]
    values = read.evaluate(draws)
    some = [k for k in range(200) if all(values[sums[i]][k].min() == 0 < values[sums[i + 1]][k].min() for i in (0, 2))]
    box = box_around(draws[some[0]], 0.002)
    least = sampled(network, box)
    for level, verdict in ((least - 0.05, av.Verdict.UNSAT), (least + 1e-3, av.Verdict.SAT)):
        assert av.verify(question(data, box, level), timeout=60).verdict is verdict


def test_no_other_quotients_are_shares():
    nodes = [
        node("Exp", ["x"], ["p"]),
        node("ReduceSum", ["p", "axes"], ["s"], keepdims=1),
        node("Mul", ["s", "half"], ["t"]),
        node("Div", ["p", "t"], ["q"]),
        node("Add", ["s", "half"], ["u"]),
        node("Div", ["p", "u"], ["r"]),
        node("Div", ["half", "s"], ["v"]),
        node("Add", ["q", "r"], ["o"]),
        node("Add", ["o", "v"], ["y"]),
    ]
    constants = {"axes": np.array([1]), "half": np.full(1, 0.5, np.float32)}
    assert not shares_in(network_from_bytes(model(nodes, [1, 3], constants), "others"))


def test_several_sums_side_by_side():
    """Along an axis in the middle, of values whose order was changed before."""
    nodes = [
        node("Exp", ["x"], ["e"]),
        node("Transpose", ["e"], ["p"], perm=[2, 1, 0]),
        node("ReduceSum", ["p", "axes"], ["s"], keepdims=1),
        node("Div", ["p", "s"], ["y"]),
    ]
    network = network_from_bytes(model(nodes, [2, 3, 4], {"axes": np.array([1])}, input_shape=[2, 3, 4]), "several")
    (shares,) = shares_in(network)
    assert shares.members.shape == (8, 3)
    written = with_logarithms(network, [shares.ratio], True)
    x = np.random.default_rng(0).standard_normal((5, 24))
    np.testing.assert_allclose(written.evaluate(x)[-1], network(x).reshape(5, -1), rtol=1e-12)
    with pytest.raises(av.InputError, match="shares of sums at its nodes"):
        with_logarithms(network, [1], True)
