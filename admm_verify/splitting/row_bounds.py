"""Rows over several inputs, bounded in stages: what deciders that work so keep of them."""

from dataclasses import dataclass, field

import numpy as np

from admm_verify.arrays import Array, take_rows, to_numpy
from admm_verify.bounds.arithmetic import lowered
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.settings import SolverSettings
from admm_verify.splitting.problem import Problem
from admm_verify.splitting.solution import Solution
from admm_verify.splitting.solve import solve


@dataclass(eq=False)
class RowBounds:
    """Rows c'f(x) + d, each over the inputs of its owner, and the best certified lower bounds found so far.

    bounds: of the layers over the inputs, which may be replaced by better ones. sound: whether a bound in real numbers
    says anything about the network as computed; nothing does before `charge`.
    Shapes: inputs [owners, n]; objective [rows, outputs]; offset, owner, sound, lower [rows].
    """

    network: Network
    inputs: WalkableSet
    objective: Array
    offset: Array
    owner: np.ndarray
    bounds: PreactivationBounds = field(default_factory=lambda: PreactivationBounds((), ()))

    def __post_init__(self) -> None:
        self.sound = np.zeros(len(self.owner), dtype=bool)
        self.lower = np.full(len(self.owner), -np.inf)

    def charge(self, error: Array) -> None:
        """Lower the offsets by what the network's arithmetic takes, at most error [owners, outputs] of each output.

        Where it can overflow, no bound in real numbers says anything about the network as computed.
        """
        owner = self.inputs.placement.put_indices(self.owner)
        self.offset, sound = lowered(self.objective, self.offset, take_rows(error, owner))
        self.sound = to_numpy(sound)

    def problem(self, rows: np.ndarray) -> Problem:
        """Some rows as a problem; rows of one owner share its inputs."""
        owner, place = self.owner[rows], self.inputs.placement
        pick = place.put_indices(owner[:1] if (owner == owner[0]).all() else owner)
        some, bounds = place.put_indices(rows), self.bounds.take(pick)
        objective, offset = (take_rows(part, some) for part in (self.objective, self.offset))
        return Problem(self.network, self.inputs.at(pick), objective, offset, bounds)

    def solve(self, rows: np.ndarray, method: str, passes: int, run: Run) -> Solution:
        """Bound some rows, telling nobody, and keep what is better than before."""
        solution = solve(self.problem(rows), method, settings=SolverSettings(max_passes=passes), run=run.silent())
        found = np.where(self.sound[rows], to_numpy(solution.lower), -np.inf)
        self.lower[rows] = np.maximum(self.lower[rows], found)
        return solution
