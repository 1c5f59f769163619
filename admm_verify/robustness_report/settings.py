"""How `robustness_report` works."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from admm_verify.errors import InputError
from admm_verify.options import Allowance, AtLeastOne, Count, Settings, brief
from admm_verify.robustness.settings import CertifySettings


@dataclass(frozen=True, repr=False)
class ReportSettings(Settings):
    """How `robustness_report` works, beyond what it is asked.

    certifying: of `certify`; its norm, range, mean and std are those of the attacks, too. rivals: how many other
    classes the attacks aim at for each image, those of the largest outputs there. seed: of the attacks' random starts.
    steepness: seconds that Lipschitz constants may take together, None for none of them. examples: how many of the
    smallest perturbations found are kept. classes: their names in order, None where they are numbers.

    Raises: InputError for a value of another type or range.
    """

    certifying: CertifySettings = field(default_factory=CertifySettings)
    rivals: AtLeastOne = 3
    seed: Count = 0
    steepness: Allowance = 20.0
    examples: Count = 8
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is None:
            return
        names = (self.classes,) if isinstance(self.classes, str) else tuple(self.classes)
        if not all(isinstance(name, str) for name in names):
            raise InputError(f"The names of the classes are {brief(names)}; give a text for each.")
        object.__setattr__(self, "classes", names)
