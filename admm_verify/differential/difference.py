"""`difference`: certified ends of the difference of two networks' outputs, with attained ones beside them."""

import time
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.bounds.preactivation import input_rows
from admm_verify.complete.minimum_search import MinimumSearch
from admm_verify.complete.value_rows import ValueRows
from admm_verify.differential.settings import DifferenceSettings, chosen_outputs
from admm_verify.memory import memory_errors
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.graph import Network, check_network
from admm_verify.network.pair import PairedNetwork, paired
from admm_verify.options import instance, member
from admm_verify.run import Ended, Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.text_tables import table

_SHOWN = 20
"""Rows that the text of a result shows."""


@dataclass(frozen=True, eq=False, repr=False)
class Difference:
    """Enclosures of f'(x)_j - f(x)_j over sets: lower <= least value <= least, and greatest <= greatest value <= upper.

    lower, upper: certified, rounded outward. least, greatest: attained, as computed in float64 layer by layer from the
    differences of the layers before, at `least_at` and `greatest_at`, which lie in the set exactly; infinite, with NaN
    as inputs, where no point gave a number. outputs: the numbers of the outputs. status: CONVERGED where both gaps are
    closed, or where only the largest difference was asked for and its gap is. notes: where the networks are not
    compared layer by layer, and why.
    Shapes: lower, upper, least, greatest, status [sets, outputs]; least_at, greatest_at [sets, outputs, *input_shape].
    """

    lower: np.ndarray
    upper: np.ndarray
    least: np.ndarray
    greatest: np.ndarray
    least_at: np.ndarray
    greatest_at: np.ndarray
    outputs: tuple[int, ...]
    status: np.ndarray
    notes: tuple[str, ...]
    subproblems: int
    seconds: float

    def __post_init__(self) -> None:
        status = [member(one, "The status of an output", Ended) for one in np.asarray(self.status).flat]
        object.__setattr__(self, "status", np.array(status, dtype=object).reshape(self.lower.shape))

    @property
    def largest(self) -> np.ndarray:
        """Certified upper bounds of max |f'(x)_j - f(x)_j| over the outputs, [sets]."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper)).max(axis=1)

    @property
    def largest_attained(self) -> np.ndarray:
        """The largest |f'(x)_j - f(x)_j| that was found, [sets]; 0 where no point gave a number."""
        found = np.maximum(np.abs(self.least), np.abs(self.greatest))
        return np.where(np.isfinite(found), found, 0.0).max(axis=1)

    def __repr__(self) -> str:
        """A line per set and output."""
        ends = self.lower, self.least, self.greatest, self.upper
        cells = [
            [f"{s}, {j}", *(f"{part[s, k]:.6g}" for part in ends), self.status.item((s, k)).value]
            for s in range(len(self.lower))
            for k, j in enumerate(self.outputs)
        ]
        largest = f"{self.largest_attained.max():.6g} to {self.largest.max():.6g}"
        lines = [
            f"Difference f' - f, certified outside and attained inside; largest |f' - f|: {largest}; "
            f"{self.subproblems} parts in {self.seconds:.2f} s",
            table(["set, output", "lower", "least", "greatest", "upper", "status"], cells[:_SHOWN]),
            *([f"... {len(cells) - _SHOWN} more rows"] if len(cells) > _SHOWN else []),
            *self.notes,
        ]
        return "\n".join(lines)


@memory_errors()
def difference(
    first: Network,
    second: Network,
    inputs: WalkableSet,
    *,
    settings: DifferenceSettings | None = None,
    run: Run | None = None,
) -> Difference:
    """How far the outputs f'(x) of the second network are from those f(x) of the first, over sets of inputs.

    min and max over x in the set of f'(x)_j - f(x)_j for every output j, or max over all of them of its size: certified
    by bounds of the difference itself, layer by layer, and attained by attacks. Bounds and attacks of whole sets come
    first; then the sets are split, what is farthest from being known first, until the gaps are closed. Once the run is
    over, the best bounds and points so far count.

    Shapes: inputs of numbers [*input_shape], or a batch of sets.
    Units: those of the outputs.
    Raises: InputError for what is no network, set, settings or run, for networks of unequal inputs or outputs, for sets
    that do not fit; ModelError for weights that are not finite; DeviceError where the device is missing.
    Error: lower and upper are rounded outward; the attained values are computed in float64, up to errors of the size of
    the differences times its rounding.
    Reference: Paulsen et al., ASE 2020, arXiv 2009.09943 (NeuroDiff).
    """
    began, run = time.monotonic(), Run.of(run)
    chosen = DifferenceSettings() if settings is None else instance(settings, DifferenceSettings, "settings")
    joint = joined(first, second)
    sets = input_rows(first, inputs).put(Placement.numpy())
    outputs = chosen_outputs(chosen.outputs, first.output_size)
    size, count = first.output_size, len(outputs)
    sides = np.eye(3 * size)[2 * size + np.array(outputs)]
    # The least values of d_j, and of -d_j, output by output.
    each = np.stack([sides, -sides], axis=1).reshape(2 * count, 3 * size)
    objective = np.tile(each, (sets.count, 1)).reshape(-1, 2 * count if chosen.largest else 1, 3 * size)
    with quiet_overflow():
        rows = ValueRows.of(summed_before_products(joint), sets, objective, np.zeros(objective.shape[:2]))
        search = MinimumSearch(rows, chosen.of_minima, run)
        search.find()
        # One function differs from itself by nothing, which no rounding is charged for.
        ends = np.zeros(len(rows)) if joint.same else search.charged()
        points = search.attained.x.reshape(sets.count, -1, first.input_size)
        found = _attained(joint, points, outputs)
    status = search.status(ends.reshape(objective.shape[:2]).min(axis=1))
    # + 0.0: an end that is exactly zero has no sign.
    low, high = (sign * ends.reshape(sets.count, count, 2)[:, :, k] + 0.0 for k, sign in enumerate((1.0, -1.0)))
    least, greatest = ((end, at.reshape(*at.shape[:2], *first.input_shape)) for end, at in found)
    told = _status(status, sets.count, count)
    seconds = time.monotonic() - began
    return Difference(
        low,
        high,
        least[0],
        greatest[0],
        least[1],
        greatest[1],
        outputs,
        told,
        joint.notes,
        search.subproblems,
        seconds,
    )


def joined(first: Network, second: Network) -> PairedNetwork:
    """The joint network of two, on the host, with outputs [y; y'; y' - y].

    Raises: InputError for what is no network, and for networks that cannot be compared; ModelError for weights that are
    not finite, naming the network.
    """
    for network in (first, second):
        check_network(network).check_finite()
    joint = paired(first, second).put(Placement.numpy())
    assert isinstance(joint, PairedNetwork), "what is put elsewhere stays what it is"
    if not joint.same:
        return joint
    words = f"{first.name} and {second.name} hold the same numbers: they are one function, and differ by nothing"
    return replace(joint, notes=(*joint.notes, words))


def _attained(
    joint: Network, points: np.ndarray, outputs: tuple[int, ...]
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The least differences at some points of every set and where they are attained; and the greatest ones.

    Shapes: points [sets, points, n] -> [sets, outputs] and [sets, outputs, n], twice.
    """
    sets, many, n = points.shape
    flat = points.reshape(-1, n)
    # By the nodes of the differences: those of the two outputs lose all digits that these share.
    y = to_numpy(joint.computed(flat)).reshape(len(flat), 3, -1)[:, 2, list(outputs)]
    values = y.reshape(sets, many, len(outputs))

    def best(values: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        end = np.take_along_axis(values, place[:, None], axis=1)[:, 0]
        return end, np.take_along_axis(points, place[:, :, None], axis=1)

    least, greatest = (np.where(np.isnan(values), empty, values) for empty in (np.inf, -np.inf))
    return best(least, least.argmin(axis=1)), best(greatest, greatest.argmax(axis=1))


def _status(found: list[Ended], sets: int, outputs: int) -> np.ndarray:
    """How it ended for every set and output, [sets, outputs]: for the side that is not done, where one is not."""
    sides = np.empty(len(found), dtype=object)
    sides[:] = found
    sides = sides.reshape(sets, -1, 2) if len(found) > sets else np.repeat(sides[:, None, None], outputs, axis=1)
    return np.where(sides[:, :, 0] == Ended.CONVERGED, sides[:, :, -1], sides[:, :, 0])
