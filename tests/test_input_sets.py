"""Every kind of input set at the doors of bounds, solvers and attacks: batches, torch, images, other processes."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import count, pairwise

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.attacks.apgd import Apgd
from admm_verify.attacks.lbfgs import Lbfgs
from admm_verify.attacks.pgd import FGSM, Pgd
from admm_verify.attacks.search import attack
from admm_verify.attacks.starts import Starts
from admm_verify.attacks.targets import Targets
from admm_verify.bounds.preactivation import input_rows
from admm_verify.network.layers import network_from_layers
from admm_verify.sets.contract import WalkableSet
from admm_verify.splitting.row_bounds import RowBounds
from admm_verify.splitting.solve import METHODS, Block
from tests.random_layers import layer_case
from tests.random_sets import SETS, drawn
from tests.reference.test_layer_soundness import bounds_by

RNG = np.random.default_rng(0)
SIZES = (6, 8, 7, 3)
WEIGHTS = [RNG.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(SIZES)]
NET = network_from_layers(WEIGHTS, [0.2 * RNG.standard_normal(m) for m in SIZES[1:]], "random")
CENTRES = RNG.standard_normal((4, SIZES[0]))
ROWS = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
SHORT = Starts(restarts=1, most=2, samples=20)
BRIEFLY = (FGSM, Pgd(SHORT, steps=6), Apgd(SHORT, steps=8), Lbfgs(SHORT, steps=6))
BRIEF = av.SolverSettings(max_passes=40, tolerance=0.0)

every_kind = pytest.mark.parametrize("kind", SETS)
third_kinds = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if number % 3 else []) for number, kind in enumerate(SETS)]
)
TURNS = [
    pytest.param(kind, method, marks=[pytest.mark.slow] if (row + column) % 4 else [])
    for row, kind in enumerate(SETS)
    for column, method in enumerate(METHODS)
]
"""Every kind with one method, and every method with a quarter of the kinds; the others are slow."""


@cache
def one(kind: str, seed: int = 0) -> WalkableSet:
    """A set of vectors around a centre."""
    return drawn(kind, seed, CENTRES[seed], np.linspace(0.1, 0.5, SIZES[0]))[0]


@cache
def batch(kind: str) -> WalkableSet:
    """Four sets of a kind."""
    flat = [input_rows(NET, one(kind, seed)) for seed in range(4)]
    return type(flat[0]).joined(flat)


def close(found, expected, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance)


@every_kind
@pytest.mark.parametrize("method", ["interval", "crown", "tightened"])
def test_sets_of_a_batch_are_bounded_as_if_alone(kind: str, method: str) -> None:
    together = av.preactivation_bounds(NET, batch(kind), method)
    for seed in range(4):
        alone = av.preactivation_bounds(NET, one(kind, seed), method)
        for many, few in zip((*together.lower, *together.upper), (*alone.lower, *alone.upper), strict=True):
            close(many[seed], few[0])


@pytest.mark.parametrize(("kind", "method"), TURNS)
def test_rows_over_sets_of_their_own_are_solved_as_if_alone(kind: str, method: str) -> None:
    inputs, pick = batch(kind), np.repeat(np.arange(4), 2)
    bounds = av.preactivation_bounds(NET, inputs).take(pick)
    problem = av.Problem(NET, inputs.at(pick), np.tile(ROWS, (4, 1)), 0.0, bounds)
    together = av.solve(problem, method, settings=BRIEF)
    assert together.primal.shape == (8, SIZES[0])
    for seed in range(4):
        alone = av.solve(av.Problem(NET, one(kind, seed), ROWS), method, settings=BRIEF)
        lower = together.lower[2 * seed : 2 * seed + 2]
        if method == "admm":
            # Its penalties are shared by the rows, so that others change how far iterations come.
            assert (lower <= alone.relaxation_upper).all()
        else:
            close(lower, alone.lower, 1e-6)


@third_kinds
def test_outputs_of_a_batch_are_bounded_with_little_memory(kind: str) -> None:
    many = batch(kind).at(np.tile(np.arange(4), 25))
    plenty = av.output_bounds(NET, batch(kind), settings=BRIEF)
    little = av.output_bounds(NET, many, settings=BRIEF, run=av.Run(memory=2**20))
    assert little.lower.shape == (100, 3)
    close(little.lower, np.tile(plenty.lower, (25, 1)), 1e-6)
    close(little.upper, np.tile(plenty.upper, (25, 1)), 1e-6)


@third_kinds
def test_tensors_on_the_host_give_the_same_bounds(kind: str) -> None:
    place = Placement.of(torch.zeros(1, dtype=torch.float64))
    inputs = batch(kind)
    moved = inputs.put(place)
    assert isinstance(moved.numbers[0], torch.Tensor) and isinstance(moved.centre, torch.Tensor)
    ours = av.preactivation_bounds(NET, inputs)
    for run in (None, av.Run(device="cpu")):
        theirs = av.preactivation_bounds(NET, moved, run=run)
        for one_end, other in zip((*ours.lower, *ours.upper), (*theirs.lower, *theirs.upper), strict=True):
            assert isinstance(other, torch.Tensor)
            close(other, one_end)
    rows = np.tile(ROWS[:1], (4, 1))
    known = av.solve(av.Problem(NET, inputs, rows, 0.0, ours), "ascent", settings=BRIEF)
    problem = av.Problem(NET, moved, torch.asarray(rows))
    for device in (None, "cpu"):
        found = av.solve(problem, "ascent", settings=BRIEF, device=device)
        assert isinstance(found.lower, torch.Tensor)
        close(found.lower, known.lower, 1e-6)
    targets = Targets(moved, torch.asarray(rows[:, None, :]), torch.full((4, 1), 9.0, dtype=torch.float64))
    attacked = attack(NET, targets, BRIEFLY)
    assert isinstance(attacked.x, torch.Tensor) and (attacked.loss - 9.0 >= found.lower - 1e-9).all()


@every_kind
def test_iterations_in_single_precision_end_in_bounds_near_by(kind: str) -> None:
    problem = av.Problem(NET, one(kind), ROWS)
    fine, coarse = (
        av.solve(problem, settings=av.SolverSettings(max_passes=100, precision=p)) for p in ("float64", "float32")
    )
    close(coarse.lower, fine.lower, 1e-3)
    assert (coarse.relaxation_upper >= coarse.lower).all()


@every_kind
def test_attacks_in_single_precision_end_next_to_the_set(kind: str) -> None:
    inputs, objective = batch(kind), np.tile(ROWS[:1], (4, 1)).astype(np.float32)[:, None, :]
    found = attack(NET, Targets(inputs, objective, np.full((4, 1), 9.0, np.float32)), BRIEFLY)
    assert found.x.dtype == np.float32 and np.isfinite(found.x).all()
    x = np.asarray(found.x, dtype=np.float64)
    lower, upper = inputs.range
    np.testing.assert_allclose(inputs.project(x), x, atol=1e-6 * np.abs(upper - lower).max())
    centre = np.asarray(inputs.centre)
    assert (found.loss <= 9.0 + (NET(centre) @ ROWS[0]) + 1e-5).all()


def images(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[WalkableSet, WalkableSet]:
    """A set around an image, and the same set around its entries in a row."""
    image = rng.standard_normal(shape)
    radius, flat = rng.uniform(0.1, 0.4, image.shape), image.reshape(-1)
    if kind == "ellipsoid":
        spread = np.diag(radius.reshape(-1) ** 2)
        return av.Ellipsoid(image, spread), av.Ellipsoid(flat, spread)
    if kind == "polytope":
        normals, limits = np.ones((1, 24)), [float(flat.sum())]
        boxes = av.Box(image - radius, image + radius), av.Box(flat - radius.reshape(-1), flat + radius.reshape(-1))
        return av.Polytope(normals, limits, boxes[0]), av.Polytope(normals, limits, boxes[1])
    if kind == "sparse":
        return av.Sparse(image, 3, radius), av.Sparse(flat, 3, radius.reshape(-1))
    return av.Ball(image, radius, kind), av.Ball(flat, radius.reshape(-1), kind)


@pytest.mark.parametrize("kind", ["l2", "l1", "linf", "ellipsoid", "polytope", "sparse"])
def test_sets_come_in_the_shape_of_images(kind: str) -> None:
    rng = np.random.default_rng(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(18, 4)
    ).double()
    network = av.trace(module, torch.zeros(1, 2, 4, 3, dtype=torch.float64))
    image, row = images(kind, network.input_shape, rng)
    found, expected = (av.output_bounds(network, one, settings=BRIEF) for one in (image, row))
    assert found.lower.shape == network.output_shape
    close(np.reshape(found.lower, -1), np.reshape(expected.lower, -1))
    close(np.reshape(found.upper, -1), np.reshape(expected.upper, -1))


@every_kind
@pytest.mark.parametrize("seed", [1, 6, 14])
def test_crops_bound_layers_over_any_set_like_whole_planes(kind: str, seed: int) -> None:
    """Crops see what the set says of their entries, which may be less than there is, but never too tight."""
    case = layer_case(seed, False)
    low, high = case.box.range
    inputs = drawn(kind, seed, 0.5 * (low + high), 0.5 * (high - low))[0]
    crops, planes = (bounds_by(path, replace(case, box=inputs)) for path in ("crops", "planes"))
    for loose, tight in zip(crops.lower, planes.lower, strict=True):
        assert (loose <= tight + 1e-9 * (1.0 + np.abs(tight))).all() or kind in ("box",)
    if kind in ("box", "l2 ball", "l1 ball", "l2 ball of radii"):
        for loose, tight in zip(crops.lower, planes.lower, strict=True):
            close(loose, tight, 1e-7)


def test_first_layers_are_as_wide_as_dual_norms_say() -> None:
    centre, radius = CENTRES[0], 0.7
    for norm, dual in (("l2", 2), ("l1", np.inf), ("linf", 1)):
        inputs = av.Ball(centre, radius, norm)
        length = radius * np.linalg.norm(WEIGHTS[0], dual, axis=1)
        middle = NET.affine[1].bias + WEIGHTS[0] @ centre
        interval = av.preactivation_bounds(NET, inputs, "interval")
        close(interval.lower[0][0], middle - length)
        close(interval.upper[0][0], middle + length)
        crown = av.preactivation_bounds(NET, inputs)
        unstable = (interval.lower[0] < 0) & (interval.upper[0] > 0)
        close(crown.lower[0][unstable], interval.lower[0][unstable])


@every_kind
def test_a_stop_ends_solvers_with_what_is_known(kind: str) -> None:
    problem, asked = av.Problem(NET, one(kind), ROWS), count()
    crown = av.solve(problem, max_passes=0)
    found = av.solve(problem, "primal_dual", settings=BRIEF, run=av.Run(stop=lambda: next(asked) > 2))
    assert set(found.status) == {av.Ended.STOPPED} and (found.lower >= crown.lower).all()
    assert (found.passes < 40).all()


@every_kind
def test_rows_are_bounded_in_stages(kind: str) -> None:
    inputs, owner = batch(kind), np.repeat(np.arange(4), 2)
    rows = RowBounds(NET, inputs, np.tile(ROWS, (4, 1)), np.zeros(8), owner, av.preactivation_bounds(NET, inputs))
    rows.charge(np.zeros((4, 3)))
    rows.solve(np.arange(8), "auto", 0, av.Run())
    first = np.array(rows.lower)
    rows.solve(np.array([2, 3]), "auto", 60, av.Run())
    assert np.isfinite(first).all() and (rows.lower >= first).all()
    values = np.array([NET(x) for x in np.asarray(inputs.centre)])
    assert (rows.lower <= np.einsum("rj,rj->r", np.tile(ROWS, (4, 1)), values[owner])).all()


@every_kind
def test_sets_travel_to_other_processes(kind: str) -> None:
    objective = np.tile(ROWS, (4, 1))
    for inputs in (one(kind), batch(kind).at(np.repeat(np.arange(4), 2))):
        problem = av.Problem(NET, inputs, objective)
        block = Block(problem, "auto", Placement.numpy(), BRIEF, av.Run.of(None, timeout=600.0))
        there = pickle.loads(pickle.dumps(block))
        assert type(there.problem.inputs) is type(problem.inputs)
        np.testing.assert_array_equal(there.solved(2, 6).lower, block.solved(2, 6).lower)
        again = pickle.loads(pickle.dumps(inputs))
        assert type(again) is type(inputs)
        for part, other in zip(again.numbers, inputs.numbers, strict=True):
            np.testing.assert_array_equal(part, other)


@every_kind
def test_sets_print_as_a_line(kind: str) -> None:
    large = drawn(kind, 0, np.zeros(40), np.ones(40))[0]
    for inputs in (large, input_rows(network_from_layers([np.ones((1, 40))], [np.zeros(1)]), large)):
        shown = repr(inputs)
        assert len(shown) < 300 and "\n" not in shown, shown


@pytest.mark.parametrize(
    "given", [None, "l2", CENTRES[0], (CENTRES[0], CENTRES[0]), {"center": CENTRES[0]}, av.Box, 0.3]
)
def test_what_is_no_set_is_refused_with_advice(given: object) -> None:
    for door in (
        lambda: av.preactivation_bounds(NET, given),
        lambda: av.output_bounds(NET, given),
        lambda: av.Problem(NET, given, ROWS),
    ):
        with pytest.raises(av.InputError, match=r"av\.Box\(lower, upper\).*av\.Ball\(center, radius\)"):
            door()


@every_kind
def test_one_point_on_the_border_of_one_set_is_told_like_many(kind: str) -> None:
    own = one(kind)
    own = own.at(0) if own.lead else own
    border = np.asarray(own.project(np.full(own.size, 9.0)))
    for x in (border, np.asarray(own.centre), border + 1.0):
        assert bool(own.contains(x)) == bool(own.contains(x[None])[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: av.Ellipsoid(np.zeros((0, 2)), np.eye(2)),
        lambda: av.Ellipsoid(np.zeros(2), np.zeros((0, 2, 2))),
        lambda: av.Zonotope(np.zeros((0, 2)), np.eye(2)),
        lambda: av.Zonotope(np.zeros(2), np.zeros((0, 2, 1))),
        lambda: av.Polytope(np.zeros((0, 1, 2)), []),
        lambda: av.Polytope(np.ones((1, 2)), [1.0], av.Box(np.zeros((0, 2)), np.ones((0, 2)))),
    ],
)
def test_batches_of_no_sets_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(av.InputError, match="shape"):
        make()


def test_parts_of_a_product_come_from_any_library() -> None:
    zero, end = np.zeros(2), np.ones(2)
    box, ball = av.Box(zero, end), av.Ball(zero, 1.0)
    there = av.Box(*map(torch.tensor, (zero, end))), av.Ball(torch.tensor(zero), 1.0)
    plain = av.output_bounds(NET, av.Product(ball, box, box), settings=BRIEF)
    for parts in ((there[1], box, box), (ball, box, there[0])):
        found = av.output_bounds(NET, av.Product(*parts), settings=BRIEF)
        np.testing.assert_allclose(np.asarray(found.lower), plain.lower)
    limits = torch.ones(1, requires_grad=True)
    assert av.Polytope(torch.ones(1, 2), limits, box).limits == (1,)


@pytest.mark.parametrize("kind", ["l2 ball", "l1 ball", "ellipsoid", "sparse"])
def test_sets_of_another_size_are_refused(kind: str) -> None:
    wrong = drawn(kind, 0, np.zeros(5), np.ones(5))[0]
    with pytest.raises(av.InputError, match="shape"):
        av.Problem(NET, wrong, ROWS)


@every_kind
def test_known_bounds_of_a_set_that_holds_this_one_are_taken(kind: str) -> None:
    inputs = one(kind)
    known = av.preactivation_bounds(NET, inputs)
    again = av.Problem(NET, one(kind), ROWS, preactivation=known)
    assert np.isfinite(av.solve(again, max_passes=0).lower).all()
    low, high = inputs.range
    hull = av.preactivation_bounds(NET, av.Box(low, high))
    av.Problem(NET, inputs, ROWS, preactivation=hull)
    with pytest.raises(av.InputError, match="does not hold this one"):
        av.Problem(NET, av.Box(low - 1.0, high + 1.0), ROWS, preactivation=known)
