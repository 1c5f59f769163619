"""The L-BFGS attack with a price on the distance: hits as near as possible to a point of every target."""

from dataclasses import dataclass

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.quasi_newton import QuasiNewton
from admm_verify.options import AtLeastOne, Count, Settings
from admm_verify.run import Run
from admm_verify.sets.dual_newton import nearest_points

_FIRST_PRICE = 0.3
"""Of a unit of distance, in units of the gradient's length at the start, for the first descent."""

_FACTOR = 4.0
"""By which the price changes before there are two prices to look between."""

_BEYOND = 1e-6
"""How far beyond the border refined points aim, in units of what the atoms are at the start."""


@dataclass(frozen=True)
class PricedDescent(Settings):
    """How hits near points are looked for.

    rounds: prices of a unit of distance that are tried. steps: evaluations for each. memory: pairs that stand for the
    Hessian. refined: steps to the nearest point of the linearised border, 0 for the attack of the paper alone.
    """

    rounds: AtLeastOne = 8
    steps: AtLeastOne = 20
    memory: AtLeastOne = 10
    refined: Count = 6


@dataclass(frozen=True, eq=False)
class ClosestHits:
    """Hits, and how far they are from where the search began, infinite and there itself where none was found.

    Shapes: x [targets, inputs]; length [targets].
    """

    x: Array
    length: Array

    def nearer(self, start: Array, points: Array, losses: Array) -> "ClosestHits":
        """The points [targets, inputs] where they are nearer hits, else these; hits have losses [targets] <= 0."""
        xp = namespace(points)
        length = xp.sqrt(xp.sum((points - start) ** 2, axis=-1))
        better = (losses <= 0) & (length < self.length)
        return ClosestHits(xp.where(better[:, None], points, self.x), xp.where(better, length, self.length))


@dataclass(frozen=True, eq=False)
class ClosestSearch:
    """Looks for points of the targets' boxes near `start` at which all atoms are below zero by more than rounding may
    change.

    L-BFGS lowers  c |r|_2 + log(1 + sum_j exp(v_j(start + r)))  with start + r in the box and v_j the atoms' values:
    with v_j = f_j - f_k for all j but k the cross-entropy of class k. The largest price c whose descent comes by a hit
    is looked for, as that of the shortest r; every hit on the way counts. Then r is refined, each time to the shortest
    one at which the linearised atoms are at most zero. What ends the run leaves what is found so far.

    roundoff: of the type that the network is computed in elsewhere. quick: the same landscape in another precision, in
    which it is descended; None for the same. Shapes: start [targets, inputs], in the boxes.
    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.1.
    """

    landscape: Landscape
    start: Array
    settings: PricedDescent
    roundoff: float
    run: Run
    quick: Landscape | None = None

    def search(self) -> ClosestHits:
        """The nearest hits found."""
        place = Placement.of(self.start)
        with quiet_overflow():
            found = self._descended()
            found = ClosestHits(place.put(found.x), place.put(found.length))
            return self._refined(self._refined(found, found.x), self.start)

    def _descended(self) -> ClosestHits:
        """The nearest hits that descents at several prices come by."""
        landscape = self.quick or self.landscape
        start = landscape.targets.inputs.placement.put(self.start)
        xp = namespace(start)
        losses, _, gradient = landscape.entropies(start[:, None, :], self.roundoff)
        size = xp.sqrt(xp.sum(gradient[:, 0, :] ** 2, axis=-1))
        found = ClosestHits(start, xp.full_like(size, float("inf"))).nearer(start, start, losses[:, 0])
        price, low, high = _FIRST_PRICE * size, xp.zeros_like(size), xp.full_like(size, float("inf"))
        for _ in range(self.settings.rounds):
            if self.run.over():
                break
            found, hit = self._priced(landscape, start, price, found)
            low, high = xp.where(hit, price, low), xp.where(hit, high, price)
            both = (low > 0) & xp.isfinite(high)
            outside = xp.where(low > 0, _FACTOR * low, high / _FACTOR)
            price = xp.where(both, xp.sqrt(low) * xp.sqrt(xp.where(both, high, low)), outside)
        return found

    def _priced(
        self, landscape: Landscape, start: Array, price: Array, found: ClosestHits
    ) -> tuple[ClosestHits, Array]:
        """The nearest hits after a descent at some prices [targets], and whether it came by any, [targets]."""
        xp, box, here = namespace(price), landscape.targets.spread, start[:, None, :]
        state, hit = QuasiNewton.start(here, self.settings.memory), price < 0
        for _ in range(self.settings.steps):
            if self.run.over():
                break
            losses, value, gradient = landscape.entropies(state.points, self.roundoff)
            found = found.nearer(start, state.points[:, 0, :], losses[:, 0])
            hit = hit | (losses[:, 0] <= 0)
            away = state.points - here
            length = xp.sqrt(xp.sum(away * away, axis=-1))
            pull = away / xp.where(length > 0, length, xp.ones_like(length))[..., None]
            paid = value + price[:, None] * length, gradient + price[:, None, None] * pull
            state = state.moved(box, *paid)
        return found, hit

    def _refined(self, found: ClosestHits, points: Array) -> ClosestHits:
        """These hits, or nearer ones from some points on, each nearest to the start as far as the atoms are linear."""
        if not self.settings.refined:
            return found
        xp, start, inputs = namespace(self.start), self.start, self.landscape.targets.inputs
        beyond = _BEYOND * xp.abs(self.landscape.linearised(start, self.roundoff)[0])
        slopes, limits = [], []
        for _ in range(self.settings.refined):
            if self.run.over():
                break
            value, slope = self.landscape.linearised(points, self.roundoff)
            slopes.append(slope)
            limits.append(xp.sum(slope * points[:, None, :], axis=-1) - value - beyond)
            near, _ = nearest_points(start, inputs.range, xp.concat(slopes, axis=1), xp.concat(limits, axis=1))
            points = inputs.project(xp.where(xp.isfinite(near), near, found.x))
            losses, _, _ = self.landscape.entropies(points[:, None, :], self.roundoff)
            found = found.nearer(start, points, losses[:, 0])
            # Where atoms bend upward, planes that led beyond the border hold together with the next ones.
            kept = (losses > 0)[..., None]
            slopes = [xp.where(kept, one, xp.zeros_like(one)) for one in slopes]
            limits = [xp.where(kept[..., 0], one, xp.ones_like(one)) for one in limits]
        return found
