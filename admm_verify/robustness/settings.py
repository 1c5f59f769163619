"""How `certify` works."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from admm_verify.arrays import Array
from admm_verify.bounds.arithmetic import check_arithmetic
from admm_verify.errors import InputError
from admm_verify.options import ANY, Allowance, Settings, choice, file_path, instance
from admm_verify.sets.box import range_ends
from admm_verify.sets.norm_names import norm_name
from admm_verify.splitting.solve import METHODS

BOUNDS = ("interval", "crown", "tightened")

Within = tuple[Array | float, Array | float]


@dataclass(frozen=True, repr=False)
class CertifySettings(Settings):
    """How `certify` works, beyond what it is asked.

    within: (lowest, highest), numbers, one per channel, or arrays of the input's shape, that balls are cut with; None
    for no cut. mean, std: the network is given (x - mean) / std, numbers or one per channel, while images, radii and
    range are those before; None where images are as the network takes them. norm: of the balls, as `certify` says.
    bounds: "crown"; "tightened" tightens the pre-activation bounds of what CROWN leaves open; "interval" for networks
    too large for either. arithmetic: "real" bounds the network in real numbers; "float32" and "float64" add the
    rounding error of evaluating it in that type. method: of `solve`. max_passes: budget per row after the bound before
    any iteration, 0 for none; None tries a short budget, then a longer one. output: a file that takes a JSON line per
    finished instance, block by block; with the same task it is read first, and only the rest is computed; several
    processes may share it. Where it cannot be written the result says so. search: seconds of branch and bound
    (`verify`) for each image that bounds leave unknown, shared by its radii; None for none. A file of a task without
    them, or with fewer, is gone on with.

    Raises: InputError for a choice that does not exist, or a value of another type or range.
    """

    within: Within | None = (0.0, 1.0)
    bounds: str = "tightened"
    arithmetic: str = "real"
    method: str = "ascent"
    max_passes: Annotated[int | None, ANY] = None
    output: str | Path | None = None
    search: Allowance = None
    mean: object = None
    std: object = None
    norm: str | float = "linf"

    def __post_init__(self) -> None:
        choice(self.bounds, "The choice of bounds", BOUNDS)
        check_arithmetic(self.arithmetic)
        choice(self.method, "The method", METHODS)
        if (self.mean is None) != (self.std is None):
            raise InputError("A normalisation has a mean and a standard deviation: give both mean and std, or neither.")
        if self.within is not None:
            object.__setattr__(self, "within", range_ends(self.within))
        object.__setattr__(self, "norm", norm_name(self.norm))
        if self.output is not None:
            object.__setattr__(self, "output", file_path(self.output, "The output", ", or None"))
        super().__post_init__()

    @classmethod
    def of(cls, given: "CertifySettings | None", norm: str | float | None) -> "CertifySettings":
        """The settings of a front door that was handed some, or a norm of its own.

        Raises: InputError for what are no settings or no norm.
        """
        found = cls() if given is None else instance(given, cls, "settings")
        return found if norm is None else replace(found, norm=norm)
