"""Where to branch: which input or which neuron is behind the gap of a bound, read off its multipliers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.relaxed import Bounded
from admm_verify.network.graph import Activation, Network
from admm_verify.network.maps import unit_rows
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.difference_planes import DifferencePlanes
from admm_verify.relaxations.differences import ReluDifference
from admm_verify.relaxations.lines import Lines
from admm_verify.relaxations.registry import relaxation_of
from admm_verify.run import paced

_UNKNOWN = 2.0**100
"""What a range without a relaxation counts more than one with one."""

_LINEAR_SHARE = 0.125
"""What halving a side closes of a bound's linear part, against what it closes of the relaxations' heights."""

_FLAT = 1e-9
"""What counts as a gain where there is none."""


def side_scores(
    network: Network, width: np.ndarray, pre: PreactivationBounds, found: Bounded, atoms: np.ndarray
) -> np.ndarray:
    """How much of a bound's gap each side of the box is responsible for.

    score_j = sum over atoms of weight (|a_0j| width_j / 8 + sum_k sum_i |a_ki| height_ki share_kij): a are the
    coefficients of the bound's sweep, height_ki that of neuron i's relaxation, and share_kij what side j makes up of
    the neuron's range, through the network linearised by chords and through the heights of the relaxations before it.
    Atoms weigh by the inverse square of their bounds, so that those near to exclude the box decide.

    Shapes: width [boxes, inputs]; pre and found of [boxes]; atoms, bounds [boxes, atoms] -> [boxes, inputs].
    """
    place = Placement.of(found.lower)
    xp, wide, weight = place.xp, place.put(width), place.put(atom_weights(atoms))[..., None]

    def merged(coefficient: Any) -> Array:
        return xp.sum(weight * xp.abs(coefficient), axis=1)

    sizes = [None if part is None else merged(part) for part in found.sweep.post]
    some = np.flatnonzero((width > 0).any(axis=0))
    heights = height_scores(network, wide, pre, sizes, some, found.lines)
    score = _LINEAR_SHARE * merged(found.sweep.nodes[0]) * wide + heights
    return np.nan_to_num(to_numpy(score), nan=0.0, posinf=1e300)


def height_scores(
    network: Network,
    width: Array,
    pre: PreactivationBounds,
    sizes: Sequence[Array | None],
    some: np.ndarray,
    lines: Sequence[Lines] | None = None,
) -> Array:
    """What each side of the box has of the relaxations' heights, sum_k sum_i size_ki height_ki share_kij.

    some: the numbers of the sides that have a width in any of the boxes. lines: over the boxes, where they are there.
    Shapes: sizes[k] [boxes, n_k], None for zeros; the others as for `side_scores` -> [boxes, inputs].
    """
    xp = namespace(width)
    # Sides without width have nothing of any height.
    free = Placement.of(width).put_indices(some)
    units = unit_rows(some, width.shape[-1], Placement.of(width))
    own = xp.take(width, free, axis=1)
    score = xp.zeros_like(own)
    tangents: list[Any] = [own[:, :, None] * units]
    noise: list[Any] = [xp.zeros_like(tangents[0])]
    for _, affine, k in paced(network.steps):
        if affine is not None:
            tangents.append(sum(term.map.apply(tangents[term.source]) for term in affine.terms))
            noise.append(sum(term.map.absolute_apply(noise[term.source]) for term in affine.terms))
            continue
        node = network.functions[k]
        relaxation, ends = relaxation_of(node), (pre.lower[k][:, None, :], pre.upper[k][:, None, :])
        slope, height = _chord(node, relaxation, ends, None if lines is None else lines[k])
        reach = xp.abs(tangents[node.source]) + noise[node.source]
        total = xp.sum(reach, axis=1, keepdims=True)
        share = height * relaxation.folded(reach / xp.where(total > 0, total, xp.ones_like(total)))
        tangents.append(relaxation.folded(tangents[node.source] * slope))
        noise.append(relaxation.folded(noise[node.source] * xp.abs(slope)) + share)
        size = sizes[k]
        if size is not None:
            score = score + xp.sum(size[:, None, :] * share, axis=-1)
    return score @ units


def atom_weights(atoms: np.ndarray) -> np.ndarray:
    """Inverse squares of the bounds' distance from zero, the largest of each box one; all are one without any bound."""
    distance = np.maximum(-atoms, 1e-3 * np.abs(atoms).max(axis=1, keepdims=True)) + 1e-300
    closest = distance.min(axis=1, keepdims=True)
    unbounded = ~np.isfinite(closest)
    share = np.where(unbounded, 1.0, closest / np.where(unbounded, 1.0, distance))
    return np.where(np.isfinite(distance) | unbounded, share, 0.0) ** 2


def _chord(node: Activation, relaxation: Hull, ends: tuple[Array, Array], lines: Lines | None) -> tuple[Array, Array]:
    """The slope of an activation from end to end of its range, in the middle for one of several operands, and the
    height of its relaxation in between.

    Where there is no relaxation, as where the range leaves the domain, nothing is bounded before the range is smaller:
    the range itself counts there, more than all else.
    """
    (lower, upper), xp = ends, namespace(ends[0])
    width, zero = upper - lower, xp.zeros_like(lower)
    some = width > 0
    if isinstance(relaxation, ReluDifference):
        planes = lines if isinstance(lines, DifferencePlanes) else relaxation.planes(lower, upper)
        # At one point their gradient is that of one operand, or none.
        return planes.middle, xp.where(xp.isfinite(planes.size), planes.size, xp.zeros_like(planes.size))
    if relaxation.operands > 1:
        slope = relaxation.gradient(lower / 2 + upper / 2)
    else:
        slope = (node(upper) - node(lower)) / xp.where(some, width, xp.ones_like(width))
    slope = xp.where(some, slope, zero)
    inside = xp.minimum(xp.maximum(zero, lower), upper) if relaxation.kinked else lower / 2 + upper / 2
    floor, ceiling = relaxation.outline(lower, upper, inside)
    height = ceiling - floor
    height = xp.maximum(height, xp.zeros_like(height))
    if relaxation.operands == 1:
        low, high = relaxation.image(lower, upper)
        known = xp.isfinite(low) & xp.isfinite(high)
        slope = xp.where(known, slope, xp.ones_like(slope))
        height = xp.where(known, height, _UNKNOWN * width)
    slope = xp.where(xp.isfinite(slope), slope, xp.zeros_like(slope))
    return slope, xp.where(xp.isfinite(height), height, xp.zeros_like(height))


def range_scores(hull: Hull, lower: Array, upper: Array, coefficient: Array, pre: Array) -> Array:
    """What cutting the range of each operand in two gains, to first order, at the operands' values.

    The bound has the floor of the whole hull where a > 0, and in the part that holds the values that part's own floor:
    the score is |a| times the difference; where a < 0, of the ceilings. Steps count by a trace of their heights also
    where nothing is gained, as their cuts come to an end.

    Shapes: lower, upper, pre [..., m n]; coefficient [..., n] -> [..., m n].
    Reference: the estimates of Shi et al., Neural Network Verification with Branch-and-Bound for General
    Nonlinearities (arXiv 2405.21063), section 3.3, with the point where the bound is attained.
    """
    if isinstance(hull, ReluDifference):
        # All that is left of it is gone where both signs are known.
        return hull.planes(lower, upper).loss(coefficient)
    xp, (below, above) = namespace(coefficient), hull.halves(lower, upper)
    p = xp.minimum(xp.maximum(pre, lower), upper)
    whole, found = hull.outline(lower, upper, p), []
    size = lower.shape[-1] // hull.operands
    for operand in range(hull.operands):
        own = xp.arange(lower.shape[-1], device=lower.device) // size == operand
        low, high = xp.where(own & (p >= above), above, lower), xp.where(own & (p < above), below, upper)
        floor, ceiling = hull.outline(low, high, p)
        gain = xp.where(coefficient > 0, floor - whole[0], whole[1] - ceiling)
        found.append(xp.abs(coefficient) * xp.maximum(gain, xp.zeros_like(gain)))
    score = xp.concat(found, axis=-1)
    if hull.jumps:
        low, high = hull.image(lower, upper)
        score = score + (1e-6 * xp.abs(coefficient) + _FLAT) * (high - low)
    # A range that has no float inside cannot be cut.
    cut = (lower <= below) & (below < upper) & (lower < above) & (above <= upper)
    return xp.where(cut & xp.isfinite(score), score, xp.zeros_like(score))


def neuron_scores(lower: Array, upper: Array, coefficient: Array, pre: Array) -> Array:
    """What splitting each neuron at its kink gains in the worse child, to first order.

    With the chord s p + c above, a < 0 and p the neuron's value in the linearised network, fixing the neuron active
    moves its multiplier from s a to a and gains |a| (s p + c - p), inactive |a| (s p + c): the score is the geometric
    mean of both. A neuron with a > 0 is bounded from below by a line that ascent has chosen; splitting it gains nothing
    to first order, and it only counts by a trace of a c, where no other is left.

    Shapes: all [..., n], broadcasting.
    Reference: the scores of BaBSR (Bunel et al., JMLR 2020), with the point where the bound is attained.
    """
    xp = namespace(coefficient)
    bent = (lower < 0) & (upper > 0)
    width = xp.where(bent, upper - lower, xp.ones_like(upper - lower))
    slope, intercept = upper / width, -lower * upper / width
    p = xp.minimum(xp.maximum(pre, lower), upper)
    chord = slope * p + intercept
    zero = xp.zeros_like(chord)
    gains = xp.sqrt(xp.maximum(chord - p, zero) * xp.maximum(chord, zero))
    trace = 1e-6 * xp.abs(coefficient) * intercept
    score = xp.maximum(-coefficient, zero * coefficient) * gains + trace
    # An iteration in float32 may overflow in one neuron; the others stay to be chosen.
    return xp.where(bent & xp.isfinite(score), score, zero)


def joint_scores(gains: Sequence[np.ndarray | None], smears: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """Gains of neurons for bounds, raised up to twofold by how much the rows that bind depend on them, which alone
    counts where there is nothing to gain.

    Shapes: gains[k], smears[k] [parts, n_k], None for layers that are not split.
    """
    pairs = [(gain, smear) for gain, smear in zip(gains, smears, strict=True) if gain is not None]
    if not pairs:
        return list(gains)
    most, widest = (np.max([part.max(axis=1) for part in side], axis=0)[:, None] for side in zip(*pairs, strict=True))
    most, widest = (np.where(top > 0, top, 1.0) for top in (most, widest))
    return [
        None if gain is None else (gain / most + _FLAT) * (1.0 + smear / widest) * (smear > 0)
        for gain, smear in zip(gains, smears, strict=True)
    ]
