"""Parts in which signs leave a linear program: HiGHS's multipliers, certified like any others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.bounds.functionals import certify
from admm_verify.bounds.region import Region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.fixed_signs import FixedSigns
from admm_verify.properties.rows import combined
from admm_verify.relaxations.lines import KinkLines, Lines
from admm_verify.relaxations.registry import network_lines
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet
from admm_verify.sets.polytopes import Polytopes

if TYPE_CHECKING:
    from admm_verify.programs.frame import Frame
    from admm_verify.programs.kinks import Kinks
    from admm_verify.programs.relaxed import Optimum

_MOST_MULTIPLICATIONS = 2**22
"""Of one pass through the networks whose programs are small enough to be solved part by part."""

_SECONDS = 5.0
"""What one program may take."""

_DIGITS = (24, 12, 6)
"""Binary digits of weights, fewer where the sum of the atoms would not be exact."""

_EXACT = 1e-9
"""How far a neuron may be from its graph, in units of its range, where the relaxation counts as exact."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """What the program of a part says: whether the part is excluded, by which sum of atoms and which lines.

    x: where the program's minimum is attained. choice: the neuron that is least exact there, as 1 + its number, 0 where
    the minimum is that of the network itself.
    Shapes: weights [atoms], slopes [sum n_k], beta [splits], float32; x [inputs].
    """

    excluded: bool
    weights: np.ndarray
    slopes: np.ndarray
    beta: np.ndarray
    x: np.ndarray
    choice: int


class LeafPrograms:
    """Linear programs over the parts of one network's input set."""

    def __init__(self, bounder: Bounder, disjuncts: Disjuncts, signs: FixedSigns, record: bool) -> None:
        """record: exclude parts only by lines and multipliers of splits, which a certificate can hold; general
        multipliers reach the optimum also where the range of a neuron is what binds.
        """
        self.bounder, self.disjuncts, self.signs, self.record = bounder, disjuncts, signs, record
        self._frame: Frame | None = None

    def suits(self, inputs: InputSet, lines: Sequence[Lines]) -> bool:
        """Whether programs over inputs and lines would be exact up to rounding, and small."""
        size = self.bounder.network.weight_count
        if not isinstance(inputs, Box | Polytopes):
            return False
        return size <= _MOST_MULTIPLICATIONS and all(isinstance(line, KinkLines) for line in lines)

    def solve(self, disjunct: int, region: Region, path: np.ndarray) -> Leaf | None:
        """One part, whose region has leading axes [1, 1]; None where HiGHS fails or an atom says nothing.

        Shapes: path [splits], +-(1 + number of the neuron).
        """
        # Most searches end without a program, and SciPy takes a third of a second to import.
        from admm_verify.programs.frame import Frame
        from admm_verify.programs.kinks import Kinks
        from admm_verify.programs.relaxed import Part, relaxed_minimum

        disjuncts, network = self.disjuncts, self.bounder.network
        if not disjuncts.sound[disjunct].all():
            return None
        if self._frame is None:
            self._frame = Frame.of(network)
        lines = network_lines(network, region.lower, region.upper)
        kinks = Kinks.of(lines)
        part = Part(region.inputs.at((0, 0)), kinks, path)
        # Disjuncts with fewer atoms than others repeat their last one.
        own = slice(0, int(disjuncts.count[disjunct]))
        objective, offset = disjuncts.objective[disjunct, own], disjuncts.offset[disjunct, own]
        found = relaxed_minimum(self._frame, part, objective, offset, max(0.0, min(_SECONDS, self.bounder.run.left)))
        if found is None:
            return None
        weights, row = _weighted(objective, offset, found.weights)
        lower = -np.inf if row is None else self._certified(row, region, path, found)
        strict = bool(disjuncts.strict[disjunct, own][weights > 0].all()) and np.count_nonzero(weights) == 1
        choice = _choice(kinks, found, self.record)
        padded = np.zeros(disjuncts.atoms, dtype=np.float32)
        padded[own] = weights
        slopes, beta = found.slopes.astype(np.float32), found.beta.astype(np.float32)
        return Leaf(lower >= 0 if strict else lower > 0, padded, slopes, beta, found.x, choice)

    def _certified(self, row: tuple[np.ndarray, float], region: Region, path: np.ndarray, found: "Optimum") -> float:
        beta = found.beta.astype(np.float32)[None, None]
        objective, offset, splits = row[0][None, None], np.array([[row[1]]]), self.signs.splits(path[None], beta)
        rows = self.bounder.rows(objective, offset, splits)
        given = found.slopes.astype(np.float32) if self.record else found.multipliers
        layers = [part[None, None] for part in self.signs.by_layer(given)]
        with quiet_overflow():
            if self.record:
                lower = self.bounder.bound(region, rows, layers, 0).lower
            else:
                lower, _ = certify(region, rows, lambda k, a: layers[k])
        return float(lower[0, 0])


def _choice(kinks: "Kinks", found: "Optimum", record: bool) -> int:
    """The neuron to split, as 1 + its number: the least exact one, or the one whose range binds and no line can say."""
    gap = kinks.gap(found.pre, found.post)
    if gap.max(initial=0.0) > _EXACT:
        return 1 + int(gap.argmax())
    return 1 + int(found.strain.argmax()) if record and found.strain.any() else 0


def _weighted(
    objective: np.ndarray, offset: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, float] | None]:
    """Weights near the given ones in float32, and the rows' sum with them; None where no float64 holds it."""
    rounded = np.zeros(len(weights), dtype=np.float32)
    for digits in _DIGITS:
        rounded = (np.round(weights * 2.0**digits) / 2.0**digits).astype(np.float32)
        row = combined(objective, offset, rounded)
        if row is not None:
            return rounded, row
    return rounded, None
