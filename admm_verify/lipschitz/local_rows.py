"""Rows c'J of a network's Jacobians over a set of inputs, and what they are along directions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.lipschitz.jacobians import enclosed_jacobian
from admm_verify.lipschitz.local_region import SteepRegion, enclosed_lengths
from admm_verify.lipschitz.norms import DUAL, length_of
from admm_verify.lipschitz.scaled import absolute_sum, direction_system, row_system, transposed
from admm_verify.lipschitz.segments import Segment, by_layers, by_search
from admm_verify.lipschitz.settings import LocalLipschitzSettings
from admm_verify.lipschitz.slope_system import SlopeSystem
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.norm_names import NormName
from admm_verify.text_tables import table

_MOST_COLUMNS = 100
"""Columns that are bounded by themselves in l1: of more, the largest ones alone would not say much."""


@dataclass(frozen=True, eq=False, repr=False)
class RowConstants:
    """Certified constants of functionals c'f over a set: |c'f(x) - c'f(y)| <= upper |x - y|, and along directions v,
    |c'f(x + s v) - c'f(x)| <= along |s|; None where none were given.

    Shapes: upper [rows]; along [rows, directions].
    """

    upper: np.ndarray
    along: np.ndarray | None

    def cut(self, other: "RowConstants | None") -> "RowConstants":
        """The smaller ones of both, for the same rows and directions."""
        if other is None:
            return self
        along = None if self.along is None or other.along is None else np.minimum(self.along, other.along)
        return RowConstants(np.minimum(self.upper, other.upper), along)

    def __repr__(self) -> str:
        ways = 0 if self.along is None else self.along.shape[1]
        lines = []
        for k, value in enumerate(self.upper):
            more = () if self.along is None else tuple(f"{one:.6g}" for one in self.along[k])
            lines.append((str(k), f"{value:.6g}", *more))
        return table(("row", "constant <=", *(f"along {j} <=" for j in range(ways))), lines)


@dataclass(frozen=True, eq=False)
class DirectedRows:
    """Functionals c'f of outputs, and directions v of inputs in which |c'f(x + s v) - c'f(x)| <= L |s| is asked for.

    rows: None for every output by itself; directions: None for constants of rows alone.
    Shapes: rows [k, outputs]; directions [d, inputs], or [d, *input_shape].
    """

    rows: np.ndarray | None = None
    directions: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AskedRows:
    """Functionals of outputs [k, outputs] and directions of inputs [d, inputs]; None for none."""

    rows: np.ndarray
    directions: np.ndarray | None


def given_rows(network: Network, given: object) -> AskedRows | None:
    """What a caller asks of rows; None for nothing.

    Raises: InputError for arrays that do not fit the network, or numbers that are not finite.
    """
    if given is None:
        return None
    asked = given if isinstance(given, DirectedRows) else DirectedRows(np.asarray(float64_array(given, "rows")))
    outputs, inputs = network.output_size, network.input_size
    some = np.eye(outputs) if asked.rows is None else _matrix(asked.rows, "rows", outputs, "outputs")
    ways = None if asked.directions is None else _matrix(asked.directions, "directions", inputs, "inputs")
    return AskedRows(some, ways)


def _matrix(given: object, what: str, size: int, of: str) -> np.ndarray:
    found = np.array(to_numpy(float64_array(given, what)))
    flat = found.reshape(len(found), -1) if found.ndim > 1 else found
    if flat.ndim != 2 or flat.shape[1] != size:
        raise InputError(
            f"The {what} have the shape {found.shape}; give ({what}, {size}), a number for each of the {of}."
        )
    if not np.isfinite(flat).all():
        raise InputError(f"The {what} have NaN or infinite numbers; give finite ones.")
    return flat


def row_bounds(
    region: SteepRegion, asked: AskedRows, norm: NormName, known: float, chosen: LocalLipschitzSettings, run: Run
) -> RowConstants:
    """Constants of rows, in the dual norm, and along directions. known: a constant of the whole network."""
    centre, radius = enclosed_jacobian(region.graph, region.slopes, asked.rows)
    centre, radius = centre * region.free, np.where(region.free, radius, 0.0)
    whole = rows_of_whole(asked, norm, known)
    upper, along = np.minimum(enclosed_lengths(centre, radius, DUAL[norm]), whole.upper), whole.along
    if asked.directions is not None and along is not None:
        ways = asked.directions * region.free
        reach = np.abs(centre @ ways.T) + radius @ np.abs(ways).T
        reach += 2.0 * gamma(centre.shape[1] + 8) * ((np.abs(centre) + radius) @ np.abs(ways).T)
        along = np.fmin(along, reach * (1.0 + gamma(4)))
    if region.system is not None:
        for k, row in enumerate(asked.rows):
            if run.over():
                break
            own = row_system(region.system, row)
            upper[k] = min(upper[k], _row_constant(own, np.abs(centre[k]), norm, chosen, run))
            for j in range(0 if along is None else along.shape[1]):
                assert along is not None and asked.directions is not None, "there are directions"
                way = direction_system(own, asked.directions[j] * region.free)
                along[k, j] = min(along[k, j], _searched(way, chosen, run))
    return RowConstants(upper, along)


def rows_of_whole(asked: AskedRows, norm: NormName, known: float) -> RowConstants:
    """What a constant of the whole network says of rows, |c|_dual L, and of directions, |c|_dual L |v|."""
    sizes = _lengths(asked.rows, DUAL[norm])
    upper = np.zeros(len(sizes))
    upper[sizes > 0] = sizes[sizes > 0] * known * (1.0 + gamma(4))
    if asked.directions is None:
        return RowConstants(upper, None)
    ways = _lengths(asked.directions, norm)
    along = np.zeros((len(upper), len(ways)))
    some = np.ix_(upper > 0, ways > 0)
    along[some] = np.outer(upper[upper > 0], ways[ways > 0]) * (1.0 + gamma(4))
    return RowConstants(upper, along)


def _lengths(vectors: np.ndarray, norm: NormName) -> np.ndarray:
    return length_of(vectors, norm) * (1.0 + 4.0 * gamma(vectors.shape[1] + 8))


def _row_constant(
    system: SlopeSystem, start: np.ndarray, norm: NormName, chosen: LocalLipschitzSettings, run: Run
) -> float:
    """|c'J| in the dual norm: of linf |c'J|_1, else at most |c'J|_2."""
    if norm == "linf":
        return min(absolute_sum(system, start, run), default=np.inf) if chosen.semidefinite else np.inf
    return _searched(system, chosen, run)


def _searched(system: SlopeSystem, chosen: LocalLipschitzSettings, run: Run) -> float:
    """The constant in l2 that multipliers prove."""
    if not system.neurons:
        size = float(np.linalg.norm(system.outer)) * (1.0 + gamma(system.outer.size + 8))
        return size + system.outer_error * (1.0 + 1e-12)
    segment = Segment(system, np.inf)
    by_layers([segment])
    if chosen.semidefinite:
        for _ in by_search([segment], chosen.tolerance, run):
            pass
    return segment.constant


def rows_above(region: SteepRegion, known: float, run: Run) -> Iterator[float]:
    """Bounds of the largest |J'e_i|_1, smaller and smaller, from a known one on; the largest row comes first."""
    if region.system is not None and region.jacobian is not None:
        yield from _largest_first(region.system, np.eye(region.graph.output_size), region.jacobian, known, run)


def columns_above(region: SteepRegion, known: float, run: Run) -> Iterator[float]:
    """Bounds of the largest |J e_j|_1, by the columns as rows of J'."""
    some = np.flatnonzero(region.free)
    if region.system is None or region.jacobian is None or len(some) > _MOST_COLUMNS:
        return
    centre, radius = (part.T[some] for part in region.jacobian)
    units = np.eye(region.graph.input_size)[some]
    yield from _largest_first(transposed(region.system), units, (centre, radius), known, run)


def _largest_first(
    system: SlopeSystem, rows: np.ndarray, entries: tuple[np.ndarray, np.ndarray], known: float, run: Run
) -> Iterator[float]:
    bounds = np.minimum(enclosed_lengths(*entries, "l1"), known)
    tried = np.zeros(len(rows), dtype=bool)
    while len(rows) and not run.over():
        k = int(np.argmax(bounds))
        if tried[k]:
            return
        tried[k] = True
        if system.neurons:
            found = min(absolute_sum(row_system(system, rows[k]), np.abs(entries[0][k]), run), default=np.inf)
            bounds[k] = min(bounds[k], found)
        yield float(np.max(bounds))
