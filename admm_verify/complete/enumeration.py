"""Queries about networks that read whole numbers: every combination of them is a cell in which these are constants."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np

from admm_verify.attacks.confirm import Witness, confirmed
from admm_verify.bounds.points import at_points
from admm_verify.complete.decide import Decision
from admm_verify.complete.settings import VerifySettings
from admm_verify.errors import InputError, UnsupportedQueryError
from admm_verify.network.builder import Builder
from admm_verify.network.graph import Network
from admm_verify.network.splice import splice
from admm_verify.network.whole import WholeNetwork
from admm_verify.properties.property import Atom, Disjunct
from admm_verify.properties.query import Query
from admm_verify.properties.rows import atom_rows
from admm_verify.rationals import directed_float
from admm_verify.run import Run
from admm_verify.sets.cells import cell_of, cut_off, whole_point
from admm_verify.sets.exact import ExactBox

MOST_CELLS = 1_000_000
"""Combinations of whole numbers in one disjunct that are gone through."""

_BLOCK_NUMBERS = 2**23
"""Numbers of all nodes' values at once."""

_SWEPT = 16
"""Cells that linear bounds are swept through at once."""


@dataclass(frozen=True, eq=False)
class Cell:
    """The part of a disjunct in which inputs, by their positions, have some whole numbers, cut off.

    found: what is looked up there.
    """

    numbers: dict[int, int]
    found: np.ndarray

    def of(self, disjunct: Disjunct) -> Disjunct:
        """The disjunct within the cell."""
        box = disjunct.box
        for i, number in self.numbers.items():
            box = cell_of(box, i, number)
        return replace(disjunct, box=box)


class Enumeration:
    """What is known of a query after all cells, or some of them, were looked at.

    open: disjuncts that are not excluded. least: of every row of the property, a certified bound over its input set.
    """

    def __init__(self, query: Query, settings: VerifySettings, run: Run) -> None:
        """Raises: UnsupportedQueryError for what is not gone through cell by cell."""
        network = query.network
        assert isinstance(network, WholeNetwork), "any other network is bounded as a whole"
        self.query, self.network, self.settings, self.run = query, network, settings, run
        self.arithmetic = settings.arithmetic or query.property.arithmetic
        if settings.certificate:
            raise InputError(f"{network.name} reads whole numbers and can have no certificate. Leave it out.")
        if settings.checkpoint is not None:
            raise InputError(f"{network.name} reads whole numbers, whose cells keep no checkpoint. Leave it out.")
        for disjunct in query.property.disjuncts:
            if disjunct.cut is not None or not all(atom.of_outputs for atom in disjunct.atoms):
                raise UnsupportedQueryError(
                    f"{network.name} reads whole numbers; queries about it are boxes and sums of outputs alone."
                )
        self.rows = atom_rows(query.property)
        self.least = np.full(len(self.rows.box), np.inf)
        self.open = len(query.property.disjuncts)
        self.cells = 0
        self.witness: Witness | None = None
        self.failure: str | None = None

    def decide(self) -> None:
        """Go through the cells until a counterexample is found or none is left. Raises: Stopped."""
        for number, disjunct in enumerate(self.query.property.disjuncts):
            if self._excluded(number, disjunct):
                self.open -= 1
            if self.witness is not None:
                return

    def _excluded(self, number: int, disjunct: Disjunct) -> bool:
        """Whether all cells of a disjunct are excluded."""
        rows, box = list(self.rows.disjuncts[number]), disjunct.box
        fixed = all(box.fixes(i) for i in self.network.real)
        lower, excluded = np.full(len(rows), np.inf), True
        points = _Points(self.network, box, self.arithmetic, self.run) if fixed else None
        for cells in self._blocks(disjunct, fixed):
            self.run.check()
            self.cells += len(cells)
            if points is None:
                excluded = sum(self._decided(disjunct, cell) for cell in cells) == len(cells) and excluded
            else:
                left, bounds = self._open(disjunct, cells, points)
                lower, excluded = np.minimum(lower, bounds), excluded and not left
            if self.witness is not None:
                return False
        self.least[rows] = lower if fixed else -np.inf
        return excluded

    def _blocks(self, disjunct: Disjunct, fixed: bool) -> Iterator[list[Cell]]:
        """The cells of a disjunct in blocks; where all else is fixed, of those that look up the same the first one.

        Raises: UnsupportedQueryError for too many.
        """
        network = self.network
        ranges = [cut_off(disjunct.box, i) for i in network.whole]
        count = prod(len(numbers) for numbers in ranges)
        if count > MOST_CELLS:
            raise UnsupportedQueryError(
                f"A disjunct leaves inputs of {network.name} {count} combinations of whole numbers; {MOST_CELLS} are "
                "gone through. Bound them more tightly."
            )
        block = max(1, _BLOCK_NUMBERS // sum(node.size for node in network.parts[0].nodes))
        seen: set[bytes] = set()
        cells: list[Cell] = []
        for numbers in product(*ranges):
            cell = self._cell(dict(zip(network.whole, numbers, strict=True)))
            if fixed and cell.found.tobytes() in seen:
                self.cells += 1
                continue
            seen.add(cell.found.tobytes())
            cells.append(cell)
            if len(cells) == block:
                yield cells
                cells = []
        if cells:
            yield cells

    def _cell(self, numbers: dict[int, int]) -> Cell:
        """The cell of some whole numbers.

        Raises: UnsupportedQueryError where numbers that were rounded decide others: what these are in real numbers is
        not known.
        """
        lookup = self.network.parts[1]
        found = lookup.at(numbers)
        if self.arithmetic == "real" and lookup.rounds(numbers):
            raise UnsupportedQueryError(
                f"{self.network.name} rounds numbers on the way to what its whole numbers decide where these are "
                f"{numbers} (by input), so that in real arithmetic nothing is known of it there. Ask for "
                f"{self.network.element_type}: --arithmetic {self.network.element_type}."
            )
        return Cell(numbers, found)

    def _open(self, disjunct: Disjunct, cells: list[Cell], points: "_Points") -> tuple[bool, np.ndarray]:
        """Whether some of the cells is not excluded, and lower bounds of the atoms' values over all of them.

        What is left is tried in the network itself, the most promising cell first.
        """
        lower, upper = points.atoms(disjunct, cells, sweeps=False)
        strict = np.array([atom.strict for atom in disjunct.atoms], dtype=bool)
        open = np.flatnonzero(~np.where(strict, lower >= 0, lower > 0).any(axis=1))
        for first in range(0, len(open), _SWEPT):
            part = open[first : first + _SWEPT]
            lower[part], upper[part] = points.atoms(disjunct, [cells[i] for i in part], sweeps=True)
        holds = [bool(row.all()) for row in np.where(strict, upper < 0, upper <= 0)]
        open = open[~np.where(strict, lower[open] >= 0, lower[open] > 0).any(axis=1)]
        for i in open[np.argsort(upper[open].max(axis=1, initial=-np.inf))]:
            part = cells[i].of(disjunct)
            exact = whole_point(part.box)
            self.witness = confirmed(self.query, part, exact, self.run, lambda i=i: holds[i])
            if self.witness is not None:
                break
        return bool(len(open)), lower.min(axis=0, initial=np.inf)

    def _decided(self, disjunct: Disjunct, cell: Cell) -> bool:
        """Whether a cell in which inputs are free is excluded, by all that is done for ordinary networks."""
        if self.witness is not None:
            return False
        network = _specialised(self.network, cell.found)
        found = replace(self.query.property, disjuncts=(cell.of(disjunct),))
        query = Query(self.query.name, found, network, self.query.model)
        decision = Decision(query, self.settings, self.run)
        decision.decide()
        self.witness = decision.witness
        self.failure = self.failure or decision.counterexamples.failure
        return not decision.open


class _Points:
    """The one point of a box whose inputs are all fixed, but for those that are only cut off."""

    def __init__(self, network: WholeNetwork, box: ExactBox, arithmetic: str, run: Run) -> None:
        self.network, self.arithmetic, self.run = network, arithmetic, run
        self.x = box.lowest
        dtype = np.float32 if arithmetic == "float32" else np.float64
        rounded = self.x.astype(dtype).astype(np.float64)
        exact = np.array(
            [Fraction(float(value)) == wanted for value, wanted in zip(rounded, box.range[0], strict=True)]
        )
        # A decimal, its nearest number and the one that the network is run at are this far apart, at most.
        self.off = np.where(exact, 0.0, 2.0 * float(np.finfo(dtype).eps) * np.abs(self.x) + 2.0**-126)

    def atoms(self, disjunct: Disjunct, cells: list[Cell], sweeps: bool) -> tuple[np.ndarray, np.ndarray]:
        """Certified bounds of the atoms' values in cells, in real numbers and as computed, both [cells, atoms]."""
        rest, lookup = self.network.parts
        x = np.concatenate([np.tile(self.x, (len(cells), 1)), np.stack([cell.found for cell in cells])], axis=1)
        off = np.concatenate([self.off, np.zeros(lookup.size)])
        values = at_points(rest, x, off, self.arithmetic, self.run, sweeps)
        bounds = np.empty((2, len(cells), len(disjunct.atoms)))
        for row, (value, error) in enumerate(zip(values.value, values.error, strict=True)):
            for column, atom in enumerate(disjunct.atoms):
                bounds[:, row, column] = _atom_range(atom, value, error)
        return bounds[0], bounds[1]


def _atom_range(atom: Atom, value: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Ends of an atom's value where every output is off by at most its error, rounded outward."""
    if not all(np.isfinite(error[i]) and np.isfinite(value[i]) for i, _ in atom.terms):
        return -np.inf, np.inf
    middle = sum((c * Fraction(float(value[i])) for i, c in atom.terms), atom.constant)
    slack = sum((abs(c) * Fraction(float(error[i])) for i, c in atom.terms), Fraction(0))
    return directed_float(middle - slack, np.float64, up=False), directed_float(middle + slack, np.float64, up=True)


def _specialised(network: WholeNetwork, found: np.ndarray) -> Network:
    """The ordinary network that one cell has."""
    builder = Builder(network.input_shape, network.element_type)
    flat = builder.reshape(builder.input, (builder.input.size,))
    joined = builder.concat([flat, found], 0)
    made = builder.finish(splice(builder, network.parts[0], joined), network.name)
    return replace(made, output_shape=network.output_shape)
