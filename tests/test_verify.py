"""Verdicts: small queries with known answers, and what must never be answered."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Network, Query
from admm_verify.network.graph import Affine, Input, Term
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from admm_verify.network.simplify import simplify
from admm_verify.properties.vnnlib import parse_vnnlib

# y = relu(x) - relu(-x) + relu(x) = x + relu(x): two unstable neurons, exact range [-1, 2] on [-1, 1].
NETWORK = network_from_layers([np.array([[1.0], [-1.0]]), np.array([[2.0, -1.0]])], [np.zeros(2), np.zeros(1)])

HEAD = "(vnnlib-version <2.0>)(declare-network f (declare-input X {t} [1])(declare-output Y {t} [1]))"


def query(text, element_type="real"):
    return Query("test", parse_vnnlib(HEAD.format(t=element_type) + text), NETWORK)


BOX = "(assert (and (>= X[0] -1.0) (<= X[0] 1.0)))"

CASES = {
    "above the range": (f"{BOX}(assert (>= Y[0] 2.2))", "unsat"),
    "below the range": (f"{BOX}(assert (<= Y[0] -1.6))", "unsat"),
    "the maximum is reached": (f"{BOX}(assert (>= Y[0] 2.0))", "sat"),
    "everywhere": (f"{BOX}(assert (<= Y[0] 2.5))", "sat"),
    "one alternative holds": (f"{BOX}(assert (or (>= Y[0] 5.0) (<= Y[0] -0.9)))", "sat"),
    "no alternative holds": (f"{BOX}(assert (or (>= Y[0] 5.0) (<= Y[0] -5.0)))", "unsat"),
    "boxes in an or": (
        "(assert (or (and (>= X[0] -1.0) (<= X[0] -0.5) (>= Y[0] 0.0))"
        "(and (>= X[0] 0.5) (<= X[0] 1.0) (>= Y[0] 2.5))))",
        "unsat",
    ),
    "the second box holds": (
        "(assert (or (and (>= X[0] -1.0) (<= X[0] -0.5) (>= Y[0] 0.0))"
        "(and (>= X[0] 0.5) (<= X[0] 1.0) (>= Y[0] 1.5))))",
        "sat",
    ),
    "no output constraint": (BOX, "sat"),
    "point box": ("(assert (== X[0] 0.5))(assert (>= Y[0] 1.0))", "sat"),
    "point box missed": ("(assert (== X[0] 0.5))(assert (>= Y[0] 1.01))", "unsat"),
    # No float32 equals 0.1. The network holds at the nearest one, and in real numbers at 0.1 itself.
    "point no float reaches": ("(assert (== X[0] 0.1))(assert (>= Y[0] 0.1))", "sat"),
    # There f(0.1) = 0.2 exactly, which bounds can neither prove nor exclude.
    "edge no float reaches": ("(assert (== X[0] 0.1))(assert (>= Y[0] 0.2))", "unknown"),
    "false constant": (f"{BOX}(assert (or (and (<= X[0] -2.0) (>= Y[0] 0.0)) (>= Y[0] 9.0)))", "unsat"),
}


@pytest.mark.parametrize("name", CASES)
def test_known_answers(name):
    text, verdict = CASES[name]
    outcome = av.verify(query(text))
    assert outcome.verdict.value == verdict
    assert (outcome.counterexample is not None) == (verdict == "sat")
    if verdict == "sat":
        x, y = float(outcome.counterexample[0]), float(outcome.output[0])
        assert outcome.counterexample.dtype == np.float32
        assert y == np.float32(x) + max(np.float32(x), np.float32(0))


def test_a_bound_between_relaxation_and_truth_stays_unknown():
    # True minimum on the box is -1; the relaxation only proves about -1.5.
    outcome = av.verify(query(f"{BOX}(assert (<= Y[0] -1.2))"))
    assert outcome.verdict in (av.Verdict.UNKNOWN, av.Verdict.UNSAT)
    assert outcome.rows_lower[0] <= 0.2


def test_timeout_zero_is_timed_out(small_network):
    problem = av.Problem(small_network, av.Box(-np.ones(4), np.ones(4)), np.eye(3)[:1])
    crown, best = (av.solve(problem, settings=av.SolverSettings(max_passes=passes)).lower[0] for passes in (0, None))
    assert crown < best
    # Between the CROWN bound and the truth: not to be decided without iterations.
    head = HEAD.format(t="real").replace("X real [1]", "X real [4]").replace("Y real [1]", "Y real [3]")
    boxes = "".join(f"(assert (>= X[{i}] -1.0))(assert (<= X[{i}] 1.0))" for i in range(4))
    text = f"{head}{boxes}(assert (<= Y[0] {(crown + best) / 2:.6f}))"
    hard = Query("hard", parse_vnnlib(text), small_network)
    assert av.verify(hard, timeout=0).verdict is av.Verdict.TIMED_OUT
    assert av.verify(hard).verdict is av.Verdict.UNSAT


def test_stop_ends_the_search():
    hard = query("(assert (== X[0] 0.1))(assert (>= Y[0] 0.1))")
    assert av.verify(hard, run=av.Run(stop=lambda: True)).verdict is av.Verdict.UNKNOWN


def test_float32_widens_what_must_be_excluded():
    edge = f"{BOX}(assert (>= Y[0] 2.00000001))"
    assert av.verify(query(edge)).verdict is av.Verdict.UNSAT
    assert av.verify(query(edge, "float32")).verdict is av.Verdict.UNKNOWN
    assert av.verify(query(edge, "float32"), settings=av.VerifySettings(arithmetic="real")).verdict is av.Verdict.UNSAT


def test_unknown_arithmetic_is_refused():
    with pytest.raises(av.InputError, match="float16"):
        av.verify(query(BOX), settings=av.VerifySettings(arithmetic="float16"))


def test_inexact_coefficients_are_scaled_exactly():
    outcome = av.verify(query(f"{BOX}(assert (>= (* 0.1 Y[0]) 0.22))"))
    assert outcome.verdict is av.Verdict.UNSAT
    # Cleared of denominators the atom reads 11/5 - y_0 <= 0 times ten thousandths; its sign is the same.
    assert outcome.rows_lower[0] > 0


def test_overflow_of_the_networks_own_arithmetic_is_never_unsat():
    # In float32 relu(1e30 x) overflows for x >= 1e9; in real numbers y = x.
    network = network_from_layers([np.array([[1e30]]), np.array([[1e-30]])], [np.zeros(1), np.zeros(1)])
    text = HEAD.format(t="float32") + "(assert (and (>= X[0] 1e9) (<= X[0] 2e9)))(assert (>= Y[0] 1e10))"
    found = Query("overflow", parse_vnnlib(text), network)
    assert av.verify(found).verdict is av.Verdict.UNKNOWN
    assert av.verify(found, settings=av.VerifySettings(arithmetic="real")).verdict is av.Verdict.UNSAT


def test_overflow_inside_a_merged_chain_is_noticed():
    def affine(source, value):
        return Affine((Term(source, DenseMap(np.array([[value]]))),), np.zeros(1), np.zeros(1))

    network = simplify(Network((Input(1), affine(0, 1e30), affine(1, 1e-30)), (1,), (1,)))
    text = HEAD.format(t="float32") + "(assert (and (>= X[0] 1e9) (<= X[0] 2e9)))(assert (>= Y[0] 1e10))"
    assert av.verify(Query("overflow", parse_vnnlib(text), network)).verdict is av.Verdict.UNKNOWN


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_bad_timeouts_are_refused(timeout):
    with pytest.raises(av.InputError, match="timeout"):
        av.verify(query(BOX), timeout=timeout)


@pytest.mark.parametrize(
    ("atom", "verdicts"),
    [
        ("(>= (* 1e-30 Y[0]) 1e300)", {"unsat", "unknown"}),
        ("(>= (+ (* 1e-300 Y[0]) (* 1e300 Y[0])) 1.0)", {"sat"}),
    ],
)
def test_numbers_near_the_ends_of_float64_end_in_a_right_answer(atom, verdicts):
    assert av.verify(query(f"{BOX}(assert {atom})")).verdict.value in verdicts


def test_boxes_beyond_float32_are_answered():
    text = "(assert (and (>= X[0] -1.0) (<= X[0] 1e39)))(assert (<= Y[0] -5.0))"
    assert av.verify(query(text)).verdict in (av.Verdict.UNSAT, av.Verdict.UNKNOWN)
