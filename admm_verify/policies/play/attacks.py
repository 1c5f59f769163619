"""The attacks on what policies see, by the names that callers choose them by."""

from admm_verify.policies.evaluate_settings import EvaluateSettings
from admm_verify.policies.play.disturbance import (
    AnyOther,
    Bias,
    Disturbance,
    LeastPreferred,
    MaximalDifference,
    Uniform,
)
from admm_verify.policies.play.greedy import Greedy


def disturbance(name: str, inputs: int, settings: EvaluateSettings) -> Disturbance:
    """The attack of a name, on observations of so many inputs."""
    makers = {
        "random": Uniform,
        "bias": lambda: Bias(inputs, settings.corners, settings.seed),
        "mad": lambda: MaximalDifference(settings.descent),
        "least": lambda: LeastPreferred(settings.descent),
        "other": lambda: AnyOther(settings.descent),
        "greedy": lambda: Greedy(settings.descent, settings.ahead),
    }
    return makers[name]()
