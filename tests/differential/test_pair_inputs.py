"""Two networks of inputs that differ, both functions of one vector: no bound over what is attained."""

from typing import cast

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.pair import paired
from admm_verify.network.pair_inputs import PairInputs
from tests.differential.attained import check_bounds
from tests.random_pairs import PairCase, random_pair

FEW = 300
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("conv", "blocks")]


def given_inputs(way: str, case: PairCase, rng: np.random.Generator) -> tuple[PairInputs, av.Box]:
    """Inputs of both networks that are functions of one vector in some way, and a box of this."""
    lower, upper, size = np.asarray(case.box.lower), np.asarray(case.box.upper), case.first.input_size
    if way == "apart":
        return PairInputs.apart(case.first.input_shape, 0.1 * rng.standard_normal(size)), case.box
    if way == "beside":
        return PairInputs.beside(size, size), av.Box(np.tile(lower, 2), np.tile(upper, 2))
    if way == "moved":
        entries = rng.permutation(size)[:2]
        ends = [np.append(end, np.full(2, far)) for end, far in ((lower, -0.05), (upper, 0.05))]
        return PairInputs.moved(size, entries), av.Box(*ends)
    maps = [rng.standard_normal((size, 2)) / 3 for _ in range(2)]
    shifts = rng.standard_normal((2, size))
    return PairInputs.affine(maps[0], shifts[0], maps[1], shifts[1]), av.Box([-1.0, -0.5], [0.5, 1.0])


@pytest.mark.parametrize("way", ["apart", "beside", "moved", "affine"])
@pytest.mark.parametrize(
    "kind", ["residual", "tanh", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("conv", "blocks"))]
)
def test_no_bound_is_over_what_inputs_that_differ_attain(way: str, kind: str) -> None:
    rng = np.random.default_rng([len(way), len(kind)])
    case = random_pair(int(rng.integers(1, 5)), (kind,))
    given, box = given_inputs(way, case, rng)
    for second in (case.second, case.first):
        check_bounds(paired(case.first, second, given), box, FEW, 0, f"{case.label}, {way}")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PairInputs.apart((1, 2), [np.nan, 0.0]), "shift of the inputs"),
        (lambda: PairInputs.affine(np.full((2, 2), np.inf), np.zeros(2), np.eye(2), np.zeros(2)), "first map of"),
        (lambda: PairInputs.affine(np.eye(2), np.zeros(2), np.eye(2), np.full(2, np.nan)), "second shift of"),
        (lambda: PairInputs.same(cast("tuple[int]", "12")), "shape of the inputs is '12'"),
        (lambda: PairInputs.same(cast("tuple[int]", 3)), "shape of the inputs is 3"),
        (lambda: PairInputs.same((1, cast("int", 1.5))), "is 1.5 .*; give a whole number"),
        (lambda: PairInputs.same((-1, 2)), "is -1 .*; give a whole number"),
        (lambda: PairInputs.beside(-1, 2), "is -1 .*; give a whole number"),
        (lambda: PairInputs.moved(-1, [0]), "is -1 .*; give a whole number"),
    ],
    ids=["shift", "map", "second shift", "text", "number", "half", "negative", "beside", "moved"],
)
def test_inputs_that_are_none_are_refused(make, match):
    with pytest.raises(av.InputError, match=match):
        make()
