"""How two networks are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from admm_verify.complete.minimum_settings import MinimumSettings
from admm_verify.errors import InputError
from admm_verify.options import ANY, Count, Nonnegative, Settings, count, flag
from admm_verify.settings import SearchSettings


@dataclass(frozen=True, repr=False)
class DifferenceSettings(Settings):
    """How `difference` works, beyond what it is asked.

    outputs: numbers of the outputs that are compared, of flat outputs, in this order; None for all. largest: what is
    asked for is max |f'(x) - f(x)| over these outputs, so that a set is done once that is known; else both ends of
    every output are. relative, absolute: an end is done once the certified value is no farther from the attained one
    than max(relative * |attained|, absolute). max_subproblems: parts of the sets that are bounded at most, None for no
    limit; 0 gives the bounds and attacks of whole sets alone. passes: of those bounds. search: of the parts, as that of
    `MinimumSettings`.

    Raises: InputError for a value of another type or range.
    """

    outputs: Sequence[int] | None = None
    largest: bool = False
    relative: Nonnegative = 1e-2
    absolute: Nonnegative = 1e-6
    max_subproblems: Annotated[int | None, ANY] = None
    passes: Count = MinimumSettings.passes
    search: SearchSettings = field(default_factory=lambda: MinimumSettings().search)

    def __post_init__(self) -> None:
        flag(self.largest, "largest")
        if self.outputs is not None:
            object.__setattr__(self, "outputs", output_numbers(self.outputs))
        super().__post_init__()

    @property
    def of_minima(self) -> MinimumSettings:
        """The same for the least values that are searched for."""
        limits = self.relative, self.absolute, self.max_subproblems, self.passes
        return MinimumSettings(*limits, search=self.search)


@dataclass(frozen=True, repr=False)
class EquivalenceSettings(Settings):
    """How `equivalence` works, beyond what it is asked.

    passes: of the bounds that many sets get together before any of them is searched. max_subproblems: parts of each set
    that are bounded at most, None for no limit; 0 leaves branch and bound out. search: of the parts, as that of
    `VerifySettings`.

    Raises: InputError for a value of another type or range.
    """

    passes: Count = 50
    max_subproblems: Annotated[int | None, ANY] = None
    search: SearchSettings = field(default_factory=SearchSettings)


def output_numbers(given: Sequence[int]) -> tuple[int, ...]:
    """Numbers of outputs as they are chosen.

    Raises: InputError for none, for one given twice, and for what is no number from 0 on.
    """
    given = given.tolist() if isinstance(given, np.ndarray) else given
    if isinstance(given, str | bytes) or not isinstance(given, Sequence) or not given:
        raise InputError(f"The outputs are {given!r}; give at least one number, such as [0, 2], or None for all.")
    found = tuple(count(one, "A number of an output") for one in given)
    if len(set(found)) < len(found):
        raise InputError(f"The outputs {list(found)} name one twice; name each once.")
    return found


def chosen_outputs(given: Sequence[int] | None, size: int) -> tuple[int, ...]:
    """The numbers of the chosen ones of so many outputs.

    Raises: InputError for a number that no output has.
    """
    chosen = tuple(range(size)) if given is None else tuple(given)
    if max(chosen) >= size:
        raise InputError(f"There is no output {max(chosen)}: the networks have {size} outputs, 0 to {size - 1}.")
    return chosen
