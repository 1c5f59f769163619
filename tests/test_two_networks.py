"""Queries about two networks: verdicts beside exact minima of both graphs side by side, however inputs are tied."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.arithmetic import output_error
from admm_verify.complete.side_by_side import with_closer_network
from admm_verify.network.layers import network_from_layers
from admm_verify.network.pair import PairedNetwork
from admm_verify.properties.several import QueriedNetwork
from admm_verify.properties.vnnlib import parse_vnnlib
from tests.complete.networks import exact_output
from tests.complete.truth import minimum
from tests.pair_texts import Tied, bounded, decimal, declared, equal, sum_of
from tests.random_pairs import random_pair
from tests.seeds import seeds

MARGINS = ("0.1", "0.001", "0.000001")
WAYS = ("same", "shifted", "swapped", "scaled", "halved")


def asked(text: str, *networks: av.Network) -> av.Query:
    """A query about networks that are in memory."""
    return av.Query.about_several("made", parse_vnnlib(text), [QueriedNetwork(network) for network in networks])


def tied(way: str, size: int, rng: np.random.Generator) -> Tied:
    """Inputs that are tied in some way, over a random box of three decimals."""
    matrix, shift = np.eye(size), [Decimal(0)] * size
    if way == "shifted":
        shift = [decimal(value, 3) for value in rng.uniform(-0.2, 0.2, size)]
    elif way == "swapped":
        matrix = np.eye(size)[rng.permutation(size)]
    elif way == "scaled":
        matrix = np.diag(rng.choice([-1.0, 0.5, 2.0], size))
    elif way == "halved":
        matrix[0] = 0.5
    centre, radius = rng.uniform(-1, 1, size), rng.uniform(0.1, 0.6, size)
    ends = [tuple(decimal(value, 3) for value in side) for side in (centre - radius, centre + radius)]
    return Tied(matrix, tuple(shift), *ends)


def condition(objective: np.ndarray, outputs: int, limit: object, sign: str = "<=") -> str:
    """objective [y_f; y_g] <= limit as an assertion."""
    names = [f"Y_{name}[{i}]" for name in "fg" for i in range(outputs)]
    terms = [(Decimal(str(value)), name) for value, name in zip(objective.tolist(), names, strict=True) if value]
    return f"(assert ({sign} {sum_of(terms)} {limit}))\n"


@pytest.mark.parametrize("seed", seeds(3, 40))
def test_verdicts_on_both_sides_of_the_minimum(seed):
    rng = np.random.default_rng([seed, 43])
    case, way = random_pair(seed, ("dense", "leaky", "residual")), WAYS[seed % len(WAYS)]
    size, outputs = case.first.input_size, case.first.output_size
    ties = tied(way, size, rng)
    box = av.Box([float(value) for value in ties.lower], [float(value) for value in ties.upper])
    objective = rng.choice([-1.0, -0.5, 0.5, 1.0], 2 * outputs)
    if seed % 2:
        # Differences of outputs alone.
        objective[outputs:] = -objective[:outputs]
    least = minimum(ties.together(case.first, case.second), box, objective)
    for margin in MARGINS:
        for sign, answer in ((1, av.Verdict.SAT), (-1, av.Verdict.UNSAT)):
            limit = decimal(least.value) + sign * Decimal(margin)
            text = declared((size, size), (outputs, outputs)) + ties.text() + condition(objective, outputs, limit)
            query = asked(text, case.first, case.second)
            assert isinstance(query.about_outputs().network, PairedNetwork)
            found = av.verify(query, timeout=60)
            assert found.verdict is answer, (case.label, way, margin, sign)
            if answer is av.Verdict.SAT:
                check_counterexample(query, found)


def check_counterexample(query: av.Query, found: av.Outcome) -> None:
    """It is one of the question as asked: exactly an input, and both networks' own outputs."""
    assert found.exact_input is not None and found.counterexample is not None and found.output is not None
    first, second = (one.network for one in query.networks)
    x = np.split(found.counterexample, [first.input_size])
    y = np.concatenate(
        [
            network(part.reshape(network.input_shape)).reshape(-1)
            for network, part in zip((first, second), x, strict=True)
        ]
    )
    assert np.array_equal(y, found.output)
    exact = [Fraction(float(value)) for value in found.output]
    assert query.accepts(found.exact_input, exact)


PARTLY = declared((3, 3), (2, 2)) + bounded("X_f", (-1, -1, -1), (1, 1, 1))
NEAR = "(assert (<= X_g[0] (+ X_f[0] 0.1)))(assert (>= X_g[0] (- X_f[0] 0.1)))"


@pytest.mark.parametrize(
    ("more", "entries"),
    [
        ("(assert (== X_g[1] X_f[1]))(assert (== X_f[2] X_g[2]))(assert (<= -1 X_g[0]))(assert (<= X_g[0] X_f[0]))", 4),
        ("(assert (== X_g[1] X_f[1]))(assert (== X_f[2] X_g[2]))(assert (and (<= -1 X_g[0]) (<= X_g[0] 0.5)))", 4),
        (
            "".join(
                f"(assert (<= X_g[{i}] (+ X_f[{i}] 0.1)))(assert (>= X_g[{i}] (- X_f[{i}] 0.1)))" for i in range(3)
            ),
            6,
        ),
        (
            "(assert (== (+ X_g[0] X_f[0]) 0))(assert (== X_f[1] X_g[1] ))(assert (== X_f[2] 0.3))"
            "(assert (== X_g[2] 0.4))",
            4,
        ),
        (equal(3) + "(assert (<= (+ X_f[0] X_g[1]) 0.25))", 3),
        (equal(3) + "(assert (== X_f[0] X_f[1]))", 2),
        (bounded("X_g", (-1, -1, -1), (1, 1, 1)), None),
        # Others follow from an input that stands beside its partner by a difference, or that boxes fix.
        (NEAR + "(assert (== X_g[1] X_g[0]))(assert (== X_g[2] X_f[2]))", 4),
        (NEAR + "(assert (== X_g[1] (+ X_g[0] 0.1)))(assert (== X_g[2] (* -0.5 X_g[0])))", 5),
        (
            "(assert (== X_f[0] 0.3))(assert (== X_g[0] 0.3))(assert (== X_g[1] (- X_f[1] X_g[0])))"
            "(assert (== X_g[2] X_f[2]))",
            3,
        ),
    ],
)
def test_inputs_that_are_tied_in_part(more, entries):
    case = random_pair(3, ("dense",))
    rng = np.random.default_rng(5)
    first = case.first if case.first.input_size == 3 else None
    assert first is not None, "the pair has three inputs"
    question = asked(PARTLY + more + "(assert (>= Y_f[0] Y_g[0]))", case.first, case.second)
    joint = question.about_outputs()
    assert (joint.ties is None) == (entries is None)
    if joint.ties is None:
        assert joint.network.input_size == 6 and not isinstance(joint.network, PairedNetwork)
        return
    assert joint.network.input_size == entries
    # Points of the one set are points of the other, and both compute the same.
    (disjunct,), (own,) = question.property.disjuncts, joint.property.disjuncts
    inside = 0
    for _ in range(400):
        u = tuple(Fraction(float(value)) for value in rng.uniform(-1, 1, entries))
        u = own.box.project(u)
        x = joint.ties.point(u)
        assert own.admits(u) == disjunct.admits(x)
        inside += own.admits(u)
        assert joint.ties.of(x) == u
        values = np.array([float(value) for value in u]), np.array([float(value) for value in x])
        y = joint.network(values[0])
        assert y[:4] == pytest.approx(question.computed(values[1]), abs=1e-12)
        assert y[4:] == pytest.approx(y[2:4] - y[:2], abs=1e-12)
    assert inside > 20


def test_an_input_that_follows_from_one_beside_its_partner():
    f, g = (network_from_layers([weight], [np.zeros(1)]) for weight in (np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])))
    text = declared((2, 2), (1, 1)) + bounded("X_f", (1, 1), (2, 2)) + NEAR + "(assert (== X_g[1] X_g[0]))"
    for limit, answer in (("2.0999", "sat"), ("2.1001", "unsat")):
        query = asked(text + f"(assert (>= Y_g[0] {limit}))", f, g)
        assert query.about_outputs().ties is not None
        assert av.verify(query, timeout=30).verdict.value == answer


def test_a_disjunct_whose_input_set_is_empty():
    case = random_pair(0, ("dense",))
    n, m = case.first.input_size, case.first.output_size
    text = declared((n, n), (m, m)) + bounded("X_f", [-1] * n, [1] * n) + equal(n)
    # Any two of the three constraints have inputs in common.
    text += "(assert (or (and (>= (+ X_f[0] X_f[1]) 0.6) (<= (- X_f[0] X_f[1]) -0.9) "
    text += "(<= (+ X_g[0] (* 3 X_g[1])) 0.1)) (<= X_f[0] 0)))"
    query = asked(text + "(assert (>= Y_f[0] (+ Y_g[0] 9)))", case.first, case.second)
    assert len(query.property.disjuncts) == 2
    assert av.verify(query, timeout=30).verdict is av.Verdict.UNSAT


def test_atoms_that_read_inputs_and_products():
    case = random_pair(0, ("dense",))
    n, m = case.first.input_size, case.first.output_size
    head = declared((n, n), (m, m)) + bounded("X_f", [-0.5] * n, [0.5] * n) + equal(n)
    rng = np.random.default_rng(7)
    points = rng.uniform(-0.5, 0.5, (4000, n))
    first, second = (network(points.reshape(-1, *network.input_shape)) for network in (case.first, case.second))
    values = first[:, 0] * points[:, 0] + second[:, 1] - points[:, 1]
    term = "(+ (* Y_f[0] X_g[0]) Y_g[1] (- X_f[1]))"
    for limit, answer in ((values.min() + 1e-3, "sat"), (values.min() - 1.0, "unsat")):
        query = asked(head + f"(assert (<= {term} {decimal(limit, 6)}))", case.first, case.second)
        found = av.verify(query, timeout=60)
        assert found.verdict.value == answer
        if answer == "sat":
            check_counterexample(query, found)


def test_networks_of_different_outputs_and_more_than_two():
    one = network_from_layers([np.array([[1.0, 2.0]]), np.array([[1.0], [-1.0]])], [np.zeros(1), np.zeros(2)])
    two = network_from_layers([np.array([[1.0, 2.0]]), np.array([[2.0]])], [np.zeros(1), np.zeros(1)])
    text = declared((2, 2), (2, 1)) + bounded("X_f", (-1, -1), (1, 1)) + equal(2)
    for limit, answer in (("-0.01", "unsat"), ("0.01", "sat")):
        query = asked(text + f"(assert (<= (- Y_g[0] (* 2 Y_f[0])) {limit}))(assert (>= Y_f[0] 1))", one, two)
        assert av.verify(query, timeout=60).verdict.value == answer
    third = "(declare-network h (equal-to f) (declare-input X_h real [2]) (declare-output Y_h real [2]))"
    text = (
        declared((2, 2), (2, 1)) + third + bounded("X_f", (-1, -1), (1, 1)) + equal(2) + bounded("X_h", (1, 1), (1, 1))
    )
    for limit, answer in (("8.99", "sat"), ("9.01", "unsat")):
        query = asked(text + f"(assert (>= (+ Y_g[0] Y_h[0]) {limit}))", one, two, one)
        assert av.verify(query, timeout=60).verdict.value == answer


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_declared_floats_are_decided_as_computed(kind):
    case = random_pair(6, ("dense",))
    first, second = (replace(network, element_type=kind) for network in (case.first, case.second))
    n, m = first.input_size, first.output_size
    text = declared((n, n), (m, m), "(isomorphic-to f)", (kind, kind)) + equal(n)
    text += bounded("X_f", [-0.5] * n, [0.5] * n)
    points = np.random.default_rng(8).uniform(-0.5, 0.5, (4000, n)).astype(kind)
    y, z = (network(points.reshape(-1, *first.input_shape)).astype(np.float64) for network in (first, second))
    top = (z - y)[:, 0].max()
    query = asked(text + f"(assert (>= Y_g[0] (+ Y_f[0] {decimal(top - 1e-4, 8)})))", first, second)
    found = av.verify(query, timeout=60)
    assert found.verdict is av.Verdict.SAT and found.output is not None and found.output.dtype == kind
    check_counterexample(query, found)
    limit = decimal(top + 0.5 * abs(top) + 0.1, 8)
    query = asked(text + f"(assert (>= Y_g[0] (+ Y_f[0] {limit})))", first, second)
    assert av.verify(query, timeout=60).verdict is av.Verdict.UNSAT


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_networks_that_have_nothing_in_common_are_bounded_side_by_side(kind):
    cases = [random_pair(seed, ("dense",)) for seed in (6, 9)]
    first, second = (replace(case.first, element_type=kind) for case in cases)
    n = min(first.input_size, second.input_size)
    assert first.input_size == second.input_size == n, "the pairs have inputs of one size"
    text = declared((n, n), (2, 2), "", (kind, kind)) + equal(n) + bounded("X_f", [-0.5] * n, [0.5] * n)
    query = asked(text + "(assert (>= (+ Y_f[0] Y_g[0]) 100))", first, second)
    joint = query.about_outputs()
    closer = with_closer_network(joint, av.Run())
    assert isinstance(joint.network, PairedNetwork) and not isinstance(closer.network, PairedNetwork)
    assert closer.network.element_type == kind
    assert av.verify(query, timeout=60).verdict is av.Verdict.UNSAT


def test_float_errors_of_a_difference_are_those_of_both():
    # In real numbers both compute x; as computed, g loses all of x behind a large number.
    large = 2.0**26
    f = network_from_layers([np.eye(1)], [np.zeros(1)], "f")
    g = network_from_layers([np.array([[1.0], [0.0]]), np.array([[1.0, -1.0]])], [np.full(2, large), np.zeros(1)], "g")
    head = declared((1, 1), (1, 1), "", ("float32", "float32")) + bounded("X_f", [0.25], [1]) + equal(1)
    x = np.float32([0.5])
    assert f(x)[0] - g(x)[0] == 0.5
    query = asked(head + "(assert (>= Y_f[0] (+ Y_g[0] 0.4)))", f, g)
    assert av.verify(query, timeout=30).verdict is av.Verdict.SAT
    joint = query.about_outputs()
    assert isinstance(joint.network, PairedNetwork)
    box = av.Box([[0.25]], [[1.0]])
    error = output_error(joint.network, box, av.preactivation_bounds(joint.network, box), "float32")[0]
    assert error[2] >= error[0] + error[1] >= 0.5
    settings = av.VerifySettings(arithmetic="real")
    assert av.verify(query, timeout=30, settings=settings).verdict is av.Verdict.UNSAT


def test_exact_outputs_of_the_oracle():
    # The network that truth is taken from computes both networks.
    case, rng = random_pair(4, ("dense",)), np.random.default_rng(1)
    ties = tied("halved", case.first.input_size, rng)
    u = rng.uniform(-1, 1, case.first.input_size)
    x = ties.matrix @ u + np.array([float(value) for value in ties.shift])
    y = [float(value) for value in exact_output(ties.together(case.first, case.second), u)]
    given = [
        network(part.reshape(network.input_shape)).reshape(-1) for network, part in ((case.first, u), (case.second, x))
    ]
    assert y == pytest.approx(np.concatenate(given), abs=1e-9)
