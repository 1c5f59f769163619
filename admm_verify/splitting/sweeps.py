"""The two sweeps every scheme is made of: slopes backward, relaxed activations forward. No autograd."""

from collections.abc import Sequence
from dataclasses import dataclass

from admm_verify.arrays import Array
from admm_verify.bounds.backward import Backward, Choose, backward
from admm_verify.bounds.climb import added
from admm_verify.bounds.functionals import FreeEnds, Functionals
from admm_verify.relaxations.lines import Contact, KinkLines
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Duals, PerRow


@dataclass(frozen=True, eq=False)
class DualPoint(PerRow):
    """What a sweep's multipliers are made of: slopes, multipliers tau of ends that are constraints, and mu >= 0.

    Shapes: slopes[k] [rows or 1, sides n_k]; ranges[k] [rows, n_k] or None; coupled [rows, m].
    """

    slopes: list[Array]
    ranges: list[Array | None]
    coupled: Array

    @classmethod
    def start(cls, rows: Rows) -> "DualPoint":
        """CROWN's slopes, [rows, sides n_k] each, and no constraints."""
        xp, count = rows.xp, rows.objective.shape[0]
        starts = [line.start for line in rows.lines]
        zero = xp.zeros_like(rows.offset[:, None])
        slopes = [xp.broadcast_to(slope, (count, slope.shape[1])) + zero for slope in starts]
        return cls(slopes, _unmoved(rows), rows.unweighted())

    @classmethod
    def behind(cls, rows: Rows, duals: Duals) -> "DualPoint":
        """What gives multipliers back: the nearest slopes in range, CROWN's where a line is not in use."""
        ranges: list[Array | None] = [None] * len(rows.cut)

        def choose(k: int, a: Array) -> Array:
            near = rows.lines[k].nearest(a, duals.layers[k])
            cut = rows.cut[k]
            if cut is None:
                return near
            ranges[k] = rows.xp.where(cut, near - duals.layers[k], rows.xp.zeros_like(near))
            return near - ranges[k]

        sweep, slopes = _from_objective(rows, duals.coupled, choose), []
        free = [zero if tau is None else tau for tau, zero in zip(ranges, _unmoved(rows), strict=True)]
        for line, g, a, tau in zip(rows.lines, sweep.pre, sweep.post, free, strict=True):
            if g is None or a is None:
                slopes.append(rows.xp.broadcast_to(line.start, (rows.offset.shape[0], line.start.shape[-1])))
            else:
                slopes.append(line.recover(a, g if tau is None else g + tau))
        return cls(slopes, free, duals.coupled)


def _unmoved(rows: Rows) -> list[Array | None]:
    """Multipliers of ends that are constraints, all zero; None for layers without any."""
    if not any(cut is not None for cut in rows.cut):
        return [None] * len(rows.cut)
    return [None if cut is None else layer for cut, layer in zip(rows.cut, rows.neurons(0.0), strict=True)]


@dataclass(frozen=True, eq=False)
class DualSweep:
    """Coefficients of a backward sweep, its (uncertified) dual value [rows], and the lines in use, but where kernels
    find them by the coefficients' signs.
    """

    sweep: Backward
    value: Array
    contacts: dict[int, Contact]

    @property
    def input(self) -> Array:
        """Coefficient of the input, [rows, n_0]."""
        return self.sweep.input


def slope_sweep(rows: Rows, point: DualPoint) -> DualSweep:
    """Dual-feasible multipliers g = s a - tau, with the lower line's slope s where a > 0, else the upper's.

    D = constant + min over the box of input'x + sum over neurons of a times the intercept of the line in use, and of
    what the ends that are constraints add.
    """
    contacts: dict[int, Contact] = {}
    parts: list[Array] = []

    def choose(k: int, a: Array) -> Array:
        line, slopes, ranges = rows.held.lines[k], point.slopes[k], ranges_of(rows, point, k)
        kernels = rows.kernels(a.shape[-1])
        if kernels is not None and isinstance(line, KinkLines):
            slopes = slopes if slopes.shape == a.shape else rows.xp.broadcast_to(slopes, a.shape)
            g, part = kernels.descend(a, slopes, line.upper_slope, line.upper_intercept, rows.order)
        else:
            contacts[k] = rows.lines[k].contact(a, slopes)
            g, part = rows.lines[k].multiplier(a, contacts[k]), rows.lines[k].value(a, contacts[k])
        parts.append(part)
        if ranges is None:
            return g
        parts.append(ranges.gained())
        return g - ranges.tau

    sweep = _from_objective(rows, point.coupled, choose)
    return DualSweep(sweep, added([sweep.constant, rows.best(sweep.input)[1], *parts]), contacts)


def ranges_of(rows: Rows, point: DualPoint, k: int) -> FreeEnds | None:
    """The ends of layer k that are constraints, with the point's multipliers; None for none."""
    tau, cut = point.ranges[k], rows.cut[k]
    return None if tau is None or cut is None else FreeEnds(rows.lower[k], rows.upper[k], cut, tau)


@dataclass(frozen=True, eq=False)
class Units(PerRow):
    """Of constraints' multipliers and of constraints' values, [rows, m]: how much each varies over the inputs."""

    multipliers: Array
    values: Array

    @classmethod
    def of(cls, rows: Rows, point: DualPoint) -> "Units | None":
        """With these a constraint counts as much as the objective, both linearised; None without constraints."""
        couplings, xp = rows.couplings, rows.xp
        if couplings is None:
            return None
        tiny = xp.finfo(rows.offset.dtype).smallest_normal

        def varied(functionals: Functionals) -> Array:
            def choose(k: int, a: Array) -> Array:
                return rows.lines[k].multiplier(a, rows.lines[k].contact(a, point.slopes[k]))

            sweep = backward(rows.network, functionals.start, 0.0, choose)
            found = xp.sum(xp.abs(sweep.input) * rows.inputs.stride, axis=-1)
            return xp.where(xp.isfinite(found) & (found > tiny), found, xp.ones_like(found))

        own, columns = varied(objectives(rows)), []
        for j in range(couplings.count):
            one = xp.zeros_like(point.coupled)
            one[:, j] = 1.0
            columns.append(varied(objectives(rows.aimless(), one)))
        values = xp.stack(columns, axis=-1)
        return cls(own[:, None] / values, values)


def polish_sweep(rows: Rows, duals: Duals) -> Backward:
    """The nearest multipliers that belong to lines in range, and any where ends are constraints."""

    def choose(k: int, a: Array) -> Array:
        near, cut = rows.lines[k].nearest(a, duals.layers[k]), rows.cut[k]
        return near if cut is None else rows.xp.where(cut, duals.layers[k], near)

    return _from_objective(rows, duals.coupled, choose)


def pre_activations(rows: Rows, values: list[Array]) -> list[Array]:
    """The inputs of all activations among the values of all nodes."""
    return [values[source] for source in rows.network.sources]


def filled(found: Sequence[Array | None], otherwise: Sequence[Array]) -> list[Array]:
    """What a sweep found per activation, and other arrays for those that the objective never reaches."""
    return [old if new is None else new for new, old in zip(found, otherwise, strict=True)]


def objectives(rows: Rows, coupled: Array | None = None) -> Functionals:
    """The rows as functionals of the output, with their constraints where multipliers of these are given."""
    found = Functionals({rows.network.output: rows.objective}, rows.offset)
    return found if coupled is None or rows.couplings is None else rows.couplings.added(found, coupled)


def _from_objective(rows: Rows, coupled: Array, choose: Choose) -> Backward:
    functionals = objectives(rows, coupled)
    return backward(rows.network, functionals.start, functionals.constant, choose)
