"""How distances are searched for."""

from dataclasses import dataclass, field
from typing import Annotated

from admm_verify.options import ANY, AtLeastOne, Count, Nonnegative, Settings
from admm_verify.settings import AscentSettings


@dataclass(frozen=True, repr=False)
class DistanceSettings(Settings):
    """How `distance` and `closest_counterexample` work.

    tolerance, least: the search ends once upper - lower <= max(tolerance * upper, least * size), with the size of the
    largest number of the two points that are so near, or 1e-5 of the inputs' least width, or of the outputs at some
    inputs for `distance`, where that is more. max_cells: parts of the input set that are bounded at most, None
    for no limit. iterations: of slope ascent for every part, 0 for CROWN's bounds
    alone, with the settings `ascent`. descent: steps towards nearer points in every part; starts: points that the first
    descent, over the whole set, starts from. least_batch, most_batch: parts bounded at once; within these the batch
    grows until a step takes a fifth of a second.
    """

    tolerance: Nonnegative = 1e-4
    least: Nonnegative = 1e-9
    max_cells: Annotated[int | None, ANY] = None
    iterations: Count = 8
    descent: Count = 6
    starts: AtLeastOne = 64
    least_batch: AtLeastOne = 8
    most_batch: AtLeastOne = 512
    ascent: AscentSettings = field(default_factory=AscentSettings)
