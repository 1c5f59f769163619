"""Bounds of branch-and-bound children beside HiGHS's optima of their relaxations, one thread, one run.

    python -m benchmarks.children [--only TEXT] [--depth N] [--walks N] [--json FILE]

Per instance the hardest row over tightened pre-activation bounds. From the search's own root a path of splits follows
the child with the worse bound, further walks take random sides too. A child's relaxation is the triangle relaxation
over the root's pre-activation bounds, cut by its splits, which are constraints too. Two kinds of children: "open" ones,
the deepest that the search's own bounds leave, which may have fewer splits than asked for; and "any", where nothing is
left out but what HiGHS finds infeasible.

Share: (ours - parent) / (optimum - parent), with the parent's bound after many iterations; 1 where parent and optimum
agree; the last column counts from the root's bound instead. Methods: "warm" from the parent's slopes and multipliers as
the search stores them, "converged" from those behind the parent's bound, both with the search's settings; "cold" from
CROWN's slopes without multipliers, with the default ones; and the search's own few iterations.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import highspy
import numpy as np

import admm_verify as av
from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.bounds.relaxed import Bounder
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.neuron_split import Branches, NeuronSplitter
from admm_verify.complete.tables import join, take
from admm_verify.properties.rows import atom_rows
from admm_verify.run import Run
from admm_verify.settings import AscentSettings, SearchSettings
from benchmarks.highs_layers import FEASIBILITY, model_of
from benchmarks.highs_triangle import Highs
from benchmarks.shares import RESULTS, environment, timed, write_json
from problems.lp_instances import shared_folder

OVAL, MNIST, RESNET = "oval21", "mnist_fc", "cifar10_resnet"
INSTANCES = {
    "cifar_base img8717": (OVAL, "cifar_base_kw", "cifar_base_kw-img8717-eps0.011633986928104577"),
    "cifar_base img2578": (OVAL, "cifar_base_kw", "cifar_base_kw-img2578-eps0.021176470588235297"),
    "cifar_base img4631": (OVAL, "cifar_base_kw", "cifar_base_kw-img4631-eps0.016339869281045753"),
    "256x2 prop_10_0.05": (MNIST, "mnist-net_256x2", "prop_10_0.05"),
    "256x4 prop_6_0.05": (MNIST, "mnist-net_256x4", "prop_6_0.05"),
    "resnet_2b prop_47": (RESNET, "resnet_2b", "prop_47_eps_0.008"),
}

WARM = SearchSettings().ascent
METHODS = {
    "warm": ("stored", WARM, 50),
    "converged": ("converged", WARM, 50),
    "cold": ("cold", AscentSettings(), 50),
    "search": ("stored", WARM, SearchSettings().iterations),
}
"""Where the ascent starts, its settings, and iterations of two passes each."""

SCAN = {
    f"step {step:g}, split_step {split:g}": ("stored", replace(WARM, step=step, split_step=split), 50)
    for step in (0.1, 0.2, 0.5)
    for split in (1.0, 3.0, 10.0)
}
"""Other settings for "warm"."""

PARENT_ITERATIONS = 200
LEAST_SHARE = 0.99
"""What every child is to reach within 50 iterations."""

SAME = 1e-6
"""Parent and optimum agree, and a bound is above the optimum, beyond this, relative to max(1, |optimum|)."""

MOST_EXPANSIONS = 300
"""Parts a walk may split before the deepest open ones have to do."""


class Endless(Disjuncts):
    """Disjuncts that no bound excludes."""

    def excluded(self, disjunct: np.ndarray, lower: np.ndarray) -> np.ndarray:
        return np.zeros(lower.shape, dtype=bool)


class Brood(NeuronSplitter):
    """Splits neurons as the search does, and bounds parts whatever their bounds are."""

    @classmethod
    def of(cls, problem: av.Problem, closing: bool) -> "Brood":
        """Of a problem with a single row; closing: leave out what is excluded."""
        one, yes = np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=bool)
        objective, offset = np.asarray(problem.objective)[None], np.asarray(problem.offset)[None]
        kind = Disjuncts if closing else Endless
        disjuncts = kind(problem.inputs, objective, offset, ~yes, yes, one, one[0], one[0] + 1)
        boxes, settings = (one[0], problem.inputs), SearchSettings()
        return cls(problem.network, disjuncts, boxes, problem.preactivation, Placement.numpy(), settings, Run())

    def climbed(self, nodes: Branches, ascent: AscentSettings, iterations: int, cold: bool = False) -> Branches:
        """The same parts with the certified bounds, slopes and multipliers after some iterations."""
        nodes = replace(nodes, beta=0.0 * nodes.beta) if cold else nodes
        region, _, _ = self._region(nodes)
        splits = self.signs.splits(nodes.splits, nodes.beta)
        objective, offset = self.disjuncts.objective[nodes.disjunct], self.disjuncts.offset[nodes.disjunct]
        slopes = None if cold else self._slopes(nodes, self.box[nodes.disjunct])
        bounder = Bounder(self.network, self.home, ascent, self.bounder.run)
        with quiet_overflow():
            found = bounder.bound(region, bounder.rows(objective, offset, splits), slopes, iterations)
        kept = [slope[..., columns] for slope, columns in zip(found.slopes, self.columns, strict=True)]
        inherited = np.concatenate(kept, axis=-1).astype(np.float32)
        return replace(nodes, bound=found.lower[:, 0], slopes=inherited, beta=self.signs.betas(nodes.splits, splits, 1))


class Judge:
    """HiGHS on the relaxations of one row's parts: one model, in which splits only move bounds.

    Active: pre >= 0 and post = pre. Inactive: pre <= 0 and post = 0. The triangle's other constraints follow.
    """

    def __init__(self, problem: av.Problem) -> None:
        model = model_of(problem, "layered")
        self.highs = Highs(model, "ipm")
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "ipm_optimality_tolerance"):
            self.highs.solver.setOptionValue(name, FEASIBILITY)
        self.pre, self.post, self.kink = _places(problem)
        bounds = problem.preactivation
        self.lower = np.concatenate([np.asarray(end[0]) for end in bounds.lower])
        self.upper = np.concatenate([np.asarray(end[0]) for end in bounds.upper])
        some = self.pre >= 0
        assert (model.column_lower[self.pre[some]] == self.lower[some]).all(), "Columns are where they are looked for"
        assert (model.column_upper[self.post[some]] == self.upper[some]).all(), "Columns are where they are looked for"
        assert (model.row_upper[self.kink[some]] == 0).all(), "Rows are where they are looked for"
        self.root = self.highs.minimise(0)

    def optimum(self, splits: np.ndarray) -> float:
        """The optimum under some splits, infinite where they leave nothing."""
        solver = self.highs.solver
        for code in splits[splits != 0]:
            neuron = abs(code) - 1
            pre, post, kink = int(self.pre[neuron]), int(self.post[neuron]), int(self.kink[neuron])
            if code > 0:
                solver.changeColBounds(pre, 0.0, self.upper[neuron])
                solver.changeRowBounds(kink, 0.0, 0.0)
            else:
                solver.changeColBounds(pre, self.lower[neuron], 0.0)
                solver.changeColBounds(post, 0.0, 0.0)
        try:
            return self._minimum()
        finally:
            for neuron in np.abs(splits[splits != 0]) - 1:
                solver.changeColBounds(int(self.pre[neuron]), self.lower[neuron], self.upper[neuron])
                solver.changeColBounds(int(self.post[neuron]), 0.0, self.upper[neuron])
                solver.changeRowBounds(int(self.kink[neuron]), -np.inf, 0.0)

    def _minimum(self) -> float:
        """Dual simplex, warm from part to part; interior point from nothing where that fails."""
        solver = self.highs.solver
        for algorithm in ("simplex", "ipm"):
            solver.setOptionValue("solver", algorithm)
            try:
                return self.highs.minimise(0)
            except RuntimeError:
                if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
                    return np.inf
                if algorithm == "ipm":
                    raise
                solver.clearSolver()
        raise AssertionError("The last algorithm returns or raises")


def _places(problem: av.Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns of pre and post and the row pre - post <= 0 of every unstable neuron in `model_of`, -1 for others."""
    places: list[np.ndarray] = []
    column, row = problem.network.input_size, 0
    for ends in zip(problem.preactivation.lower, problem.preactivation.upper, strict=True):
        low, high = (np.asarray(end[0]) for end in ends)
        unstable, active = np.flatnonzero((low < 0) & (high > 0)), int(np.count_nonzero(low >= 0))
        count, found = len(unstable), np.full((3, len(low)), -1)
        found[:, unstable] = np.array([[column], [column + count], [row + count]]) + np.arange(count)
        places.append(found)
        column, row = column + 2 * count + active, row + 3 * count + active
    pre, post, kink = np.concatenate(places, axis=1)
    return pre, post, kink


@dataclass(frozen=True)
class Child:
    """One child; root, parent: bounds of both; optimum, parent_optimum: HiGHS's; lower: bounds by method."""

    splits: tuple[int, ...]
    root: float
    parent: float
    parent_optimum: float
    optimum: float
    lower: dict[str, float]

    @property
    def tolerance(self) -> float:
        return SAME * max(1.0, abs(self.optimum))

    @property
    def above(self) -> list[str]:
        """Methods whose bound is above the optimum."""
        return [name for name, lower in self.lower.items() if lower > self.optimum + self.tolerance]

    def share(self, method: str, whole: bool = False) -> float:
        """Of the way from the parent's bound, or from that of the whole, to the optimum."""
        base = self.root if whole else self.parent
        far = self.optimum - base
        return (self.lower[method] - base) / far if far > self.tolerance else 1.0


@dataclass(frozen=True)
class Outcome:
    """An instance's feasible children and CPU seconds for all of them; closing: without those that are excluded."""

    instance: str
    closing: bool
    infeasible: int
    children: list[Child]
    seconds: dict[str, float]

    def shares(self, method: str, whole: bool = False) -> list[float]:
        return [child.share(method, whole) for child in self.children]


def load(name: str) -> av.Problem:
    """The row of an instance with the least bound, over tightened pre-activation bounds."""
    folder = shared_folder() / "data" / "vnncomp"
    family, network, spec = INSTANCES[name]
    query = av.read_query(
        folder / family / "vnnlib" / f"{spec}.vnnlib.gz", folder / family / "onnx" / f"{network}.onnx.gz"
    )
    rows = atom_rows(query.property)
    box = rows.boxes
    bounds = av.preactivation_bounds(query.network, box, "tightened")
    lower = av.solve(
        av.Problem(query.network, box, rows.objective, rows.offset, bounds),
        "ascent",
        settings=av.SolverSettings(max_passes=100),
    ).lower
    hardest = int(np.argmin(to_numpy(lower)))
    return av.Problem(query.network, box, rows.objective[[hardest]], rows.offset[[hardest]], bounds)


def walk(brood: Brood, root: Branches, depth: int, rng: np.random.Generator | None) -> list[tuple[Branches, Branches]]:
    """Parents and their open children, down to a depth or until nothing is left.

    Every step follows the child with the worse bound; given a generator, either child half of the time.
    """
    stack, met = [root], []
    for _ in range(MOST_EXPANSIONS):
        if not stack or (met and met[-1][1].splits.shape[1] == depth):
            break
        node = stack.pop()
        found = brood.expand(node).open
        if len(found.bound):
            met.append((node, found))
        order = np.argsort(-found.bound)
        if rng is not None and rng.random() < 0.5:
            order = rng.permutation(order)
        stack += [take(found, order[i : i + 1]) for i in range(len(order)) if found.choice[order[i]] != 0]
    return met


def families(brood: Brood, depth: int, walks: int) -> list[tuple[Branches, Branches]]:
    """Parents and children as they inherit from them, one child at a time and none twice: two per walk, the deepest."""
    root, found = brood.root().open, {}
    for number in range(walks + 1 if len(root.bound) else 0):
        for parent, met in walk(brood, root, depth, np.random.default_rng([number, 5]) if number else None):
            for splits in met.splits:
                child = replace(parent, splits=splits[None], beta=_wider(parent.beta, len(splits)))
                found.setdefault(frozenset(splits.tolist()), (parent, child))
    # Sorting is stable: the straight path's come first.
    return sorted(found.values(), key=lambda pair: -pair[1].splits.shape[1])[: 2 * walks + 2]


def _wider(beta: np.ndarray, depth: int) -> np.ndarray:
    return np.concatenate([beta, np.zeros((*beta.shape[:2], depth - beta.shape[2]), dtype=beta.dtype)], axis=2)


def measure(name: str, problem: av.Problem, depth: int, walks: int, closing: bool) -> Outcome:
    """All children of one instance and kind."""
    brood, seconds = Brood.of(problem, closing), {}
    judge, seconds["HiGHS root"] = timed(lambda: Judge(problem), runs=1)
    pairs, seconds["walks"] = timed(lambda: families(brood, depth, walks), runs=1)
    if not pairs:
        return Outcome(name, closing, 0, [], seconds)
    parents, children = (join(side) for side in zip(*pairs, strict=True))

    def judged(nodes: Branches) -> np.ndarray:
        return np.array([judge.optimum(splits) for splits in nodes.splits])

    optimum, seconds["HiGHS"] = timed(lambda: judged(children), runs=1)
    ceiling, converged = judged(parents), brood.climbed(parents, WARM, PARENT_ITERATIONS)
    whole = brood.climbed(brood.root().open, WARM, PARENT_ITERATIONS)
    heirs = replace(children, slopes=converged.slopes, beta=_wider(converged.beta, children.splits.shape[1]))
    lower: dict[str, np.ndarray] = {}
    for method in METHODS | SCAN:
        start, ascent, iterations = (METHODS | SCAN)[method]
        nodes = heirs if start == "converged" else children
        work = partial(brood.climbed, nodes, ascent, iterations, start == "cold")
        found, seconds[method] = timed(work, runs=1)
        lower[method] = found.bound
    family = [
        Child(
            tuple(int(code) for code in children.splits[i] if code),
            float(whole.bound[0]),
            float(converged.bound[i]),
            float(ceiling[i]),
            float(optimum[i]),
            {method: float(bound[i]) for method, bound in lower.items()},
        )
        for i in np.flatnonzero(np.isfinite(optimum))
    ]
    return Outcome(name, closing, len(optimum) - len(family), family, seconds)


def summarise(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One line per instance and kind of children."""
    lines = []
    for outcome in (o for o in found if o.children):
        depths = Counter(len(child.splits) for child in outcome.children)
        lines.append(
            {
                "instance": outcome.instance,
                "closing": outcome.closing,
                "children": len(outcome.children),
                "infeasible": outcome.infeasible,
                "depths": {str(depth): depths[depth] for depth in sorted(depths, reverse=True)},
                "mean_share": {m: float(np.mean(outcome.shares(m))) for m in METHODS | SCAN},
                "worst_share": {m: min(outcome.shares(m)) for m in METHODS | SCAN},
                "worst_share_from_root": {m: min(outcome.shares(m, True)) for m in METHODS | SCAN},
                "above_optimum": sum(len(child.above) for child in outcome.children),
                "seconds": outcome.seconds,
            }
        )
    return lines


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Mean and worst shares in percent and CPU seconds per method; then the worst shares of the scan."""
    head = "".join(f"{name:>24}" for name in METHODS)
    out = [f"{'instance':20}{'kind':>5}{'n':>4}{'splits':>8}{head}  above{'HiGHS':>9}  warm from root"]
    for line in lines:
        depths = [int(depth) for depth in line["depths"]]
        shares = [(line["mean_share"][name], line["worst_share"][name], line["seconds"][name]) for name in METHODS]
        cells = "".join(f"{100 * mean:9.2f}{100 * worst:8.2f}{spent:5.2f} s" for mean, worst, spent in shares)
        out.append(
            f"{line['instance']:20}{'open' if line['closing'] else 'any':>5}{line['children']:4d}"
            f"{f'{min(depths)}-{max(depths)}':>8}{cells}{line['above_optimum']:7d}{line['seconds']['HiGHS']:7.2f} s"
            f"{100 * line['worst_share_from_root']['warm']:16.3f}"
        )
    out += ["", f"{'worst, stored slopes':26}{'open':>8}{'any':>9}  reached"]
    for name in SCAN:
        worst = [[line["worst_share"][name] for line in lines if line["closing"] == kind] for kind in (True, False)]
        reached = sum(share >= LEAST_SHARE for kind in worst for share in kind)
        cells = "".join(f"{100 * min(kind, default=np.nan):9.2f}" for kind in worst)
        out.append(f"{name:25}{cells}{reached:6d} of {len(lines)}")
    return "\n".join(out)


def record(outcome: Outcome) -> dict[str, Any]:
    """An outcome without the scan's bounds."""
    children = [
        asdict(child) | {"splits": len(child.splits), "lower": {name: child.lower[name] for name in METHODS}}
        for child in outcome.children
    ]
    return asdict(outcome) | {"children": children}


def main() -> None:
    parser = argparse.ArgumentParser(description="Bounds of branch-and-bound children beside the exact LP optimum.")
    parser.add_argument("--only", default="", help="instances whose name contains this text")
    parser.add_argument("--depth", type=int, default=20, help="splits of each child")
    parser.add_argument("--walks", type=int, default=8, help="walks that take random sides, beside the straight one")
    parser.add_argument("--json", type=Path, default=RESULTS / "children.json", help="where to write the results")
    options = parser.parse_args()
    found: list[Outcome] = []
    for name in (name for name in INSTANCES if options.only in name):
        problem = load(name)
        for closing in (True, False):
            found.append(measure(name, problem, options.depth, options.walks, closing))
            _say(f"{name}: {len(found[-1].children)} children")
    if not found:
        raise SystemExit(f"No instance has {options.only!r} in its name.")
    lines = summarise(found)
    report = {"environment": environment(), "summary": lines, "instances": [record(outcome) for outcome in found]}
    write_json(options.json, report)
    print(table(lines))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
