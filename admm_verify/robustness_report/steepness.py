"""How steep the network of a report is, and what follows from that alone for its images."""

from dataclasses import dataclass

import numpy as np

from admm_verify.errors import StoppedError
from admm_verify.lipschitz.constant import LipschitzConstant, lipschitz_constant
from admm_verify.lipschitz.layer_table import LayerNorms, layer_norms
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.norm_names import NormName

_SPREAD = {"l1": 1.0, "l2": float(np.sqrt(2.0)) * (1.0 + 1e-15), "linf": 2.0}
"""The dual norm of e_t - e_j: by how much f_t - f_j changes at most when f changes by 1 in the norm."""


@dataclass(frozen=True, eq=False)
class Steepness:
    """Norms of a network's layers and its Lipschitz constants in one norm; None where there was no time.

    constant: certified from above and attained from below. radii: within which no image can change its class, by its
    certified margin m alone: m / (L |e_t - e_j|) with the dual norm, 0 where nothing is certified. Shapes: radii
    [images].
    """

    norm: NormName
    layers: LayerNorms | None
    constant: LipschitzConstant | None
    radii: np.ndarray

    def certified(self, radii: np.ndarray) -> np.ndarray:
        """Which images are certified at which of some radii by the constant alone, [images, radii]."""
        return self.radii[:, None] > radii


def steepness_of(network: Network, norm: NormName, margins: np.ndarray, run: Run) -> Steepness:
    """The steepness of a network of scores, as far as the run allows.

    Shapes: margins [images], certified lower bounds of min over j != t of f_t - f_j at the images, -inf for none.
    """
    layers = constant = None
    try:
        layers = layer_norms(network, norm=norm, run=run.silent())
        if not run.over():
            constant = lipschitz_constant(network, norm=norm, run=run.silent())
    except StoppedError:
        constant = None
    limit = np.inf if layers is None else layers.product
    limit = limit if constant is None else min(limit, constant.upper)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Three roundings.
        found = np.maximum(margins, 0.0) / (limit * _SPREAD[norm]) * (1.0 - 1e-15)
    return Steepness(norm, layers, constant, np.where(margins > 0, np.nan_to_num(found, nan=0.0, posinf=np.inf), 0.0))
