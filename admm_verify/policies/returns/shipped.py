"""Environments of gymnasium, written out."""

from collections.abc import Callable

from admm_verify.policies.returns.known_environments import KnownEnvironment


def cartpole() -> KnownEnvironment:
    """CartPole-v1 of gymnasium: 1 a step until the pole leans more than 12 degrees or the cart is 2.4 from the middle.

    Reference: Barto, Sutton and Anderson, Neuronlike adaptive elements, IEEE Transactions on SMC 13 (1983).
    """
    force = "(u1 + polemass_length * x4**2 * sin(x3)) / total_mass"
    lean = "(gravity * sin(x3) - cos(x3) * temp) / (length * (4 / 3 - masspole * cos(x3)**2 / total_mass))"
    return KnownEnvironment(
        "CartPole-v1",
        [
            "x1 + tau * x2",
            "x2 + tau * (temp - polemass_length * thetaacc * cos(x3) / total_mass)",
            "x3 + tau * x4",
            "x4 + tau * thetaacc",
        ],
        "1",
        ongoing=["2.4 - x1", "2.4 + x1", "12 * 2 * pi / 360 - x3", "12 * 2 * pi / 360 + x3"],
        actions=[[-10.0], [10.0]],
        least_reward=1.0,
        params={
            "gravity": 9.8,
            "masspole": 0.1,
            "total_mass": 1.1,
            "length": 0.5,
            "polemass_length": 0.05,
            "tau": 0.02,
        },
        let=[("temp", force), ("thetaacc", lean)],
        limit=500,
    )


def pendulum() -> KnownEnvironment:
    """Pendulum-v1 of gymnasium: minus angle^2 + 0.1 speed^2 + 0.001 torque^2 a step, for 200 steps."""
    return KnownEnvironment(
        "Pendulum-v1",
        ["x1 + 0.05 * speed", "speed"],
        "-(x1**2 + 0.1 * x2**2 + 0.001 * torque**2)",
        observation=["cos(x1)", "sin(x1)", "x2"],
        least_reward=-16.2736045,
        angles=[0],
        let=[
            ("torque", "max(min(u1, 2), -2)"),
            ("speed", "max(min(x2 + (15 * sin(x1) + 3 * torque) * 0.05, 8), -8)"),
        ],
        limit=200,
    )


def mountain_car() -> KnownEnvironment:
    """MountainCar-v0 of gymnasium: -1 a step until the car is at 0.5 or beyond, for 200 steps.

    At the wall at -1.2 the car stops: a step that would end there or beyond ends there, with no speed to the left.
    """
    return KnownEnvironment(
        "MountainCar-v0",
        ["min(x1 + speed, 0.6)", "speed"],
        "-1",
        ongoing=["max(0.5 - x1, -x2)"],
        actions=[[-1.0], [0.0], [1.0]],
        least_reward=-1.0,
        let=[("speed", "max(min(x2 + (u1 * 0.001 - cos(3 * x1) * 0.0025), 0.07), -0.07)")],
        limit=200,
        jump=("-1.2 - x1 - speed", ["-1.2", "max(speed, 0)"]),
    )


SHIPPED: dict[str, Callable[[], KnownEnvironment]] = {
    "CartPole-v1": cartpole,
    "Pendulum-v1": pendulum,
    "MountainCar-v0": mountain_car,
}
"""Environments of gymnasium that are written out here, by their names."""
