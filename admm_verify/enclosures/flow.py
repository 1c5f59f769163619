"""One control period of x' = f(x, u): validated Taylor steps over affine forms.

Every step first finds a box that no solution leaves before its end (Picard), then adds the Taylor polynomial over the
affine forms at its start and the remainder over that box.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.expressions import evaluate
from admm_verify.enclosures.intervals import ENCLOSURES, Interval, above, below
from admm_verify.enclosures.plants import Plant
from admm_verify.enclosures.taylor import taylor_coefficients


@dataclass(frozen=True)
class FlowSettings:
    """Integration of the plant.

    order: of the Taylor polynomial. substeps, most: fewest and most of every period; their number is doubled while
    some cell has no enclosure, or a remainder above its share `remainder` of the set. finest: most of a first period
    where no cell has an enclosure with less, as in stiff plants. trials: Picard iterations.
    inflation: of a box that is not an enclosure yet, relative to what it gained in a trial. images: of enclosures, each
    inside the one before. symbols: most symbols that forms have after a period.
    """

    order: int = 4
    substeps: int = 2
    most: int = 8
    finest: int = 256
    remainder: float = 1e-3
    trials: int = 12
    inflation: float = 1.0
    images: int = 3
    symbols: int = 80


@dataclass(frozen=True, eq=False)
class Substep:
    """The sets at both ends of a substep, and how far solutions between them bend away from the chord.

    Every solution has x(t) = (1 - s) x_start + s x_end - e with s = t / h, where e is t (h - t) / 2 times its second
    derivative in between, so that e lies between 0 and `bend`, h^2 / 8 times the range of the second derivative.
    Shapes: start, end: forms [cells, n] over the same symbols; bend [cells, n].
    """

    start: AffineForms
    end: AffineForms
    bend: Interval

    @property
    def box(self) -> Interval:
        """Boxes of all states on the substep, [cells, n]."""
        return self.start.interval.hull(self.end.interval) - Interval.point(0.0).hull(self.bend)

    def pieces(self, count: int) -> list["Substep"]:
        """The substep cut into pieces of equal length, whose boxes and supports are smaller.

        Chords are cut where they are, over the symbols that start and end share; every piece keeps the whole bend.
        """
        ends = [self.start]
        for j in range(1, count):
            share = Interval.number(Fraction(j, count))
            ends.append(self.start * (1.0 - share) + self.end * share)
        return [Substep(first, last, self.bend) for first, last in pairwise([*ends, self.end])]

    def support(self, directions: np.ndarray, of: Callable[[AffineForms], np.ndarray] | None = None) -> np.ndarray:
        """Upper bounds of d'x over all times of the substep, directions [d, n] -> [cells, d].

        of: upper bounds of d'x over forms, for callers that know more of their symbols than that they lie in [-1, 1].
        """
        start, end = (forms.support(directions) if of is None else of(forms) for forms in (self.start, self.end))
        chord = np.maximum(start, end)
        bend = Interval.point(0.0).hull(self.bend)
        least = _weighted(bend, directions).lower
        return above(chord - np.minimum(least, 0.0))


def _weighted(box: Interval, directions: np.ndarray) -> Interval:
    total = Interval.point(np.zeros((len(box.lower), len(directions))))
    for i in range(directions.shape[1]):
        side = Interval(box.lower[:, i, None], box.upper[:, i, None])
        total = total + side * Interval.point(directions[:, i])
    return total


def flow(
    plant: Plant,
    state: AffineForms,
    control: AffineForms,
    period: Fraction,
    settings: FlowSettings,
    substeps: int | None = None,
) -> tuple[list[Substep], np.ndarray]:
    """One control period from all states at once, with the control of each.

    Where some cell has no enclosure, or a remainder that counts, all cells take substeps of half the length, up to the
    settings' limit, and beyond it where no cell has an enclosure otherwise: in a first period up to the finest, later
    once, as sets that explode gain little by that. substeps: how many to begin with; None in a first period.
    Shapes: state [cells, n], control [cells, inputs], over the same symbols -> substeps, and the largest `loss` among
    them, [cells], which is infinite for cells that have no sets.
    """
    count = settings.substeps if substeps is None else substeps
    beyond = settings.finest if substeps is None else max(settings.most, 2 * substeps)
    with quiet_overflow():
        steps, loss = _steps(plant, state, control, period / count, count, settings)
        while not (loss <= settings.remainder).all():
            most = settings.most if np.isfinite(loss).any() else beyond
            if count >= most:
                break
            count = min(2 * count, most)
            steps, loss = _steps(plant, state, control, period / count, count, settings)
    return steps, loss


def next_substeps(used: int, loss: np.ndarray, settings: FlowSettings) -> int:
    """How many substeps the next period begins with: half of what was used where that would have done."""
    held = loss[np.isfinite(loss)]
    enough = (held * 2.0 ** (settings.order + 1) <= settings.remainder).all()
    return max(settings.substeps, used // 2) if enough else used


def _steps(
    plant: Plant, state: AffineForms, control: AffineForms, length: Fraction, count: int, settings: FlowSettings
) -> tuple[list[Substep], np.ndarray]:
    loss = np.zeros(len(state.centre))
    steps: list[Substep] = []
    for _ in range(count):
        step, lost = taylor_step(plant, state, control, length, settings)
        loss = np.maximum(loss, lost)
        steps.append(step)
        state = step.end.refreshed()
        control = control.widened(plant.states)
        if not np.isfinite(loss).any():
            break
    return steps, loss


def taylor_step(
    plant: Plant, state: AffineForms, control: AffineForms, length: Fraction, settings: FlowSettings
) -> tuple[Substep, np.ndarray]:
    """One substep: x(h) = sum over k <= order of x_k h^k + x_{order+1}(enclosure) h^(order+1).

    The loss is the remainder's largest share of the spread of a state; it is infinite where there is no set.
    Shapes: state [cells, n], control [cells, inputs] -> the substep and its loss [cells].
    """
    order, h = settings.order, Interval.number(length)
    with quiet_overflow():
        inputs = control.interval
        enclosure, valid = picard(plant, state.interval, inputs, length, settings)
        rest = taylor_coefficients(plant, enclosure.coordinates(), inputs.coordinates(), order + 1, ENCLOSURES)
        series = taylor_coefficients(plant, state.coordinates(), control.coordinates(), order, ENCLOSURES)
        none = Interval.point(np.zeros(len(valid)))
        ends, remainders = [], []
        for i, start in enumerate(state.coordinates()):
            remainder = none + rest[order + 1][i] * _power(h, order + 1)
            total = series[order][i]
            for k in range(order - 1, -1, -1):
                total = series[k][i] + h * total
            remainders.append(remainder.radius)
            ends.append(start * 0.0 + total + remainder)
        end = AffineForms.stack(ends)
        # x'' is twice the second coefficient; h^2 / 8 times that is a quarter of h^2 times the coefficient.
        bends = [none + part * h.square() * 0.25 for part in rest[2]]
        step = Substep(state, end, Interval.stack(bends))
        box, bend = end.interval, step.bend
        for side in (box.lower, box.upper, bend.lower, bend.upper):
            valid &= np.isfinite(side).all(axis=-1)
        # Below a millionth of the state's size a remainder does not count.
        share = np.stack(remainders, axis=-1) / (end.deviation + 1e-6 * np.abs(end.centre) + 1e-12)
        loss = np.where(valid, share.max(axis=-1), np.inf)
    return step, loss


def _power(h: Interval, exponent: int) -> Interval:
    total = h
    for _ in range(exponent - 1):
        total = total * h
    return total


def picard(
    plant: Plant, start: Interval, control: Interval, length: Fraction, settings: FlowSettings
) -> tuple[Interval, np.ndarray]:
    """A box B on which f is defined with start + [0, h] f(B, control) inside B, so that no solution leaves B before h.

    Shapes: start [cells, n], control [cells, inputs] -> box [cells, n]; whether it was found, [cells].
    Reference: Nedialkov, Jackson and Corliss, Validated solutions of initial value problems for ordinary differential
    equations, Applied Mathematics and Computation 105 (1999), section 5.
    """
    time = Interval(np.asarray(0.0), Interval.number(length).upper)
    found = np.zeros(len(start.lower), dtype=bool)

    conditions, states = plant.conditions, plant.states
    parts = (*plant.rates, *(one.node for one in conditions))

    def image(box: Interval) -> tuple[Interval, np.ndarray]:
        values = evaluate(parts, plant.values(box.coordinates(), control.coordinates()), ENCLOSURES)
        zero = Interval.point(np.zeros_like(start.lower[:, 0]))
        moved = [zero + time * rate for rate in values[:states]]
        # Zero times what is not defined is not defined.
        defined = np.ones(len(found), dtype=bool)
        for condition, value in zip(conditions, values[states:], strict=True):
            defined &= ~condition.broken(value)
        return start + Interval.stack(moved), defined

    box = start.hull(image(start)[0])
    for _ in range(settings.trials):
        reached, defined = image(box)
        inside = box.contains(reached)
        found |= inside.all(axis=-1) & defined
        # An image inside its box is an enclosure too, and a smaller one. Elsewhere only coordinates that leave the box
        # move its ends: widening the others as well would push those that depend on them out again.
        box = reached.where(found[:, None], box.where(inside, _beyond(box, reached, settings.inflation)))
        if found.all():
            break
    for _ in range(settings.images):
        box = image(box)[0].where(found[:, None], box)
    return box, found


def _beyond(box: Interval, reached: Interval, share: float) -> Interval:
    """The hull of both, each end moved on by so many times what it gained, and by some roundings."""
    hull = box.hull(reached)
    slack = 1e-14 * hull.magnitude + 1e-300
    return Interval(
        below(hull.lower - share * (box.lower - hull.lower) - slack),
        above(hull.upper + share * (hull.upper - box.upper) + slack),
    )
