"""Certified and yet broken: told apart from what rounding does to a network, and raised."""

import numpy as np

from admm_verify.bounds.points import at_points
from admm_verify.errors import ContradictionError
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness.instances import Instances


def rounded_over(instances: Instances, found: Counterexample, radius: float, by: str, arithmetic: str) -> None:
    """Return where an input of a ball that is certified in real numbers has another class by rounding alone: in real
    numbers the label's output is larger there.

    by: what found it. arithmetic: of the certificate.
    Raises: ContradictionError otherwise.
    """
    point = found.input.reshape(1, -1).astype(np.float64)
    if arithmetic == "real":
        at = at_points(instances.network, point, np.zeros(point.shape[1]), "real")
        least, most = (at.value + sign * at.error for sign in (-1.0, 1.0))
        others = np.delete(most[0], found.label)
        # One rounding of the sums above is below a step of either number.
        if (np.nextafter(least[0, found.label], -np.inf) > np.nextafter(others, np.inf)).all():
            return
    raise ContradictionError(
        f"Image {found.image} is certified at radius {radius:g}, but {by} found an input of that ball, at distance "
        f"{found.distance:.6g}, to which {instances.network.name} gives class {found.prediction} instead of "
        f"{found.label}. One of the two is wrong, and no report is made of them: if certificates were read from an "
        "earlier run's file, delete it and run again; if it stays, this is a fault of admm_verify. Please report it "
        "with the network and the image."
    )
