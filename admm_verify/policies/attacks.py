"""The attacks by the names that callers choose them by."""

from admm_verify.policies.disturbance import AnyOther, Bias, Disturbance, LeastPreferred, MaximalDifference, Uniform
from admm_verify.policies.greedy import Greedy

ATTACKS = ("random", "bias", "mad", "least", "other", "greedy")
"""What `EvaluateSettings.attacks` may name, cheap ones first."""


def disturbance(name: str, inputs: int, steps: int, corners: int, ahead: int, seed: int) -> Disturbance:
    """The attack of a name on observations of so many inputs."""
