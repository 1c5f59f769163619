"""Paths that cover a whole, and lines that stay on their side of an activation."""

from dataclasses import replace

import numpy as np
import pytest

from admm_verify.certificates.kinds import CHECKED_KINDS, checked_kind
from admm_verify.certificates.numbers import Numbers
from admm_verify.certificates.parts import check_cover, halved
from admm_verify.certificates.pieces import CheckedKink
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Activation
from tests.certificates.provers import one_atom, random_leaves
from tests.random_networks import random_case


def covered(goal: np.ndarray, splits: np.ndarray) -> bool:
    try:
        check_cover(goal, splits)
    except CertificateError:
        return False
    return True


def is_tree(paths: list[tuple[int, ...]]) -> bool:
    """Whether paths are the leaves of a binary tree, read from the definition."""
    if all(not path for path in paths):
        return bool(paths)
    if any(not path or abs(path[0]) != abs(paths[0][0]) for path in paths):
        return False
    return all(is_tree([path[1:] for path in paths if path[0] == side]) for side in (paths[0][0], -paths[0][0]))


@pytest.mark.parametrize("seed", range(60))
def test_covers_are_trees(seed):
    rng = np.random.default_rng(seed)
    count, depth = int(rng.integers(1, 6)), int(rng.integers(0, 4))
    splits = rng.integers(-2, 3, (count, depth)).astype(np.int32)
    ended = np.cumsum(splits == 0, axis=1) > 0
    proper = np.where(ended, 0, splits)
    paths = [tuple(int(code) for code in row if code) for row in proper]
    assert covered(np.zeros(count, dtype=np.int32), proper) == is_tree(paths)
    if (splits != proper).any():
        assert not covered(np.zeros(count, dtype=np.int32), splits)


@pytest.mark.parametrize("seed", range(20))
def test_random_trees_cover_and_their_boxes_fill_the_box(seed):
    rng, case = np.random.default_rng(seed), random_case(seed, widest=5, deepest=2)
    found = one_atom(case.network, case.box, case.objective[0], 0.0)
    leaves, _ = random_leaves(rng, case.network, found, "input", 5)
    assert covered(leaves.goal, leaves.splits)
    for row in range(len(leaves)):
        assert len(leaves) == 1 or not covered(np.delete(leaves.goal, row), np.delete(leaves.splits, row, axis=0))
    lower, upper = (np.repeat(end[None], len(leaves), axis=0) for end in (case.box.lower, case.box.upper))
    low, high = halved(Numbers(False), lower, upper, leaves.splits)
    points = rng.uniform(case.box.lower, case.box.upper, (200, len(case.box.lower)))
    inside = ((points[:, None] >= low) & (points[:, None] <= high)).all(axis=-1)
    assert (inside.sum(axis=1) > 0).all()


@pytest.mark.parametrize("kind", ["relu", "prelu", "sigmoid", "tanh"])
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 10.0, 1e3, 1e8])
def test_lines_stay_on_their_side(kind, scale):
    rng, rows, n = np.random.default_rng(7), 40, 50
    ends = np.sort(scale * rng.standard_normal((2, rows, n)) + scale * rng.standard_normal(n), axis=0)
    low, high = ends[0], np.where(rng.random((rows, n)) < 0.05, ends[0], ends[1])
    # Some end at 0, and some are 0.
    low, high = np.where(rng.random(n) < 0.1, np.abs(low), low), np.where(rng.random(n) < 0.1, -np.abs(high), high)
    low, high = np.where(rng.random(n) < 0.1, 0.0, low), np.where(rng.random(n) < 0.1, 0.0, high)
    low, high = np.minimum(low, high), np.maximum(low, high)
    node = Activation(kind, 0, n, (rng.uniform(-1, 1, n),) if kind == "prelu" else ())
    columns = np.arange(n if kind in ("relu", "prelu") else 2 * n, dtype=np.int32)
    chosen = columns, rng.uniform(-0.5, 1.5, (rows, len(columns))) * rng.choice([1e-6, 0.1, 1.0], (rows, 1))
    share = np.concatenate([rng.random((100, 1, 1)), np.zeros((1, 1, 1)), np.ones((1, 1, 1))])
    p = np.concatenate([low + share * (high - low), np.clip(np.zeros((1, 1, 1)), low, high)])
    p = np.clip(p, low, high)
    q, checked = node(p), checked_kind(node)
    for lines in (checked.lines(Numbers(False), low, high), checked.lines(Numbers(False), low, high, chosen)):
        reach = np.maximum(abs(low), abs(high))
        slack = 1e-14 * (abs(q) + reach) if kind in ("relu", "prelu") else 0.0
        below = lines.below * p + (0.0 if lines.below_at is None else lines.below_at)
        assert (below <= q + slack).all()
        assert (lines.above * p + lines.above_at >= q - slack).all()
    least, greatest = checked.image(Numbers(False), low, high)
    assert ((least <= q) & (q <= greatest)).all()
    rise, run = abs(q[1:] - q[:-1]), abs(p[1:] - p[:-1])
    assert (rise <= checked.gain(low, high) * run * (1 + 1e-9) + 1e-15 * (1 + abs(q[1:]))).all()


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
def test_lines_of_curves_touch(kind):
    curve, slopes = CHECKED_KINDS[kind](), np.linspace(0.0, 1.0, 101)[None]
    low, high = np.full((1, 101), -3.0), np.full((1, 101), 2.0)
    p = np.linspace(-3.0, 2.0, 20_001)[:, None]
    least = (curve.value(p) - slopes * p).min(axis=0)
    floor = curve.floor(low, high, slopes)[0]
    assert (floor <= least).all() and (floor >= least - 1e-7).all()
    rule = curve.slopes(low, high)[0]
    middle = curve.floor(low, high, rule) + rule * (low + high) / 2
    best = (curve.floor(low, high, slopes) + slopes * (low + high) / 2).max()
    assert (middle >= best - 1e-2).all()


@pytest.mark.parametrize("kind", ["relu", "prelu"])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e8])
def test_exact_lines_hold_without_slack(kind, scale):
    rng, rows, n, numbers = np.random.default_rng(8), 5, 40, Numbers(True)
    low, high = np.sort(scale * rng.standard_normal((2, rows, n)), axis=0)
    node = Activation(kind, 0, n, (rng.uniform(-1, 1, n),) if kind == "prelu" else ())
    share = np.concatenate([rng.random((8, 1, 1)), np.zeros((1, 1, 1)), np.ones((1, 1, 1))])
    p = np.clip(np.concatenate([low + share * (high - low), np.zeros((1, rows, n))]), low, high)
    node = replace(node, parameters=tuple(map(numbers.of, node.parameters)))
    low, high, p = (numbers.of(array) for array in (low, high, p))
    checked = checked_kind(node)
    assert isinstance(checked, CheckedKink)
    q = np.where(p >= 0, p, checked.left(numbers) * p)
    chosen = np.arange(n), numbers.of(rng.uniform(-0.5, 1.5, (rows, n)))
    for lines in (checked.lines(numbers, low, high), checked.lines(numbers, low, high, chosen)):
        assert lines.below_at is None and (lines.below * p <= q).all()
        assert (lines.above * p + lines.above_at >= q).all()
    least, greatest = checked.image(numbers, low, high)
    assert ((least <= q) & (q <= greatest)).all()
