"""What `certify_deviation` tells of policies with continuous actions."""

from dataclasses import dataclass

import numpy as np

from admm_verify.options import member
from admm_verify.policies.settings import RadiusUnits
from admm_verify.run import Ended
from admm_verify.sets.norm_names import NormName
from admm_verify.text_tables import table


@dataclass(frozen=True, eq=False, repr=False)
class DeviationBounds:
    """How far the action can move under noise, observation by observation and radius by radius.

    The deviation at x is D(x) = max over the inputs z near x of |pi(z) - pi(x)|, with the largest entry (linf) or the
    Euclidean length (l2) of the difference: attacked <= D(x) <= certified, the first attained at `worst`, or
    `worst_l2`. low <= pi(z) <= high for all z near x, certified, entry by entry; an entry that does not decide the
    deviation may have loose ends. status: CONVERGED where the search ended with certified at most the larger of
    ratio * attacked and attacked + least, in linf, and in l2 where lengths have a search of their own, but for what the
    arithmetic rounds; all numbers hold whatever it is. ADIV is the average of D(x) over the observations, MAD the
    largest D(x) of them.

    policy: its name. radii: one number for each, in `units`, the largest over the features where these have their own;
    reach: how far each feature may change, in raw units. norm: of the balls.
    Shapes: radii [radii]; reach [radii, inputs]; actions [observations, actions]; low, high [observations, radii,
    actions]; certified, attacked, certified_l2, attacked_l2, status (of `Ended`) [observations, radii]; worst, worst_l2
    [observations, radii, *observation].
    Units: those of the environment's actions.
    Error: low, high and certified are rounded outward; attacked is computed in float64.
    Reference: Zhang et al., NeurIPS 2020 (SA-MDP), whose attack of maximal action difference `attacked` is.
    """

    policy: str
    radii: np.ndarray
    reach: np.ndarray
    actions: np.ndarray
    low: np.ndarray
    high: np.ndarray
    certified: np.ndarray
    attacked: np.ndarray
    worst: np.ndarray
    certified_l2: np.ndarray
    attacked_l2: np.ndarray
    worst_l2: np.ndarray
    status: np.ndarray
    least: float
    subproblems: int
    seconds: float
    units: RadiusUnits = RadiusUnits.RAW
    norm: NormName = "linf"

    def __post_init__(self) -> None:
        given = np.asarray(self.status, dtype=object)
        status = np.empty(given.shape, dtype=object)
        status.reshape(-1)[:] = [member(one, "The status of a deviation", Ended) for one in given.reshape(-1)]
        object.__setattr__(self, "status", status)

    @property
    def ratio(self) -> np.ndarray:
        """certified / attacked in linf, [observations, radii]; 1 where certified <= least, as for clipped actions that
        no noise moves, and infinite where nothing but a larger bound is known.
        """
        return _ratio(self.certified, self.attacked, self.least)

    @property
    def ratio_l2(self) -> np.ndarray:
        """The same in l2."""
        return _ratio(self.certified_l2, self.attacked_l2, self.least)

    @property
    def adiv(self) -> np.ndarray:
        """Ends of ADIV, the average deviation over the observations, in linf: attacked, certified, [2, radii]."""
        return np.stack([self.attacked.mean(axis=0), self.certified.mean(axis=0)])

    @property
    def mad(self) -> np.ndarray:
        """Ends of MAD, the largest deviation over the observations, in linf: attacked, certified, [2, radii]."""
        return np.stack([self.attacked.max(axis=0), self.certified.max(axis=0)])

    def table(self) -> str:
        """A line per radius."""
        cells = []
        for k, radius in enumerate(self.radii):
            ends = [f"{low:.4g} .. {high:.4g}" for low, high in (self.adiv[:, k], self.mad[:, k])]
            done = sum(one is Ended.CONVERGED for one in self.status[:, k])
            ratio = self.ratio[:, k]
            cells.append([f"{radius:g}", *ends, f"{np.median(ratio):.3f}", f"{ratio.max():.3f}", str(done)])
        return table(["radius", "ADIV", "MAD", "median ratio", "largest", "converged"], cells)

    def __repr__(self) -> str:
        """A line per radius, and what the columns are."""
        lines = [
            f"Deviation of {self.policy} at {len(self.actions)} observations, {self.norm} noise, {self.seconds:.2f} s",
            "ADIV, MAD: average and largest deviation of an action's entry, attacked .. certified",
            self.table(),
        ]
        return "\n".join(lines)


def _ratio(certified: np.ndarray, attacked: np.ndarray, least: float) -> np.ndarray:
    some = attacked > 0
    found = np.where(some, certified / np.where(some, attacked, 1.0), np.inf)
    return np.where(certified <= least, 1.0, np.maximum(found, 1.0))
