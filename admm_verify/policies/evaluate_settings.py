"""How `evaluate_policy` works."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from admm_verify.options import Allowance, AtLeastOne, Count, Settings, choice
from admm_verify.policies.settings import PolicySettings

ATTACKS = ("random", "bias", "mad", "least", "other", "greedy")
"""What attacks there are, cheap ones first."""


@dataclass(frozen=True, repr=False)
class EvaluateSettings(Settings):
    """How `evaluate_policy` works, beyond what it is asked.

    episodes: how many are played without noise, and under every attack at every radius; episode e begins by the seed
    `seed` + e. steps: most of one episode. states: how many of the observations met without noise are certified, evenly
    spread over the episodes. attacks: which of "random" (uniform noise), "bias" (a constant error of the sensors, the
    worst of at most `corners` corners), "mad" (maximal action difference), "least" (towards the least preferred
    action), "other" (to whichever other action is nearest), "greedy" (what ends worst in copies of the environment,
    within so many steps `ahead`). descent: steps of gradient descent in each step of the play. certifying: of
    `certify_policy`; its norm, units and range are those of the attacks, too. deviation_seconds: of continuous actions,
    how long deviations are closed in on, for each observation on average; None for as long as it takes.
    certified_episodes: of how many episodes, the first ones, returns are certified where the environment's dynamics are
    known (`certified_return`): return_seconds each at every radius, None for as long as it takes.

    Raises: InputError for an attack that does not exist, or a value of another type or range.
    """

    episodes: AtLeastOne = 10
    steps: AtLeastOne = 1000
    states: AtLeastOne = 200
    attacks: Sequence[str] = ATTACKS
    corners: AtLeastOne = 16
    descent: Count = 10
    ahead: Count = 20
    seed: Count = 0
    deviation_seconds: Allowance = 0.1
    certified_episodes: Count = 1
    return_seconds: Allowance = 10.0
    certifying: PolicySettings = field(default_factory=PolicySettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = (self.attacks,) if isinstance(self.attacks, str) else self.attacks
        object.__setattr__(self, "attacks", tuple(dict.fromkeys(choice(one, "The attack", ATTACKS) for one in given)))
