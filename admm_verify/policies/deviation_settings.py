"""How `certify_deviation` works."""

from dataclasses import dataclass, field
from typing import Annotated

from admm_verify.bounds.arithmetic import check_arithmetic
from admm_verify.complete.minimum_settings import MinimumSettings
from admm_verify.options import Nonnegative, Range, Settings, flag, member
from admm_verify.policies.settings import PolicySettings, RadiusUnits
from admm_verify.robustness.settings import Within
from admm_verify.sets.norm_names import norm_name


@dataclass(frozen=True, repr=False)
class DeviationSettings(Settings):
    """How `certify_deviation` works, beyond what it is asked.

    ratio: certified / attacked at which an observation is done. least: certified deviations up to this count as none,
    and those that are so little above attacked ones are near enough, in units of the actions. euclidean: bound the
    Euclidean length of deviations by a search of its own as well; it is bounded by those of the entries in any case.
    units, within, norm, arithmetic: as those of `PolicySettings`. search: how the sets are bounded and split; its gaps
    are those of ratio and least.

    Raises: InputError for a choice that does not exist, or a value of another type or range.
    """

    ratio: Annotated[float, Range(1.0, open=True)] = 1.05
    least: Nonnegative = 1e-6
    euclidean: bool = True
    units: RadiusUnits | str = RadiusUnits.RAW
    within: Within | None = None
    norm: str | float = "linf"
    arithmetic: str = "real"
    search: MinimumSettings = field(default_factory=MinimumSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", member(self.units, "The units of radii", RadiusUnits))
        object.__setattr__(self, "norm", norm_name(self.norm))
        check_arithmetic(self.arithmetic)
        flag(self.euclidean, "euclidean")
        super().__post_init__()
        object.__setattr__(self, "within", self.noise.within)

    @property
    def noise(self) -> PolicySettings:
        """What of them says what noise is."""
        return PolicySettings(units=self.units, within=self.within, norm=self.norm)
