"""Settings of the solvers, one frozen record per scheme; the defaults are one setting for all networks.

Every record refuses numbers of another type or range as it is made, with an InputError that names the field.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from admm_verify.options import (
    ANY,
    AtLeastOne,
    Count,
    Decay,
    Nonnegative,
    Positive,
    Range,
    Settings,
    Share,
    choice,
    instance,
)

PRECISIONS = ("float32", "float64")


@dataclass(frozen=True, repr=False)
class AscentSettings(Settings):
    """Dual ascent on slopes: Adam with a geometric step schedule over a planned number of iterations.

    step: first step, in units of the slope's range [0, 1]. momentum, memory: Adam's two averages. The last step is
    step * max(least_end, end_per_iteration ** iterations), where least_end falls like 1 / iterations beyond
    least_end_until iterations. split_step: first step of the multipliers of splits, in units of the mean coefficient
    of the split neuron's layer; it falls linearly to 0. end_step: first step of the multipliers of ends of neurons'
    ranges that are constraints, in the same unit; coupling_step: of those of a problem's constraints, in units of what
    the objective varies per what the constraint varies over the inputs. Both fall geometrically, to limit_end times the
    first step, with an average limit_momentum of their own. passes: default budget.
    """

    step: Nonnegative = 0.5
    momentum: Decay = 0.3
    memory: Decay = 0.9
    end_per_iteration: Share = 0.87
    least_end: Share = 0.004
    least_end_until: Positive = 50.0
    split_step: Nonnegative = 10.0
    end_step: Nonnegative = 6.0
    coupling_step: Nonnegative = 1.0
    limit_momentum: Decay = 0.6
    limit_end: Share = 0.004
    passes: Count = 100


@dataclass(frozen=True, repr=False)
class TightenSettings(Settings):
    """Tightened pre-activation bounds: slope ascent for both sides of every neuron that CROWN leaves open.

    iterations: steps per layer, planned in advance; shallow: steps where a single layer of activations lies below,
    whose slopes have little to agree on; products: at least as many where products do, whose planes start far from the
    best ones. block_numbers: numbers of one array of a block of rows, over all layers; blocks that stay near the cache
    are faster than large ones.
    """

    iterations: Count = 8
    shallow: Count = 5
    products: Count = 12
    ascent: AscentSettings = AscentSettings(step=0.4, momentum=0.2, end_per_iteration=0.9)
    block_numbers: AtLeastOne = 3 * 2**19


@dataclass(frozen=True, repr=False)
class PrimalDualSettings(Settings):
    """Primal-dual splitting on the eliminated chain.

    primal_step: step of the input, in units of the box width times its coefficient over the mean coefficient.
    dual_step_start, dual_step_end: step of the slopes, in units of pre over (u - l), falling from the first to the
    second with half-life dual_step_halving iterations. constant: iterations after which both steps fall like
    iteration^-fall, without which rows of badly scaled networks circle the saddle point. passes: default budget.
    """

    primal_step: Positive = 0.5
    dual_step_start: Positive = 3.0
    dual_step_end: Positive = 1.0
    dual_step_halving: Positive = 50.0
    constant: Positive = 100.0
    fall: Nonnegative = 0.7
    passes: Count = 1000


@dataclass(frozen=True, repr=False)
class AdmmSettings(Settings):
    """Layered ADMM (Douglas-Rachford) with Halpern anchoring.

    penalty: factor c of the per-layer penalty c rms(multipliers) / rms(u - l). restart: the anchor moves when the
    fixed-point residual has fallen to this share of its value at the last move, or after `longest` iterations; the
    row's penalties are then rebalanced. passes: default budget.
    """

    penalty: Positive = 3.0
    restart: Share = 0.3
    longest: Positive = 100.0
    passes: Count = 1000


@dataclass(frozen=True, repr=False)
class JointSettings(Settings):
    """Joint relaxations of layers of ReLUs, whose inputs lie in one Euclidean ball, behind any method of `solve`.

    iterations: of ascent over the slopes of all neurons and one weight per layer, two passes each; 0 for none. step:
    of the slopes, falling geometrically to the share `end` of it; momentum, memory: Adam's decays. local: gains of maps
    behind what ReLUs let through, computed for each set in seconds where layers are large, in place of those of whole
    maps, which a network remembers. neurons: layers with at most so many open ones have these bounded jointly first,
    where all rows share one set.
    """

    iterations: Count = 0
    step: Positive = 0.15
    end: Positive = 0.02
    momentum: Decay = 0.5
    memory: Decay = 0.9
    local: bool = True
    neurons: Count = 256


@dataclass(frozen=True, repr=False)
class SolverSettings(Settings):
    """All tunable numbers of `solve`.

    tolerance: relative gap at which a row is finished. max_passes: budget per row, None for that of the method.
    precision: "float32" or "float64" of the iterations, None for float64 on the CPU and float32 on a GPU. constrained:
    the ascent where constraints have to hold, whose multipliers take longer than slopes. polish: the primal-dual phase
    of "auto", which starts near the optimum and takes smaller steps sooner.
    auto_passes: budget of "auto", of which ascent takes its own first. deciding_passes: more of the layered splitting
    for rows of which it is open whether their constraints hold anywhere. joint: joint relaxations of layers afterwards,
    which pay for l2 balls around inputs of convolutional networks. check_interval: iterations between check points
    (certified bound, feasible value, test of the gap). block_numbers: numbers in one array of a block of rows, which
    should stay near the cache; device_block_numbers: the same on a GPU, which wants more; larger batches are solved
    block by block.
    """

    tolerance: Annotated[float, ANY] = 1e-4
    max_passes: Annotated[int | None, ANY] = None
    precision: str | None = None
    ascent: AscentSettings = AscentSettings()
    constrained: AscentSettings = AscentSettings(step=0.4, end_step=4.0, end_per_iteration=0.95, limit_momentum=0.8)
    primal_dual: PrimalDualSettings = PrimalDualSettings()
    polish: PrimalDualSettings = PrimalDualSettings(constant=20.0)
    admm: AdmmSettings = AdmmSettings()
    check_interval: AtLeastOne = 20
    block_numbers: AtLeastOne = 2**21
    device_block_numbers: AtLeastOne = 2**28
    auto_passes: Count = 1000
    deciding_passes: Count = 4000
    joint: JointSettings = JointSettings()

    def __post_init__(self) -> None:
        if self.precision is not None:
            choice(self.precision, "The precision", PRECISIONS)
        super().__post_init__()

    @classmethod
    def of(
        cls, given: "SolverSettings | None", tolerance: float | None = None, max_passes: int | None = None
    ) -> "SolverSettings":
        """The settings of a front door that was handed some, or a tolerance and a budget of its own.

        Raises: InputError for what are no settings, or a tolerance or budget that is none.
        """
        found = cls() if given is None else instance(given, cls, "settings")
        near = found.tolerance if tolerance is None else tolerance
        return replace(found, tolerance=near, max_passes=found.max_passes if max_passes is None else max_passes)


@dataclass(frozen=True, repr=False)
class RefineSettings(Settings):
    """Output-aware refinement: bounds of neurons on condition that a disjunct holds, round by round, before a search.

    rounds: at most so many, none for no refinement. nodes: what a round may cost for each disjunct, in subproblems of
    the search; neurons that matter most to the disjunct come first. least_gain: share of the distance to zero that the
    worst disjunct has to gain in a round for another one. most_disjuncts: queries with more go to the search as they
    are. iterations: steps of ascent for neurons; pace, slowing: relative step of the multipliers of disjuncts' planes,
    and its factor from step to step. root_iterations, row_iterations: of ascent for the disjuncts' own bounds, before
    the first round and after each.
    """

    rounds: Count = 4
    nodes: Nonnegative = 50.0
    least_gain: Annotated[float, Range(-1.0)] = 0.05
    most_disjuncts: Count = 32
    iterations: Count = 2
    pace: Nonnegative = 0.5
    slowing: Share = 0.7
    ascent: AscentSettings = AscentSettings(step=0.4, momentum=0.2, end_per_iteration=0.9)
    root_iterations: Count = 25
    row_iterations: Count = 8


@dataclass(frozen=True, repr=False)
class SearchSettings(Settings):
    """Branch and bound.

    input_sides: boxes with at most so many sides of positive width are split at their sides, others at neurons. ascent,
    input_ascent: of bounds under splits of neurons, from a warm start, and of halved boxes. root_iterations,
    iterations: of ascent at the root, half of them where its rows have climbed before, and below it. last_iterations:
    where no neuron is left to split. program_depth: splits from which on parts of networks of at most
    program_multiplications are also solved as linear programs before they are split, as long as that excludes enough
    of them; where no neuron is left that is always tried. input_iterations: where boxes are halved. contractions:
    rounds in which the planes of a disjunct's atoms cut its box. propagations: rounds in which fixed signs and several
    atoms narrow each other's ranges, where neurons of networks of at most propagated_multiplications are split.
    least_batch, most_batch: subproblems split at once; within these the batch grows until a step takes
    seconds_per_step. block_numbers: numbers of one array of a block of rows over all layers. frontier_bytes: memory of
    the open subproblems from which on the search goes deep instead of wide. caution: how many times its rounding terms
    a bound must exceed zero by. refinement: of the root's bounds,
    before neurons are split.
    """

    input_sides: Count = 20
    ascent: AscentSettings = AscentSettings(step=0.2, split_step=3.0, end_step=0.15)
    input_ascent: AscentSettings = AscentSettings()
    root_iterations: Count = 40
    iterations: Count = 5
    last_iterations: Count = 200
    program_depth: Count = 3
    program_multiplications: Count = 2**12
    input_iterations: Count = 8
    contractions: Count = 2
    propagations: Count = 12
    propagated_multiplications: Count = 2**17
    least_batch: AtLeastOne = 8
    most_batch: AtLeastOne = 1024
    seconds_per_step: Positive = 0.2
    block_numbers: AtLeastOne = 2**20
    frontier_bytes: Positive = 2.0**30
    caution: Annotated[float, Range(1.0)] = 1.0
    refinement: RefineSettings = RefineSettings()
