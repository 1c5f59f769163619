"""Lines of every kind of activation hold, for any slopes: against values that are exact, or far more accurate."""

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from functools import cache

import mpmath
import numpy as np
import pytest

import admm_verify as av
from admm_verify import Network
from admm_verify.arrays import DOUBLE_ROUNDOFF, quiet_overflow
from admm_verify.certificates.bends import CheckedBends
from admm_verify.certificates.check import check
from admm_verify.certificates.curves import CheckedCurve
from admm_verify.certificates.kinds import CHECKED_KINDS, checked_kind
from admm_verify.certificates.numbers import Numbers
from admm_verify.network.builder import Builder
from admm_verify.network.graph import Activation
from admm_verify.relaxations.registry import lines_of
from tests.certificates.provers import one_atom
from tests.certificates.test_corners import NARROW, PARAMETERS, SHIFTED, moved, single, whole
from tests.seeds import every

CURVES = [kind for kind, record in CHECKED_KINDS.items() if issubclass(record, CheckedCurve)]
BENDS = [kind for kind, record in CHECKED_KINDS.items() if issubclass(record, CheckedBends)]
ONE_NUMBER = [kind for kind, record in CHECKED_KINDS.items() if record.operands == 1]
WRITTEN_OUT = {
    "acosh": mpmath.acosh,
    "asin": mpmath.asin,
    "asinh": mpmath.asinh,
    "atan": mpmath.atan,
    "atanh": mpmath.atanh,
    "cos": mpmath.cos,
    "cosh": mpmath.cosh,
    "erf": mpmath.erf,
    "exp": mpmath.exp,
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda x: x / (1 + mpmath.exp(-mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3))),
    "hardswish": lambda x: x * min(max(x + 3, mpmath.mpf(0)), mpmath.mpf(6)) / 6,
    "log": mpmath.log,
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "power": lambda x: 1 / mpmath.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "sin": mpmath.sin,
    "sinh": mpmath.sinh,
    "softsign": lambda x: x / (1 + abs(x)),
    "sqrt": mpmath.sqrt,
    "square": lambda x: x * x,
    "tan": mpmath.tan,
}
"""Functions that mpmath has."""


@pytest.fixture(autouse=True)
def digits():
    """Numbers with so many that exp(-750) beside 1 has dozens."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 420, -(10**6), 10**6
        yield


@cache
def exactly(kind: str, x: float) -> Decimal:
    """phi(x)."""
    if kind in WRITTEN_OUT:
        count = 420 if kind == "erf" else 80
        with mpmath.workdps(count):
            return Decimal(mpmath.nstr(WRITTEN_OUT[kind](mpmath.mpf(x)), count, strip_zeros=False))
    p, zero = Decimal(x), Decimal(0)
    parameters = [Decimal(number) for number in PARAMETERS.get(kind, [])]
    small = (-abs(p)).exp()
    functions = {
        "relu": lambda: max(p, zero),
        "prelu": lambda: p if p >= 0 else p * parameters[0],
        "clip": lambda: min(max(p, parameters[0]), parameters[1]),
        "elu": lambda: p if p >= 0 else parameters[0] * (small - 1),
        "softplus": lambda: max(p, zero) + (1 + small).ln(),
        "sigmoid": lambda: (small if p < 0 else 1) / (1 + small),
        "sign": lambda: Decimal((p > 0) - (p < 0)),
        "heaviside": lambda: parameters[0] if p == 0 else Decimal(int(p > 0)),
        "floor": lambda: p.to_integral_value(ROUND_FLOOR),
        "ceil": lambda: p.to_integral_value(ROUND_CEILING),
        "round": lambda: p.to_integral_value(ROUND_HALF_EVEN),
        "tanh": lambda: (1 if p >= 0 else -1) * (1 - small * small) / (1 + small * small),
    }
    return functions[kind]()


def drawn(rng: np.random.Generator, count: int) -> np.ndarray:
    """Points on every scale, of either sign, with special ones among them."""
    found = rng.choice([-1.0, 1.0], count) * 10.0 ** rng.uniform(-12, 2.8, count)
    special = rng.choice([0.0, -0.0, 1e-300, -1e-300, 5e-324, 0.2, 0.7, -1.0, 1.0, 40.0, -745.0, -750.0, 710.0], count)
    return np.where(rng.random(count) < 0.2, special, found)


def placed(kind: str, x: np.ndarray) -> np.ndarray:
    """Points in the domain, where values do not overflow."""
    if kind in SHIFTED:
        return np.abs(x) + 1e-9
    if kind == "acosh":
        return np.abs(x) + 1.0
    ends = {"asin": (-1.0, 1.0), "atanh": (-0.999, 0.999), "tan": (-1.5, 1.5), "exp": (-745, 700)}
    ends |= dict.fromkeys(("sinh", "cosh"), (-700, 700))
    return np.clip(x, *ends[kind]) if kind in ends else x


@pytest.mark.parametrize("kind", CURVES)
def test_values_and_derivatives_are_as_accurate_as_they_are_taken_to_be(kind):
    curve = CHECKED_KINDS[kind](*(np.array([number]) for number in PARAMETERS.get(kind, [])))
    for x in drawn(np.random.default_rng(0), 100):
        with quiet_overflow():
            found = float(np.reshape(curve.value(np.array([x])), -1)[0])
            slope = float(np.reshape(curve.derivative(np.array([x])), -1)[0])
        true = exactly(kind, float(x))
        assert abs(Decimal(found) - true) <= 8 * Decimal(DOUBLE_ROUNDOFF) * abs(true) + Decimal(2) ** -1060
        near = max(abs(float(x)), 1e-3) * 1e-9
        rise = exactly(kind, float(x) + near) - exactly(kind, float(x) - near)
        if kind != "elu" or abs(x) > 2 * near:
            step = Decimal(float(x) + near) - Decimal(float(x) - near)
            assert float(rise / step) == pytest.approx(slope, rel=1e-5, abs=1e-300)


@pytest.mark.parametrize("kind", ONE_NUMBER)
def test_lines_are_on_their_sides(kind):
    rng, count = np.random.default_rng(1), 30
    parameters = tuple(np.full(count, number) for number in PARAMETERS.get(kind, []))
    node = Activation(kind, 0, count, parameters)
    ends = placed(kind, np.stack([drawn(rng, count), drawn(rng, count)]))
    low, high = np.sort(ends, axis=0)
    high = np.where(rng.random(count) < 0.2, low, high)
    both = 1 if kind in ("relu", "prelu") else 2
    columns = np.arange(both * count)
    for slopes in (None, 0.0, 1.0, 2.0, -1.0, 1e30, 0.5, 1e-12, "random"):
        values = rng.uniform(-0.2, 1.2, (1, len(columns))) if slopes == "random" else np.full((1, len(columns)), slopes)
        chosen = None if slopes is None else (columns, values.astype(np.float64))
        with quiet_overflow():
            lines = checked_kind(node).lines(Numbers(False), low[None], high[None], chosen)
            least, most = checked_kind(node).image(Numbers(False), low[None], high[None])
        for i in range(count):
            parts = lines.below, lines.below_at, lines.above, lines.above_at
            below, below_at, above, above_at = (Decimal(0 if p is None else float(p[0, i])) for p in parts)
            inside = [low[i] + share * (high[i] - low[i]) for share in (0.3, 0.5, 0.9)]
            for p in (low[i], *np.clip([*inside, 0.0, 0.2, 0.7], low[i], high[i]), high[i]):
                value, at = exactly(kind, float(p)), Decimal(float(p))
                # What kinks are charged for by the caller.
                spare = 8 * Decimal(DOUBLE_ROUNDOFF) * (abs(value) + abs(at)) if both == 1 else Decimal(0)
                assert below * at + below_at - spare <= value <= above * at + above_at + spare
                assert Decimal(float(least[0, i])) <= value <= Decimal(float(most[0, i]))


@pytest.mark.parametrize(
    "low, high", [(-2.0, 3.0), (-2.0, 0.5), (0.3, 0.6), (0.5, 3.0), (-2.0, 0.1), (1.0, 2.0), (0.4, 0.4)]
)
@pytest.mark.parametrize("kind", every(2, ONE_NUMBER))
def test_the_rules_lines_are_those_of_crown(kind, low, high):
    """Where a certificate chooses nothing, the bound is what the library's own relaxation gives."""
    low, high = (moved(kind, end) for end in (low, high))
    network = single(kind, *PARAMETERS.get(kind, []))
    box = av.Box(np.array([low]), np.array([high]))
    for sign in (1.0, -1.0):
        crown = float(
            av.solve(av.Problem(network, box, np.array([[sign]])), settings=av.SolverSettings(max_passes=0)).lower[0]
        )
        for spare, expected in ((1e-6, True), (-1e-6, False)):
            found = one_atom(network, box, np.array([sign]), spare - crown)
            proved = check(whole(network, found), found, network).proved
            # Where the checker's rule is another one, its bound is no better.
            assert proved is expected


@pytest.mark.parametrize("kind", ONE_NUMBER)
def test_the_rules_slopes_are_those_a_search_starts_from(kind):
    """Also beyond all bends and with ends on them: else a search excludes what its certificate does not."""
    rng, count = np.random.default_rng(2), 400
    centre, width = rng.uniform(-5, 5, count), 10.0 ** rng.uniform(-3, 0.7, count)
    low, high = centre - width, centre + width
    low[:50], high[50:100] = np.floor(low[:50]), np.ceil(high[50:100])
    if kind in SHIFTED:
        low, high = np.abs(low) + 0.01, np.abs(low) + 0.01 + width
    if kind in NARROW:
        low, high = low / 12, high / 12
    if kind == "acosh":
        low, high = np.abs(low) + 1.01, np.abs(low) + 1.01 + width
    node = Activation(kind, 0, count, tuple(np.full(count, number) for number in PARAMETERS.get(kind, [])))
    with quiet_overflow():
        rule = checked_kind(node).lines(Numbers(False), low[None], high[None])
        start = lines_of(node, low[None], high[None]).start
    sides = (rule.below,) if start.shape[-1] == count else (rule.below, rule.above)
    found = np.concatenate([np.broadcast_to(side, (1, count)) for side in sides], axis=-1)
    np.testing.assert_allclose(found, start, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", BENDS)
def test_nothing_rises_faster_than_its_gain(kind):
    rng, count = np.random.default_rng(3), 200
    ends = placed(kind, rng.uniform(-5, 5, (2, count)))
    low, high = np.sort(ends, axis=0)
    low[:20], high[20:40] = np.minimum(-3.0, low[:20]), np.maximum(3.0, high[20:40])
    low, high = placed(kind, low), placed(kind, high)
    # The slope of the arc sine has no bound at its ends.
    low, high = (np.clip(end, -0.999, 0.999) if kind == "asin" else end for end in (low, high))
    low, high = np.minimum(low, high), np.maximum(low, high)
    curve = checked_kind(Activation(kind, 0, count, tuple(np.full(count, p) for p in PARAMETERS.get(kind, []))))
    gain, x = curve.gain(low, high), np.linspace(0, 1, 501)[:, None] * (high - low) + low
    values, run = curve.value(x), np.diff(x, axis=0)
    errors = 2.0**-48 * (1.0 + np.abs(values[1:]) + np.abs(values[:-1]))
    assert (np.abs(np.diff(values, axis=0)) <= gain * run + errors).all()


def test_exact_clips_are_proved_to_the_last_unit():
    network, box = single("clip", 0.2, 0.7), av.Box(np.array([-1.0]), np.array([2.0]))
    level = np.arange(2, dtype=np.int32), np.zeros((1, 2), dtype=np.float32)
    for sign, least in ((1.0, Fraction(0.2)), (-1.0, -Fraction(0.7))):
        for spare, expected in ((Fraction(0), False), (Fraction(1, 10**20), True)):
            found = one_atom(network, box, np.array([sign]), spare - least)
            certificate = whole(network, found)
            certificate = replace(certificate, columns=level[:1], leaves=replace(certificate.leaves, slopes=level[1]))
            assert check(certificate, found, network, exact=True).proved is expected
            assert not check(certificate, found, network).proved


def smooth(kind: str, seed: int) -> Network:
    """Two hidden layers of one kind."""
    rng, builder = np.random.default_rng([seed, 31]), Builder((1, 3))
    x, width = builder.input, 4 if kind in BENDS else 6
    for wide in (width, width, 2):
        weight, bias = rng.standard_normal((x.size, wide)), 0.3 * rng.standard_normal((1, wide))
        weight, bias = (
            (weight / 6, bias + 2.0 + 2.0 * (kind == "acosh"))
            if kind in (*SHIFTED, "acosh")
            else (weight / 8, bias / 2)
            if kind in (*NARROW, "exp", "cosh", "sinh")
            else (weight, bias)
        )
        x = builder.add(builder.matmul(x, weight), bias)
        if wide == width:
            x = builder.activation(kind, x, *PARAMETERS.get(kind, []))
    return builder.finish(x, kind)


@pytest.mark.parametrize("kind", ["clip", *CURVES, *BENDS])
def test_what_the_search_records_is_proved(kind):
    network = smooth(kind, 0)
    box, row = av.Box(-np.ones(3), np.ones(3)), np.array([1.0, -0.5])
    sampled = network(np.random.default_rng(0).uniform(-1, 1, (4000, 3))) @ row
    level = float(sampled.min() - (0.1 if kind not in (*SHIFTED, *NARROW, "acosh") else 1.0) * np.ptp(sampled))
    found = one_atom(network, box, row, -level)
    outcome = av.verify(av.Query(kind, found, network), settings=av.VerifySettings(certificate=True))
    assert outcome.verdict is av.Verdict.UNSAT and outcome.certificate is not None
    report = check(outcome.certificate, found, network)
    assert report.proved, report.reason
    # The same search on what is true somewhere proves nothing.
    false = one_atom(network, box, row, -float(sampled.min()))
    assert not check(whole(network, false), false, network).proved


@pytest.mark.parametrize("kind", ["sign", "floor", "ceil", "round"])
def test_what_is_recorded_of_steps_in_float32_is_proved(kind):
    """A search that lets steps come out on either side where they may proves what its certificate does not."""
    rng, proved = np.random.default_rng(4), 0
    network, row = smooth(kind, 1), np.array([1.0, -0.5])
    for width in (1.0, 0.1, 0.01, 0.0001):
        centre = rng.uniform(-0.5, 0.5, 3)
        box = av.Box(centre - width, centre + width)
        values = network(rng.uniform(centre - width, centre + width, (2000, 3))) @ row
        found = one_atom(network, box, row, -float(values.min() - 0.3 * np.ptp(values) - 0.01))
        settings = av.VerifySettings(certificate=True, arithmetic="float32", max_subproblems=60)
        outcome = av.verify(av.Query(kind, found, network), settings=settings)
        assert outcome.verdict is not av.Verdict.SAT
        if outcome.certificate is not None:
            report = check(outcome.certificate, found, network, arithmetic="float32")
            assert report.proved, report.reason
            proved += 1
    assert proved
