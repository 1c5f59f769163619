"""The checker: from a certificate, a property and a network to whether the query is proven to have no solution."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.certificates.certificate import ARITHMETICS, Certificate, Tightening
from admm_verify.certificates.couplings import CheckedCouplings, coupled
from admm_verify.certificates.digests import network_digest, pair_digests, property_digest
from admm_verify.certificates.dyadics import cleared
from admm_verify.certificates.evaluation import evaluation_error, output_reach
from admm_verify.certificates.joint import JointErrors, checked_joint
from admm_verify.certificates.numbers import Numbers
from admm_verify.certificates.parts import check_cover, halved
from admm_verify.certificates.pieces import CheckedKink
from admm_verify.certificates.places import check_places
from admm_verify.certificates.ranges import CheckedNetwork, CheckedRanges
from admm_verify.certificates.regions import check_regions
from admm_verify.certificates.rows import Fixed
from admm_verify.errors import AdmmVerifyError, CertificateError, InputError
from admm_verify.memory import Budget, keep_freed_memory
from admm_verify.network.graph import Network, check_network
from admm_verify.network.pair import PairedNetwork
from admm_verify.network.shares import with_logarithms
from admm_verify.network.simplify import simplify
from admm_verify.options import brief, choice, flag, instance
from admm_verify.properties.checks import check_property, check_whole
from admm_verify.properties.property import Disjunct, Property
from admm_verify.properties.rows import AtomRows, as_computed, atom_rows, combined, region_of
from admm_verify.run import Run, Stopped
from admm_verify.sets.exact import ExactBox
from admm_verify.threads import threads_for

Ends = tuple[np.ndarray, np.ndarray]
"""Lower and upper ends of boxes, [boxes, inputs] each."""

_BOXES = 256
"""Parts of a box whose bounds are derived at once: they share bounds of rounding errors."""


@dataclass(frozen=True)
class Report:
    """Whether a certificate proves that a query has no solution in an arithmetic, and if not, why.

    network, query: digests of what was given. leaves: those that were checked. worst: the smallest margin among them,
    of an atom's value over what it must exceed; infinite without leaves.
    """

    proved: bool
    reason: str
    arithmetic: str
    network: str
    query: str
    leaves: int
    worst: float
    seconds: float


def check(
    certificate: Certificate,
    property: Property,
    network: Network,
    *,
    arithmetic: str | None = None,
    exact: bool = False,
    run: Run | None = None,
) -> Report:
    """Derive all bounds behind a certificate again and compare: nothing that searches takes part.

    The network is the graph as read, whose layers are merged here once more. exact: compute in dyadic rational numbers
    without rounding, on networks without curves whose maps are small as matrices; layers are then merged without
    rounding, too, and weights that the reader computed (of a batch normalisation, or 1 / d) are charged for theirs.
    Else in float64 with a bound on every rounding, that of merging layers included. arithmetic: the one to be
    proved, "real", "float32" or "float64", by default the one that the query declares; a certificate that was recorded
    for another one proves nothing.

    Raises: InputError for what is no certificate, property or network, an unknown arithmetic, or an option of the
    wrong type or range.
    Error: proved only where it is true; a proof that is only just true may be lost to rounding. Exact proofs are about
    boxes larger, and atoms' constants smaller, by 2^-200 of numbers that are not dyadic. The numbers of a proof that
    may be any are rounded to 88 digits: bounds of neurons outward, chords' slopes with the line moved above both ends,
    and multipliers of neurons down, at the exact price (g - r) l; where that suffices, coefficients to 42 digits, at
    such prices. The proven inequality is an exact one.
    """
    began, how = time.monotonic(), Run.of(run)
    instance(certificate, Certificate, "The certificate")
    instance(property, Property, "The property")
    check_network(network)
    flag(exact, "exact")
    chosen = property.arithmetic if arithmetic is None else choice(arithmetic, "The arithmetic", ARITHMETICS)
    if chosen not in ARITHMETICS:
        raise InputError(f"The query declares the arithmetic {brief(chosen)}; a proof is of {', '.join(ARITHMETICS)}.")
    found = _Check(certificate, property, network, chosen, Numbers(exact), Budget.of(how))
    proved, reason = False, ""
    keep_freed_memory()
    try:
        with (
            quiet_overflow(),
            threads_for(network.weight_count * max(node.size for node in network.nodes), most=how.threads),
            how.watching(),
        ):
            found.run()
        proved = True
    except AdmmVerifyError as error:
        reason = str(error)
    except MemoryError:
        reason = "Memory ran out; allow more of it."
    except Stopped:
        reason = "The time was up, or a stop was asked; run it again to its end."
    spent = time.monotonic() - began
    return Report(proved, reason, chosen, found.digests[0], found.digests[1], found.done, found.worst, spent)


@dataclass(eq=False)
class _Check:
    certificate: Certificate
    property: Property
    network: Network
    arithmetic: str
    numbers: Numbers
    budget: Budget
    digests: tuple[str, str] = ("", "")
    done: int = 0
    worst: float = float("inf")
    model: CheckedNetwork = field(init=False)
    floats: CheckedNetwork = field(init=False)
    rows: AtomRows = field(init=False)
    apart: JointErrors | None = None
    couplings: CheckedCouplings | None = None
    rounded: CheckedCouplings | None = None

    def run(self) -> None:
        """Raise CertificateError unless everything is proven."""
        certificate, leaves = self.certificate, self.certificate.leaves
        check_whole(check_property(self.property), self.network)
        self.digests = network_digest(self.network), property_digest(self.property)
        certificate.validate()
        self._check_pair()
        if certificate.network != self.digests[0]:
            raise CertificateError("The certificate is of another network.")
        if certificate.query != self.digests[1]:
            raise CertificateError("The certificate is of another query.")
        if certificate.arithmetic != self.arithmetic:
            raise CertificateError(
                f"The certificate was recorded for {certificate.arithmetic} arithmetic and is to prove the query in "
                f"{self.arithmetic}; record one for {self.arithmetic}, or ask for {certificate.arithmetic} by name."
            )
        self._bounded_network()
        self.model = self.floats = CheckedNetwork(self.network, self.numbers, self.budget)
        if self.numbers.exact:
            # What the network's own arithmetic does is bounded in float64.
            self.floats = CheckedNetwork(self.network, Numbers(False), self.budget)
        check_places(certificate, self.property, self.model, self.network)
        if not self.property.disjuncts:
            return
        check_cover(leaves.goal, leaves.splits)
        boxes: dict[tuple[int, int], tuple[int, Disjunct]] = {}
        own = [boxes.setdefault(region_of(d), (len(boxes), d))[0] for d in self.property.disjuncts]
        owners = [disjunct for _, disjunct in boxes.values()]
        self.rows = as_computed(atom_rows(self.property), self.arithmetic)
        ends = self._ends([disjunct.box for disjunct in owners])
        self.couplings, self.rounded = self._coupled(owners)
        if self.rows.rounding.any():
            self.rows = self.rows.charged(self._reach())
        box = np.array(own, dtype=np.int64)[leaves.goal]
        if certificate.kind == "input":
            self._check_halves(*ends, box)
            return
        order = np.argsort(box, kind="stable")
        for number, part in enumerate(np.split(order, np.searchsorted(box[order], np.arange(1, len(boxes))))):
            better = [found for found in certificate.tightenings if found.box == number]
            self._check_signs(number, ends, better, part)

    def _bounded_network(self) -> None:
        """Make the network that is bounded from what was read."""
        given = self.network
        if isinstance(given, PairedNetwork):
            self.network = checked_joint(given)
            self.apart = None if self.arithmetic == "real" else JointErrors(given, self.budget)
        elif given.as_read is not None:
            self.network = simplify(given.as_read)
        if self.certificate.shares:
            self.network = with_logarithms(self.network, self.certificate.shares, self.arithmetic == "real")

    def _check_pair(self) -> None:
        """Refuse a certificate that was recorded for two other networks, joined in another way, or for one."""
        if not isinstance(self.network, PairedNetwork):
            if self.certificate.pair:
                raise CertificateError("The certificate is of two networks in one graph, and the query is not.")
            return
        names = "first network", "second network", "way to join both"
        for name, claimed, found in zip(
            names, self.certificate.pair or [""] * 3, pair_digests(self.network), strict=True
        ):
            if claimed != found:
                raise CertificateError(f"The certificate is of another {name}.")

    def _check_signs(self, number: int, ends: Ends, better: list[Tightening], chosen: np.ndarray) -> None:
        """Prove the chosen leaves, parts of one box in which neurons have fixed signs."""
        own = slice(number, number + 1)
        floats = self.floats.derive(self.rows.boxes.at(own).range, better, couplings=_some(self.rounded, own))
        ends, couplings = (ends[0][own], ends[1][own]), _some(self.couplings, own)

        @cache
        def known(short: bool) -> tuple[CheckedRanges, np.ndarray]:
            return self._both(floats, ends, couplings, short, better)

        def work(first: int, last: int) -> None:
            self._prove(chosen[first:last], lambda _, short: known(short))

        self.model.blocks(len(chosen), work)

    def _check_halves(self, lower: np.ndarray, upper: np.ndarray, box: np.ndarray) -> None:
        """Prove all leaves, each a part of a box of its own; box: of which."""
        splits, rounded = self.certificate.leaves.splits, self.rows.boxes.range
        # Neighbours in the tree are alike, and so are the magnitudes of their values, which a block shares.
        chosen = np.lexsort((*splits.T[::-1], box))

        def ranges(part: np.ndarray, short: bool) -> tuple[CheckedRanges, np.ndarray]:
            own = box[part]
            floats = halved(Numbers(False), rounded[0][own], rounded[1][own], splits[part])
            if self.arithmetic == "real":
                ends = halved(self.numbers, lower[own], upper[own], splits[part])
            else:
                # Exact middles might be others, and the arithmetic's errors are bounded on these parts.
                ends = self.numbers.of(floats[0]), self.numbers.of(floats[1])
            derived = self.floats.derive(floats, couplings=_some(self.rounded, own))
            return self._both(derived, ends, _some(self.couplings, own), short)

        def work(first: int, last: int) -> None:
            self._prove(chosen[first:last], ranges)

        self.model.blocks(len(chosen), work, _BOXES)

    def _both(
        self,
        floats: CheckedRanges,
        ends: Ends,
        couplings: CheckedCouplings | None,
        short: bool,
        better: Sequence[Tightening] = (),
    ) -> tuple[CheckedRanges, np.ndarray]:
        """The ranges over boxes from those in float64, and what the network's own arithmetic changes in each output."""
        ranges = self.model.derive(ends, better, floats, couplings, short) if self.numbers.exact else floats
        return ranges, self.numbers.of(self._error(floats))

    def _error(self, floats: CheckedRanges) -> np.ndarray:
        """What the network's own arithmetic changes in each output over each box; two networks are computed apart."""
        if self.apart is not None:
            return self.apart(floats.lower[0], floats.upper[0], self.arithmetic)
        return evaluation_error(self.floats, floats, self.arithmetic)

    def _prove(self, part: np.ndarray, ranges: Callable[[np.ndarray, bool], tuple[CheckedRanges, np.ndarray]]) -> None:
        """Raise CertificateError unless the atoms of some leaves are positive over their ranges: those of short
        numbers where these suffice, else of long ones.
        """
        count, leaves, margin = len(part), self.certificate.leaves, self.numbers.number(0)
        for short in (True, False) if self.model.is_short else (False,):
            margin, strict = self._margins(part, *ranges(part, short))
            proven = np.where(strict, margin >= 0, margin > 0).astype(bool)
            known = margin[proven] if short else margin
            if len(known):
                self.worst = min(self.worst, self.numbers.shown(np.min(known)))
            part, margin = part[~proven], margin[~proven]
            if not len(part):
                break
        self.done += count
        self.budget.run.say(f"{self.done} of {len(leaves)} leaves", self.done, len(leaves))
        if len(part):
            raise CertificateError(
                f"Leaf {part[0]} shows atom {leaves.atom[part[0]]} of disjunct {leaves.goal[part[0]]} only above "
                f"{self.numbers.shown(margin[0]):.6g}, which does not exclude it."
            )

    def _margins(self, part: np.ndarray, ranges: CheckedRanges, error: np.ndarray) -> tuple[Any, np.ndarray]:
        """Lower bounds of the atoms of some leaves over their ranges, and which of them are strict."""
        leaves = self.certificate.leaves
        pairs = list(zip(leaves.goal[part].tolist(), leaves.atom[part].tolist(), strict=True))
        distinct = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
        which = np.array([distinct[pair] for pair in pairs])
        objective, offset, strict = (np.stack(parts)[which] for parts in zip(*map(self._row, distinct), strict=True))
        # What the network's own arithmetic can take from the atom; the factor covers that this product is rounded.
        least = offset - self.numbers.number(1.0000001) * np.sum(abs(objective) * error, axis=-1)
        fixed = self._fixed(part) if self.certificate.kind == "neuron" else ()
        start, size = {len(self.model.network.nodes) - 1: objective}, self.numbers.size(least)

        def margins(anew: bool) -> np.ndarray:
            lines = ranges.chosen(self.certificate.columns, leaves.slopes[part], fixed, anew)
            return ranges.sweep(lines, None, start, least, size, fixed)

        margin = margins(False)
        if self.model.alone and fixed and (margin <= 0).any():
            # Slopes of differences may have been chosen with the signs known, or without.
            margin = np.maximum(margin, margins(True))
        return margin, strict

    def _ends(self, boxes: list[ExactBox]) -> tuple[np.ndarray, np.ndarray]:
        """The ends of boxes [boxes, inputs], exact, or rounded outward, or to what the network is run on."""
        if not self.numbers.exact or self.arithmetic != "real":
            low, high = self.rows.boxes.range
            return self.numbers.of(low), self.numbers.of(high)
        shape = len(boxes), self.network.input_size
        lower, upper = (list(chain(*side)) for side in zip(*(box.range for box in boxes), strict=True))
        return self.numbers.fractions(lower, shape, up=False), self.numbers.fractions(upper, shape, up=True)

    def _coupled(self, owners: Sequence[Disjunct]) -> tuple[CheckedCouplings | None, CheckedCouplings | None]:
        """The couplings of the inputs of some disjuncts, in the checker's numbers and in float64.

        Raises: InputError for other sets than boxes and couplings.
        """
        if all(owner.cut is None for owner in owners):
            return None, None
        check_regions(self.property)
        return coupled(self.numbers, self.rows, owners, self.arithmetic), coupled(Numbers(False), self.rows, owners)

    def _reach(self) -> np.ndarray:
        """Bounds on the size of the outputs over whole boxes, [boxes]."""
        lower, upper = self.rows.boxes.range
        largest = np.zeros(len(lower))

        def work(first: int, last: int) -> None:
            ranges = self.floats.derive((lower[first:last], upper[first:last]))
            largest[first:last] = output_reach(ranges, self._error(ranges))

        self.model.blocks(len(lower), work, _BOXES)
        return largest

    def _row(self, pair: tuple[int, int]) -> tuple[np.ndarray, Any, bool]:
        """Objective [outputs] and offset of an atom, and whether it is strict."""
        goal, position = pair
        if position >= len(self.property.disjuncts[goal].atoms):
            return self._combined(goal, position - len(self.property.disjuncts[goal].atoms))
        atom = self.property.disjuncts[goal].atoms[position]
        if not self.numbers.exact:
            row = self.rows.disjuncts[goal][position]
            return self.rows.objective[row], self.rows.offset[row], atom.strict
        values = [Fraction(0)] * self.network.output_size
        for index, coefficient in atom.terms:
            values[index] += coefficient
        # Cleared of denominators that are no power of two, the objective is exact.
        scale = cleared(values)
        objective = self.numbers.fractions([value * scale for value in values], (len(values),), up=False)
        return objective, self.numbers.fractions([atom.constant * scale], (), up=False), atom.strict

    def _combined(self, goal: int, number: int) -> tuple[np.ndarray, Any, bool]:
        """A sum of a disjunct's rows, which holds where all its atoms do."""
        weights, rows = self.certificate.combinations[number], list(self.rows.disjuncts[goal])
        found = None
        if len(weights) >= len(rows) and not weights[len(rows) :].any():
            found = combined(self.rows.objective[rows], self.rows.offset[rows], weights[: len(rows)])
        if found is None:
            raise CertificateError(f"Combination {number} is not one of the atoms of disjunct {goal} in float64.")
        return self.numbers.of(found[0]), self.numbers.number(found[1]), False

    def _fixed(self, part: np.ndarray) -> list[Fixed | None]:
        """The neurons with a fixed sign, activation by activation."""
        codes = self.certificate.leaves.splits[part].astype(np.int64)
        row, column = np.nonzero(codes)
        sign, neuron = np.sign(codes[row, column]), abs(codes[row, column]) - 1
        shift, one = sign * self.numbers.of(self.certificate.leaves.beta[part][row, column]), self.numbers.number(1)
        fixed, first = [], 0
        for node, kind in zip(self.model.network.functions, self.model.kinds, strict=True):
            size = kind.operands * node.size
            here = np.flatnonzero((neuron >= first) & (neuron < first + size))
            entry = neuron[here] - first
            slope = None
            if len(here):
                assert isinstance(kind, CheckedKink), "leaves fix signs of kinks only"
                slope = np.where(sign[here] > 0, one, np.broadcast_to(kind.left(self.numbers), (node.size,))[entry])
            fixed.append(None if slope is None else Fixed(row[here], entry, slope, shift[here], sign[here] > 0))
            first += size
        return fixed


def _some(couplings: CheckedCouplings | None, boxes: np.ndarray | slice) -> CheckedCouplings | None:
    return None if couplings is None else couplings.at(boxes)
