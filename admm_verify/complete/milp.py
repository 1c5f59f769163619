"""Exact mode: HiGHS's mixed-integer programs say where to look. What they claim is never taken for a proof."""

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.programs.frame import Frame
from admm_verify.programs.integer import IntegerOptimum, Ranges, check_highs, network_minimum
from admm_verify.programs.kinks import Kinks
from admm_verify.relaxations.registry import facts_of, network_lines
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet
from admm_verify.sets.polytopes import Polytopes

_SHARE = 0.4
"""Of the time left that programs take at most."""


def check_programs(network: Network, inputs: InputSet) -> None:
    """Raise InputError for what is no mixed-integer program here, MissingPackageError without highspy."""
    check_highs()
    if not isinstance(inputs, Box | Polytopes):
        raise InputError(
            f"The method 'milp' takes inputs in boxes and under linear constraints; these lie in a "
            f"{type(inputs).__name__}. Use the method 'auto'."
        )
    kinds = {node.kind for node in network.functions if not facts_of(node).kinked}
    if kinds:
        raise InputError(
            f"The method 'milp' takes networks of ReLU, leaky ReLU and PReLU; {network.name} has "
            f"{', '.join(sorted(kinds))}. Use the method 'auto'."
        )


class MixedIntegerMinima:
    """Minima of disjuncts by mixed-integer programs over given pre-activation bounds, one after the other.

    run: for a share of the time that is left; what programs show proves nothing, and a search comes after them.
    """

    def __init__(self, network: Network, disjuncts: Disjuncts, run: Run) -> None:
        self.network, self.disjuncts, self.run = network, disjuncts, run.within(_SHARE)
        self.frame = Frame.of(network)

    def minimum(self, disjunct: int, bounds: PreactivationBounds) -> IntegerOptimum:
        """HiGHS's minimum of the largest atom of one disjunct, given the bounds of its box [1, n_k].

        Raises: MissingPackageError without highspy.
        """
        disjuncts = self.disjuncts
        lines = network_lines(self.network, bounds.lower, bounds.upper)
        none = np.zeros(0)
        low, high = (
            np.concatenate([none, *(to_numpy(end)[0] for end in ends)]) for ends in (bounds.lower, bounds.upper)
        )
        ranges = Ranges(disjuncts.inputs.at(disjunct), Kinks.of(lines), low, high)
        return network_minimum(self.frame, ranges, disjuncts.objective[disjunct], disjuncts.offset[disjunct], self.run)
