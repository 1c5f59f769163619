"""CROWN and slope ascent beside auto_LiRPA on random networks with products, softmax, GELU and sine, one thread.

    python -m benchmarks.operators --lirpa PATH [--networks N] [--runs N] [--json FILE]

PATH is a checkout of auto_LiRPA whose dependencies can be imported here. Networks have 2 to 4 layers; every second one
has operators of one name only, so that rows can be told apart by it. Both sides run in this process in turn, in
float64, theirs without rounding terms. Three comparisons: CROWN; slopes optimised over CROWN's pre-activation bounds,
ascent beside 20 iterations of alpha-CROWN that is handed its own; and those bounds optimised too, our tightened ones
with ascent beside alpha-CROWN's default call. A row counts as looser where our bound is lower by more than 1e-6 of its
scale, the range of what it attains.
"""

import argparse
import copy
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import admm_verify as av
from benchmarks.crown_family import in_turn
from benchmarks.lirpa import load
from benchmarks.shares import RESULTS, environment, write_json

OPERATORS = ("product", "softmax", "gelu", "sin")
ITERATIONS = 20
PASSES = 2 * ITERATIONS
NOTHING = 1e-6
"""Of a row's scale: what says nothing about tightness."""


class OneGelu(torch.autograd.Function):
    """GELU as the one operator that auto_LiRPA has bounds of; torch's own exporter writes it as several."""

    @staticmethod
    def symbolic(graph: Any, x: Any) -> Any:
        return graph.op("onnx::Gelu", x)

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(x)


class Layer(nn.Module):
    """An affine map, two for a product, and an operator."""

    exported = False
    """Whether it is auto_LiRPA that reads it."""

    def __init__(self, operator: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.operator = operator
        self.first = nn.Linear(inputs, outputs)
        self.second = nn.Linear(inputs, outputs) if operator == "product" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = 1.5 * self.first(x)
        if self.second is not None:
            return y * self.second(x)
        if self.operator == "softmax":
            return torch.softmax(2.0 * y, dim=-1)
        if self.operator == "sin":
            return torch.sin(2.0 * y)
        return OneGelu.apply(y) if self.exported else nn.functional.gelu(y)


@dataclass(frozen=True, eq=False)
class Instance:
    """A network as torch module and as ours, and rows over a box.

    Shapes: objective [rows, outputs].
    """

    name: str
    operators: str
    module: nn.Module
    network: av.Network
    box: av.Box
    objective: np.ndarray


def instance(seed: int) -> Instance:
    """The network of a seed: of one operator for even ones, of a mix for odd ones."""
    rng = np.random.default_rng([seed, 31])
    torch.manual_seed(seed)
    depth = int(rng.integers(1, 4))
    one = OPERATORS[(seed // 2) % len(OPERATORS)]
    chosen = [one if seed % 2 == 0 else str(rng.choice(OPERATORS)) for _ in range(depth)]
    sizes = [int(rng.integers(4, 9)), *(int(n) for n in rng.integers(6, 17, depth))]
    layers = [Layer(name, n, m) for name, n, m in zip(chosen, sizes, sizes[1:], strict=False)]
    module = nn.Sequential(*layers, nn.Linear(sizes[-1], 3)).double().eval().requires_grad_(False)
    centre = rng.uniform(-1, 1, sizes[0])
    box = av.Box.around(centre, float(rng.choice([0.03, 0.1, 0.3])))
    network = av.trace(module, torch.zeros(1, sizes[0], dtype=torch.float64))
    objective = np.concatenate([np.eye(3), -np.eye(3), rng.standard_normal((2, 3))])
    return Instance(f"{seed}: {' '.join(chosen)}", "+".join(sorted(set(chosen))), module, network, box, objective)


def peer(given: Instance) -> dict[str, Callable[[], np.ndarray]]:
    """auto_LiRPA's bounds, ready to be timed."""
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    lower, upper = (torch.as_tensor(np.asarray(end))[None] for end in (given.box.lower, given.box.upper))
    middle = (lower + upper) / 2
    module = copy.deepcopy(given.module)
    for layer in module:
        layer.exported = True
    bounded = BoundedModule(module, middle, device="cpu", verbose=0)
    inputs = (BoundedTensor(middle, PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper)),)
    rows = torch.as_tensor(given.objective)[None]

    def bound(method: str, known: Any) -> np.ndarray:
        arguments = {"iteration": ITERATIONS, "lr_alpha": 0.5, "early_stop_patience": 1000}
        bounded.set_bound_opts({"optimize_bound_args": arguments | {"fix_interm_bounds": known is not None}})
        with torch.set_grad_enabled(method != "CROWN"):
            lower, _ = bounded.compute_bounds(x=inputs, C=rows, method=method, bound_upper=False, interm_bounds=known)
        return lower.detach().numpy().ravel()

    bound("CROWN", None)
    before = [node for reader in bounded.get_enabled_opt_act() for node in reader.inputs if node.lower is not None]
    first = {node.name: (node.lower.detach().clone(), node.upper.detach().clone()) for node in before}
    return {
        "peer_crown": lambda: bound("CROWN", None),
        "peer_alpha": lambda: bound("CROWN-Optimized", first),
        "peer_everywhere": lambda: bound("CROWN-Optimized", None),
    }


def ours(given: Instance) -> dict[str, Callable[[], np.ndarray]]:
    """Our bounds, ready to be timed, pre-activation bounds included."""

    def bound(first: str, passes: int) -> np.ndarray:
        bounds = av.preactivation_bounds(given.network, given.box, first)
        problem = av.Problem(given.network, given.box, given.objective, preactivation=bounds)
        return np.asarray(av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=passes)).lower)

    return {
        "crown": lambda: bound("crown", 0),
        "ascent": lambda: bound("crown", PASSES),
        "tightened": lambda: bound("tightened", PASSES),
    }


PAIRS = {"crown": "peer_crown", "ascent": "peer_alpha", "tightened": "peer_everywhere"}


@dataclass(frozen=True)
class Compared:
    """One network in one comparison: differences ours - theirs by row, over the row's scale, and seconds."""

    network: str
    operators: str
    ours: str
    differences: tuple[float, ...]
    seconds: float
    peer_seconds: float


def compare(given: Instance, runs: int) -> list[Compared]:
    """Both sides on one network."""
    bounds, times = in_turn(ours(given) | peer(given), runs)
    points = np.random.default_rng(0).uniform(given.box.lower, given.box.upper, (2000, given.network.input_size))
    values = given.network(points) @ given.objective.T
    # What a bound is away from what is attained; rows that hardly move are taken for what they are.
    scale = np.maximum(values.max(axis=0) - values.min(axis=0), 1e-9)
    for name, found in bounds.items():
        assert name.startswith("peer") or (found <= values.min(axis=0)).all(), f"{given.name}: {name} is no bound"
    return [
        Compared(
            given.name,
            given.operators,
            mine,
            tuple(((bounds[mine] - bounds[theirs]) / scale).tolist()),
            times[mine].best,
            times[theirs].best,
        )
        for mine, theirs in PAIRS.items()
    ]


def summarise(found: list[Compared]) -> list[dict[str, Any]]:
    """One line per comparison and set of operators, and one for all of them."""
    groups: dict[tuple[str, str], list[Compared]] = defaultdict(list)
    for one in found:
        for name in (one.operators, "all"):
            groups[one.ours, name].append(one)
    lines = []
    for (mine, name), part in sorted(groups.items()):
        rows = np.array([difference for one in part for difference in one.differences])
        lines.append(
            {
                "ours": mine,
                "theirs": PAIRS[mine],
                "operators": name,
                "rows": len(rows),
                "looser": int((rows < -NOTHING).sum()),
                "tighter": int((rows > NOTHING).sum()),
                "mean_difference": float(rows.mean()),
                "worst": float(rows.min()),
                "time_ratio": statistics.median(one.seconds / one.peer_seconds for one in part),
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Bounds and CPU seconds beside auto_LiRPA's; ratios: ours / theirs.")
    parser.add_argument("--lirpa", type=Path, required=True, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--runs", type=int, default=2, help="timed runs of each side")
    parser.add_argument("--json", type=Path, default=RESULTS / "operators.json", help="where to write the results")
    options = parser.parse_args()
    versions = load(options.lirpa)
    # Their tables for sines are made in the default type.
    torch.set_default_dtype(torch.float64)
    found, failed = [], []
    for seed in range(options.networks):
        given = instance(seed)
        try:
            found += compare(given, options.runs)
        except (NotImplementedError, RuntimeError) as error:
            # What the other package cannot bound is named, and is no row.
            failed.append({"network": given.name, "error": f"{type(error).__name__}: {error}"[:300]})
    lines = summarise(found)
    report = {"environment": environment() | versions, "summary": lines, "failed": failed}
    write_json(options.json, report | {"networks": [asdict(one) for one in found]})
    for line in (*lines, *failed):
        print(line)


if __name__ == "__main__":
    main()
