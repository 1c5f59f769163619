"""How `certify_policy` works."""

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated

from admm_verify.options import ANY, Allowance, Range, Settings, instance, member
from admm_verify.robustness.settings import CertifySettings, Within
from admm_verify.settings import SearchSettings


class RadiusUnits(Enum):
    """What radii are measured in."""

    RAW = "raw"
    """As the environment gives its observations."""
    NORMALISED = "normalised"
    """After the policy's own normalisation: a radius of 1 is one standard deviation of each feature."""


@dataclass(frozen=True, repr=False)
class PolicySettings(Settings):
    """How `certify_policy` works, beyond what it is asked.

    units: of the radii. "raw", those of the environment; "normalised", in which feature i may change by radius * std_i,
    for policies that hold a normalisation. within: (lowest, highest), numbers or one per feature, that noise stays
    between, such as the limits of the observation space; None for no limits. norm: of the balls, "linf", "l2" or "l1".
    bounds: "interval", "crown" or "tightened" as those of `CertifySettings`; None for CROWN alone before the search of
    observations of few features, where halves cost less than better bounds, and else for tightened ones. arithmetic,
    method, max_passes, output: as those of `CertifySettings`. search: seconds of branch and bound for each observation
    that bounds leave unknown, on average: most take far less; None for none. tolerance: what `certified_radii` may
    leave between the radius that it certifies and the least one that it does not, as a share.

    Raises: InputError for a choice that does not exist, or a value of another type or range.
    """

    units: RadiusUnits | str = RadiusUnits.RAW
    within: Within | None = None
    norm: str | float = "linf"
    bounds: str | None = None
    arithmetic: str = "real"
    method: str = "ascent"
    max_passes: Annotated[int | None, ANY] = None
    output: str | Path | None = None
    search: Allowance = 1.0
    tolerance: Annotated[float, Range(1e-6, most=1.0)] = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", member(self.units, "The units of radii", RadiusUnits))
        super().__post_init__()
        checked = self.certifying(0)
        object.__setattr__(self, "within", checked.within)
        object.__setattr__(self, "norm", checked.norm)
        object.__setattr__(self, "output", checked.output)

    @classmethod
    def of(cls, given: "PolicySettings | None", norm: str | float | None) -> "PolicySettings":
        """The settings of a front door that was handed some, or a norm of its own.

        Raises: InputError for what are no settings or no norm.
        """
        found = cls() if given is None else instance(given, cls, "settings")
        return found if norm is None else replace(found, norm=norm)

    def certifying(self, features: int) -> CertifySettings:
        """What of them `certify` takes, for observations of so many features."""
        halved = self.search is not None and features <= SearchSettings().input_sides
        alone = self.bounds is None and halved
        return CertifySettings(
            self.within,
            self.bounds or ("crown" if alone else "tightened"),
            self.arithmetic,
            self.method,
            0 if alone and self.max_passes is None else self.max_passes,
            self.output,
            self.search,
            norm=self.norm,
        )
