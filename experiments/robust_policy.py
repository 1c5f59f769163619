"""CartPole policies trained with and without certified margins: returns, under attack too, and certified actions.

    python -m experiments.robust_policy [--seed N] [--rollouts N] [--episodes N] [--output FOLDER]

Both policies are trained from nothing by the same algorithm and seed (`problems/train_robust_policy.py`); the robust
one's loss has the hinge on the certified gap of its actions at radius 0.05 besides. Then `av.evaluate_policy` plays
episodes of gymnasium's CartPole-v1 with seeds that training has not seen: the return without noise, the least return
that attacks find at each radius (an estimate of the worst case, not a bound), and the share of observations met without
noise at which the action is certified. Radii are those of boxes in the observation's own units: m, m/s, rad, rad/s.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

import admm_verify as av
from admm_verify.text_tables import table
from problems.train_robust_policy import OBSERVED, Training, train

RESULTS = Path(__file__).parent / "results" / "robust_policy"
RADII = (0.005, 0.01, 0.02, 0.05, 0.1)
TRAININGS = {"plain": 0.0, "robust": 0.2}
"""Weights of the hinge."""
FIRST_SEED = 10_000
"""Of the episodes played."""
STATES = 10_000
ATTACKS = ("random", "mad", "other")


def measured(name: str, training: Training, seed: int, episodes: int) -> dict[str, Any]:
    """A policy trained and evaluated; seconds are those of the processor."""
    began = time.process_time()
    module = train(training, seed)
    trained = time.process_time()
    policy = av.read_policy(module, actions="discrete", shape=(OBSERVED,))
    settings = av.EvaluateSettings(
        episodes=episodes, states=STATES, attacks=ATTACKS, seed=FIRST_SEED, certified_episodes=0
    )
    found = av.evaluate_policy(policy, "CartPole-v1", RADII, settings=settings)
    assert isinstance(found.certification, av.PolicyCertification), "its actions are discrete"
    unknown = found.certification.count(av.Answer.UNKNOWN)
    return {
        "policy": name,
        "weight": training.weight,
        "radii": list(RADII),
        "returns": found.clean.returns.tolist(),
        "mean_return": found.clean_return,
        "attacked_return": found.attacked_return.tolist(),
        "certified_ratio": np.asarray(found.certified_ratio).tolist(),
        "undecided": unknown.tolist(),
        "states": len(found.certification.actions),
        "training_seconds": trained - began,
        "evaluation_seconds": time.process_time() - trained,
    }


def text(found: list[dict[str, Any]]) -> str:
    """A line per policy and radius."""
    rows = [
        [one["policy"], f"{radius:g}", f"{one['mean_return']:.1f}", f"{attacked:.1f}", f"{ratio:.3f}", str(undecided)]
        for one in found
        for radius, attacked, ratio, undecided in zip(
            one["radii"], one["attacked_return"], one["certified_ratio"], one["undecided"], strict=True
        )
    ]
    return table(["policy", "radius", "return", "attacked", "certified ratio", "undecided"], rows)


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Returns and certified ratios against the radius."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for one, colour in zip(found, ("tab:orange", "tab:blue"), strict=True):
        radii = one["radii"]
        left.axhline(one["mean_return"], color=colour, linestyle=":", label=f"{one['policy']}, no noise")
        left.plot(radii, one["attacked_return"], "o-", color=colour, label=f"{one['policy']}, under attack")
        right.plot(radii, one["certified_ratio"], "o-", color=colour, label=one["policy"])
    left.set(xlabel="radius", ylabel="mean return", xscale="log", ylim=(0, 520), title="least return that attacks find")
    right.set(xlabel="radius", xscale="log", ylim=(-0.02, 1.02), title="share of observations with a certified action")
    for axes in (left, right):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Train both, evaluate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--rollouts", type=int, default=Training().rollouts)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = []
    for name, weight in TRAININGS.items():
        training = Training(rollouts=options.rollouts, weight=weight)
        found.append(measured(name, training, options.seed, options.episodes))
        print(f"{name}: {found[-1]['training_seconds']:.1f} CPU s of training", flush=True)
    print(text(found))
    draw(found, options.output / "robust_policy.png")
    report = {"seed": options.seed, "rollouts": options.rollouts, "attacks": ATTACKS, "policies": found}
    (options.output / "robust_policy.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
