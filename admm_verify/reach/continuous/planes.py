"""Linear lower bounds of a network's neurons where its input is an affine form, cell by cell in one batch.

CROWN's backward sweep gives f(x) >= slope'x + shift wherever the bounds of the neurons below hold. Over the affine
forms of x the least value of a plane is exact; over the box around them all correlation would be lost.
"""

import numpy as np

from admm_verify.bounds.climb import Climb
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.interval import affine_interval
from admm_verify.bounds.linear import Reduced
from admm_verify.bounds.region import Region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.network.graph import Network
from admm_verify.relaxations.contract import Relaxation
from admm_verify.relaxations.lines import CurveLines, KinkLines, Lines
from admm_verify.relaxations.registry import open_to, relaxation_of, relaxations_by_source
from admm_verify.sets.box import Box
from admm_verify.settings import AscentSettings


class Linearised:
    """A region of one network over forms of its input, from which planes are drawn."""

    def __init__(self, region: Region, state: AffineForms) -> None:
        self.relaxed, self.state = Relaxed(region), state
        self.lines = self.relaxed.lines
        self.cells = len(state.centre)

    def crown(self, rows: int) -> list[np.ndarray]:
        """CROWN's slopes for so many rows of each cell."""
        return [self._spread(line.start, rows) for line in self.lines]

    def parallel(self, rows: int) -> list[np.ndarray]:
        """Slopes for which the lines above and below an activation are parallel where they can be."""
        return [self._spread(_parallel(line), rows) for line in self.lines]

    def climbed(
        self, objective: np.ndarray, slopes: list[np.ndarray], iterations: int, settings: AscentSettings, joint: bool
    ) -> list[np.ndarray]:
        """The slopes after some steps of ascent on the planes' least values over the forms.

        joint: on the least value of the sum of the planes j and j + rows / 2, which is minus the largest distance
        between planes below f and above f.
        """
        if not iterations or not self.lines:
            return slopes
        climb = _FormClimb(self.state, joint, self.relaxed, self._rows(objective), slopes, settings, iterations)
        climb.run()
        # A step that is not a number must not become a slope.
        return [np.where(np.isfinite(new), new, old) for new, old in zip(climb.slopes, slopes, strict=True)]

    def planes(self, objective: np.ndarray, slopes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Certified planes slope'x + shift below objective f(x) for any slopes in range.

        Shapes: objective [rows, outputs] -> slope [cells, rows, n], shift [cells, rows].
        Error: the shift is rounded downward.
        """
        return self.relaxed.plane(self._rows(objective), slopes)

    def _rows(self, objective: np.ndarray) -> Functionals:
        own = np.broadcast_to(objective, (self.cells, *objective.shape))
        return Functionals({self.relaxed.network.output: own}, np.zeros(own.shape[:2]))

    def _spread(self, slopes: np.ndarray, rows: int) -> np.ndarray:
        return np.array(np.broadcast_to(slopes, (self.cells, rows, slopes.shape[-1])))


class _FormClimb(Climb):
    """Slope ascent where the input is an affine form instead of a box."""

    def __init__(
        self,
        state: AffineForms,
        joint: bool,
        relaxed: Relaxed,
        rows: Functionals,
        slopes: list[np.ndarray],
        settings: AscentSettings,
        iterations: int,
    ) -> None:
        super().__init__(relaxed, rows, slopes, settings, iterations)
        self.state, self.joint, self.best = state, joint, self._least

    def _least(self, coefficient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The point of the forms where coefficient'x, or its sum over pairs of rows, is least, and the value there."""
        state, judged = self.state, coefficient
        if self.joint:
            half = coefficient.shape[1] // 2
            total = coefficient[:, :half] + coefficient[:, half:]
            judged = np.concatenate([total, total], axis=1)
        z = -np.sign(judged @ state.generators)
        x = state.centre[:, None] + z @ np.swapaxes(state.generators, -1, -2)
        x = x - np.sign(judged) * state.radius[:, None]
        return x, (coefficient * x).sum(axis=-1)


def _parallel(lines: Lines) -> np.ndarray:
    if isinstance(lines, KinkLines):
        return np.clip(lines.upper_slope, lines.minimum, lines.maximum)
    assert isinstance(lines, CurveLines), "There are two kinds of lines"
    half = lines.start.shape[-1] // 2
    # The flattest slope that both sides allow touches at one end each.
    flat = np.maximum(lines.minimum[..., :half], lines.minimum[..., half:])
    return np.concatenate([flat, flat], axis=-1)


def linearised(network: Network, state: AffineForms, iterations: int, settings: AscentSettings) -> Linearised:
    """The network over the forms, with pre-activation bounds from planes after some steps of ascent.

    Shapes: state [cells, n]; the network in float64.
    """
    box = state.range
    reduced = Reduced(network, Box.of(box.lower, box.upper))
    lower, upper = [box.lower], [box.upper]
    readers = relaxations_by_source(network)
    for i, node, k in network.steps[:-1]:
        if node is not None:
            low, high = affine_interval(network, node, lower, upper)
            if i in readers:
                # A ReLU that is stable is exact; of other activations every neuron's bounds matter.
                neurons = _Neurons(Linearised(reduced.region(node), state), low, high, readers[i])
                neurons.refine(0, settings)
                if iterations and neurons.linear.lines:
                    neurons.refine(iterations, settings)
                low, high = neurons.low, neurons.high
            reduced.add_affine(node)
        else:
            function = network.functions[k]
            low, high = lower[function.source], upper[function.source]
            reduced.add_activation(k, low, high)
            low, high = relaxation_of(function).image(low, high)
        lower.append(low)
        upper.append(high)
    return Linearised(reduced.region(network.affine[network.output]), state)


class _Neurons:
    """Intervals [cells, n] of a region's last node, cut step by step."""

    def __init__(self, linear: Linearised, low: np.ndarray, high: np.ndarray, readers: list[Relaxation]) -> None:
        self.linear, self.low, self.high, self.readers = linear, low.copy(), high.copy(), readers

    def refine(self, iterations: int, settings: AscentSettings) -> None:
        """Cut the intervals that are open in some cell with the planes' least values over the forms."""
        wanted = np.flatnonzero(open_to(self.readers, self.low, self.high).any(axis=0))
        if not len(wanted):
            return
        unit = np.eye(self.low.shape[-1])[wanted]
        objective, linear = np.concatenate([unit, -unit]), self.linear
        slopes = linear.climbed(objective, linear.crown(len(objective)), iterations, settings, joint=False)
        least = linear.state.mapped(*linear.planes(objective, slopes)).range.lower
        self.low[:, wanted] = np.fmax(self.low[:, wanted], least[:, : len(wanted)])
        self.high[:, wanted] = np.fmin(self.high[:, wanted], -least[:, len(wanted) :])
