"""Convolutional agents beside auto_LiRPA's CROWN and alpha-CROWN on stored frames, one thread, in one process.

    python -m benchmarks.conv_policies --lirpa PATH [--only NAME] [--frames N] [--alpha N] [--everywhere N]
                                      [--double] [--json FILE]

PATH is a folder that holds the package auto_LiRPA whose dependencies can be imported here. Agents, of the shared data
set (ADMM_VERIFY_SHARED): PPO on Super Mario Bros (84 x 84 x 4, ReLU), A3C on Pong (80 x 80, ELU and a GRU, whose state
is an input set of its own on our side, a point, and written out as zeros on theirs). Around every stored frame, within
[0, 1], at three radii: is the action certified?

First `certify_policy` on all frames and radii in one call. Then frame by frame and radius by radius both sides bound
all differences of scores, each piece from scratch: CROWN; slopes optimised over CROWN's pre-activation bounds, 50
passes of ascent beside 20 iterations of alpha-CROWN; and, on the first frames of `--everywhere` at the middle radius,
those bounds optimised too, our tightened ones beside alpha-CROWN's default call. Theirs are without rounding terms, and
in float32 unless `--double` asks for float64. They have no ELU; `lirpa_elu` gives them one.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import admm_verify as av
from admm_verify.bounds.preactivation import derived_bounds, input_rows
from benchmarks.lirpa import load
from benchmarks.lirpa_elu import register_elu
from benchmarks.shares import RESULTS, environment, write_json
from problems.lp_instances import shared_folder

ITERATIONS, PATIENCE = 20, 1000
PASSES = 50
PAIRS = {"crown": "peer_crown", "ascent": "peer_alpha", "tightened": "peer_everywhere"}
RADII = {"ppo_mario_1_1": (0.0001, 0.0002, 0.0003), "a3c_atari_pong": (0.0004, 0.0006, 0.0008)}


@dataclass(frozen=True, eq=False)
class Agent:
    """A policy and the frames stored beside it, [frames, channels, height, width] in float32."""

    name: str
    policy: av.Policy
    frames: np.ndarray
    arrays: dict[str, np.ndarray]

    @classmethod
    def of(cls, name: str, frames: int) -> "Agent":
        folder = shared_folder() / "data" / "rl" / name
        with np.load(folder / "states.npz") as stored, np.load(folder / "policy.npz") as arrays:
            return cls(name, av.read_policy(folder), stored["states"][:frames], dict(arrays))

    @property
    def actions(self) -> np.ndarray:
        return self.policy(self.policy.joined(self.frames))

    def rows(self, frame: int) -> np.ndarray:
        """Score of the action less that of each other one, [actions - 1, actions]."""
        own, identity = int(self.actions[frame]), np.eye(self.policy.network.output_size)
        return np.delete(identity[own] - identity, own, axis=0)

    @property
    def within(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of pixels, and of the state of a GRU, one of each input."""
        ones = np.ones((1, *self.frames.shape[1:]))
        return self.policy.joined(0.0 * ones, -1.0)[0], self.policy.joined(ones, 1.0)[0]

    def ends(self, frame: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the pixels near a frame, [channels, height, width] in float32, for both sides.

        Radii are so small that rounding these ends moves bounds in the fourth digit.
        """
        x, step = self.frames[frame], np.float32(radius)
        return np.maximum(x - step, np.float32(0.0)), np.minimum(x + step, np.float32(1.0))

    def box(self, frame: int, radius: float) -> av.Product | av.Box:
        """What is near a frame; behind it the state, which is known."""
        pixels = av.Box(*(end.reshape(-1).astype(np.float64) for end in self.ends(frame, radius)))
        state = np.zeros(self.policy.memory)
        return av.Product(pixels, av.Box(state, state)) if self.policy.memory else pixels


class Twin(nn.Module):
    """The agent for auto_LiRPA, in torch's own layers, and a GRU's step from a state of zeros written out."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        own = {name: torch.as_tensor(part) for name, part in agent.arrays.items()}
        self.recurrent = bool(agent.policy.memory)
        layers: list[nn.Module] = []
        for k in range(1, 5):
            weight = own[f"conv{k}.weight"]
            layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], 2, 1)
            layer.weight.data, layer.bias.data = weight, own[f"conv{k}.bias"]
            layers += [layer, nn.ELU() if self.recurrent else nn.ReLU()]
        self.images = nn.Sequential(*layers, nn.Flatten())
        self.last = _linear(own["actor_linear.weight"], own["actor_linear.bias"])
        if not self.recurrent:
            self.middle = _linear(own["linear.weight"], own["linear.bias"])
            return
        weights = own["gru.weight_ih"].chunk(3)
        biases, shifts = own["gru.bias_ih"].chunk(3), own["gru.bias_hh"].chunk(3)
        self.reset, self.update = (_linear(weights[i], biases[i] + shifts[i]) for i in (0, 1))
        self.candidate, self.shift = _linear(weights[2], biases[2]), nn.Parameter(shifts[2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.images(x)
        if not self.recurrent:
            return self.last(self.middle(seen))
        reset, update = torch.sigmoid(self.reset(seen)), torch.sigmoid(self.update(seen))
        candidate = torch.tanh(self.candidate(seen) + reset * self.shift)
        return self.last(candidate - update * candidate)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return layer


class Peer:
    """auto_LiRPA on an agent's frames."""

    def __init__(self, agent: Agent, dtype: torch.dtype) -> None:
        from auto_LiRPA import BoundedModule

        register_elu()
        self.agent, self.frames = agent, torch.as_tensor(agent.frames).to(dtype)
        module = Twin(agent).eval().to(dtype)
        with torch.no_grad():
            ours = agent.policy.network(agent.policy.joined(agent.frames))
            np.testing.assert_allclose(module(self.frames).numpy(), ours, rtol=1e-3, atol=1e-4)
        # Their sparse slopes fail an assertion of theirs where activations of convolutions are no ReLUs.
        options = {"sparse_intermediate_bounds": not module.recurrent}
        self.recurrent = module.recurrent
        self.module = BoundedModule(module, self.frames[:1], bound_opts=options, device="cpu", verbose=0)

    def crown(self, frame: int, radius: float) -> np.ndarray:
        """CROWN's bounds of the rows."""
        with torch.no_grad():
            return self._lower(frame, radius, "CROWN", None)

    def alpha(self, frame: int, radius: float) -> np.ndarray:
        """Those of alpha-CROWN over CROWN's pre-activation bounds, which are computed first."""
        self.crown(frame, radius)
        before = [node for reader in self.module.get_enabled_opt_act() for node in reader.inputs]
        known = {
            node.name: (node.lower.detach().clone(), node.upper.detach().clone())
            for node in before
            if node.lower is not None
        }
        return self._lower(frame, radius, "CROWN-Optimized", known)

    def everywhere(self, frame: int, radius: float) -> np.ndarray:
        """Those of its default call, which optimises pre-activation bounds too."""
        return self._lower(frame, radius, "CROWN-Optimized", None)

    def _lower(self, frame: int, radius: float, method: str, known: Any) -> np.ndarray:
        from auto_LiRPA import BoundedTensor, PerturbationLpNorm

        x = self.frames[frame : frame + 1]
        lower, upper = (torch.as_tensor(end)[None].to(x.dtype) for end in self.agent.ends(frame, radius))
        inputs = (BoundedTensor(x, PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper)),)
        rows = torch.as_tensor(self.agent.rows(frame), dtype=x.dtype)[None]
        arguments: dict[str, Any] = {"iteration": ITERATIONS, "lr_alpha": 0.5, "early_stop_patience": PATIENCE}
        # Fixed bounds do not read slopes of inner layers' rows, which take more than 9 GB here unless shared.
        arguments["use_shared_alpha"] = known is not None and self.recurrent
        arguments["fix_interm_bounds"] = known is not None
        self.module.set_bound_opts({"optimize_bound_args": arguments})
        found, _ = self.module.compute_bounds(x=inputs, C=rows, method=method, bound_upper=False, interm_bounds=known)
        return found.detach().numpy().ravel().astype(np.float64)


@dataclass(frozen=True)
class Batch:
    """`certify_policy` on all frames and radii: least certified bounds [frames, radii], answers, CPU seconds."""

    bounds: str
    lower: list[list[float]]
    status: list[list[str]]
    certified: list[int]
    seconds: float


@dataclass(frozen=True)
class Compared:
    """One frame and radius: bounds of all rows, and CPU seconds."""

    frame: int
    radius: float
    lower: dict[str, list[float]]
    seconds: dict[str, float]


def batch(agent: Agent, radii: tuple[float, ...], bounds: str) -> Batch:
    """Ours, in one call."""
    observations = agent.policy.joined(agent.frames)
    reach = np.stack([agent.policy.joined(np.full((1, *agent.frames.shape[1:]), radius))[0] for radius in radii])
    settings = av.PolicySettings(within=agent.within, bounds=bounds, search=None)
    began = time.process_time()
    found = av.certify_policy(agent.policy, observations, reach, settings=settings, run=av.Run(threads=1))
    seconds = time.process_time() - began
    assert isinstance(found, av.PolicyCertification), "its actions are discrete"
    status = [[answer.value for answer in row] for row in found.status]
    return Batch(bounds, found.lower.tolist(), status, found.count(av.Answer.VERIFIED).tolist(), seconds)


def ours(agent: Agent, frame: int, radius: float, bounds: str, passes: int) -> np.ndarray:
    """Our bounds of the rows, as `certify_policy` makes them."""
    one, network = av.Run(threads=1), agent.policy.network
    known = derived_bounds(network, input_rows(network, agent.box(frame, radius)), bounds, one)
    problem = av.Problem(network, agent.box(frame, radius), agent.rows(frame), preactivation=known)
    return np.asarray(av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=passes), run=one).lower)


def compare(agent: Agent, peer: Peer, frame: int, radius: float, pairs: Sequence[str]) -> Compared:
    """Both sides on one frame and radius, each piece of some pairs once."""
    pieces: dict[str, Callable[[], np.ndarray]] = {
        "crown": lambda: ours(agent, frame, radius, "crown", 0),
        "peer_crown": lambda: peer.crown(frame, radius),
        "ascent": lambda: ours(agent, frame, radius, "crown", PASSES),
        "peer_alpha": lambda: peer.alpha(frame, radius),
        "tightened": lambda: ours(agent, frame, radius, "tightened", PASSES),
        "peer_everywhere": lambda: peer.everywhere(frame, radius),
    }
    lower, seconds = {}, {}
    for name in (name for mine in pairs for name in (mine, PAIRS[mine])):
        began = time.process_time()
        lower[name] = pieces[name]().tolist()
        seconds[name] = time.process_time() - began
        gc.collect()
    return Compared(frame, radius, lower, seconds)


def summary(name: str, radii: tuple[float, ...], batches: list[Batch], found: list[Compared]) -> list[dict[str, Any]]:
    """A line per radius and pair of methods: frames certified, CPU seconds a frame, differences ours - theirs.

    worst_row: of the least rows, which decide; any_row: of all rows.
    """
    lines = []
    for k, radius in enumerate(radii):
        for mine, theirs in PAIRS.items():
            part = [one for one in found if one.radius == radius and mine in one.lower]
            if not part:
                continue
            least = [min(one.lower[mine]) - min(one.lower[theirs]) for one in part]
            lines.append(
                {
                    "agent": name,
                    "radius": radius,
                    "ours": mine,
                    "theirs": theirs,
                    "frames": len(part),
                    "certified": sum(min(one.lower[mine]) > 0 for one in part),
                    "peer_certified": sum(min(one.lower[theirs]) > 0 for one in part),
                    "certify_policy": {one.bounds: one.certified[k] for one in batches},
                    "worst_row": min(least),
                    "worst_row_mean": float(np.mean(least)),
                    "any_row": float(min(np.subtract(one.lower[mine], one.lower[theirs]).min() for one in part)),
                    "seconds": float(np.mean([one.seconds[mine] for one in part])),
                    "peer_seconds": float(np.mean([one.seconds[theirs] for one in part])),
                }
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Certified actions of convolutional agents beside auto_LiRPA's.")
    parser.add_argument("--lirpa", type=Path, required=True, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--only", default="", help="agents whose name contains this text")
    parser.add_argument("--frames", type=int, default=8, help="how many of the stored frames")
    parser.add_argument("--alpha", type=int, default=8, help="on how many of them slopes are optimised")
    parser.add_argument("--everywhere", type=int, default=1, help="on how many of them all bounds are optimised")
    parser.add_argument("--batches", nargs="*", default=["crown", "tightened"], help="bounds of certify_policy")
    parser.add_argument("--double", action="store_true", help="run auto_LiRPA in float64")
    parser.add_argument("--json", type=Path, default=RESULTS / "conv_policies.json", help="where to write the results")
    options = parser.parse_args()
    versions = load(options.lirpa)
    if options.double:
        # Some of their buffers are made in the default type.
        torch.set_default_dtype(torch.float64)
    report: dict[str, Any] = {"environment": environment() | versions, "iterations": ITERATIONS, "passes": PASSES}
    report["peer_type"] = "float64" if options.double else "float32"
    agents: dict[str, Any] = {}
    for name, radii in RADII.items():
        if options.only not in name:
            continue
        agent = Agent.of(name, options.frames)
        batches = [batch(agent, radii, bounds) for bounds in options.batches]
        for one in batches:
            print(f"{name}, {one.bounds}: {one.certified} of {len(agent.frames)}, {one.seconds:.1f} CPU s", flush=True)
        peer, found = Peer(agent, torch.float64 if options.double else torch.float32), []
        for frame in range(len(agent.frames)):
            for radius in radii:
                everywhere = frame < options.everywhere and radius == radii[len(radii) // 2]
                pairs = (
                    "crown",
                    *(("ascent",) if frame < options.alpha else ()),
                    *(("tightened",) if everywhere else ()),
                )
                found.append(compare(agent, peer, frame, radius, pairs))
                print(f"{name}, frame {frame}, radius {radius}: done", file=sys.stderr, flush=True)
                # Written after every frame, so that a run cut short leaves the others.
                agents[name] = {
                    "summary": summary(name, radii, batches, found),
                    "batches": [asdict(one) for one in batches],
                    "rows": [asdict(one) for one in found],
                }
                write_json(options.json, report | {"agents": agents})
        for line in agents[name]["summary"]:
            print(line)


if __name__ == "__main__":
    main()
