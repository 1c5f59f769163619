"""Multipliers for l1 and linf: weights of inputs and outputs that are looked for together with those of neurons.

|x|_inf <= 1 leaves sum mu_j x_j^2 <= 1 for weights that sum up to 1, and |y|_1 <= (sum nu_i y_i^2)^(1/2) for weights
whose inverses do: a constant in l2 of the network with scaled inputs and outputs is one in these norms, and the best
weights are part of the same semidefinite program. Differences in l1 are spread over single inputs, and linf looks at
single outputs: their constants are the largest of parts, of which only those count that may be the largest.

Reference: Wang et al., A quantitative geometric approach to neural-network smoothness, NeurIPS 2022.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import gamma
from admm_verify.lipschitz.descent import descended
from admm_verify.lipschitz.multipliers import proved_constant
from admm_verify.lipschitz.norms import DUAL, length_of
from admm_verify.lipschitz.slope_forms import Judged, SlopeForms, by_reading, constants_of, judged, layered
from admm_verify.lipschitz.slope_system import Multipliers, SlopeSystem
from admm_verify.run import Run
from admm_verify.sets.norm_names import NormName

_MOST_PARTS = 32
"""Single inputs and outputs that are looked at: beyond, what is known of the others holds."""

_SHARES = (0.0, 1e-6, 1e-4, 1e-2, 1.0)
"""Of the first multipliers and weights, that are away from the edge, in those that are tried for a proof."""

_STEPS = 100
"""Of one stage of a descent."""


@dataclass(frozen=True, eq=False)
class _WeighedForms:
    """A system whose multipliers are followed by weights mu of inputs and nu of outputs, where these are free."""

    system: SlopeSystem
    by_input: bool
    by_output: bool

    def judge(self, weights: np.ndarray, power: float) -> Judged | None:
        """As `judged`, of the constant in the norms that are meant."""
        t, mu, nu = self._split(weights)
        found = judged(self.forms(weights), t, power)
        if found is None:
            return None
        gradient, value, factor = [found.gradient], found.value, 1.0
        if self.by_input:
            first, last = self.system.inner[:, : len(mu)], self.system.outer[:, : len(mu)]
            pull = (np.sqrt(nu)[:, None] * last).T @ found.vectors + first.T @ (t[:, None] * found.images)
            gradient.append(1.0 / np.sum(mu) - np.sum(pull**2 * found.shares, axis=1) / mu**2)
            value, factor = value + float(np.log(np.sum(mu))), factor * float(np.sum(mu))
        if self.by_output:
            inverse = float(np.sum(1.0 / nu))
            pull = np.sum(found.vectors**2 * found.shares * found.spectrum, axis=1)
            gradient.append(pull / nu - 1.0 / (nu**2 * inverse))
            value, factor = value + float(np.log(inverse)), factor * inverse
        return replace(found, value=value, gradient=np.concatenate(gradient), largest=found.largest * factor)

    def forms(self, weights: np.ndarray) -> SlopeForms:
        """Those of the scaled system."""
        _, mu, nu = self._split(weights)
        system, size = self.system, self.system.inputs
        read = np.flatnonzero(system.inner[:, :size].any(axis=1))
        first = system.inner[read, :size] / np.sqrt(mu)
        last = np.sqrt(nu)[:, None] * (system.outer[:, :size] / np.sqrt(mu))
        gram = np.zeros((system.neurons, system.neurons))
        gram[np.ix_(read, read)] = first @ first.T
        cross = np.zeros((len(last), system.neurons))
        cross[:, read] = last @ first.T
        outer = np.sqrt(nu)[:, None] * system.outer[:, size:]
        parts = (system.inner[:, size:], gram, outer, cross, last @ last.T)
        return SlopeForms(*(part[None] for part in parts), system.stops)  # pyright: ignore[reportCallIssue]

    def start(self) -> np.ndarray | None:
        """Even weights, and multipliers in closed form."""
        free = self.system.inputs * self.by_input + len(self.system.outer) * self.by_output
        even = np.ones(self.system.neurons + free)
        t = layered(self.forms(even), by_reading, 0.7)
        return None if t is None else np.concatenate([t, np.ones(free)])

    def between(self, weights: np.ndarray, start: np.ndarray, share: float) -> np.ndarray:
        """A mean of two points; what multipliers and weights prove is convex in t, mu and 1 / nu."""
        nus = slice(len(weights) - len(self.system.outer), len(weights)) if self.by_output else slice(0, 0)
        one, other = weights.copy(), start.copy()
        for point in (one, other):
            point[nus] = 1.0 / point[nus]
        found = (1.0 - share) * one + share * other
        found[nus] = 1.0 / found[nus]
        return found

    def proved(self, weights: np.ndarray) -> float:
        """The constant that multipliers and weights prove. Error: rounded outward."""
        system, size = self.system, self.system.inputs
        t, mu, nu = self._split(weights)
        right, left = 1.0 / np.sqrt(mu), np.sqrt(nu)
        wide, high = max(1.0, float(np.max(right))), float(np.max(left))
        inner, outer = system.inner.copy(), system.outer.copy()
        inner[:, :size] *= right
        outer[:, :size] *= right
        outer *= left[:, None]
        # One rounding per entry, or two.
        charges = [gamma(4) * float(np.linalg.norm(part)) * (1.0 + 1e-9) for part in (inner, outer)]
        errors = system.inner_error * wide + charges[0], system.outer_error * wide * high + charges[1]
        scaled = replace(system, inner=inner, outer=outer, inner_error=errors[0], outer_error=errors[1])
        constant = float(constants_of(self.forms(weights), t)[0])
        found = proved_constant(scaled, Multipliers(constant, constant * t))
        if self.by_input:
            found *= float(np.sqrt(np.sum(1.0 / right**2))) * (1.0 + gamma(size + 8))
        if self.by_output:
            found *= float(np.sqrt(np.sum(1.0 / left**2))) * (1.0 + gamma(len(nu) + 8))
        return found

    def _split(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """t, mu and nu; ones where they are not free."""
        neurons, inputs = self.system.neurons, self.system.inputs
        mu = weights[neurons : neurons + inputs] if self.by_input else np.ones(inputs)
        nu = weights[-len(self.system.outer) :] if self.by_output else np.ones(len(self.system.outer))
        return weights[:neurons], mu, nu


def weighed_constants(
    system: SlopeSystem, sizes: np.ndarray, norms: tuple[NormName, NormName], tolerance: float, run: Run
) -> Iterator[float]:
    """Smaller and smaller Lipschitz constants of a system, from the first norm to the second; not for l2 to l2.

    sizes: upper bounds of the entries of Jacobians, [outputs, inputs], that tell which inputs and outputs count.
    Error: rounded outward.
    """
    source, target = norms
    parts = _parts(sizes, source, target)
    done = 0.0
    for k, (known, rows, columns) in enumerate(parts[:_MOST_PARTS]):
        if known <= done or run.over():
            break
        forms = _WeighedForms(_part_of(system, rows, columns), source == "linf", target == "l1")
        done = max(done, min(known, _descended(forms, known, tolerance, run)))
        left = parts[k + 1][0] if k + 1 < len(parts) else 0.0
        yield max(done, left)


def _descended(forms: _WeighedForms, known: float, tolerance: float, run: Run) -> float:
    weights = forms.start()
    if weights is None:
        return known
    start = weights
    for point in descended(forms.judge, weights, len(forms.system.outer), tolerance, _STEPS):
        weights = point.weights
        if run.over():
            break
    for share in _SHARES:
        found = forms.proved(forms.between(weights, start, share))
        if found < np.inf:
            return found
    return known


def _parts(sizes: np.ndarray, source: NormName, target: NormName) -> list[tuple[float, slice, int | None]]:
    """Upper bounds of what single outputs and inputs make, with their places, the largest first."""
    charge = 1.0 + 4.0 * gamma(sum(sizes.shape) + 8)
    if source == "l1" and target == "linf":
        order = np.argsort(-sizes, axis=None)[: _MOST_PARTS + 1]
        places = zip(*np.unravel_index(order, sizes.shape), strict=True)
        return [(float(sizes[i, j]), slice(int(i), int(i) + 1), int(j)) for i, j in places]
    if source == "l1":
        known = length_of(sizes.T, target) * charge
        return [(float(known[j]), slice(None), int(j)) for j in np.argsort(-known)]
    if target == "linf":
        known = length_of(sizes, DUAL[source]) * charge
        return [(float(known[i]), slice(int(i), int(i) + 1), None) for i in np.argsort(-known)]
    rows = length_of(sizes, DUAL[source]) if source == "linf" else np.sum(sizes, axis=0)
    return [(float(length_of(rows, target if source == "linf" else "l2")) * charge, slice(None), None)]


def _part_of(system: SlopeSystem, rows: slice, column: int | None) -> SlopeSystem:
    """The system with some outputs, and with one input alone."""
    if column is None:
        return replace(system, outer=system.outer[rows])
    kept = np.r_[column, system.inputs : system.inputs + system.neurons]
    return replace(system, inputs=1, inner=system.inner[:, kept], outer=system.outer[rows][:, kept])
