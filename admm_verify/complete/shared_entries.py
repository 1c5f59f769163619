"""Numbers that several activations read, as the operands of a difference that rectifiers read too: split once, they are
cut wherever they are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.network.graph import Network
from admm_verify.network.selection import SelectionMap
from admm_verify.relaxations.registry import facts_of


@dataclass(frozen=True, eq=False)
class SharedEntries:
    """own[k]: of every entry that function k of several operands reads, the entry of activation of[k] that is the same
    number; -1 where none is.

    Shapes: own[k], of[k] [m n_k], for such functions alone.
    """

    own: dict[int, np.ndarray]
    of: dict[int, np.ndarray]

    @classmethod
    def within(cls, network: Network) -> "SharedEntries":
        """Those that are placed beside each other, entry by entry, of nodes that activations with kinks read."""
        readers = {node.source: k for k, node in enumerate(network.functions) if facts_of(node).kinked}
        own, of = {}, {}
        for k, node in enumerate(network.functions):
            source = network.affine[node.source]
            maps = [term.map for term in source.terms]
            if node.operands == 1 or to_numpy(source.bias).any():
                continue
            gathers = [to_numpy(map.gather) for map in maps if isinstance(map, SelectionMap)]
            used = [gather < map.columns for gather, map in zip(gathers, maps, strict=False)]
            if len(gathers) < len(maps) or np.sum(used, axis=0).max(initial=0) > 1:
                continue
            entry, reader = np.full(source.size, -1), np.full(source.size, -1)
            for term, gather, here in zip(source.terms, gathers, used, strict=True):
                if term.source in readers:
                    entry[here], reader[here] = gather[here], readers[term.source]
            own[k], of[k] = entry, reader
        return cls(own, of)

    def cut(self, lower: list[np.ndarray], upper: list[np.ndarray]) -> None:
        """Cut the ends of operands with those of the same numbers elsewhere, in place, [parts, n_k] each."""
        for k, entry, other, here in self._pairs():
            lower[k][:, here] = np.maximum(lower[k][:, here], lower[other][:, entry])
            upper[k][:, here] = np.minimum(upper[k][:, here], upper[other][:, entry])

    def moved(
        self, gains: Sequence[np.ndarray | None], lower: Sequence[np.ndarray], upper: Sequence[np.ndarray]
    ) -> list[np.ndarray | None]:
        """Gains of splits, [parts, n_k], those of such operands where their numbers are split.

        Once the signs of these are known, a function of them has nothing to gain by its other operands.
        """
        found = list(gains)
        for k, entry, other, here in self._pairs():
            own, there = gains[k], found[other]
            if own is None or there is None:
                continue
            raised = there.copy()
            np.add.at(raised.T, entry, own[:, here].T)
            # What is stable has no sign to fix.
            found[other] = np.where((lower[other] < 0) & (upper[other] > 0), raised, there)
            found[k] = np.zeros_like(own)
        return found

    def _pairs(self) -> list[tuple[int, np.ndarray, int, np.ndarray]]:
        """Function, entries of an activation, that activation, and which operands they are."""
        pairs = []
        for k, own in self.own.items():
            for other in np.unique(self.of[k][own >= 0]):
                here = np.flatnonzero((self.of[k] == other) & (own >= 0))
                pairs.append((k, own[here], int(other), here))
        return pairs
