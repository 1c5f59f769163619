"""A region: input set and pre-activation bounds of one network, with the rounding terms that make bounds rigorous."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from admm_verify.arrays import SINGLE_ROUNDOFF, SMALLEST, Array, Float, gamma, namespace, take_rows, to_numpy
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.sums import CertifiedSums, Sparing
from admm_verify.network.graph import Affine, Network
from admm_verify.network.maps import DiagonalMap
from admm_verify.network.originals import are_charged
from admm_verify.network.pair import PairedNetwork
from admm_verify.network.selection import SelectionMap
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.lines import Lines
from admm_verify.relaxations.registry import network_lines, relaxations_of
from admm_verify.run import paced
from admm_verify.sets.contract import InputSet

Joint = Callable[[Array, Array], tuple[Array, Array]]
"""joint(a, g) -> a lower bound of a'q - g'p for all inputs p and outputs q of a layer, less its own roundings, [...],
and the magnitude behind the roundings of a and g."""


@dataclass(frozen=True, eq=False)
class Region:
    """Input set and pre-activation bounds in float64, and per affine node the magnitude behind its value.

    Shapes: inputs [..., n_0]; lower[k], upper[k] [..., n_k] of activation k; magnitudes[i] [..., n_i] for affine node i
    (None for others): sum over terms of M max|x_source| + bias_magnitude. underflow [...]: what
    products of a whole sweep can lose to underflow, times what they multiply. reaches[k] [..., n_k]: max|p| of
    activation k's input. caution: a factor on all rounding terms, above 1 where somebody else is to come to the same
    conclusion in other operations. owner [rows]: which of the sets each functional is of, where sweeps are [rows, n]
    and all here is [sets, n]; None where leading axes say that. known: the linear bounds over lower and upper, where
    they were made before.
    """

    network: Network
    relaxations: tuple[Hull, ...]
    inputs: InputSet
    lower: tuple[Array, ...]
    upper: tuple[Array, ...]
    magnitudes: tuple[Array | None, ...]
    underflow: Array
    reaches: tuple[Array, ...]
    caution: float = 1.0
    owner: Array | None = None
    known: tuple[Lines, ...] | None = None

    @cached_property
    def lines(self) -> tuple[Lines, ...]:
        """The linear bounds of all activations."""
        return network_lines(self.network, self.lower, self.upper) if self.known is None else self.known

    def concretise(
        self,
        sweep: Backward,
        kinks: Sequence[Sparing | None] = (),
        joints: Sequence[Joint | None] = (),
    ) -> Float[Array, "..."]:
        """A certified lower bound of the functional behind a sweep, over the region's relaxation.

        D(g) = min over the input set of slope'x + shift of the sweep's `plane`, and D(g) <= LP optimum <= true minimum
        for any multipliers g. joints[k]: given where all neurons of layer k are relaxed together.

        Shapes: [...], the leading axes of the sweep's coefficients. NaN becomes -inf: no bound.
        Error: rounded downward.
        """
        shift, least = self._lowered(sweep, kinks, joints)
        return _finite(shift + least)

    def plane(
        self, sweep: Backward, kinks: Sequence[Sparing | None] = ()
    ) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        """A certified plane below the functional behind a sweep: slope'x + shift for every x of the input set.

        slope = the sweep's coefficient of the input; shift = constant + sum_k sum_i min over the vertices (p, q) of
        neuron i's relaxation of (post_i q - pre_i p), minus a bound on all rounding errors of the sweep, of this sum
        and of `inputs.minimum`. kinks[k]: given where the multipliers of layer k are those of these lines at slopes in
        their range, whose intercepts then replace the vertices.

        Shapes: slope [..., n_0]; shift [...]; NaN becomes -inf: no plane.
        Error: rounded downward. Each coefficient is off by at most gamma_N |w|'M per affine node, and what it
        multiplies is at most max|x|; so each error is covered by gamma_N times a magnitude that is summed up here.
        """
        return sweep.input, _finite(self._lowered(sweep, kinks)[0])

    def _lowered(
        self, sweep: Backward, kinks: Sequence[Sparing | None], joints: Sequence[Joint | None] = ()
    ) -> tuple[Array, Array]:
        """The shift of a sweep's plane, and the plane's least value without it."""
        sums = CertifiedSums(self, tuple(sweep.input.shape[:-1]))
        least, size = sums.least(sweep.input)
        value, magnitude = sweep.constant, abs(sweep.constant) + size + sweep.passed
        scales = list(self.magnitudes)
        for k, source in enumerate(self.network.sources):
            pre, post = sweep.pre[k], sweep.post[k]
            if pre is None or post is None:
                continue
            scale = scales[source]
            # Where the activation alone reads its source, both magnitudes take one product.
            alone = scale is not None and sweep.nodes[source] is pre
            weight = self.reaches[k] + scale if alone and scale is not None else self.reaches[k]
            if alone:
                scales[source] = None
            joint = joints[k] if joints else None
            if joint is not None:
                part, size = joint(post, pre)
                value, magnitude = value + part, magnitude + size + sums.size(pre, weight)
            else:
                part, size = sums.layer(k, post, pre, weight, kinks[k] if kinks else None)
                value, magnitude = value + part, magnitude + size
        for coefficient, scale in zip(sweep.nodes, scales, strict=True):
            if coefficient is not None and scale is not None:
                magnitude = magnitude + sums.size(coefficient, scale)
        return value - self.caution * (self.relative_error * magnitude + sums.of_rows(self.underflow)), least

    @cached_property
    def per_row(self) -> "Region":
        """The region with a set and bounds of its own for every row."""
        return self if self.owner is None else replace(self, owner=None).take(self.owner)

    def within(self, lower: tuple[Array, ...], upper: tuple[Array, ...]) -> "Region":
        """Parts of this region with bounds of their own, inside the present ones, whose rounding terms they share.

        Shapes: lower[k], upper[k] [parts, ..., n_k] where this region's are [1, ..., n_k].
        """
        return replace(self, lower=lower, upper=upper, known=None)

    def take(self, rows: Array) -> "Region":
        """The region of the given rows only, where the leading axis counts rows or is shared by them."""
        if self.owner is not None:
            return replace(self, owner=namespace(rows).take(self.owner, rows, axis=0))
        return replace(
            self,
            inputs=self.inputs.take(rows),
            lower=tuple(take_rows(low, rows) for low in self.lower),
            upper=tuple(take_rows(high, rows) for high in self.upper),
            magnitudes=tuple(None if scale is None else take_rows(scale, rows) for scale in self.magnitudes),
            underflow=take_rows(self.underflow, rows),
            reaches=tuple(take_rows(reach, rows) for reach in self.reaches),
            known=None if self.known is None else tuple(line.take(rows) for line in self.known),
        )

    def reach_at(self, index: int) -> Array:
        """max|value| of a node's entries, up to the rounding of one product with a matrix, [..., n]."""
        magnitude = self.magnitudes[index]
        if magnitude is not None:
            return magnitude
        if index == 0:
            return self.inputs.reach
        k = self.network.activations.index(index)
        return largest(*self.relaxations[k].image(self.lower[k], self.upper[k]))

    @property
    def relative_error(self) -> float:
        """4 gamma_N with N the roundings of the longest chain of operations in any one contribution.

        The factor covers that one magnitude stands behind its coefficient, its product, its place in the sums, and
        the rounding of the magnitude itself.
        """
        return 4.0 * gamma(self.network.roundings)


def _finite(bound: Array) -> Array:
    xp = namespace(bound)
    return xp.where(xp.isfinite(bound), bound, xp.full_like(bound, -float("inf")))


def largest(lower: Array, upper: Array) -> Array:
    """max |x| over lower <= x <= upper, elementwise."""
    xp = namespace(lower, upper)
    return xp.maximum(xp.abs(lower), xp.abs(upper))


def node_magnitude(node: Affine, reach: Sequence[Array] | Mapping[int, Array]) -> Array:
    """sum over terms of M reach_source + bias_magnitude, the absolute sums behind an affine node's value."""
    total: Array = node.bias_magnitude
    for term in node.terms:
        total = term.map.magnitude_apply(reach[term.source]) + total
    return total


def build_region(network: Network, inputs: InputSet, lower: tuple[Array, ...], upper: tuple[Array, ...]) -> Region:
    """The region of given pre-activation bounds; the network and all arrays in float64 on one device."""
    relaxations = relaxations_of(network)
    reach: list[Array] = [inputs.reach]
    xp = namespace(reach[0])
    magnitudes: list[Array | None] = [None]
    underflow = 4.0 * SMALLEST * network.roundings * xp.ones_like(reach[0][..., 0])
    for _, affine, k in paced(network.steps):
        if affine is None:
            reach.append(largest(*relaxations[k].image(lower[k], upper[k])))
            magnitudes.append(None)
            underflow = underflow + SMALLEST * 8.0 * network.functions[k].size
            continue
        for term in affine.terms:
            # Each of the map's products, forward or transposed, may lose SMALLEST / 2.
            size = xp.sum(reach[term.source], axis=-1) + 2.0 * term.map.columns
            underflow = underflow + SMALLEST * (4.0 * term.map.rows) * size
        reach.append(node_magnitude(affine, reach) + SMALLEST * affine.roundings)
        magnitudes.append(reach[-1])
    reaches = tuple(largest(low, high) for low, high in zip(lower, upper, strict=True))
    return Region(network, relaxations, inputs, lower, upper, tuple(magnitudes), underflow, reaches)


def spread_region(
    network: Network, inputs: InputSet, lower: Sequence[Array], upper: Sequence[Array], caution: float = 1.0
) -> Region:
    """The region of sets [sets, n] and their bounds, lower[k], upper[k] [sets, n_k], for rows that share each of them.

    Its leading axes are [sets, 1].
    """
    ends = [tuple(end[:, None, :] for end in side) for side in (lower, upper)]
    return replace(build_region(network, inputs.spread(), *ends), caution=caution)


def evaluation_error(region: Region, roundoff: float = SINGLE_ROUNDOFF) -> Array:
    """Bound on |floating point evaluation - real value| of each output, for any order of summation, as
    `evaluation_errors` says; infinite where values can overflow. Two networks are computed each for itself, and the
    difference of what they gave is off by both errors.

    Shapes: [..., outputs].
    """
    errors, overflow = evaluation_errors(region, roundoff)
    found, xp = errors[-1], namespace(overflow)
    if isinstance(region.network, PairedNetwork):
        count = region.network.outputs
        apart = found[..., : 2 * count]
        both = 1.0000001 * (apart[..., :count] + apart[..., count:])
        found = xp.concat([apart, both], axis=-1)
    return xp.where(xp.expand_dims(overflow, axis=-1), xp.full_like(found, float("inf")), found)


def only_moves(node: Affine) -> bool:
    """Whether a node gives entries of one source as they are, or with another sign, and computes nothing.

    False on another device, where looking would wait for it.
    """
    if len(node.terms) != 1 or not isinstance(node.bias_magnitude, np.ndarray) or node.bias_magnitude.any():
        return False
    map = node.terms[0].map
    if isinstance(map, DiagonalMap):
        # A factor with roundings of its own may be another number than the 1 it came out as.
        plain = map.magnitude is None and map.roundings <= 1
        return plain and bool((np.abs(to_numpy(map.scale)) == 1).all())
    return isinstance(map, SelectionMap)


def evaluation_errors(region: Region, roundoff: float = SINGLE_ROUNDOFF) -> tuple[list[Array], Array]:
    """Bounds on |floating point evaluation - real value| of every node's entries, and where values can overflow, or are
    computed in ways of which nothing is known.

    e_y = M e_x + gamma_N (M (max|x| + e_x) + bias_magnitude) through affine nodes, with gamma in the given unit
    roundoff (default float32's); e_y = max|phi'| e_x + the function's own roundings through activations. At a step
    whose tolerance covers e_x the error ends: what is computed there is one of the values that its relaxation holds,
    and real values behind it are those that follow from it.

    Shapes: of node i [..., n_i]; overflow [...].
    Valid when: products are rounded to the network's own type or better (no TF32), and nothing overflows: that is said
    where some value on the way can come within a factor 4 of the type's largest number.
    Reference: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    reach: list[Array] = [region.inputs.reach]
    xp = namespace(reach[0])
    # Magnitudes 1e-37 and below can be flushed to zero in float32: one smallest normal per operation covers that.
    tiny = 2.0**-126 * region.network.roundings
    error: list[Array] = [xp.zeros_like(reach[0])]
    limit = (2.0**126) if roundoff == SINGLE_ROUNDOFF else 2.0**1022
    overflow = xp.max(reach[0], axis=-1) > limit
    for _, affine, k in paced(region.network.steps):
        if affine is None:
            inflation = error[region.network.sources[k]]
            low, high = region.lower[k] - inflation, region.upper[k] + inflation
            relaxation, source = region.relaxations[k], region.network.nodes[region.network.sources[k]]
            if isinstance(source, Affine) and source.nonnegative:
                low = xp.maximum(low, xp.zeros_like(low))
            reach.append(largest(*relaxation.image(low, high)))
            own = relaxation.own_error(low, high, reach[-1], roundoff)
            carried = relaxation.carried(region.lower[k], region.upper[k], inflation)
            error.append(carried + own + (tiny if relaxation.evaluation_roundings else 0.0))
            overflow = overflow | ~(xp.max(reach[-1] + error[-1], axis=-1) <= limit)
            continue
        inputs = [xp.max(reach[term.source] + error[term.source], axis=-1) for term in affine.terms]
        for size in inputs:
            overflow = overflow | ~(len(inputs) * affine.peak_gain * size + affine.peak_shift <= limit)
        inflated = node_magnitude(affine, [r + e for r, e in zip(reach, error, strict=True)])
        carried: Array = xp.zeros_like(affine.bias)
        for term in affine.terms:
            carried = term.map.magnitude_apply(error[term.source]) + carried
        # What only moves zeros gives zeros in any arithmetic.
        flushed = xp.where(inflated > 0, tiny, 0.0) if only_moves(affine) else tiny
        error.append((carried + gamma(affine.roundings, roundoff) * inflated + flushed) * (1 + 1e-9))
        reach.append(inflated)
        overflow = overflow | ~(xp.max(inflated + error[-1], axis=-1) <= limit)
    network = region.network
    return error, overflow | (not are_charged((network.as_read or network).nodes))
