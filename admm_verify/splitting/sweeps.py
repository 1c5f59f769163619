"""The two sweeps every scheme is made of: slopes backward, relaxed activations forward. No autograd."""

from collections.abc import Sequence
from dataclasses import dataclass

from admm_verify.arrays import Array
from admm_verify.bounds.backward import Backward, Choose, backward
from admm_verify.bounds.functionals import Functionals
from admm_verify.relaxations.lines import Contact
from admm_verify.splitting.problem import Rows


@dataclass(frozen=True, eq=False)
class DualSweep:
    """Coefficients of a backward sweep, its (uncertified) dual value [rows], and the lines in use."""

    sweep: Backward
    value: Array
    contacts: dict[int, Contact]

    @property
    def input(self) -> Array:
        """Coefficient of the input, [rows, n_0]."""
        return self.sweep.input


def slope_sweep(rows: Rows, slopes: list[Array]) -> DualSweep:
    """Dual-feasible multipliers from slopes: g = s a, with the lower line's slope where a > 0, else the upper's.

    D = constant + min over the box of input'x + sum over neurons of a times the intercept of the line in use.

    Shapes: slopes[k] [rows or 1, sides n_k].
    """
    contacts: dict[int, Contact] = {}

    def choose(k: int, a: Array) -> Array:
        contacts[k] = rows.lines[k].contact(a, slopes[k])
        return contacts[k].slope * a

    sweep = _from_objective(rows, choose)
    value = sweep.constant + rows.inputs.best(sweep.input)[1]
    for k, a in enumerate(sweep.post):
        if a is not None:
            value = value + rows.lines[k].value(a, contacts[k])
    return DualSweep(sweep, value, contacts)


def polish_sweep(rows: Rows, multipliers: list[Array]) -> Backward:
    """The nearest multipliers that belong to lines in range.

    Shapes: multipliers[k] [rows, n_k].
    """
    return _from_objective(rows, lambda k, a: rows.lines[k].nearest(a, multipliers[k]))


def forward_sweep(rows: Rows, x: Array, dual: DualSweep) -> list[Array]:
    """Pre-activations of the network linearised at the multipliers: every activation is the line in use.

    With x = argmin over the box, |a_k| (pre_k - touching point), turned where the line is above, is a supergradient of
    D in the slopes of layer k.
    """

    def post(k: int, pre: Array) -> Array:
        a = dual.sweep.post[k]
        # What the objective never reaches may have any value of its relaxation.
        return pre if a is None else rows.lines[k].post(a, dual.contacts[k], pre)

    return pre_activations(rows, rows.network.forward(x, post))


def pre_activations(rows: Rows, values: list[Array]) -> list[Array]:
    """The inputs of all activations among the values of all nodes."""
    return [values[source] for source in rows.network.sources]


def filled(found: Sequence[Array | None], otherwise: Sequence[Array]) -> list[Array]:
    """What a sweep found per activation, and other arrays for those that the objective never reaches."""
    return [old if new is None else new for new, old in zip(found, otherwise, strict=True)]


def start_slopes(rows: Rows) -> list[Array]:
    """CROWN's slopes, [rows, sides n_k] each."""
    xp, count = rows.xp, rows.objective.shape[0]
    starts = [line.start for line in rows.lines]
    return [xp.broadcast_to(slope, (count, slope.shape[1])) + xp.zeros_like(rows.offset[:, None]) for slope in starts]


def objectives(rows: Rows) -> Functionals:
    """The rows as functionals of the output."""
    return Functionals({rows.network.output: rows.objective}, rows.offset)


def _from_objective(rows: Rows, choose: Choose) -> Backward:
    return backward(rows.network, {rows.network.output: rows.objective}, rows.offset, choose)
