"""Fewer, larger cells around many: boxes in coordinates in which policy and environment turn them little."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import SMALLEST, gamma
from admm_verify.complete.tables import join, take
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.intervals import Interval
from admm_verify.policies.policy import Policy
from admm_verify.policies.returns.known_environments import KnownEnvironment
from admm_verify.policies.returns.noisy_steps import between

_POINTS, _STEPS = 64, 200
"""Simulated trajectories, and steps of them, that coordinates are chosen by."""

_DIFFERENCE = 1e-6
"""Step of differences for derivatives, in typical sizes of the states."""

_MOST_CONDITION = 1e7
"""Of scaled coordinates, beyond which rounding errors would matter."""


_MOST_SLABS = 2.0**53
"""Slabs from 0 on, whose ends are no numbers any more beyond that."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """z = rows x, and how far states are typically apart in each.

    slab: width in the first coordinate beyond which cells are cut when they are regrouped; infinite for never.
    turns: of pairs of coordinates, the first of each, with the angle by which a step turns it: frames that turn with
    the states spare boxes around turned boxes.
    Shapes: rows, inverse [n, n]; size [n].
    Error: the inverse is rounded; `forms` accounts for that.
    """

    rows: np.ndarray
    inverse: np.ndarray
    size: np.ndarray
    slab: float = np.inf
    turns: tuple[tuple[int, float], ...] = ()

    def after(self, step: int) -> "Coordinates":
        """The coordinates as they are turned after so many steps."""
        if not self.turns:
            return self
        turned = np.eye(len(self.rows))
        for i, angle in self.turns:
            c, s = np.cos(step * angle), np.sin(step * angle)
            turned[i : i + 2, i : i + 2] = [[c, -s], [s, c]]
        rows = turned @ self.rows
        return Coordinates(rows, np.linalg.inv(rows), self.size, self.slab)

    def boxes(self, state: AffineForms) -> Interval:
        """Boxes around states, in these coordinates."""
        return Interval(*state.image(self.rows).range)

    def forms(self, boxes: Interval) -> AffineForms:
        """The states in boxes, with a symbol for each coordinate.

        x = V z + (1 - V R) x for the rounded inverse V, where |1 - V R| |x| is a few roundings of |V| |z|.
        """
        count = len(self.rows)
        exact = AffineForms(boxes.middle, boxes.radius[..., :, None] * np.eye(count), np.zeros_like(boxes.middle))
        found = exact.image(self.inverse)
        size = np.abs(self.inverse) @ np.abs(self.rows)
        rest = np.abs(np.eye(count) - self.inverse @ self.rows) + gamma(count + 3) * size + SMALLEST * count
        # |x| <= |V| |z| + rest |x|, so that |x| is at most twice the first where rest is small.
        norm = float(rest.sum(axis=1).max())
        if not norm < 0.5:
            return AffineForms(found.centre, found.generators, np.full_like(found.radius, np.nan))
        reach = 2.0 * np.max(np.abs(found.centre) + found.deviation, axis=-1, keepdims=True)
        return AffineForms(found.centre, found.generators, (found.radius + 2.0 * rest.sum(axis=1) * reach) * (1 + 1e-9))


def coordinates_for(
    policy: Policy, environment: KnownEnvironment, start: AffineForms, radius: np.ndarray, horizon: int = _STEPS
) -> Coordinates:
    """Coordinates in which sets of states stay boxes for long; nothing that is certified depends on them.

    Where actions push the state along one direction b, the first is the policy's preference w'x at states where it is
    undecided, and the others are those that b does not move, along eigenvectors of what the policy makes of them while
    it keeps w'x near 0 (its sliding motion). Elsewhere the axes themselves.
    Raises: InputError where a simulated step up to the horizon earns less than the environment's least reward.
    Reference: Utkin, Sliding Modes in Control and Optimization (1992), chapter 2.
    """
    paths = _simulated(policy, environment, start, radius, horizon)
    size = np.maximum(paths.std(axis=0), 1e-9 * (1.0 + np.abs(paths).max(axis=0)))
    plain = Coordinates(np.eye(len(size)), np.eye(len(size)), size)
    if environment.actions is None or len(size) < 2:
        return plain
    try:
        found = _sliding(policy, environment, paths, size)
        if found is None or not np.linalg.cond(found[0] * size) / len(size) < _MOST_CONDITION:
            return plain
        rows, push, turns = found
        spread = (paths @ rows.T).std(axis=0)
        return Coordinates(rows, np.linalg.inv(rows), np.maximum(spread, 1e-9 * np.abs(rows) @ size), push, turns)
    except np.linalg.LinAlgError:
        # What is not finite, where dynamics blow up, or singular has no such coordinates.
        return plain


def _sliding(
    policy: Policy, environment: KnownEnvironment, paths: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, float, tuple[tuple[int, float], ...]] | None:
    """Rows of coordinates of a sliding motion, how far an action moves the first, and what turns; None for none."""
    table = environment.actions
    assert table is not None, "Continuous actions do not slide"
    middle, count = paths.mean(axis=0), len(size)
    ends = [environment.simulated(middle[None], table[[i]])[0] for i in range(len(table))]
    pushes = np.array(ends[1:]) - ends[0]
    strengths, directions = np.linalg.svd(pushes / size)[1:]
    if not strengths[0] > 0 or (len(strengths) > 1 and strengths[1] > 1e-6 * strengths[0]):
        return None
    push = directions[0] * size
    last = int(np.argmax(np.abs(pushes @ push)))
    push = pushes[last]
    w = _preference(policy, environment, paths, size, (0, last + 1))
    step = _jacobian(
        lambda x: environment.simulated(x, np.broadcast_to(table.mean(axis=0), (len(x), table.shape[1]))), middle, size
    )
    still = np.linalg.svd((push / size)[None])[2][1:] / size
    rows = np.vstack([w, still])
    if not abs(w @ push) > 1e-6 * np.abs(w * push).sum() or not np.isfinite(rows).all():
        return None
    inner = (still @ step @ np.linalg.inv(rows))[:, 1:]
    values, vectors = np.linalg.eig(inner)
    basis, done, turns = np.zeros((count - 1, count - 1)), 0, []
    for value, vector in zip(values, vectors.T, strict=True):
        if value.imag < 0:
            continue
        if value.imag > 0:
            # basis (a, b) with R (a + i b) = v (a + i b): coordinates turn by minus the angle of v.
            turns.append((done + 1, float(np.angle(value))))
        for part in (vector.real, vector.imag) if value.imag > 0 else (vector.real,):
            basis[:, done] = part
            done += 1
    if np.linalg.matrix_rank(basis) < count - 1:
        return rows, abs(float(w @ push)), ()
    return np.vstack([w, np.linalg.solve(basis, still)]), abs(float(w @ push)), tuple(turns)


def _preference(
    policy: Policy, environment: KnownEnvironment, paths: np.ndarray, size: np.ndarray, actions: tuple[int, int]
) -> np.ndarray:
    """The mean gradient of how much one action's score is above another's, at the less decided half of states."""
    first, second = actions

    def lead(x: np.ndarray) -> np.ndarray:
        scores = np.asarray(policy.network.evaluate(environment.seen(x))[-1], dtype=np.float64)
        return scores[:, second] - scores[:, first]

    gap = np.abs(lead(paths))
    near = paths[gap <= np.quantile(gap, 0.5)]
    steps = 1e-4 * np.diag(size)
    slopes = [(lead(near + step) - lead(near - step)).mean() / (2.0 * step.sum()) for step in steps]
    return np.array(slopes)


def _jacobian(function, middle: np.ndarray, size: np.ndarray) -> np.ndarray:
    columns = []
    for step in _DIFFERENCE * np.diag(size):
        ends = function(np.stack([middle + step, middle - step]))
        columns.append((ends[0] - ends[1]) / (2.0 * step.sum()))
    return np.stack(columns, axis=1)


def _simulated(
    policy: Policy, environment: KnownEnvironment, start: AffineForms, radius: np.ndarray, horizon: int
) -> np.ndarray:
    """States of trajectories under random noise, as long as their episodes go on, [points, n]."""
    rng = np.random.default_rng(0)
    low, high = start.range
    share = rng.random((_POINTS, low.shape[1]))
    state = (1.0 - share) * low[0] + share * high[0]
    seen = [state]
    for step in range(_STEPS):
        noisy = environment.seen(state) + rng.choice([-1.0, 1.0], (len(state), radius.size)) * radius
        outputs = np.asarray(policy.network.evaluate(noisy)[-1], dtype=np.float64)
        table = environment.actions
        control = outputs if table is None else table[np.argmax(outputs, axis=1)]
        if step < horizon:
            environment.check_earned(environment.earned(state, control))
        state = environment.simulated(state, control)
        state = state[environment.goes_on(state) & np.isfinite(state).all(axis=1)]
        if not len(state):
            break
        seen.append(state)
    return np.concatenate(seen)


def regrouped(cells: AffineForms, coordinates: Coordinates, most: int, parts: int) -> AffineForms:
    """At most so many cells around the given ones, of states with what was earned so far as their last coordinate.

    Boxes around the cells are cut into slabs of the first coordinate, of which `parts` make up what one action moves;
    then whatever group of boxes has its middles farthest apart, in the sizes of the coordinates, is halved between
    them. Of what was earned the least counts.
    Shapes: cells [cells, n + 1].
    """
    states = len(coordinates.rows)
    state = AffineForms(cells.centre[:, :states], cells.generators[:, :states], cells.radius[:, :states])
    around, earned = coordinates.boxes(state), cells.range[0][:, states]
    low, high, origin, labels = _slabs(around, coordinates.slab / parts, most)
    groups = [
        _BoxGroup(low[labels == label], high[labels == label], origin[labels == label], coordinates.size)
        for label in np.unique(labels)
    ]
    while len(groups) < most:
        widest = max(range(len(groups)), key=lambda i: groups[i].widest)
        if not groups[widest].widest > 0:
            break
        groups[widest : widest + 1] = groups[widest].halves()
    hulls = Interval(np.stack([group.bottom for group in groups]), np.stack([group.top for group in groups]))
    found = coordinates.forms(hulls)
    least = np.array([earned[group.origin].min() for group in groups])
    forms = found.coordinates()
    forms.append(AffineForms(least, np.zeros((len(least), found.symbols)), np.zeros(len(least))))
    return AffineForms.stack(forms)


def halved(cells: AffineForms, widths: np.ndarray, most: int) -> AffineForms:
    """Cells whose states are farther apart than `widths`, in two, again and again while there are at most so many.

    Each is cut along the symbol that moves its states most. Shapes: cells [cells, n + 1]; widths [n].
    """
    states = len(widths)
    while True:
        size = np.abs(cells.generators[:, :states]) / widths[:, None]
        wide = np.flatnonzero((2.0 * size.sum(axis=-1) > 1.0).any(axis=-1))
        if not len(wide) or len(cells.centre) + len(wide) > most:
            return cells
        axis = np.argmax(size[wide].max(axis=1), axis=-1)
        low, high = -np.ones((len(wide), cells.symbols)), np.ones((len(wide), cells.symbols))
        rows = np.arange(len(wide))
        first, second = high.copy(), low.copy()
        first[rows, axis] = second[rows, axis] = 0.0
        part = take(cells, wide)
        rest = take(cells, np.setdiff1d(np.arange(len(cells.centre)), wide))
        cells = join([rest, between(part, low, first), between(part, second, high)])


class _BoxGroup:
    """Boxes, or parts of them, with the hull around all; origin: the number of the box that each is a part of."""

    def __init__(self, low: np.ndarray, high: np.ndarray, origin: np.ndarray, size: np.ndarray) -> None:
        self.low, self.high, self.origin, self.size = low, high, origin, size
        self.bottom, self.top = low.min(axis=0), high.max(axis=0)
        widths = (self.top - self.bottom) / size
        self.axis = int(np.argmax(widths))
        bottom, top = self.bottom[self.axis], self.top[self.axis]
        self.middle = float(0.5 * bottom + 0.5 * top)
        # Between neighbouring numbers there is no middle, and none of infinite boxes.
        self.widest = float(widths[self.axis]) if len(low) > 1 and bottom < self.middle < top else 0.0

    def halves(self) -> list["_BoxGroup"]:
        """The parts on both sides of the middle."""
        axis, middle = self.axis, self.middle
        first, second = self.low[:, axis] < middle, self.high[:, axis] >= middle
        low, high = self.low[second].copy(), self.high[first].copy()
        low[:, axis], high[:, axis] = np.maximum(low[:, axis], middle), np.minimum(high[:, axis], middle)
        return [
            _BoxGroup(self.low[first], high, self.origin[first], self.size),
            _BoxGroup(low, self.high[second], self.origin[second], self.size),
        ]


def _slabs(around: Interval, width: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes cut along the first coordinate into slabs: their ends, the box each is of, and the slab each lies in.

    Slabs are as wide as asked, or so wide that there are at most half as many as cells.
    """
    low, high, count = around.lower, around.upper, len(around.lower)
    extent = float(high[:, 0].max() - low[:, 0].min())
    if not np.isfinite(width) or not np.isfinite(extent):
        return low, high, np.arange(count), np.zeros(count, dtype=np.int64)
    width = max(width, 2.0 * extent / most, 1e-300)
    if not max(abs(float(low[:, 0].min())), abs(float(high[:, 0].max()))) < _MOST_SLABS * width:
        return low, high, np.arange(count), np.zeros(count, dtype=np.int64)
    first, last = (np.floor(end[:, 0] / width).astype(np.int64) for end in (low, high))
    spans = last - first + 1
    origin = np.repeat(np.arange(count), spans)
    slab = np.repeat(first, spans) + np.arange(len(origin)) - np.repeat(np.cumsum(spans) - spans, spans)
    low, high = low[origin].copy(), high[origin].copy()
    # Neighbours share their end, so that nothing lies between them.
    low[:, 0] = np.where(slab == first[origin], low[:, 0], slab * width)
    high[:, 0] = np.where(slab == last[origin], high[:, 0], (slab + 1) * width)
    return low, high, origin, slab
