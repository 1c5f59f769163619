"""The command `policy`: its options and files."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.arguments import Read, Written, at_least_one, decimal, whole
from admm_verify.bounds.arithmetic import ARITHMETICS
from admm_verify.commands.running import add_running, advise, reading, running, write_record
from admm_verify.errors import InputError, StoppedError, is_installed
from admm_verify.files import every, note_read
from admm_verify.given import read_arrays
from admm_verify.network.layers import network_from_layers
from admm_verify.policies.evaluate_settings import ATTACKS, EvaluateSettings
from admm_verify.policies.policy import DiscreteActions, Policy
from admm_verify.policies.settings import PolicySettings, RadiusUnits
from admm_verify.robustness.settings import BOUNDS
from admm_verify.run import Ended, Stopped
from admm_verify.sets.norm_names import NORMS

if TYPE_CHECKING:
    from admm_verify.policies.certification import PolicyCertification
    from admm_verify.policies.deviation_bounds import DeviationBounds
    from admm_verify.policies.evaluation import PolicyEvaluation

HELP = "policies of reinforcement learning: certified actions, returns under attack"

EXAMPLE = Path(__file__).parents[1] / "report" / "data" / "cartpole.npz"
"""The embedded policy, and observations that it met."""

_NAME = "observations"
"""Of the array in a .npz file of several."""

_RADII = (0.01, 0.05)


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `policy`."""
    parser.add_argument(
        "policy",
        nargs="?",
        type=Read,
        metavar="POLICY",
        help="a .zip of stable-baselines3, or another file of a policy; without it, an embedded one for CartPole-v1",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--env", metavar="ID", help="an environment of gymnasium, in which it is played and attacked")
    where.add_argument(
        "--observations", type=Read, metavar="FILE", help=".npy, or .npz with the array observations: certify these"
    )
    parser.add_argument(
        "--vecnormalize", type=Read, metavar="FILE.pkl", help="the normalisation; default: vecnormalize.pkl beside it"
    )
    parser.add_argument(
        "--actions", choices=("discrete", "continuous"), help="what its outputs are, where the file does not tell"
    )
    _add_noise(parser)
    _add_playing(parser)
    parser.add_argument("--bounds", choices=BOUNDS, help="of pre-activations; default: what pays")
    parser.add_argument("--arithmetic", choices=ARITHMETICS, default="real")
    parser.add_argument(
        "--search", type=decimal, default=1.0, metavar="SECONDS", help="branch and bound per observation; default 1"
    )
    parser.add_argument("--plot", type=Written, metavar="FILE.png", help="returns and certified ratio by radius")
    add_running(parser)


def _add_noise(parser: argparse.ArgumentParser) -> None:
    """What observations may be mistaken for."""
    parser.add_argument(
        "--radii", nargs="+", type=decimal, default=list(_RADII), metavar="R", help="of noise; default 0.01 0.05"
    )
    parser.add_argument("--norm", choices=NORMS, default="linf", help="of noise; default linf: the largest change")
    parser.add_argument(
        "--units",
        choices=[one.value for one in RadiusUnits],
        default="raw",
        help="of radii; normalised: standard deviations of the policy's own normalisation",
    )
    parser.add_argument(
        "--within", nargs=2, type=decimal, metavar=("LOW", "HIGH"), help="range of observations; default: none"
    )


def _add_playing(parser: argparse.ArgumentParser) -> None:
    """What is played, attacked and certified in an environment."""
    parser.add_argument("--episodes", type=at_least_one, default=5, metavar="N", help="with --env; default 5")
    parser.add_argument(
        "--steps", type=at_least_one, default=1000, metavar="N", help="most of an episode; default 1000"
    )
    parser.add_argument(
        "--states", type=at_least_one, default=200, metavar="N", help="observations certified; default 200"
    )
    parser.add_argument(
        "--attacks",
        nargs="*",
        choices=ATTACKS,
        default=list(ATTACKS),
        metavar="NAME",
        help=f"of {', '.join(ATTACKS)}; default: all, for none name none",
    )
    parser.add_argument(
        "--certified-episodes",
        type=whole,
        default=1,
        metavar="N",
        help="whose returns are certified, in CartPole-v1, Pendulum-v1 and MountainCar-v0; default 1",
    )
    parser.add_argument(
        "--return-seconds", type=decimal, default=10.0, metavar="SECONDS", help="for each at every radius; default 10"
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of the first episode; default 0")


def run(options: argparse.Namespace) -> int:
    """Play, attack and certify; the table on stdout, how far it is on stderr."""
    # Other commands answer sooner without these rooms.
    from admm_verify.policies.evaluate import certified_actions, evaluate_policy
    from admm_verify.report.records.policy import PolicyRecord

    if options.plot:
        from admm_verify.report.picture_inputs import checked_path, require_matplotlib
        from admm_verify.report.pictures import FORMATS

        require_matplotlib()
        checked_path(options.plot, FORMATS, "plot")
    settings = _settings(options)
    environment = _environment(options)
    with running(options, options.question()) as how, how.watching():
        policy, observations = _given(options)
        if environment is not None:
            found = evaluate_policy(policy, environment, options.radii, settings=settings, run=how)
            record, advised = PolicyRecord.of_evaluation(found, settings.seed), [found.ended]
        else:
            try:
                found = certified_actions(policy, observations, options.radii, settings, how)
            except Stopped:
                raise StoppedError("Nothing is certified of the actions: the time was up. Allow more.") from None
            record = PolicyRecord.of_actions(policy, found, how.ended() or Ended.COMPLETE)
            advised = list(found.status.flat)
    options.say(record.text)
    advise(options, advised)
    writers: list[Callable[[], object]] = []
    if options.json:
        writers.append(lambda: write_record(options, record, options.arithmetic))
    if options.plot:
        writers.append(lambda: _draw(options.plot, found))
    every(writers)
    return 0


def _settings(options: argparse.Namespace) -> EvaluateSettings:
    certifying = PolicySettings(
        units=options.units,
        within=None if options.within is None else tuple(options.within),
        norm=options.norm,
        bounds=options.bounds,
        arithmetic=options.arithmetic,
        search=options.search,
    )
    return EvaluateSettings(
        episodes=options.episodes,
        steps=options.steps,
        states=options.states,
        attacks=options.attacks,
        seed=options.seed,
        certified_episodes=options.certified_episodes,
        return_seconds=options.return_seconds,
        certifying=certifying,
    )


def _environment(options: argparse.Namespace) -> str | None:
    """What the policy is played in, None where observations are given, or stand beside the embedded policy.

    Raises: InputError where a policy is given without either.
    """
    if options.policy is None:
        given = {"--vecnormalize": options.vecnormalize, "--actions": options.actions}
        for name in (name for name, value in given.items() if value is not None):
            raise InputError(f"{name} is of a policy that is read, and the embedded one is complete: give POLICY.")
    if options.env is not None or options.observations is not None:
        return options.env
    if options.policy is not None:
        raise InputError(
            f"{options.policy} is to be judged somewhere: give --env ID, an environment of gymnasium to play it in, or "
            "--observations FILE with observations to certify it at."
        )
    return "CartPole-v1" if is_installed("gymnasium") else None


def _given(options: argparse.Namespace) -> tuple[Policy, np.ndarray]:
    """The policy, and the observations that it is certified at where it is not played, else none.

    Raises: StoppedError once the time is up.
    """
    try:
        with reading(options):
            if options.policy is None:
                policy, observations = example()
            else:
                from admm_verify.policies.read import read_policy

                policy = read_policy(options.policy, normalisation=options.vecnormalize, actions=options.actions)
                observations = np.zeros((0, policy.network.input_size))
            if options.observations is not None:
                observations = _observations(options.observations)
    except Stopped:
        what = options.policy or "The embedded policy"
        raise StoppedError(f"{what} was not read to its end: the time was up. Allow more.") from None
    return policy, observations


def example() -> tuple[Policy, np.ndarray]:
    """The embedded policy for CartPole-v1, and observations that it met."""
    note_read(EXAMPLE)
    found = read_arrays(EXAMPLE, "embedded policy")
    assert isinstance(found, dict)
    count = sum(name.startswith("W") for name in found)
    weights, biases = ([found[f"{letter}{k}"] for k in range(count)] for letter in "Wb")
    network = network_from_layers(weights, biases, "embedded policy")
    return Policy(network, DiscreteActions(network.output_size)), found[_NAME]


def _observations(path: str) -> np.ndarray:
    """The observations of a file.

    Raises: InputError for a file without any.
    """
    found = read_arrays(path, "file of observations")
    if isinstance(found, np.ndarray):
        return found
    if _NAME in found:
        return found[_NAME]
    if len(found) == 1:
        return next(iter(found.values()))
    held = f"the arrays {', '.join(found)}" if found else "no array"
    raise InputError(
        f"The file of observations {path} holds {held}; save them as the array {_NAME}, as by numpy.savez(file, "
        f"{_NAME}=...), or alone."
    )


def _draw(path: str, found: "PolicyEvaluation | PolicyCertification | DeviationBounds") -> None:
    from admm_verify.report.policy_plots import policy_plot

    policy_plot(path, found)
