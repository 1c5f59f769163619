"""`minimum`: certified least values of linear functionals of a network's outputs, to a gap."""

import time
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.bounds.arithmetic import tolerant
from admm_verify.bounds.preactivation import input_rows
from admm_verify.bounds.quadratics import with_quadratics
from admm_verify.complete.minimum_search import MinimumSearch
from admm_verify.complete.minimum_settings import MinimumSettings
from admm_verify.complete.value_rows import ValueRows
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.memory import memory_errors
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.graph import Network
from admm_verify.options import instance, member
from admm_verify.run import Ended, Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.text_tables import table

_SHOWN = 20
"""Rows that the text of a result shows."""


@dataclass(frozen=True, eq=False, repr=False)
class Minimum:
    """Enclosures of least values: lower <= min over the set <= the value at `point`, which is upper as computed.

    lower: certified, rounded downward. upper: attained, computed in float64 at `point`, which lies in the set exactly;
    +inf and NaN where no point gave a number. each: certified lower bounds of every functional of a row, of which the
    row's is the least; those that do not decide it may be far from their own least values. status: CONVERGED where the
    gap is closed, TOO_LOOSE where only what the settings' arithmetic rounds keeps it open; all numbers hold whatever it
    is. subproblems: parts of the sets bounded.
    Shapes: lower, upper [rows]; point [rows, *input_shape]; each [rows, k].
    """

    lower: np.ndarray
    upper: np.ndarray
    point: np.ndarray
    each: np.ndarray
    status: tuple[Ended, ...]
    subproblems: int
    seconds: float

    def __post_init__(self) -> None:
        status = tuple(member(one, "The status of a row", Ended) for one in self.status)
        object.__setattr__(self, "status", status)

    @property
    def gap(self) -> np.ndarray:
        """upper - lower, [rows]."""
        return self.upper - self.lower

    def __repr__(self) -> str:
        """A line per row."""
        columns = (part[:_SHOWN].tolist() for part in (self.lower, self.upper, self.gap))
        cells = [
            [str(row), f"{low:.9g}", f"{high:.9g}", f"{gap:.3g}", status.value]
            for row, (low, high, gap, status) in enumerate(zip(*columns, self.status[:_SHOWN], strict=True))
        ]
        rows = len(self.status)
        lines = [
            f"Minimum of {rows} rows, certified from below and attained from above, {self.subproblems} parts in "
            f"{self.seconds:.2f} s",
            table(["row", "lower", "upper", "gap", "status"], cells),
        ]
        return "\n".join(lines if rows <= _SHOWN else [*lines, f"... {rows - _SHOWN} more rows"])


@memory_errors()
def minimum(
    network: Network,
    inputs: WalkableSet,
    objective: Array,
    offset: Array | float = 0.0,
    *,
    settings: MinimumSettings | None = None,
    run: Run | None = None,
) -> Minimum:
    """Certified least values of c'f(x) + d over input sets, to a relative or absolute gap.

    min over x in the set, and over the k functionals of a row, of c_j'f(x) + d_j: one value for each row. Bounds and
    attacks of the whole sets come first; then the sets are split, those of all rows together and the worst gap first:
    at their sides where few have a positive width, else at neurons. Points that bounds suggest and attacks find are
    kept where they are better. Once the run is over, the best bound and the best point of every row so far count.

    Shapes: inputs of numbers [*input_shape], shared by all rows, or [rows, *input_shape]; objective [rows, outputs],
    or [rows, k, outputs] for the least of k functionals each; offset a number, or of the objective's leading axes.
    Units: those of the outputs.
    Raises: InputError for what is no network, set, settings or run, shapes that do not fit, and numbers that are not
    finite; DeviceError where the device is missing; MemoryError when not even one part fits.
    Error: lower is rounded downward; upper is computed in float64.
    Reference: Bunel et al., Branch and Bound for Piecewise Linear Neural Network Verification, JMLR 2020; Shi et al.,
    arXiv 2405.21063 (general nonlinearities).
    """
    began, run = time.monotonic(), Run.of(run)
    chosen = MinimumSettings() if settings is None else instance(settings, MinimumSettings, "settings")
    home = Placement.numpy()
    sets = input_rows(network, inputs).put(home)
    network.check_finite()
    coefficients, constants = _functionals(network, objective, offset)
    if sets.count not in (1, len(coefficients)):
        raise InputError(f"There are {sets.count} input sets and {len(coefficients)} rows; give one set, or one each.")
    with quiet_overflow():
        rows = ValueRows.of(_prepared(network, sets, chosen), sets, coefficients, constants)
        search = MinimumSearch(rows, chosen, run)
        search.find()
        each = search.charged().reshape(coefficients.shape[:2])
    least, best = each.min(axis=1), search.attained
    point = best.x.reshape(-1, *network.input_shape)
    found = least, best.value, point, each, tuple(search.status(least))
    return Minimum(*found, search.subproblems, time.monotonic() - began)


def _prepared(network: Network, inputs: WalkableSet, settings: MinimumSettings) -> Network:
    """The network as it is bounded."""
    if settings.arithmetic != "real":
        return tolerant(network, inputs, settings.arithmetic)
    made = summed_before_products(network)
    return with_quadratics(made, inputs) if inputs.sides <= settings.search.input_sides else made


def _functionals(network: Network, objective: Array, offset: Array | float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [rows, k, outputs] and constants [rows, k]."""
    given = to_numpy(float64_array(objective, "objective", Placement.numpy()))
    size = network.output_size
    if given.ndim not in (2, 3) or given.shape[-1] != size or not given.size:
        raise InputError(
            f"The objective has shape {given.shape}; {network.name} has {size} outputs, so give [rows, {size}], or "
            f"[rows, k, {size}] for the least of k functionals each."
        )
    constants = to_numpy(float64_array(offset, "offset", Placement.numpy()))
    if constants.shape not in ((), given.shape[:-1]):
        raise InputError(f"The offset has shape {constants.shape}; give a number or {list(given.shape[:-1])}.")
    for name, array in (("objective", given), ("offset", constants)):
        if not np.isfinite(array).all():
            raise InputError(f"The {name} holds NaN or infinite numbers; give finite ones.")
    shape = given.shape[:-1]
    constants = np.broadcast_to(constants, shape)
    return given.reshape(len(given), -1, size), constants.reshape(len(given), -1)
