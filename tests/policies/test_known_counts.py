"""A policy of the shared data set whose certified actions mixed-integer programs have counted."""

import json

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.attacks.search import attack
from admm_verify.attacks.targets import Targets
from tests.policies.test_certify_policy import certify_policy
from tests.shared import SHARED, needs_shared

pytestmark = [pytest.mark.data, needs_shared]

FOLDER = SHARED / "baselines" / "reach"


@pytest.fixture(scope="module")
def cartpole():
    """The policy, 200 states that it visited, and the counts by radius."""
    known = json.loads((FOLDER / "cartpole_acr.json").read_text())
    weights = np.load(FOLDER / "cartpole_ppo_policy.npz")
    module = torch.nn.Sequential(*(layer for _ in range(2) for layer in (torch.nn.Linear(1, 1), torch.nn.ReLU())))
    module.append(torch.nn.Linear(1, 1))
    for name in weights.files:
        number, kind = name.split(".")
        setattr(module[int(number)], kind, torch.nn.Parameter(torch.from_numpy(weights[name])))
    network = av.trace(module, torch.zeros(1, 4))
    return av.Policy(network, av.DiscreteActions(2)), np.array(known["states"]), known["eps_linf_on_raw_obs"]


def attack_free(policy, states, radius):
    """How many states all attacks leave the action at."""
    actions = policy(states)
    boxes = av.Box.around(states.astype(np.float32).astype(np.float64), radius)
    rows = (np.eye(2)[actions] - np.eye(2)[1 - actions])[:, None, :]
    found = attack(policy.network, Targets(boxes, rows, np.zeros((len(states), 1)))).x
    return int(np.sum(policy(found) == actions))


@pytest.mark.parametrize("radius", ["0.005", "0.01", "0.02", "0.05"])
def test_as_many_actions_are_certified_as_mixed_integer_programs_do(cartpole, radius):
    policy, states, known = cartpole
    counts = []
    for bounds in ("interval", "crown"):
        plain = av.PolicySettings(bounds=bounds, max_passes=0, search=None)
        counts.append(int(certify_policy(policy, states, [float(radius)], settings=plain).count("verified")[0]))
    found = certify_policy(policy, states, [float(radius)], settings=av.PolicySettings(search=60.0))
    counts += [int(found.count("verified")[0]), attack_free(policy, states, float(radius))]
    assert counts == sorted(counts)
    assert counts[2] == known[radius]["certified_of_200"]["milp"]
    assert counts[3] == counts[2] == 200 - found.count("falsified")[0]
