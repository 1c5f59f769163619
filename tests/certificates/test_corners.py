"""Corners of the checker: what it must refuse, strict atoms, arithmetic, deep trees, empty queries."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Box, InputError, Network, Problem, preactivation_bounds, solve
from admm_verify.bounds.arithmetic import output_error
from admm_verify.certificates.certificate import ARITHMETICS, Certificate, Leaves
from admm_verify.certificates.check import check
from admm_verify.certificates.kinds import CHECKED_KINDS
from admm_verify.network.graph import Activation, Affine, Input, Term
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from admm_verify.properties.property import Atom, Disjunct, Property
from tests.certificates.provers import (
    activations,
    atom_of,
    box_of,
    halving_certificate,
    one_atom,
    property_of,
    random_certificate,
    retargeted,
)
from tests.random_networks import random_case

UNIT = Box(np.zeros(1), np.ones(1))


PARAMETERS = {"prelu": [0.25], "elu": [0.5], "clip": [0.2, 0.7], "heaviside": [0.5], "power": [-0.5]}
SHIFTED = ("log", "power", "reciprocal", "sqrt")
"""Kinds that are defined right of 0, and tried there."""
NARROW = ("asin", "atanh", "tan")
"""Kinds that are tried near 0 only."""


def moved(kind: str, x: np.ndarray) -> np.ndarray:
    """Numbers from -2 to 3 as some that a kind is defined for, in their order."""
    return x + 2.5 if kind in SHIFTED else x + 3.5 if kind == "acosh" else x / 4 if kind in NARROW else x


def single(kind: str, *parameters: float) -> Network:
    """y = phi(x)."""
    one, zero = DenseMap(np.ones((1, 1))), np.zeros(1)
    arrays = tuple(np.array([number]) for number in parameters)
    nodes = (
        Input(1),
        Affine((Term(0, one),), zero, zero),
        Activation(kind, 1, 1, arrays),
        Affine((Term(2, one),), zero, zero),
    )
    return Network(nodes, (1,), (1,))


def whole(network: Network, property: Property, kind: str = "neuron", arithmetic: str = "real") -> Certificate:
    """One leaf for every disjunct."""
    goal = np.arange(len(property.disjuncts), dtype=np.int32)
    none = np.zeros((len(goal), 0), dtype=np.float32)
    leaves = Leaves(goal, np.zeros_like(goal), np.zeros((len(goal), 0), dtype=np.int32), none, none)
    columns = tuple(np.zeros(0, dtype=np.int32) for _ in activations(network))
    return retargeted(Certificate("", "", arithmetic, kind, (), columns, leaves), property, network)


def reason(certificate: Certificate, property: Property, network: Network, exact: bool = False) -> str:
    found = check(certificate, property, network, exact=exact)
    assert not found.proved
    return found.reason


@pytest.mark.parametrize("kind", ["neuron", "input"])
def test_strict_atoms_need_no_margin_in_exact_numbers(kind):
    network = single("relu")
    for strict in (False, True):
        # y < 0 has no solution, y <= 0 has one.
        found = one_atom(network, UNIT, np.ones(1), 0.0, strict)
        assert check(whole(network, found, kind), found, network, exact=True).proved is strict
        assert not check(whole(network, found, kind), found, network).proved


def test_exact_boxes_are_not_rounded():
    network, third = single("relu"), Fraction(1, 3)
    box = replace(box_of(UNIT), lower=(third,))
    inside, outside = (
        property_of(network, [Disjunct(box, (replace(atom_of(np.ones(1), 0.0), constant=-c),))])
        for c in (third, third - Fraction(1, 10**40))
    )
    assert not check(whole(network, inside), inside, network, exact=True).proved
    assert check(whole(network, outside), outside, network, exact=True).proved
    assert not check(whole(network, outside), outside, network).proved


@pytest.mark.parametrize("kind", [kind for kind, record in CHECKED_KINDS.items() if record.operands == 1])
def test_every_kind_is_checked(kind):
    network = single(kind, *PARAMETERS.get(kind, []))
    box = Box(moved(kind, UNIT.lower), moved(kind, UNIT.upper))
    # Lines of least area do not reach the least value of every kind.
    least = float(solve(Problem(network, box, np.ones((1, 1))), settings=av.SolverSettings(max_passes=0)).lower[0])
    assert least <= float(network(moved(kind, np.ones((1, 1))))[0, 0])
    for offset, expected in ((1e-6 - least, True), (-1e-6 - least, False)):
        found = one_atom(network, box, np.ones(1), offset)
        assert check(whole(network, found), found, network).proved is expected


@pytest.mark.parametrize(
    "kind, parameters, words", [("cube", [], "'cube'"), ("elu", [1.5], "beyond 0 to 1"), ("prelu", [2.0], "above 1")]
)
def test_other_kinds_are_refused_by_name(kind, parameters, words):
    network = single(kind, *parameters)
    found = one_atom(network, UNIT, np.ones(1), 5.0)
    assert words in reason(whole(network, found), found, network)
    # Nobody works for a certificate that nobody can check.
    with pytest.raises(InputError, match="can have no certificate"):
        av.verify(av.Query("query", found, network), settings=av.VerifySettings(certificate=True))


def test_curves_have_no_exact_numbers():
    network = single("tanh")
    found = one_atom(network, UNIT, np.ones(1), 5.0)
    assert "Exact numbers have no tanh" in reason(whole(network, found), found, network, exact=True)


def test_signs_of_curves_are_not_split():
    network = single("tanh")
    found = one_atom(network, UNIT, np.ones(1), 5.0)
    certificate = whole(network, found)
    leaves = replace(certificate.leaves, splits=np.ones((1, 1), np.int32), beta=np.zeros((1, 1), np.float32))
    assert "no neuron of the kinds relu, prelu" in reason(replace(certificate, leaves=leaves), found, network)


def test_one_neuron_is_fixed_once_on_a_path():
    network = single("relu")
    found = one_atom(network, UNIT, np.ones(1), 5.0)
    splits = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=np.int32)
    goal, none = np.zeros(4, dtype=np.int32), np.zeros((4, 0), dtype=np.float32)
    leaves = Leaves(goal, goal, splits, np.zeros((4, 2), dtype=np.float32), none)
    assert "twice" in reason(replace(whole(network, found), leaves=leaves), found, network)
    # One input may be halved again and again.
    assert check(replace(whole(network, found, "input"), leaves=leaves), found, network).proved


@pytest.mark.parametrize("value, words", [(-1.0, "negative"), (np.nan, "NaN"), (np.inf, "NaN or infinite")])
def test_multipliers_are_finite_and_not_negative(value, words):
    network = single("relu")
    found = one_atom(network, UNIT, np.ones(1), 5.0)
    splits, goal = np.array([[1], [-1]], dtype=np.int32), np.zeros(2, dtype=np.int32)
    beta = np.array([[value], [0.0]], dtype=np.float32)
    leaves = Leaves(goal, goal, splits, beta, np.zeros((2, 0), dtype=np.float32))
    assert words in reason(replace(whole(network, found), leaves=leaves), found, network)


def test_columns_that_are_not_there_are_refused():
    case = random_case(15, widest=6, deepest=3)
    found = one_atom(case.network, case.box, case.objective[0], 1e9)
    certificate = random_certificate(np.random.default_rng(0), case.network, found)
    assert check(certificate, found, case.network).proved
    for columns in (
        (*certificate.columns[:-1], certificate.columns[-1] + np.int32(99)),
        (*certificate.columns, np.zeros(0, np.int32)),
    ):
        assert "columns of leaves" in reason(replace(certificate, columns=columns), found, case.network)
    first, *others = certificate.tightenings
    for changed in (
        replace(first, node=99),
        replace(first, node=0),
        replace(first, neurons=first.neurons + np.int32(99)),
    ):
        assert "no affine node" in reason(replace(certificate, tightenings=(changed, *others)), found, case.network)
    changed = replace(first, columns=tuple(column + np.int32(99) for column in first.columns))
    assert "columns of tightening 0" in reason(replace(certificate, tightenings=(changed,)), found, case.network)


def test_missing_disjuncts_and_atoms_are_refused():
    network = single("relu")
    box, atom = box_of(UNIT), atom_of(np.ones(1), 1.0)
    two = property_of(network, [Disjunct(box, (atom,)), Disjunct(box, (atom,))])
    one = property_of(network, [Disjunct(box, (atom,))])
    assert check(whole(network, two), two, network).proved
    assert "Disjunct 1 has no leaf" in reason(retargeted(whole(network, one), two, network), two, network)
    assert "does not have" in reason(retargeted(whole(network, two), one, network), one, network)
    bare = property_of(network, [Disjunct(box, ())])
    assert "of an atom" in reason(whole(network, bare), bare, network)


def test_a_query_without_disjuncts_needs_no_leaf():
    network = single("relu")
    nothing = property_of(network, [])
    found = check(whole(network, nothing), nothing, network)
    assert found.proved and found.leaves == 0 and found.worst == float("inf")


def test_another_network_is_refused():
    network, other = single("relu"), single("prelu", 0.5)
    found = one_atom(network, UNIT, np.ones(1), 1.0)
    assert "another network" in reason(whole(other, found), found, network)
    wide = Network((Input(2), *network.nodes[1:]), (2,), (1,))
    assert "the network the query was written for" in reason(whole(wide, found), found, wide)


def test_deep_trees():
    network, rng = single("relu"), np.random.default_rng(0)
    # Halve towards 0 sixty times; y + 1 > 0 everywhere.
    depth = 60
    rows = [[-1] * i + [1] for i in range(depth)] + [[-1] * depth]
    splits = np.array([row + [0] * (depth - len(row)) for row in rows], dtype=np.int32)
    found = one_atom(network, UNIT, np.ones(1), 1.0)
    base = whole(network, found, "input")
    none = np.zeros((len(splits), 0), dtype=np.float32)
    goal = np.zeros(len(splits), dtype=np.int32)
    leaves = Leaves(goal, goal, splits, np.zeros(splits.shape, dtype=np.float32), none)
    assert check(replace(base, leaves=leaves), found, network).proved
    assert check(replace(base, leaves=leaves), found, network, exact=True).proved
    for row in rng.permutation(len(splits))[:10]:
        part = Leaves(*(np.delete(a, row, axis=0) for a in (goal, goal, splits, leaves.beta, none)))
        assert "do not cover" in reason(replace(base, leaves=part), found, network)


@pytest.mark.parametrize("seed", range(14))
@pytest.mark.parametrize("kind", ["neuron", "input"])
def test_arithmetic_costs_what_the_library_says(seed, kind):
    case = random_case(seed, widest=6, deepest=2)
    network, box, objective = case.network, case.box, case.objective[0]
    alone = Box(box.lower[None], box.upper[None])
    bounds = preactivation_bounds(network, alone)
    found = one_atom(network, box, objective, 1e9)
    real, exact = (check(whole(network, found, kind), found, network, exact=exact).worst for exact in (False, True))
    for arithmetic in ("float32", "float64"):
        certificate = whole(network, found, kind, arithmetic)
        cost = real - check(certificate, found, network, arithmetic=arithmetic).worst
        error = output_error(network, alone, bounds, arithmetic)[0]
        assert cost == pytest.approx(float(abs(objective) @ error), rel=1e-3, abs=1e-5)
        stated = check(certificate, found, network, exact=True, arithmetic=arithmetic)
        assert exact - stated.worst == pytest.approx(cost, rel=1e-2, abs=1e-5)


def test_overflow_of_the_networks_own_arithmetic_proves_nothing():
    network = network_from_layers([np.array([[1e30]]), np.array([[1e-30]])], [np.zeros(1), np.zeros(1)])
    box = Box(np.array([1e9]), np.array([2e9]))
    found = one_atom(network, box, np.ones(1), 0.0)
    assert check(whole(network, found), found, network).proved
    declared = property_of(network, found.disjuncts, "float32")
    for exact in (False, True):
        assert "overflow in float32" in reason(whole(network, declared, arithmetic="float32"), declared, network, exact)


@pytest.mark.parametrize("exact", [False, True])
def test_a_certificate_proves_only_the_arithmetic_it_was_recorded_for(exact):
    # relu(x + 2^27) - 2^27 is x >= 0.3, but 0 as computed in float32.
    network = network_from_layers([np.ones((1, 1)), np.ones((1, 1))], [np.full(1, 2.0**27), np.full(1, -(2.0**27))])
    atoms = one_atom(network, Box(np.array([0.3]), np.array([0.45])), np.ones(1), -0.1).disjuncts
    for declared in ARITHMETICS:
        query = property_of(network, atoms, declared)
        assert query.arithmetic == declared
        for recorded in ARITHMETICS:
            certificate = whole(network, query, arithmetic=recorded)
            found = check(certificate, query, network, exact=exact)
            assert found.arithmetic == declared
            assert found.proved is (declared == recorded != "float32")
            if declared != recorded:
                assert f"recorded for {recorded}" in found.reason and declared in found.reason
            for wanted in ARITHMETICS:
                named = check(certificate, query, network, exact=exact, arithmetic=wanted)
                assert named.arithmetic == wanted and named.proved is (wanted == recorded != "float32")
    with pytest.raises(InputError, match="'exact' is unknown"):
        check(whole(network, query), query, network, arithmetic="exact")


@pytest.mark.parametrize(
    "box", [Box(np.array([-1e308]), np.array([1e308])), Box(np.array([-1e300]), np.array([1e-300]))]
)
def test_huge_boxes_prove_nothing_false(box):
    network = network_from_layers([np.full((2, 1), 1e10), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])
    found = one_atom(network, box, -np.ones(1), 0.0)
    for kind in ("neuron", "input"):
        for exact in (False, True):
            assert not check(whole(network, found, kind), found, network, exact=exact).proved


def test_exact_numbers_may_be_beyond_floats():
    network = network_from_layers([np.full((2, 1), 1e300), np.full((1, 2), 1e300)], [np.zeros(2), np.zeros(1)])
    for sign, proved in ((1.0, True), (-1.0, False)):
        found = one_atom(network, Box(np.array([-1e300]), np.array([1e300])), np.full(1, sign), 1.0)
        for kind in ("neuron", "input"):
            report = check(whole(network, found, kind), found, network, exact=True)
            assert report.proved is proved and report.worst == (1.0 if proved else -float("inf"))
            assert not check(whole(network, found, kind), found, network).proved


def test_little_memory_and_progress():
    case = random_case(15, widest=6, deepest=3)
    found = one_atom(case.network, case.box, case.objective[0], 1e9)
    certificate = random_certificate(np.random.default_rng(0), case.network, found, "input", 6)
    seen = []
    report = check(certificate, found, case.network, run=av.Run(memory=2000.0, tell=seen.append))
    assert report.proved and seen[-1].done == seen[-1].total == len(certificate.leaves) and len(seen) > 1
    assert report.worst == pytest.approx(check(certificate, found, case.network).worst, abs=1e-5)
    with pytest.raises(InputError, match="memory"):
        check(certificate, found, case.network, run=av.Run(memory=0.0))


def test_several_boxes_and_strict_goals():
    case = random_case(29, widest=5, deepest=2)
    network, rng = case.network, np.random.default_rng(2)
    disjuncts = []
    for _ in range(5):
        centre = rng.uniform(-1, 1, network.input_size)
        box = box_of(Box(centre - 0.1, centre + 0.1))
        y = network(centre[None])[0]
        near, far = (
            atom_of(row, gap - float(row @ y), True)
            for row, gap in ((case.objective[0], -1.0), (-case.objective[0], 3.0))
        )
        disjuncts += [Disjunct(box, (near, far)), Disjunct(box, (far,))]
    found = property_of(network, disjuncts)
    certificate = halving_certificate(network, found, 8)
    assert certificate is not None and check(certificate, found, network).proved
    assert check(certificate, found, network, exact=True).proved
    wrong = replace(certificate, leaves=replace(certificate.leaves, atom=0 * certificate.leaves.atom))
    assert "does not exclude" in reason(wrong, found, network)


def test_coefficients_of_one_output_add_up():
    network = single("relu")
    # -y - y + 1 <= 0 holds from y = 1/2 on, -y + 1 <= 0 at y = 1 alone.
    twice = Atom(((0, Fraction(-1)), (0, Fraction(-1))), Fraction(1), False)
    assert twice.terms == ((0, Fraction(-2)),)
    box = box_of(Box(np.array([0.6]), np.array([0.7])))
    found = property_of(network, [Disjunct(box, (twice,))])
    for exact in (False, True):
        assert not check(whole(network, found), found, network, exact=exact).proved
    assert av.verify(av.Query("twice", found, network)).verdict is av.Verdict.SAT


def test_exact_matrices_keep_within_memory():
    case = random_case(15, widest=6, deepest=3)
    found = one_atom(case.network, case.box, case.objective[0], 1e9)
    report = check(whole(case.network, found), found, case.network, exact=True, run=av.Run(memory=1000.0))
    assert not report.proved and "allow more memory" in report.reason
