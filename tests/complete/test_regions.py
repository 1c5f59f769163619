"""Verdicts over other sets than boxes, on both sides of the least value there: never a wrong one, and exact points."""

import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.certificates.check import check
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.input_split import HalvedBoxes, InputSplitter
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.rows import atom_rows
from tests.complete import regions
from tests.complete.queries import NEURONS, confirmed
from tests.complete.regions import Region

KINDS: dict[str, Callable[[np.random.Generator, int], Region]] = {
    "coupled box": regions.coupled_box,
    "polytope": regions.polytope,
    "l2 ball": regions.ball("l2"),
    "l1 ball": regions.ball("l1"),
    "ellipsoid": regions.ellipsoid,
}
CERTIFIED = ("coupled box", "polytope")
MARGINS = (0.1, 1e-3, 1e-6)
NETWORKS, DEFAULT = 6, 2


def seeds() -> list:
    return [pytest.param(seed, marks=[] if seed < DEFAULT else pytest.mark.slow) for seed in range(NETWORKS)]


def drawn(kind: str, seed: int) -> tuple[regions.Small, Region, float]:
    """A network, a region, and the least value there."""
    place = [seed, list(KINDS).index(kind)]
    while True:
        rng = np.random.default_rng(place)
        inputs = int(rng.integers(2, 4))
        network, region = regions.small(rng, inputs, int(rng.integers(3, 6))), KINDS[kind](rng, inputs)
        least, _ = network.minimum(region)
        if np.isfinite(least):
            break
        # Rows may leave nothing, and the next draw is taken.
        place = [*place, 1]
    points = region.sampled(rng, 1000)
    assert not len(points) or network(points).min() >= least - 1e-8
    return network, region, least


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds())
def test_no_answer_is_wrong_beside_the_optimum(seed: int, kind: str) -> None:
    network, region, least = drawn(kind, seed)
    for k, margin in enumerate(MARGINS):
        for sign in (1.0, -1.0):
            limit = float(least + sign * margin * max(1.0, abs(least)))
            query = av.query(network.network, region.region, f"({region.condition}) and y <= {limit!r}")
            search = NEURONS if (seed + k) % 2 else av.SearchSettings()
            found = av.verify(query, settings=av.VerifySettings(max_subproblems=400, search=search))
            right = "sat" if sign > 0 else "unsat"
            assert found.verdict.value in (right, "unknown"), (margin, sign)
            # Neurons alone do not decide couplings of what is no box, which are atoms there.
            sure = margin >= 0.1 and (search is not NEURONS or kind in CERTIFIED)
            assert found.verdict.value == right or not sure, (margin, sign)
            assert right != found.verdict.value or sign < 0 or confirmed(query, found)


@pytest.mark.parametrize(("seed", "kind"), [(3, "l1 ball"), (5, "l2 ball")])
def test_bounds_of_sums_over_balls_cut_nothing_off_the_boxes_around_them(seed: int, kind: str) -> None:
    test_no_answer_is_wrong_beside_the_optimum(seed, kind)


@pytest.mark.parametrize("kind", CERTIFIED)
@pytest.mark.parametrize("seed", seeds())
def test_couplings_have_proofs(seed: int, kind: str) -> None:
    network, region, least = drawn(kind, seed)
    limit = float(least - (0.1, 1e-3)[seed % 2] * max(1.0, abs(least)))
    query = av.query(network.network, region.region, f"({region.condition}) and y <= {limit!r}")
    search = NEURONS if seed % 3 else av.SearchSettings()
    found = av.verify(query, settings=av.VerifySettings(certificate=True, max_subproblems=400, search=search))
    if found.certificate is None:
        assert found.verdict is av.Verdict.UNKNOWN and limit > least - 0.05
        return
    for exact in (False, True):
        report = check(found.certificate, query.property, query.network, exact=exact)
        assert report.proved, report.reason
    # The same leaves prove nothing of a set with one row less.
    wider = av.query(network.network, av.Box(region.lower - 1.0, region.upper + 1.0), f"y <= {limit!r}")
    assert not check(found.certificate, wider.property, wider.network).proved


@pytest.mark.parametrize("exact", [False, True])
def test_a_checker_that_knows_the_couplings_only_proves_what_is_true(exact: bool) -> None:
    """A proof over x0 + x1 <= 1 says nothing where the sum may be larger, even with a digest that is made to fit."""
    from dataclasses import replace

    from admm_verify.certificates.digests import property_digest

    network = regions.Small(np.eye(2), np.zeros(2), -np.ones(2), 0.0).network
    box = av.Box(np.zeros(2), np.ones(2))
    asked = av.query(network, box, "x0 + x1 <= 1 and y <= -1.125")
    found = av.verify(asked, settings=av.VerifySettings(certificate=True))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    assert check(found.certificate, asked.property, network, exact=exact).proved
    for wrong in ("y <= -1.125", "x0 + x1 <= 1.25 and y <= -1.125", "x0 + 0.5*x1 <= 1 and y <= -1.125"):
        other = av.query(network, box, wrong).property
        forged = replace(found.certificate, query=property_digest(other))
        assert not check(forged, other, network, exact=exact).proved


def test_an_equation_has_exact_points() -> None:
    network = regions.Small(np.eye(2), np.zeros(2), np.ones(2), 0.0).network
    box = av.Box(np.zeros(2), np.ones(2))
    for condition, total in (("x0 + x1 == 1", Fraction(1)), ("x0 + x1 == 0.7", Fraction(7, 10))):
        query = av.query(network, box, f"{condition} and y <= 1.5")
        found = av.verify(query)
        assert found.verdict is av.Verdict.SAT and confirmed(query, found) and found.exact_input is not None
        assert sum(found.exact_input, Fraction(0)) == total
    thirds = av.query(network, box, "x0 + x1 == 1 and 3*x0 == 1")
    found = av.verify(thirds)
    assert found.exact_input == (Fraction(1, 3), Fraction(2, 3)) and confirmed(thirds, found)


@pytest.mark.parametrize("certificate", [False, True])
def test_sets_that_rows_leave_empty_are_excluded(certificate: bool) -> None:
    network = regions.Small(np.eye(2), np.zeros(2), np.ones(2), 0.0).network
    box = av.Box(np.zeros(2), np.ones(2))
    triangle = "x0 + x1 <= 0.5 and x0 - x1 >= 0.25 and x0 + 3*x1 >= 1"
    for rest in ("y <= 100", "y <= 100 and x1 >= 0.125"):
        query = av.query(network, box, f"{triangle} and {rest}")
        found = av.verify(query, settings=av.VerifySettings(certificate=certificate))
        assert found.verdict is av.Verdict.UNSAT
        if certificate:
            assert found.certificate is not None
            for exact in (False, True):
                report = check(found.certificate, query.property, network, exact=exact)
                assert report.proved, report.reason
    assert av.verify(av.query(network, box, triangle)).verdict is av.Verdict.UNSAT


def test_sparse_changes_are_decided_choice_by_choice() -> None:
    """The hull of what changes one entry of three holds points that no single change reaches."""
    network = regions.Small(np.eye(3), np.zeros(3), -np.ones(3), 0.0).network
    sparse = av.Sparse(np.zeros(3), 1, 1.0)
    query = av.query(network, sparse, "y <= -1.0009765625")
    assert len(query.property.disjuncts) == 3
    found = av.verify(query, settings=av.VerifySettings(certificate=True))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    assert check(found.certificate, query.property, network, exact=True).proved
    reached = av.query(network, sparse, "y <= -0.96875")
    found = av.verify(reached)
    assert found.verdict is av.Verdict.SAT and confirmed(reached, found) and found.exact_input is not None
    assert sum(value != 0 for value in found.exact_input) == 1


@pytest.mark.parametrize("kind", ["zonotope", "product", "many sparse changes"])
def test_all_sets_have_verdicts_with_points_inside(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    network = regions.small(rng, 3, 4)
    monkeypatch.setattr("admm_verify.properties.infix._MOST_BOUNDS", 3)
    region = {
        "zonotope": av.Zonotope(np.zeros(3), 0.3 * rng.standard_normal((3, 4))),
        "product": av.Product(av.Box(-np.ones(1), np.ones(1)), av.Ball(np.zeros(2), 0.5)),
        "many sparse changes": av.Sparse(np.zeros(3), 1, 0.5),
    }[kind]
    rows = region.flattened(lambda part: np.reshape(part, (1, *np.shape(part))) if np.ndim(part) == 1 else part)
    values = network(np.asarray(rows.sample(2000, rng))[0])
    for condition in (
        f"y <= {float(values.min()) + 0.05!r}",
        f"x0 + x1 <= 0.125 and y <= {float(np.median(values))!r}",
    ):
        query = av.query(network.network, region, condition)
        found = av.verify(query, settings=av.VerifySettings(max_subproblems=300))
        assert found.verdict is av.Verdict.SAT and confirmed(query, found)
    below = av.query(network.network, region, f"y <= {float(values.min() - 20.0)!r}")
    assert av.verify(below).verdict is av.Verdict.UNSAT


@pytest.mark.parametrize("parts", [1, 2])
def test_parts_that_hold_nothing_of_the_set_leave_nothing(parts: int) -> None:
    network = regions.Small(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2), np.ones(2), 0.0).network
    diamond = av.Polytope([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [1.0] * 4)
    rows = atom_rows(av.query(network, diamond, "y <= 10").property)
    disjuncts = Disjuncts.of(rows, rows.offset, np.ones(1, dtype=bool), [0])
    splitter = InputSplitter(network, disjuncts, Placement.numpy(), av.SearchSettings(), av.Run())
    # A corner of the box around the diamond, where x0 + x1 is both above 1 and not, and a box in the middle.
    packed = np.array([[0.9, 0.9, 1.0, 1.0], [0.0, 0.0, 0.25, 0.25]])[:parts]
    nodes = HalvedBoxes(
        np.zeros(parts, dtype=np.int64),
        np.full(parts, -np.inf),
        np.zeros(parts, dtype=np.int64),
        packed,
        np.zeros((parts, 0), dtype=np.int16),
    )
    grown = splitter.expand(nodes)
    # Of the corner nothing is left, and both halves of the middle are still open.
    left = 2 * (parts - 1)
    assert len(grown.open.bound) == len(grown.points) == len(grown.offset) == left and not len(grown.closed.disjunct)


def test_certificates_of_other_sets_are_refused_with_a_word() -> None:
    network = regions.Small(np.eye(2), np.zeros(2), np.ones(2), 0.0).network
    query = av.query(network, av.Ball(np.zeros(2), 1.0), "y <= -1")
    with pytest.raises(av.InputError, match=r"lie in a .*Ball.*Leave the certificate out"):
        av.verify(query, settings=av.VerifySettings(certificate=True))
    with pytest.raises(av.InputError, match=r"milp.*Ball.*auto"):
        av.verify(query, settings=av.VerifySettings(method="milp"))
    with pytest.raises(av.UnsupportedQueryError, match=r"float32.*beside a .*Ball"):
        av.verify(query, settings=av.VerifySettings(arithmetic="float32"))


@pytest.mark.parametrize("kind", ["zonotope", "ellipsoid", "product"])
def test_borders_of_sets_of_many_inputs_take_no_longer_than_the_time_allowed(kind: str) -> None:
    rng, size = np.random.default_rng(3), 120
    network = network_from_layers(
        [rng.standard_normal((8, size)), rng.standard_normal((2, 8))], [np.zeros(8), np.zeros(2)]
    )
    centre, columns = rng.random(size), 0.1 * rng.standard_normal((size, size)) / np.sqrt(size)
    sets = {
        "zonotope": lambda: av.Zonotope(centre, columns),
        "ellipsoid": lambda: av.Ellipsoid(centre, columns @ columns.T),
        "product": lambda: av.Product(av.Zonotope(centre[:-1], columns[:-1, :-1]), av.Ball(centre[-1:], 0.1)),
    }
    inputs = sets[kind]()
    query = av.query(network, inputs, "y0 <= 1000")
    began = time.process_time()
    found = av.verify(query, run=av.Run(timeout=5.0))
    assert time.process_time() - began < 20.0
    assert found.verdict is av.Verdict.SAT and confirmed(query, found)


EXTREMES: dict[str, Callable[[], object]] = {
    "wide box": lambda: av.Box(np.full(2, -1.7e308), np.full(2, 1.7e308)),
    "wide l2 ball": lambda: av.Ball(np.full(2, 1e308), 7e307),
    "wide l1 ball": lambda: av.Ball(np.zeros(2), 1.7e308, norm="l1"),
    "wide zonotope": lambda: av.Zonotope(np.zeros(2), 1e307 * np.eye(2)),
    "tiny zonotope": lambda: av.Zonotope(np.zeros(2), 1e-320 * np.eye(2)),
    "wide polytope": lambda: av.Polytope([[1e300, 1e300]], [1e300], av.Box(np.full(2, -1e307), np.full(2, 1e307))),
}


@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("condition", ["y0 <= 1e30", "y0 <= x0 + 5 and x0 + x1 <= 0.5"])
def test_sets_of_extreme_numbers_are_no_cause_of_warnings(kind: str, condition: str) -> None:
    rng = np.random.default_rng(0)
    network = network_from_layers(
        [rng.standard_normal((4, 2)), rng.standard_normal((1, 4))], [np.zeros(4), np.zeros(1)]
    )
    query = av.query(network, EXTREMES[kind](), condition)
    found = av.verify(query, settings=av.VerifySettings(max_subproblems=20))
    assert found.verdict is not av.Verdict.SAT or confirmed(query, found)
