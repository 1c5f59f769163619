"""A controller over affine forms: the mean of a lower and an upper plane of its network, and their distance."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Placement, gamma, quiet_overflow
from admm_verify.bounds.relaxed import Twin
from admm_verify.complete.tables import join
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.intervals import above
from admm_verify.network.graph import Network
from admm_verify.reach.anchor import Anchor, AnchoredForms
from admm_verify.reach.planes import InPairs, both_sides, climbed, relaxed_over
from admm_verify.settings import AscentSettings


@dataclass(frozen=True)
class ControlSettings:
    """Planes of the controller.

    iterations: steps of slope ascent for the planes of the outputs. tighten: the same for neurons' bounds; 0 leaves
    them at CROWN's. block_numbers: numbers in one array; cells are taken in blocks of that size.
    """

    iterations: int = 20
    tighten: int = 10
    block_numbers: int = 2**21
    ascent: AscentSettings = field(default_factory=AscentSettings)


def controlled(
    network: Network, state: AffineForms, settings: ControlSettings, anchor: Anchor | None = None
) -> tuple[AffineForms, AffineForms]:
    """The network's outputs over forms of its inputs, and the inputs over the same symbols.

    Each output is the mean of a lower and an upper plane, plus half their largest distance times a symbol of its own.
    Several pairs of planes are tried, and the closest one is taken. The network is meant in real numbers.
    anchor: what is known of the first symbols of these cells.
    Shapes: state [cells, n] -> control [cells, outputs], state [cells, n], both over m + outputs symbols.
    Reference: Zhang et al., Efficient neural network robustness certification, NeurIPS 2018 (CROWN); Xu et al., Fast
    and complete, ICLR 2021 (optimised slopes).
    """
    placed = network.put(Placement.of(state.centre))
    widest = max(node.size for node in placed.nodes)
    step, cells = max(1, settings.block_numbers // (2 * widest * widest)), len(state.centre)
    known = state if anchor is None else anchor.over(state)
    with quiet_overflow():
        blocks = [_closest(placed, known.at(slice(first, first + step)), settings) for first in range(0, cells, step)]
    return join(blocks).refreshed(), state.widened(network.output_size)


def _closest(network: Network, state: AffineForms | AnchoredForms, settings: ControlSettings) -> AffineForms:
    """Forms of the outputs between the closest of several pairs of planes."""
    relaxed = relaxed_over(network, state, settings.tighten, settings.ascent)
    functionals = both_sides(relaxed, np.arange(network.output_size))
    choices: list[Sequence[Array]] = [[line.start for line in relaxed.lines], [line.parallel for line in relaxed.lines]]
    if settings.iterations:
        pairs = Twin(relaxed.network, InPairs(relaxed.inputs), relaxed.lines)
        choices.append(climbed(pairs, functionals, choices[-1], settings.ascent, settings.iterations))
    best, *others = [between(*relaxed.plane(functionals, slopes), state) for slopes in choices]
    for other in others:
        best = _tighter(best, other)
    return best


def between(slope: Array, shift: Array, state: AffineForms | AnchoredForms) -> AffineForms:
    """Forms of f from planes L below f (first half of the rows) and M below -f (second half).

    With L <= f <= -M, f lies within half the largest -L - M of (L - M) / 2.
    """
    half, inputs = shift.shape[-1] // 2, slope.shape[-1]
    (low, high), (below, over) = ((part[:, :half], part[:, half:]) for part in (slope, shift))
    # Adding two planes rounds every slope and the shift, by at most u (|a| + |b|) each.
    reach = state.reach[:, None]
    size = ((np.abs(low) + np.abs(high)) * reach).sum(axis=-1) + np.abs(below) + np.abs(over)
    slack = 2.0 * DOUBLE_ROUNDOFF * (1.0 + gamma(inputs + 4)) * size + SMALLEST * (inputs + 2) * (1.0 + reach.max(-1))
    total = state.image(low + high, below + over).range[0]
    if isinstance(state, AnchoredForms):
        least = state.spread().least(low + high)
        total = np.where(least > -np.inf, np.maximum(total, np.nextafter(least + (below + over), -np.inf)), total)
    mean = state.image(0.5 * low - 0.5 * high, 0.5 * below - 0.5 * over)
    radius = above(above(mean.radius + above(0.5 * np.maximum(-total, 0.0))) + above(2.0 * slack))
    return AffineForms(mean.centre, mean.generators, radius)


def _tighter(first: AffineForms, second: AffineForms) -> AffineForms:
    """Per cell and output, the form with the smaller radius."""
    better = (second.radius < first.radius) | ~np.isfinite(first.radius)
    return AffineForms(
        np.where(better, second.centre, first.centre),
        np.where(better[..., None], second.generators, first.generators),
        np.where(better, second.radius, first.radius),
    )
