"""Certified actions of the policies of the shared data set, beside what attacks leave, on one thread.

    python -m benchmarks.policies [--only NAME ...] [--states N] [--repeat N] [--no-attack] [--json FILE]

Every policy with discrete actions plays ten episodes or more in gymnasium (LunarLander needs Box2D); so
many of the states that it visited are drawn, and noise of three radii around each is certified in one call of
`certify_policy`, branch and bound included. Features may change by shares of their standard deviation over the visited
states. An action that stays is certified, one that does not has an input that shows it, and what has neither is open;
the attacks of `admm_verify.attacks` are run on all of them besides. Seconds are of CPU; the rate counts states, all
three radii of a state as one, and in pairs of a state and a radius.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.attacks.search import attack
from admm_verify.attacks.targets import Targets
from admm_verify.policies.certify_actions import certify_actions
from admm_verify.text_tables import table
from benchmarks.shares import RESULTS, environment, least_seconds, write_json
from problems.lp_instances import shared_folder

EPISODES = 10


@dataclass(frozen=True)
class Agent:
    """A policy's file and environment, and shares of the features' spread at which most actions are neither certain nor
    hopeless.
    """

    file: str
    environment: str
    shares: tuple[float, float, float] = (0.01, 0.03, 0.1)

    @property
    def name(self) -> str:
        return Path(self.file).parent.name


AGENTS = (
    *(Agent(f"sb3/{kind}-CartPole-v1/CartPole-v1.zip", "CartPole-v1") for kind in ("a2c", "ars", "dqn", "ppo", "trpo")),
    Agent("sb3/ppo-Acrobot-v1/Acrobot-v1.zip", "Acrobot-v1", (0.1, 0.3, 0.6)),
    Agent("sb3/ppo-LunarLander-v2/LunarLander-v2.zip", "LunarLander-v3", (0.005, 0.01, 0.05)),
    Agent("sb3/ppo-MountainCar-v0/MountainCar-v0.zip", "MountainCar-v0", (0.03, 0.1, 0.3)),
    Agent("dqn_cartpole/policy.npz", "CartPole-v1"),
    Agent("dqn_lunarlander/policy.npz", "LunarLander-v3", (0.001, 0.003, 0.01)),
    Agent("ppo_cartpole/policy.npz", "CartPole-v1"),
)


@dataclass(frozen=True)
class Measured:
    """What became of the states of an agent, radius by radius.

    attacked: how many the attacks change; None where they were not run. states_a_second: all radii of a state as one.
    """

    name: str
    states: int
    shares: list[float]
    certified: list[int]
    falsified: list[int]
    open: list[int]
    attacked: list[int] | None
    seconds: float

    @property
    def states_a_second(self) -> float:
        return self.states / self.seconds

    @property
    def row(self) -> list[str]:
        """For the table."""
        numbers = [self.certified, self.falsified, self.open, self.attacked or "-"]
        texts = [" ".join(map(str, one)) for one in numbers]
        return [self.name, *texts, f"{self.states_a_second:.0f}", f"{3 * self.states_a_second:.0f}"]


def visited(policy: av.Policy, name: str, count: int) -> np.ndarray:
    """States of ten or more episodes of the policy, drawn without repetition, [count, inputs]."""
    import gymnasium

    world, found, episode = gymnasium.make(name), [], 0
    while episode < EPISODES or len(found) < count:
        observation, _ = world.reset(seed=episode)
        episode, ended = episode + 1, False
        while not ended:
            found.append(observation)
            observation, _, terminated, truncated, _ = world.step(int(policy(observation[None])[0]))
            ended = terminated or truncated
    world.close()
    return np.array(found)[np.random.default_rng(0).choice(len(found), count, replace=False)]


def attacked(policy: av.Policy, states: np.ndarray, reach: np.ndarray) -> int:
    """How many actions the attacks change within a reach [inputs]."""
    kind, actions = policy.actions, policy(states)
    assert isinstance(kind, av.DiscreteActions)
    own = np.repeat(np.arange(len(states)), kind.count - 1)
    eye = np.eye(kind.count)
    rows = np.concatenate([eye[a] - np.delete(eye, a, axis=0) for a in actions])[:, None, :]
    centres = states.astype(policy.network.element_type).astype(np.float64)
    boxes = av.Box.around(centres[own], reach)
    points = attack(policy.network, Targets(boxes, rows, np.zeros((len(own), 1)))).x
    return len(np.unique(own[policy(points) != actions[own]]))


def measured(agent: Agent, count: int, repeat: int, attacks: bool) -> Measured:
    """One agent; of several runs the fastest counts."""
    policy = av.read_policy(shared_folder() / "data" / "rl" / agent.file)
    states = visited(policy, agent.environment, count)
    reach = np.array(agent.shares)[:, None] * states.std(axis=0)
    found = certify_actions(policy, states, reach)
    seconds = least_seconds(lambda: certify_actions(policy, states, reach), repeat)
    verified, falsified = found.count(av.Answer.VERIFIED), found.count(av.Answer.FALSIFIED)
    undecided = (count - verified - falsified).tolist()
    hit = [attacked(policy, states, one) for one in reach] if attacks else None
    return Measured(
        agent.name, count, list(agent.shares), verified.tolist(), falsified.tolist(), undecided, hit, seconds
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", default=[agent.name for agent in AGENTS])
    parser.add_argument("--states", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-attack", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS / "policies.json")
    options = parser.parse_args()
    chosen = [agent for agent in AGENTS if agent.name in options.only]
    found = [measured(agent, options.states, options.repeat, not options.no_attack) for agent in chosen]
    head = ["policy", "certified", "falsified", "open", "attacked", "states/s", "pairs/s"]
    print(table(head, [one.row for one in found]))
    rows = [asdict(one) | {"states_a_second": one.states_a_second} for one in found]
    write_json(options.json, {"environment": environment(), "policies": rows})


if __name__ == "__main__":
    main()
