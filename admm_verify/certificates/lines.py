"""CheckedLines below and above activations over intervals, for any slopes that somebody chose."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF
from admm_verify.certificates.curves import CURVES, SLACK, CheckedCurve
from admm_verify.certificates.numbers import Numbers
from admm_verify.errors import CertificateError, InputError
from admm_verify.network.graph import Activation, Network

KINKED = ("relu", "prelu")
"""Kinds with a kink at 0 and nothing else."""

KINDS = (*KINKED, "clip", *CURVES)
"""All kinds that can be checked."""


@dataclass(frozen=True, eq=False)
class CheckedLines:
    """below p + below_at <= phi(p) <= above p + above_at for l <= p <= u.

    Valid when: the caller charges kinks the rounding of |coefficient| max|phi| and |multiplier| max|p|.
    Shapes: [rows or 1, n]; below_at None for 0.
    """

    below: np.ndarray
    below_at: np.ndarray | None
    above: np.ndarray
    above_at: np.ndarray


Chosen = tuple[np.ndarray, np.ndarray]
"""Columns [c] and the slopes chosen there [rows, c]."""


def sides(node: Activation) -> int:
    """Slopes of one neuron that can be chosen.

    Raises: CertificateError for a kind that the checker does not know.
    """
    if node.kind in KINKED:
        if any((slope > 1).any() for slope in node.parameters):
            raise CertificateError("A prelu with a slope above 1 is not convex; no certificate of it can be checked.")
        return 1
    if node.kind not in KINDS:
        raise CertificateError(f"Activations of the kind {node.kind!r} cannot be checked; only {', '.join(KINDS)} can.")
    if node.kind == "elu" and not all(((alpha > 0) & (alpha <= 1)).all() for alpha in node.parameters):
        raise CertificateError("An elu with an alpha beyond 0 to 1 is not convex; no certificate of it can be checked.")
    return 2


def check_kinds(network: Network, exact: bool = False) -> None:
    """Raise InputError for activations of which no certificate could ever be checked, or not in exact numbers."""
    for node in network.functions:
        try:
            sides(node)
        except CertificateError as error:
            raise InputError(f"{network.name} can have no certificate. {error} Leave the certificate out.") from error
        if exact and node.kind in CURVES:
            raise InputError(
                f"Exact numbers have no {node.kind}, which {network.name} computes; check the certificate in float64."
            )


def lines_of(
    numbers: Numbers, node: Activation, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None
) -> CheckedLines:
    """The rule's lines over [low, high], or those with the chosen slopes moved to where they are useful.

    Shapes: low, high [rows or 1, n].
    """
    if node.kind in KINKED:
        return _kinked(numbers, inactive(numbers, node), low, high, chosen)
    if node.kind == "clip":
        return _clipped(numbers, node, low, high, chosen)
    curve = _curve(node)
    below, above = _sides(numbers, curve.slopes(low, high), chosen, curve.steepest)
    return CheckedLines(below, curve.floor(low, high, below), above, curve.ceiling(low, high, above))


def all_slopes(numbers: Numbers, node: Activation, lines: CheckedLines) -> Chosen:
    """The slopes of lines in float64, as ones that are chosen."""
    slopes = lines.below if node.kind in KINKED else np.concatenate([lines.below, lines.above], axis=-1)
    return np.arange(slopes.shape[1]), numbers.of(np.nan_to_num(slopes))


def inactive(numbers: Numbers, node: Activation) -> np.ndarray:
    """The slope on the left of the kink, [n]."""
    return node.parameters[0] if node.parameters else numbers.of(np.zeros(node.size))


def _curve(node: Activation) -> CheckedCurve:
    return CURVES[node.kind](*node.parameters)


def _sides(
    numbers: Numbers, slopes: tuple[np.ndarray, np.ndarray], chosen: Chosen | None, steepest: float
) -> list[np.ndarray]:
    """The slopes below and above, of which some were chosen, each between 0 and the steepest there is."""
    parts = list(slopes)
    if chosen is not None:
        columns, values = chosen
        size = parts[0].shape[1]
        both = np.concatenate(parts, axis=-1)
        both = np.broadcast_to(both, (max(len(both), len(values)), 2 * size)).copy()
        both[:, columns] = values
        parts = [both[:, :size], both[:, size:]]
    zero, most = numbers.number(0), numbers.number(steepest)
    return [np.minimum(np.maximum(part, zero), most) for part in parts]


def _kinked(
    numbers: Numbers, left: np.ndarray, low: np.ndarray, high: np.ndarray, chosen: Chosen | None
) -> CheckedLines:
    """Below, any slope between left and 1, by CROWN's rule the one of less area; above, the chord."""
    zero, one = numbers.number(0), numbers.number(1)
    open = (low < 0) & (high > 0)
    stable = np.where(low >= 0, one, left)
    width = high - low
    chord = np.where(open, numbers.near(high - left * low, np.where(open, width, one)), stable)
    # However the slope was rounded, the line is above both ends. What underflow takes is given back, and a width that
    # overflows leaves no line.
    ends = np.maximum((left - chord) * low, (one - chord) * high)
    at = np.where(open, ends + numbers.tiny * (one + width), zero)
    most = np.where(open, one, stable)
    below = np.where(open & (high <= -low), left, most)
    if chosen is not None:
        columns, values = chosen
        below = np.broadcast_to(below, (max(len(below), len(values)), below.shape[1])).copy()
        least = np.where(open, left, stable)
        below[:, columns] = np.minimum(np.maximum(values, least[:, columns]), most[:, columns])
    return CheckedLines(below, None, chord, at)


def _clipped(
    numbers: Numbers, node: Activation, low: np.ndarray, high: np.ndarray, chosen: Chosen | None
) -> CheckedLines:
    """CheckedLines through the corners (l, phi(l)), (a, phi(a)), (b, phi(b)), (u, phi(u)) of the hull of a clip to [a,
    b].
    """
    zero, one = numbers.number(0), numbers.number(1)
    corners = [np.minimum(np.maximum(end, low), high) for end in node.parameters]
    (a, b), points = corners, [low, *corners, high]
    heights = [_clip(node, point) for point in points]
    runs, rises = (high - a, b - low), (heights[3] - heights[1], heights[2] - heights[0])
    rising = [
        np.where(run > 0, numbers.near(rise, np.where(run > 0, run, one)), zero)
        for run, rise in zip(runs, rises, strict=True)
    ]
    # Of two edges on one side, the one over the middle; the other one is level.
    rule = np.where(high - a > a - low, rising[0], zero), np.where(high - b > b - low, zero, rising[1])
    below, above = _sides(numbers, rule, chosen, 1.0)
    floors, ceilings = (
        [height - slope * point for height, point in zip(heights, points, strict=True)] for slope in (below, above)
    )
    reach, size = np.maximum(abs(low), abs(high)), abs(heights[0]) + abs(heights[3])
    lost = [numbers.error(SLACK) * (size + slope * reach) + numbers.tiny for slope in (below, above)]
    return CheckedLines(below, reduce(np.minimum, floors) - lost[0], above, reduce(np.maximum, ceilings) + lost[1])


def _clip(node: Activation, x: np.ndarray) -> np.ndarray:
    least, most = node.parameters
    return np.minimum(np.maximum(x, least), most)


def image(numbers: Numbers, node: Activation, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An interval that holds phi([low, high]), rounded outward."""
    if node.kind == "clip":
        return _clip(node, low), _clip(node, high)
    if node.kind not in KINKED:
        return _curve(node).image(low, high)
    zero, left = numbers.number(0), inactive(numbers, node)
    if not node.parameters:
        return np.maximum(low, zero), np.maximum(high, zero)
    error = numbers.error(4 * DOUBLE_ROUNDOFF)
    ends = [np.where(end >= 0, end, left * end) for end in (low, high)]
    slack = [
        np.where(end >= 0, zero, error * abs(value) + numbers.tiny)
        for end, value in zip((low, high), ends, strict=True)
    ]
    down = np.minimum(ends[0] - slack[0], ends[1] - slack[1])
    up = np.maximum(ends[0] + slack[0], ends[1] + slack[1])
    return np.where((low < 0) & (high > 0), np.minimum(down, zero), down), up


def gain(node: Activation, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A Lipschitz constant of phi on [low, high], rounded upward; float64."""
    if node.kind == "clip":
        return np.where((high > node.parameters[0]) & (low < node.parameters[1]), 1.0, 0.0)
    if node.kind not in KINKED:
        return _curve(node).gain(low, high)
    steep = np.abs(node.parameters[0]) if node.parameters else np.zeros(node.size)
    return np.maximum(np.where((low < 0) | (high <= 0), steep, 0.0), np.where((high > 0) | (low >= 0), 1.0, 0.0))


def evaluation_roundings(node: Activation) -> float:
    """Roundings of max(1, max|phi|) by which float code may miss phi(p), whoever wrote it."""
    return {"relu": 0.0, "clip": 0.0, "prelu": 2.0}.get(node.kind, 32.0)
