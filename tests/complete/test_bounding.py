"""Bounds under splits: below every value that the network attains on the part, whatever slopes and multipliers."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from admm_verify import AscentSettings, Box, Network, Run, preactivation_bounds
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.bounds import preactivation
from admm_verify.bounds.functionals import Splits
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.bounds.region import Region, build_region
from admm_verify.bounds.relaxed import Bounded, Bounder
from admm_verify.relaxations.registry import network_lines
from admm_verify.run import Stopped
from tests.complete.networks import FAMILIES, MIXED, PIECES, box_for, network_of
from tests.reference.attack import EXTENDED, Plain, box_points
from tests.reference.pieces import ExactPieces

HOME = Placement.numpy()
FAST = AscentSettings(step=0.2, split_step=3.0)
KINKED = ("relu", "prelu")
SCALES = (0.0, 1.0, 1e-20, 1e4, 1e30)


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of one box, each around a point of it that keeps the signs fixed there.

    signs[k]: 0 or the sign fixed, [parts, n_k].
    """

    network: Network
    box: Box
    points: np.ndarray
    signs: list[np.ndarray]
    lower: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]
    objective: np.ndarray
    offset: np.ndarray

    def bounded(
        self,
        slopes: list[np.ndarray] | None,
        iterations: int,
        *,
        rng: np.random.Generator,
        settings: AscentSettings,
        run: Run | None = None,
    ) -> Bounded:
        """The rows of all parts bounded, from random multipliers of the splits."""
        region, splits = self.split_region(rng)
        bounder = Bounder(self.network, HOME, settings, Run.of(run))
        with quiet_overflow():
            return bounder.bound(region, bounder.rows(self.objective, self.offset, splits), slopes, iterations)

    def split_region(self, rng: np.random.Generator) -> tuple[Region, tuple[Splits | None, ...]]:
        """The region of all parts, and splits with random multipliers."""
        atoms = self.offset.shape[1]
        low, high = (np.reshape(end, (1, 1, -1)) for end in (self.box.lower, self.box.upper))
        whole = preactivation_bounds(self.network, Box(low[0], high[0]))
        ends = [tuple(end[:, None] for end in side) for side in (whole.lower, whole.upper)]
        region = build_region(self.network, Box.of(low, high), *ends)
        cut = region.within(tuple(e[:, None] for e in self.lower), tuple(e[:, None] for e in self.upper))
        splits: list[Splits | None] = []
        for sign in self.signs:
            rows, neurons = np.nonzero(np.repeat(sign, atoms, axis=0))
            chosen = np.repeat(sign, atoms, axis=0)[rows, neurons].astype(np.float32)
            beta = rng.random(len(rows)) * rng.choice(SCALES, len(rows))
            place = rows * sign.shape[1] + neurons
            splits.append(Splits(place, rows, chosen, beta.astype(np.float32)) if len(rows) else None)
        return cut, tuple(splits)


def kinked(network: Network) -> list[bool]:
    return [network.nodes[i].kind in KINKED for i in network.activations]


def sources(network: Network) -> list[int]:
    return list(network.sources)


def parts_of(network: Network, box: Box, rng: np.random.Generator, count: int = 5) -> Parts:
    """Parts around the points of the box where random rows are least, so that bounds have something to exceed."""
    flat = Box(np.reshape(box.lower, -1), np.reshape(box.upper, -1))
    objective, offset = rng.standard_normal((count, 2, network.output_size)), rng.standard_normal((count, 2))
    points = box_points(flat, 300, int(rng.integers(1000)))
    values = network.evaluate(points)
    least = (values[-1] @ objective[:, 0].T).argmin(axis=0)
    whole = preactivation_bounds(network, box)
    signs, lower, upper = [], [], []
    for k, source in enumerate(sources(network)):
        pre = values[source][least]
        low, high = np.repeat(whole.lower[k], count, axis=0), np.repeat(whole.upper[k], count, axis=0)
        # Values next to zero may have either sign in exact arithmetic.
        open = (low < 0) & (high > 0) & (np.abs(pre) > 1e-9) & (rng.random(pre.shape) < 0.6)
        sign = np.where(open, np.sign(pre), 0.0) if kinked(network)[k] else np.zeros_like(pre)
        signs.append(sign)
        lower.append(np.where(sign > 0, 0.0, low))
        upper.append(np.where(sign < 0, 0.0, high))
    return Parts(network, box, points, signs, tuple(lower), tuple(upper), objective, offset)


def slopes_for(parts: Parts, rng: np.random.Generator) -> Iterator[list[np.ndarray] | None]:
    """CROWN's, random ones in and out of range, and the ends of the ranges."""
    lines = network_lines(parts.network, tuple(e[:, None] for e in parts.lower), tuple(e[:, None] for e in parts.upper))
    lead = parts.offset.shape
    yield None
    yield [np.broadcast_to(line.minimum, (*lead, line.minimum.shape[-1])) for line in lines]
    yield [rng.uniform(-2, 2, (*lead, line.minimum.shape[-1])) for line in lines]
    shares = [rng.random((*lead, line.minimum.shape[-1])) for line in lines]
    yield [line.minimum + share * (line.maximum - line.minimum) for line, share in zip(lines, shares, strict=True)]


def inside(parts: Parts, part: int, values: list[np.ndarray]) -> np.ndarray:
    """Which points keep the signs of a part, up to rounding errors of their values."""
    kept = np.ones(len(values[0]), dtype=bool)
    for sign, source in zip(parts.signs, sources(parts.network), strict=True):
        kept &= (sign[part] * values[source] >= 0).all(axis=1)
    return kept


def check(parts: Parts, lower: np.ndarray, truth: list[tuple[int, np.ndarray]]) -> None:
    """truth: for parts, what their rows attain at least at points of the part, exactly or rounded up."""
    assert not np.isnan(lower).any() and (lower < np.inf).all()
    for part, values in truth:
        for atom, attained in enumerate(values):
            assert lower[part, atom] == -np.inf or Fraction(lower[part, atom]) <= attained, (part, atom)


def exact_truth(parts: Parts) -> list[tuple[int, list[Fraction]]]:
    """The rows' values at a few points of every part, in rational arithmetic."""
    exact, values, found = ExactPieces(parts.network), parts.network.evaluate(parts.points), []
    for part in range(len(parts.offset)):
        kept = np.flatnonzero(inside(parts, part, values))
        attained = values[-1][kept] @ parts.objective[part].T
        for i in {int(kept[j]) for j in attained.argmin(axis=0)}:
            nodes = exact.values(parts.points[i])
            if not all(
                s * p >= 0
                for sign, source in zip(parts.signs, sources(parts.network), strict=True)
                for s, p in zip(map(int, sign[part]), nodes[source], strict=True)
            ):
                continue
            rows = zip(parts.objective[part], parts.offset[part], strict=True)
            found.append(
                (
                    part,
                    [sum((Fraction(c) * y for c, y in zip(r, nodes[-1], strict=True)), Fraction(o)) for r, o in rows],
                )
            )
    return found


def extended_truth(parts: Parts) -> list[tuple[int, list[Fraction]]]:
    """Upper bounds on the rows' values at points of every part, with the errors of extended precision added."""
    plain = Plain.of(parts.network, EXTENDED)
    values, errors = plain.values(parts.points.astype(EXTENDED))
    found = []
    for part in range(len(parts.offset)):
        safe = [
            np.where(sign[part] * values[s] >= errors[s], values[s], np.where(sign[part] == 0, values[s], -sign[part]))
            for sign, s in zip(parts.signs, sources(parts.network), strict=True)
        ]
        shown = list(values)
        for s, array in zip(sources(parts.network), safe, strict=True):
            shown[s] = array
        kept = inside(parts, part, shown)
        rows = parts.objective[part].astype(EXTENDED)
        size = np.abs(values[-1]) @ np.abs(rows).T + np.abs(parts.offset[part])
        slack = errors[-1] @ np.abs(rows).T + 64 * np.finfo(EXTENDED).eps * size
        top = (values[-1] @ rows.T + parts.offset[part] + slack)[kept]
        if len(top):
            # One float64 up covers the conversion.
            found.append((part, [Fraction(float(np.nextafter(float(v), np.inf))) for v in top.min(axis=0)]))
    return found


def bounded(parts: Parts, rng: np.random.Generator, truth: list, iterations: tuple[int, ...]) -> None:
    assert truth
    for slopes in slopes_for(parts, rng):
        for count in iterations:
            found = parts.bounded(slopes, count, rng=rng, settings=FAST)
            check(parts, found.lower, truth)
            assert found.vertices.shape == (*parts.offset.shape, parts.network.input_size)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 60))])
def test_bounds_hold_exactly_under_splits(seed: int, family: str) -> None:
    rng = np.random.default_rng([seed, 11])
    network = network_of(family, rng, PIECES)
    parts = parts_of(network, box_for(network, rng), rng)
    bounded(parts, rng, exact_truth(parts), (0, 1, 6, 25))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 60))])
def test_bounds_hold_with_curves_between_the_kinks(seed: int, family: str) -> None:
    rng = np.random.default_rng([seed, 12])
    network = network_of(family, rng, MIXED)
    parts = parts_of(network, box_for(network, rng), rng)
    bounded(parts, rng, extended_truth(parts), (0, 5, 20))


@pytest.mark.parametrize("family", FAMILIES)
def test_bounds_reach_the_minimum_where_everything_is_fixed(family: str) -> None:
    """With all signs fixed a part is a linear program; the ascent comes near its optimum, and never beyond."""
    gaps = []
    for seed in range(6):
        rng = np.random.default_rng([seed, 13])
        network = network_of(family, rng, ("relu",), depth=2)
        parts = parts_of(network, box_for(network, rng), rng, 3)
        loose, tight = (parts.bounded(None, n, rng=np.random.default_rng(0), settings=FAST).lower for n in (0, 60))
        best = np.array([[float(v) for v in values] for _, values in exact_truth(parts)])
        assert len(best)
        gaps.append(float(np.mean(tight - loose)))
    assert min(gaps) >= -1e-6 and max(gaps) > 0


def test_multipliers_move_in_place_and_stay_positive() -> None:
    rng = np.random.default_rng(5)
    network = network_of("dense", rng, ("relu",))
    parts = parts_of(network, box_for(network, rng), rng)
    region, splits = parts.split_region(rng)
    before = [None if split is None else split.beta.copy() for split in splits]
    bounder = Bounder(network, HOME, AscentSettings(), Run())
    with quiet_overflow():
        bounder.bound(region, bounder.rows(parts.objective, parts.offset, splits), None, 5)
    moved = False
    for split, old in zip(splits, before, strict=True):
        if split is not None and old is not None:
            assert (split.beta >= 0).all()
            moved |= not np.array_equal(split.beta, old)
    assert moved


def test_a_stop_ends_the_ascent() -> None:
    rng = np.random.default_rng(6)
    network = network_of("dense", rng)
    parts = parts_of(network, box_for(network, rng), rng)
    with pytest.raises(Stopped):
        parts.bounded(None, 5, rng=rng, settings=AscentSettings(), run=Run(stop=lambda: True))
    found = parts.bounded(None, 0, rng=rng, settings=AscentSettings(), run=Run(stop=lambda: True))
    assert np.isfinite(found.lower).any()


def packed_bounds(network: Network, boxes: Box) -> PreactivationBounds:
    """CROWN bounds with every refined layer packed box by box."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preactivation, "_PACKED_SHARE", 1e9)
        patch.setattr(preactivation, "receptive_field", lambda network, target: None)
        return preactivation_bounds(network, boxes)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 60))])
def test_packed_bounds_hold_in_every_box(seed: int, family: str) -> None:
    rng = np.random.default_rng([seed, 14])
    network = network_of(family, rng, PIECES)
    box = box_for(network, rng)
    low, high = np.reshape(box.lower, -1), np.reshape(box.upper, -1)
    shares = np.sort(rng.random((2, 7, len(low))), axis=1)
    first, second = np.minimum(*shares), np.maximum(*shares)
    # One whole box, one point, and parts of it.
    first[0], second[0] = 0.0, 1.0
    second[1] = first[1]
    boxes = Box(low + first * (high - low), np.maximum(low + second * (high - low), low + first * (high - low)))
    bounds, exact = packed_bounds(network, boxes), ExactPieces(network)
    for row in range(7):
        points = box_points(Box(boxes.lower[row], boxes.upper[row]), 40, seed)
        values = network.evaluate(points)
        for k, source in enumerate(sources(network)):
            pre, ends = values[source], (bounds.lower[k][row], bounds.upper[k][row])
            slack = 1e-12 * np.maximum(1.0, np.abs(pre))
            assert (pre >= ends[0] - slack).all() and (pre <= ends[1] + slack).all()
        for x in points[[0, 1, int(values[-1][:, 0].argmin())]]:
            nodes = exact.values(x)
            for k, source in enumerate(sources(network)):
                for least, value, most in zip(bounds.lower[k][row], nodes[source], bounds.upper[k][row], strict=True):
                    assert Fraction(least) <= value <= Fraction(most)


def test_packed_bounds_are_those_of_one_box_at_a_time() -> None:
    for seed in range(10):
        rng = np.random.default_rng([seed, 15])
        network = network_of("dense", rng, PIECES)
        box = box_for(network, rng)
        low, high = np.reshape(box.lower, -1), np.reshape(box.upper, -1)
        ends = low + rng.random((4, 1)) * 0.3 * (high - low), high - rng.random((4, 1)) * 0.3 * (high - low)
        packed = packed_bounds(network, Box(*ends))
        for row in range(4):
            alone = preactivation_bounds(network, Box(ends[0][row], ends[1][row]))
            for together, single in zip(packed.lower + packed.upper, alone.lower + alone.upper, strict=True):
                np.testing.assert_allclose(together[row], single[0], rtol=1e-9, atol=1e-9)
