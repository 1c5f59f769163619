"""One step of a policy in a known environment under noise of what it sees, from sets of states to sets."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, gamma
from admm_verify.complete.tables import join, take
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.intervals import PI, Interval
from admm_verify.network.graph import Network
from admm_verify.policies.returns.known_environments import KnownEnvironment
from admm_verify.policies.returns.network_forms import network_forms
from admm_verify.sets.zonotopes import rounded_up


@dataclass(frozen=True, eq=False)
class Successors:
    """What a step makes of cells: forms of the next states and of what was earned, and where each came from.

    earned is the last coordinate. stopped: the least that was earned on ways that may have ended with this step, inf
    for none. lost: of each cell given, whether some of its next states are not known. branches: of each cell given,
    how many actions it may lead to, 1 where they are continuous.
    Shapes: forms [next cells, n + 1]; lost, branches [cells].
    """

    forms: AffineForms
    stopped: float
    lost: np.ndarray
    branches: np.ndarray


class NoisyStep:
    """A step from states, with what was earned so far as their last coordinate, [cells, n + 1].

    The policy sees h(x) + v with |v| <= radius, and what it sees is rounded to its element type, before noise is added
    and behind it. Networks are meant in real numbers, texts of environments also as float64 computes them.
    """

    def __init__(self, network: Network, environment: KnownEnvironment, radius: np.ndarray) -> None:
        """Shapes: radius [observation]."""
        self.network, self.environment, self.radius = network, environment, radius
        # How far whole turns have moved states from those that float64 computes with.
        self._far: np.ndarray | None = None
        single = network.element_type != "float64"
        self._roundoff, self._least = (2.0**-24, 2.0**-149) if single else (DOUBLE_ROUNDOFF, SMALLEST)

    def seen(self, state: AffineForms) -> AffineForms:
        """Forms of what the policy may see, whose own symbols come behind those of the state."""
        exact = self.environment.seen_forms(state, self._far)
        size = np.maximum(np.abs(exact.range[0]), np.abs(exact.range[1])) + self.radius
        noise = exact.radius + self.radius + 2.5 * self._roundoff * size + 4.0 * self._least
        return AffineForms(exact.centre, exact.generators, noise * (1.0 + 8.0 * DOUBLE_ROUNDOFF)).refreshed()

    def following(self, cells: AffineForms) -> Successors:
        """All that the cells may lead to."""
        count, states = cells.centre.shape[0], self.environment.states
        cells = self._turned(cells)
        state = _coordinates(cells, states)
        outputs = network_forms(self.network, self.seen(state))
        actions = self.environment.actions
        if actions is None:
            control = outputs.refreshed()
            steps = [_ActedOn(cells.widened(control.symbols - cells.symbols), control, np.arange(count))]
        else:
            steps = [self._chosen(cells, outputs, action) for action in range(len(actions))]
        unknown, branches = np.zeros(count, dtype=bool), np.zeros(count, dtype=np.int64)
        for step in steps:
            branches[step.origin] += 1
        steps = [part for step in steps if len(step.origin) for part in self._moved(step)]
        for step in steps:
            np.logical_or.at(unknown, step.origin, ~_finite(step.cells))
        steps = [step.at(_finite(step.cells)) for step in steps]
        stopped, going = np.inf, []
        for step in steps:
            stop, rest = self._ended(step)
            stopped = min(stopped, stop)
            going.append(rest.cells)
        return Successors(join(going), stopped, unknown, branches)

    def _turned(self, cells: AffineForms) -> AffineForms:
        """With angles near 0: whole turns are taken off."""
        if not self.environment.angles:
            return cells
        parts = cells.coordinates()
        for i in self.environment.angles:
            turns = np.round(parts[i].centre / (2.0 * np.pi))
            if turns.any():
                # No trajectory is farther from its set than all largest turns together.
                self._far = np.zeros(self.environment.states) if self._far is None else self._far.copy()
                self._far[i] += 1.01 * 2.0 * np.pi * np.max(np.abs(turns))
                moved = parts[i] - PI * Interval.point(2.0 * turns)
                parts[i] = _either(turns != 0, moved, parts[i])
        return AffineForms.stack(parts)

    def _chosen(self, cells: AffineForms, scores: AffineForms, action: int) -> "_ActedOn":
        """The part of the cells in which an action may be the best, and its inputs."""
        table = self.environment.actions
        assert table is not None, "Only discrete actions are chosen"
        others = np.delete(np.arange(len(table)), action)
        rows = np.eye(len(table))[action] - np.eye(len(table))[others]
        lead = scores.image(rows)
        # Scores that are not known leave every action possible.
        where = np.flatnonzero(~(lead.range[1] < 0).any(axis=-1))
        part = restricted(take(cells, where), take(lead, where))
        control = np.broadcast_to(table[action], (len(where), table.shape[1]))
        forms = AffineForms(control, np.zeros((*control.shape, part.symbols)), np.zeros(control.shape))
        return _ActedOn(part, forms, where)

    def _moved(self, step: "_ActedOn") -> list["_ActedOn"]:
        """The next states with what was earned, of either side of a jump."""
        state = _coordinates(step.cells, self.environment.states)
        if self.environment.texts.jump is None:
            return [self._earned(step, self.environment.next_forms(state, step.control, self._far))]
        guard, _ = self.environment.jump_forms(state, step.control, self._far)
        low, high = (end[:, 0] for end in guard.range)
        parts = []
        for sign, possible in ((-1.0, ~(low > 0)), (1.0, ~(high < 0))):
            where = np.flatnonzero(possible)
            if not len(where):
                continue
            part = step.at(where)
            signed = take(guard, where) * sign
            if np.isfinite(signed.deviation).all():
                part = part.within(signed)
            state = _coordinates(part.cells, self.environment.states)
            if sign < 0:
                parts.append(self._earned(part, self.environment.next_forms(state, part.control, self._far)))
            else:
                parts.append(self._earned(part, self.environment.jump_forms(state, part.control, self._far)[1]))
        return parts

    def _earned(self, step: "_ActedOn", following: AffineForms) -> "_ActedOn":
        """The next states beside what was earned on the way."""
        states = self.environment.states
        reward = self.environment.earned_forms(_coordinates(step.cells, states), step.control, self._far).coordinate(0)
        total = step.cells.coordinate(states) + reward
        forms = AffineForms.stack([*following.coordinates(), total])
        return _ActedOn(forms, step.control, step.origin)

    def _ended(self, step: "_ActedOn") -> tuple[float, "_ActedOn"]:
        """The least that was earned where the episode may be over, and the part of the cells where it goes on."""
        if not self.environment.ongoing or not len(step.origin):
            return np.inf, step
        states = self.environment.states
        left = self.environment.ongoing_forms(_coordinates(step.cells, states), self._far)
        low, high = left.range
        over = ~(low > 0).all(axis=-1)
        earned = step.cells.coordinate(states).range[0]
        stopped = float(np.min(earned[over])) if over.any() else np.inf
        where = np.flatnonzero(~(high < 0).any(axis=-1))
        rest, conditions = step.at(where), take(left, where)
        known = np.isfinite(conditions.deviation).all()
        return stopped, rest.within(conditions) if known and over.any() else rest


@dataclass(frozen=True, eq=False)
class _ActedOn:
    """Parts of cells with the inputs that are applied to them; origin: the number of the cell of each."""

    cells: AffineForms
    control: AffineForms
    origin: np.ndarray

    def at(self, index: np.ndarray) -> "_ActedOn":
        return take(self, index)

    def within(self, rows: AffineForms) -> "_ActedOn":
        """What of it may have all rows not negative."""
        size = self.cells.centre.shape[-1]
        both = AffineForms.stack([*self.cells.coordinates(), *self.control.coordinates()])
        found = restricted(both, rows)
        return _ActedOn(
            _coordinates(found, size),
            AffineForms(found.centre[:, size:], found.generators[:, size:], found.radius[:, size:]),
            self.origin,
        )


def restricted(cells: AffineForms, rows: AffineForms) -> AffineForms:
    """Forms of the points of cells where all rows may be at least 0: symbols are cut to what that leaves of [-1, 1].

    From c + g z + e >= 0 with |e| <= d: g_i z_i >= -(c + d + sum over j != i of |g_j|). Rows that are not known, or
    that are never met, cut nothing.
    Shapes: cells [cells, n] over m symbols; rows [cells, rows] over these and further ones.
    Error: cuts are rounded outward.
    """
    count, symbols = cells.symbols, rows.symbols
    low, high = -np.ones((len(cells.centre), count)), np.ones((len(cells.centre), count))
    for row in rows.coordinates():
        slope = np.abs(row.generators)
        total = slope.sum(axis=-1)
        slack = 4.0 * gamma(symbols + 8) * (total + np.abs(row.centre) + row.radius) + SMALLEST * (symbols + 8)
        most = row.centre + row.radius + total + slack
        own = slope[:, :count]
        usable = np.isfinite(most)[:, None] & (most >= 0)[:, None] & (own > 0)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            # z_i >= 1 - most / g_i for g_i > 0, and the mirror image of that for g_i < 0.
            reach = most[:, None] / np.where(usable, own, 1.0)
            cut = 1.0 - reach * (1.0 + 4.0 * DOUBLE_ROUNDOFF) - 4.0 * DOUBLE_ROUNDOFF * (1.0 + reach)
        up = usable & (row.generators[:, :count] > 0)
        down = usable & (row.generators[:, :count] < 0)
        low = np.where(up, np.maximum(low, np.minimum(cut, 1.0)), low)
        high = np.where(down, np.minimum(high, np.maximum(-cut, -1.0)), high)
    # Rows that exclude each other leave nothing, and what is kept then does no harm.
    bad = low > high
    return between(cells, np.where(bad, -1.0, low), np.where(bad, 1.0, high))


def between(cells: AffineForms, low: np.ndarray, high: np.ndarray) -> AffineForms:
    """Forms of the cells with their symbols in [low, high], over symbols in [-1, 1] again."""
    if (low <= -1.0).all() and (high >= 1.0).all():
        return cells
    ends = Interval(low, high)
    middle, half = ends.middle, ends.radius
    moved = cells.generators * middle[:, None, :]
    symbols = cells.symbols
    sizes = np.abs(cells.generators).sum(axis=-1) + np.abs(cells.centre)
    slack = 2.0 * gamma(symbols + 4) * sizes + SMALLEST * (symbols + 4)
    radius = rounded_up(cells.radius + slack, symbols)
    return AffineForms(cells.centre + moved.sum(axis=-1), cells.generators * half[:, None, :], radius)


def _coordinates(forms: AffineForms, count: int) -> AffineForms:
    """The first coordinates."""
    return AffineForms(forms.centre[..., :count], forms.generators[..., :count, :], forms.radius[..., :count])


def _finite(forms: AffineForms) -> np.ndarray:
    return np.asarray(np.isfinite(forms.deviation).all(axis=-1) & np.isfinite(forms.centre).all(axis=-1))


def _either(condition: np.ndarray, first: AffineForms, second: AffineForms) -> AffineForms:
    return AffineForms(
        np.where(condition, first.centre, second.centre),
        np.where(condition[..., None], first.generators, second.generators),
        np.where(condition, first.radius, second.radius),
    )
