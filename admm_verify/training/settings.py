"""How a network is trained."""

import os
from dataclasses import dataclass
from pathlib import Path
from sys import float_info
from typing import Annotated

from admm_verify.errors import InputError
from admm_verify.files import check_targets
from admm_verify.options import (
    ANY,
    POSITIVE,
    AtLeastOne,
    Count,
    Nonnegative,
    Positive,
    Range,
    Settings,
    Share,
    file_path,
    number,
    shown,
)
from admm_verify.training.step import Initialiser, Loss, Penalty


@dataclass(frozen=True, repr=False)
class TrainingSettings(Settings):
    """How `train` works, with Adam.

    loss: what is minimised, the sum of it and the penalties. initialisers: applied in order before the first epoch.
    epochs, batch: how often and in which parts the images are seen. rate: of learning, multiplied by `rate_factor` once
    each share of the epochs in `rate_drops` is over, and growing from 0 over the first `warm` share. ramp: the shares
    of the epochs between which radii of losses grow from 0 to what they are. clip: the largest norm of gradients, None
    for no limit. decay: of weights, decoupled. shift: by how many pixels images of two axes and channels are moved at
    random.

    within: the numbers that pixels may have, None for any. certified_eps: the radius at which the validation is
    certified by intervals, None for that of the loss. keep_best: whether the weights in the end are those of the epoch
    with the most certified, among equals the most right, images of the validation; only epochs behind the ramp count.
    seed: of all randomness. checkpoint: a file from which a training goes on that was ended, written every
    `checkpoint_every` epochs.
    """

    loss: Loss
    epochs: AtLeastOne = 20
    batch: AtLeastOne = 100
    rate: Positive = 1e-3
    rate_drops: tuple[float, ...] = (0.7, 0.9)
    rate_factor: Positive = 0.2
    warm: Share = 0.0
    ramp: tuple[float, float] = (0.05, 0.5)
    clip: Annotated[float | None, POSITIVE] = 10.0
    decay: Nonnegative = 0.0
    shift: Count = 0
    penalties: tuple[Penalty, ...] = ()
    initialisers: tuple[Initialiser, ...] = ()
    within: tuple[float, float] | None = None
    certified_eps: Annotated[float | None, ANY] = None
    keep_best: bool = False
    seed: Count = 0
    checkpoint: str | Path | None = None
    checkpoint_every: AtLeastOne = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {"loss": (self.loss,), "penalties": self.penalties, "initialisers": self.initialisers}
        for name, records in given.items():
            for one in records:
                # A class can be called like its instances.
                if isinstance(one, type) or not callable(one):
                    raise InputError(
                        f"TrainingSettings.{name} holds {shown(one)}; give an instance of a record such as "
                        f"{_EXAMPLES[name]}."
                    )
        for drop in self.rate_drops:
            number(drop, "An entry of TrainingSettings.rate_drops", Range(0.0, most=1.0))
        _pair(self.ramp, "ramp", Range(0.0, most=1.0))
        if self.within is not None:
            _pair(self.within, "within", Range(-float_info.max, most=float_info.max))
        if self.checkpoint is not None:
            path = file_path(self.checkpoint, "The checkpoint", ", or None")
            check_targets([os.fspath(path)], [])
            object.__setattr__(self, "checkpoint", path)

    @property
    def radius(self) -> float:
        """At which the validation is certified."""
        return self.loss.eps if self.certified_eps is None else self.certified_eps

    def ramp_at(self, done: float) -> float:
        """The share of their radii that losses use where this share of the epochs is over."""
        first, last = self.ramp
        return float(done >= last) if last == first else min(1.0, max(0.0, (done - first) / (last - first)))

    def rate_at(self, done: float) -> float:
        """The rate of learning where this share of the epochs is over."""
        rising = min(1.0, done / self.warm) if self.warm else 1.0
        return rising * self.rate * self.rate_factor ** sum(done >= drop for drop in self.rate_drops)


_EXAMPLES = {
    "loss": "av.IntervalLoss(eps=0.1)",
    "penalties": "av.TightnessPenalty(eps=0.1)",
    "initialisers": "av.IntervalStart()",
}


def _pair(given: tuple[float, float], name: str, allowed: Range) -> None:
    if len(given) != 2:
        raise InputError(f"TrainingSettings.{name} has {len(given)} entries; give its two ends.")
    first, last = (number(end, f"An end of TrainingSettings.{name}", allowed) for end in given)
    if first > last:
        raise InputError(f"TrainingSettings.{name} is {given}, which ends before it begins; give the lower end first.")
