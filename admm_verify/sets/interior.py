"""Linear and quadratic programs over boxes cut with a few rows, many at once, by an interior point method."""

from dataclasses import dataclass
from functools import cached_property

from admm_verify.arrays import Array, Float, namespace
from admm_verify.sets.images import along, applied

_ROUNDS = 60
"""Steps at most; some 15 to 25 are common."""

_MOST_PAIRS = 2**22
"""Numbers of the products of two rows that are kept for the systems of all steps."""

_CLOSE = 1e-14
"""Complementarity, and residuals, of problems of size 1 that are solved."""

_PATIENCE = 8
"""Steps without any progress, after which none is expected."""

_BEYOND = 1e6
"""A dual value for every variable, of problems of size 1, that only those have that no point solves."""

_REGULAR = 1e-15
"""What is added to the diagonal of scaled systems, so that rows may be there twice."""

Rows = Float[Array, "... m"]
Points = Float[Array, "... n"]


@dataclass(frozen=True, eq=False)
class UnitProgram:
    """min cost't + sum weight_i t_i^2 / 2 over t in [-1, 1]^n with slopes t <= rooms, for any costs and weights.

    soft: the rows are no constraints but squared errors, and |slopes t - rooms|^2 / 2 joins the objective.
    Primal-dual path following with Mehrotra's predictor and corrector. Of rows that contradict each other the
    multipliers grow, and whatever comes out is still finite.
    Shapes: slopes [..., m, n] with entries of at most 1 or so; rooms [..., m].
    Reference: Nocedal and Wright, Numerical Optimization (2006), algorithms 14.3 and 16.4.
    """

    slopes: Array
    rooms: Array
    kinds: Array
    """Of every row: 1 for slopes t <= rooms, 0 for slopes t = rooms, whose multiplier may have any sign."""
    soft: bool = False

    def solve(self, cost: Points, weight: Points, centring: float | None = None) -> tuple[Points, Rows]:
        """The minimisers t, and the multipliers >= 0 of the rows; those of soft rows are the errors.

        centring: stay at this complementarity, which gives the analytic centre where there is neither cost nor weight.
        """
        path = _Path(self, cost, weight)
        for _ in range(_ROUNDS):
            path.step(centring)
            if path.finished:
                break
        return path.point, path.multipliers

    @cached_property
    def _pairs(self) -> Array | None:
        xp, slopes = namespace(self.slopes), self.slopes
        *lead, m, n = slopes.shape
        size = m * m * n
        for count in lead:
            size *= count
        if size > _MOST_PAIRS:
            return None
        return xp.reshape(slopes[..., :, None, :] * slopes[..., None, :, :], (*lead, m * m, n))

    @cached_property
    def square(self) -> Float[Array, "... n n"]:
        """slopes'slopes."""
        return namespace(self.slopes).matrix_transpose(self.slopes) @ self.slopes

    def normal(self, inverse: Points) -> Float[Array, "... m m"]:
        """slopes diag(inverse) slopes'."""
        xp, pairs, m = namespace(inverse), self._pairs, self.slopes.shape[-2]
        if pairs is None:
            return (self.slopes * inverse[..., None, :]) @ xp.matrix_transpose(self.slopes)
        found = applied(pairs, inverse)
        return xp.reshape(found, (*found.shape[:-1], m, m))


class _Path:
    """The iterates of every problem; those that are solved, or not finite any more, stay as they are.

    below, above: 1 + t and 1 - t; v, w: their multipliers; s: what the rows have left; mu: theirs.
    """

    def __init__(self, program: UnitProgram, cost: Points, weight: Points) -> None:
        xp = namespace(cost)
        self.program, self.cost, self.weight = program, cost, weight
        start = cost * 0.0 + 0.0 * xp.sum(program.rooms, axis=-1, keepdims=True)
        self.below = self.above = self.v = self.w = start + 1.0
        rows = program.rooms + 0.0 * xp.sum(start, axis=-1, keepdims=True)
        self.bounded = xp.zeros_like(rows) if program.soft else program.kinds + xp.zeros_like(rows)
        self.s = self.bounded * xp.maximum(rows, xp.ones_like(rows))
        self.mu = self.bounded
        self.count = 2 * start.shape[-1] + xp.sum(self.bounded, axis=-1, keepdims=True)
        self.finished, self.stalled = False, 0
        infinity = xp.full_like(start[..., :1], float("inf"))
        self.least, self.best = infinity, -infinity
        self.point, self.multipliers = start, xp.zeros_like(self.mu)

    @property
    def iterate(self) -> Points:
        """t, as near to its ends as floats come."""
        xp = namespace(self.below)
        return xp.where(self.below < self.above, self.below - 1.0, 1.0 - self.above)

    def _keep(self, t: Points, lost: Array) -> None:
        """Keep the point that lacks least, and the multipliers with the greatest dual value."""
        xp, program = namespace(t), self.program
        better = lost < self.least
        self.stalled = 0 if bool(xp.any(lost < 0.5 * self.least)) else self.stalled + 1
        self.least, self.point = xp.where(better, lost, self.least), xp.where(better, t, self.point)
        pull = self.cost + along(self.mu, program.slopes)
        value = xp.sum(_least(pull, self.weight), axis=-1, keepdims=True) - xp.sum(
            self.mu * program.rooms, axis=-1, keepdims=True
        )
        if program.soft:
            value = value - 0.5 * xp.sum(self.mu * self.mu, axis=-1, keepdims=True)
        better = (value > self.best) & xp.isfinite(value)
        self.best, self.multipliers = xp.where(better, value, self.best), xp.where(better, self.mu, self.multipliers)

    def step(self, centring: float | None) -> None:
        """One step of Newton's method for complementarity that is less, or as given."""
        xp, program, t = namespace(self.cost), self.program, self.iterate
        slope = self.cost + self.weight * t + along(self.mu, program.slopes) - self.v + self.w
        over = applied(program.slopes, t) - program.rooms + (-self.mu if program.soft else self.s)
        level = self._level(self.below, self.above, self.s, self.v, self.w, self.mu)
        if centring is None:
            lost = xp.maximum(_most(slope), xp.maximum(_most(over), level))
            done = lost <= _CLOSE
        else:
            lost = xp.maximum(_most(slope), _most(over))
            spread = xp.maximum(_most(self.below * self.v - centring), _most(self.above * self.w - centring))
            done = (
                xp.maximum(lost, xp.maximum(spread, _most(self.bounded * (self.s * self.mu - centring))))
                <= 1e-9 * centring
            )
        self._keep(t, lost)
        done = done | (self.best > _BEYOND * (t.shape[-1] + self.mu.shape[-1]))
        if bool(xp.all(done)) or self.stalled > _PATIENCE:
            self.finished = True
            return
        system = _System(self, slope, over)
        if centring is None:
            move = system.direction(xp.zeros_like(level), None)
            ahead = self._moved(move, self._stretch(move, 1.0))
            share = (self._level(*ahead) / xp.where(level > 0, level, xp.ones_like(level))) ** 3
            move = system.direction(xp.minimum(share, xp.ones_like(share)) * level, move)
        else:
            move = system.direction(xp.full_like(level, centring), None)
        self._accept(self._moved(move, self._stretch(move, 0.995)), done)

    def _level(self, below: Array, above: Array, s: Array, v: Array, w: Array, mu: Array) -> Array:
        """The mean complementarity, [..., 1]."""
        xp = namespace(below)
        total = xp.sum(below * v + above * w, axis=-1, keepdims=True)
        return (total + xp.sum(s * mu * self.bounded, axis=-1, keepdims=True)) / self.count

    def _stretch(self, move: tuple[Array, ...], share: float) -> tuple[Array, Array]:
        """How far primal and dual numbers go: a share of the way to the first that would be 0, and at most all."""
        dt, ds, dv, dw, dmu = move
        xp, bounded = namespace(dt), self.bounded
        primal = xp.minimum(_way(self.below, dt), _way(self.above, -dt))
        dual = xp.minimum(_way(self.v, dv), _way(self.w, dw))
        primal, dual = xp.minimum(primal, _way(self.s, bounded * ds)), xp.minimum(dual, _way(self.mu, bounded * dmu))
        one = xp.ones_like(primal)
        primal, dual = xp.minimum(share * primal, one), xp.minimum(share * dual, one)
        # With a quadratic term both have to go as far, or the residual would not fall.
        curved = one > 0 if self.program.soft else xp.any(self.weight != 0, axis=-1, keepdims=True)
        both = xp.minimum(primal, dual)
        return xp.where(curved, both, primal), xp.where(curved, both, dual)

    def _moved(self, move: tuple[Array, ...], stretch: tuple[Array, Array]) -> tuple[Array, ...]:
        (dt, ds, dv, dw, dmu), (primal, dual) = move, stretch
        firsts = (self.below + primal * dt, self.above - primal * dt, self.s + primal * ds)
        return *firsts, self.v + dual * dv, self.w + dual * dw, self.mu + dual * dmu

    def _accept(self, ahead: tuple[Array, ...], done: Array) -> None:
        xp = namespace(done)
        fine = xp.logical_not(done)
        for part in ahead:
            fine = fine & xp.all(xp.isfinite(part), axis=-1, keepdims=True)
        if not bool(xp.any(fine)):
            self.finished = True
            return
        names = ("below", "above", "s", "v", "w", "mu")
        self.below, self.above, self.s, self.v, self.w, self.mu = (
            xp.where(fine, part, getattr(self, name)) for name, part in zip(names, ahead, strict=True)
        )


class _System:
    """Newton's equations at one iterate, brought to one of the rows' multipliers, or of t where rows are soft."""

    def __init__(self, path: _Path, slope: Points, over: Rows) -> None:
        xp, program = namespace(slope), path.program
        self.path, self.slope, self.over = path, slope, over
        bend = path.weight + path.v / path.below + path.w / path.above
        self.inverse = 1.0 / bend
        self.lone = xp.where(path.bounded > 0, path.mu, xp.ones_like(path.mu))
        if program.soft:
            own, system = bend, program.square
        else:
            own, system = path.s / self.lone, program.normal(self.inverse)
        unit = xp.eye(own.shape[-1], dtype=own.dtype, device=own.device)
        system = system + own[..., None] * unit
        diagonal = xp.sum(system * unit, axis=-1)
        self.scale = 1.0 / xp.sqrt(diagonal)
        scaled = system * self.scale[..., :, None] * self.scale[..., None, :] + _REGULAR * unit
        # What is not finite is not solved: its problem keeps its last iterate.
        known = xp.all(xp.isfinite(scaled), axis=(-2, -1), keepdims=True)
        self.known = xp.where(known[..., 0], xp.ones_like(diagonal), xp.full_like(diagonal, float("nan")))
        self.inverted = xp.linalg.inv(xp.where(known, scaled, unit + xp.zeros_like(scaled)))

    def _solved(self, target: Array) -> Array:
        return self.scale * applied(self.inverted, self.scale * target) * self.known

    def direction(self, level: Array, before: tuple[Array, ...] | None) -> tuple[Array, ...]:
        """The step dt, ds, dv, dw, dmu to a complementarity, with the second-order part of a step before."""
        path = self.path
        low, high = level - path.below * path.v, level - path.above * path.w
        left = path.bounded * (level - path.s * path.mu)
        if before is not None:
            dt, ds, dv, dw, dmu = before
            low, high = low - dt * dv, high + dt * dw
            left = left - path.bounded * ds * dmu
        pull = -self.slope + low / path.below - high / path.above
        slopes = path.program.slopes
        if path.program.soft:
            dt = self._solved(pull - along(self.over, slopes))
            dmu = applied(slopes, dt) + self.over
        else:
            dmu = self._solved(applied(slopes, self.inverse * pull) + self.over + left / self.lone)
            dt = self.inverse * (pull - along(dmu, slopes))
        dv, dw = (low - path.v * dt) / path.below, (high + path.w * dt) / path.above
        ds = path.bounded * (left - path.s * dmu) / self.lone
        return dt, ds, dv, dw, dmu


def _way(value: Array, move: Array) -> Array:
    """How many times a move of positive numbers goes until one of them is 0, [..., 1]."""
    xp = namespace(value)
    falls = move < 0
    times = xp.where(falls, -value / xp.where(falls, move, -xp.ones_like(move)), xp.full_like(value, 1e30))
    return xp.min(times, axis=-1, keepdims=True)


def _most(x: Array) -> Array:
    xp = namespace(x)
    return xp.max(xp.abs(x), axis=-1, keepdims=True)


def _least(pull: Points, weight: Points) -> Points:
    """min over t in [-1, 1] of pull t + weight t^2 / 2, for every entry."""
    xp = namespace(pull)
    flat = weight <= 0
    t = -pull / xp.where(flat, xp.ones_like(weight), weight)
    t = xp.where(flat | (xp.abs(t) > 1), -xp.sign(pull), t)
    return pull * t + 0.5 * weight * t * t
