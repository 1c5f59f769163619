"""What couplings of inputs leave of disjuncts' boxes."""

from collections.abc import Sequence
from fractions import Fraction

from admm_verify.properties.alternatives import Coupling
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import ExactCut, Inequality


class Cuts:
    """Cuts of boxes: the base couplings and those of a branch, in a set of floats where there is one."""

    def __init__(self, base: Sequence[Coupling], within: WalkableSet | None) -> None:
        self._base, self._within = tuple(base), within
        # By identity: boxes are shared, and the couplings live as long as the conditions.
        self._of_box: dict[tuple[int, ...], ExactCut | Coupling | None] = {}
        self._of_rows: dict[tuple[int, ...], ExactCut] = {}

    def cut(self, box: ExactBox, couplings: tuple[Coupling, ...]) -> ExactCut | Coupling | None:
        """What is to hold beside the box, the same object for the same; a coupling that holds nowhere in it, exactly.

        None where the box is all there is. The box must outlive this object.
        """
        if not self._base and not couplings and self._within is None:
            return None
        rows = self._base + couplings
        key = (id(box), *map(id, rows))
        if key not in self._of_box:
            self._of_box[key] = self._built(box, rows)
        return self._of_box[key]

    def _built(self, box: ExactBox, couplings: tuple[Coupling, ...]) -> ExactCut | Coupling | None:
        binding = []
        for coupling in couplings:
            if not coupling.row.admits(least(box, coupling.row)):
                return coupling
            if not coupling.row.admits(most(box, coupling.row)):
                binding.append(coupling)
        if not binding and self._within is None:
            return None
        key = tuple(map(id, binding))
        if key not in self._of_rows:
            self._of_rows[key] = ExactCut(tuple(coupling.row for coupling in binding), self._within)
        return self._of_rows[key]


def least(box: ExactBox, row: Inequality) -> Fraction:
    """The least left-hand side of a row over a box, its ends included."""
    return row.constant + box.least(row.terms)


def most(box: ExactBox, row: Inequality) -> Fraction:
    """The largest left-hand side of a row over a box, its ends included."""
    return row.constant - box.least((index, -coefficient) for index, coefficient in row.terms)
