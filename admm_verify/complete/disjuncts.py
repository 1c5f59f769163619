"""What a search is to exclude: disjuncts as input sets and rows of linear functionals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array
from admm_verify.complete.tables import take
from admm_verify.properties.rows import AtomRows
from admm_verify.sets.contract import WalkableSet


@dataclass(frozen=True, eq=False)
class Disjuncts:
    """Disjuncts: f(x) and x of the input set satisfy one where objective f(x) + offset <= 0 for all its atoms.

    One is excluded on a part of its set where some atom is positive all over, or not negative where strict. sound is
    false for atoms of which no bound says anything. Disjuncts with fewer atoms than others repeat their last.
    multipliers: of activations' inputs behind bounds of the atoms, from which a search starts; none where nothing has
    climbed.

    Shapes: inputs [disjuncts, n]; objective [disjuncts, atoms, outputs]; offset, strict, sound, row (the
    number of the property's row behind an atom) [disjuncts, atoms]; number, count (atoms of its own) [disjuncts];
    multipliers[k] [disjuncts, atoms, n_k].
    """

    inputs: WalkableSet
    objective: np.ndarray
    offset: np.ndarray
    strict: np.ndarray
    sound: np.ndarray
    row: np.ndarray
    number: np.ndarray
    count: np.ndarray
    multipliers: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(
        cls,
        rows: AtomRows,
        offset: Array,
        sound: Array,
        disjuncts: Sequence[int],
        multipliers: Sequence[np.ndarray] = (),
    ) -> "Disjuncts":
        """The chosen disjuncts, with at least one atom each; offset and sound are those of the arithmetic.

        Shapes: offset, sound [rows]; multipliers[k] [rows, n_k].
        """
        row = rows.padded(disjuncts)
        box = rows.box[row[:, 0]]
        return cls(
            rows.inputs.at(box),
            rows.objective[row],
            offset[row],
            rows.strict[row],
            sound[row],
            row,
            np.array(disjuncts, dtype=np.int64),
            np.array([len(rows.disjuncts[i]) for i in disjuncts]),
            tuple(layer[row] for layer in multipliers),
        )

    def take(self, index: np.ndarray) -> "Disjuncts":
        """The given disjuncts only."""
        arrays = {name: take(part, index) for name, part in vars(self).items() if name != "inputs"}
        return replace(self, inputs=self.inputs.at(index), **arrays)

    def __len__(self) -> int:
        return len(self.number)

    @property
    def atoms(self) -> int:
        """Atoms of each disjunct."""
        return self.offset.shape[1]

    def certified(self, disjunct: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """Bounds of atoms as found, or no bound where they say nothing, [parts, atoms]."""
        return np.where(self.sound[disjunct], lower, -np.inf)

    def excluded(self, disjunct: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """Which atoms exclude their disjunct from a part, given certified bounds there.

        Shapes: disjunct [parts]; lower [parts, atoms] -> [parts, atoms].
        """
        return np.where(self.strict[disjunct], lower >= 0, lower > 0)
