"""Questions about two networks whose inputs are tied together, as ones about a joint network of fewer inputs."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from admm_verify.properties.cuts import least, most
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.ties import Ties
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import ExactCut, Inequality, Terms

_ZERO = Fraction(0)


def about_ties(asked: Property, ties: Ties) -> Property | None:
    """The same question about u and [y; y'; y' - y] where the inputs x of two networks are tied to u.

    Atoms of one network's outputs stay; of both, c'y + d'y' becomes (c + d)'y + d'(y' - y). Disjuncts without an input
    are left out. None where products of inputs are no products of u.
    """
    outputs = asked.networks[0].output_size
    assert outputs == asked.networks[1].output_size, "networks are compared output by output"
    regions: dict[tuple[int, int], tuple[ExactBox, ExactCut | None] | None] = {}
    atoms: dict[int, Atom | None] = {}
    found: list[Disjunct] = []
    for disjunct in asked.disjuncts:
        key = id(disjunct.box), id(disjunct.cut)
        if key not in regions:
            regions[key] = _TiedRegion(ties, disjunct).region()
        for atom in disjunct.atoms:
            if id(atom) not in atoms:
                atoms[id(atom)] = _moved_atom(atom, ties, outputs)
        region = regions[key]
        moved = [atoms[id(atom)] for atom in disjunct.atoms]
        if any(atom is None for atom in moved):
            return None
        if region is not None:
            found.append(Disjunct(region[0], tuple(atom for atom in moved if atom is not None), region[1]))
    names = " and ".join(declared.name for declared in asked.networks)
    kind = asked.arithmetic
    sides = Variable("u", kind, (len(ties.entries),)), Variable("y", kind, (3 * outputs,))
    declared = NetworkDeclaration(names, (sides[0],), (sides[1],))
    why = asked.impossible or ("" if found else "no input satisfies the constraints that tie inputs together")
    return replace(asked, networks=(declared,), disjuncts=tuple(found), impossible=why)


def _moved_atom(atom: Atom, ties: Ties, outputs: int) -> Atom | None:
    inputs, shift = ties.moved(atom.inputs)
    products = []
    for factors, value in atom.products:
        moved = [(is_output, index if is_output else _place(ties, index)) for is_output, index in factors]
        if any(index is None for _, index in moved):
            return None
        products.append((tuple(sorted(moved)), value))
    terms = _beside_difference(atom.terms, outputs)
    return Atom(terms, atom.constant + shift, atom.strict, atom.line, inputs, tuple(products))


def _place(ties: Ties, index: int) -> int | None:
    """The entry of u that an input is; None where it is none."""
    terms, shift = ties.rows[index]
    return terms[0][0] if [value for _, value in terms] == [1] and not shift else None


def _beside_difference(terms: Terms, outputs: int) -> Terms:
    """A sum of outputs y and y' as one of y and y' - y where it has some of both."""
    sides = {index < outputs for index, value in terms if value}
    if len(sides) < 2:
        return terms
    found: dict[int, Fraction] = {}
    for index, value in terms:
        for place in (index,) if index < outputs else (index - outputs, index + outputs):
            found[place] = found.get(place, _ZERO) + value
    return tuple((index, value) for index, value in found.items() if value)


class _TiedRegion:
    """The inputs of a disjunct in terms of u."""

    def __init__(self, ties: Ties, disjunct: Disjunct) -> None:
        self.ties, self.empty = ties, False
        size = len(ties.entries)
        # Value, and whether it is excluded.
        self.lowest: list[tuple[Fraction, bool] | None] = [None] * size
        self.highest: list[tuple[Fraction, bool] | None] = [None] * size
        self.rows: list[Inequality] = []
        box = disjunct.box
        low, high = box.range
        for k, (j, i) in enumerate(ties.entries):
            if i is not None:
                self._end(k, False, low[j] - high[i], False)
                self._end(k, True, high[j] - low[i], False)
        for j in range(box.size):
            self._add([(j, Fraction(-1))], low[j], j in box.strict_lower, 0)
            self._add([(j, Fraction(1))], -high[j], j in box.strict_upper, 0)
        for row in () if disjunct.cut is None else disjunct.cut.rows:
            self._add(row.terms, row.constant, row.strict, row.line)

    def region(self) -> tuple[ExactBox, ExactCut | None] | None:
        """The box and the cut of u; None where nothing is left."""
        lower, upper = [end for end in self.lowest if end is not None], [end for end in self.highest if end is not None]
        assert len(lower) == len(upper) == len(self.lowest), "every input has a box"
        pairs = list(zip(lower, upper, strict=True))
        if self.empty or any(low > high or (low == high and (out or off)) for (low, out), (high, off) in pairs):
            return None
        strict = [frozenset(k for k, (_, excluded) in enumerate(side) if excluded) for side in (lower, upper)]
        box = ExactBox(tuple(value for value, _ in lower), tuple(value for value, _ in upper), strict[0], strict[1])
        if any(not row.admits(least(box, row)) for row in self.rows):
            return None
        binding = [row for row in dict.fromkeys(self.rows) if not row.admits(most(box, row))]
        return box, ExactCut(tuple(binding)) if binding else None

    def _add(self, terms: Iterable[tuple[int, Fraction]], constant: Fraction, strict: bool, line: int) -> None:
        """Let the sum of some inputs and a constant be at most zero."""
        moved, shift = self.ties.moved(terms)
        constant += shift
        if not moved:
            self.empty = self.empty or constant > 0 or (strict and not constant)
        elif len(moved) == 1:
            ((k, value),) = moved
            self._end(k, value > 0, -constant / value, strict)
        else:
            self.rows.append(Inequality(moved, constant, strict, line))

    def _end(self, k: int, upper: bool, value: Fraction, strict: bool) -> None:
        ends = self.highest if upper else self.lowest
        known = ends[k]
        if known is None or (value < known[0] if upper else value > known[0]):
            ends[k] = value, strict
        elif value == known[0]:
            ends[k] = value, known[1] or strict
