"""Settings of the attacks, one frozen record per method; the defaults are those of the sequence in `search.py`."""

from dataclasses import dataclass

from admm_verify.options import AtLeastOne, Count, Memory, Nonnegative, Settings, Share


@dataclass(frozen=True)
class StartSettings(Settings):
    """Where a method starts in every box, besides the centre and the points it is given.

    restarts: further starts; small networks take up to `most`, as many as keep the multiplications of one pass over
    all points below `work`. samples: in boxes with at most `few` sides of positive width, the restarts are the best of
    so many uniform points and of all corners, if these are no more. In larger boxes they are uniform points after
    `diversify` steps of output-diversified initialisation of size diversify_step, in half-widths of the box.
    """

    restarts: Count = 4
    most: Count = 4
    work: Nonnegative = 3e6
    samples: Count = 0
    few: Count = 20
    diversify: Count = 3
    diversify_step: Nonnegative = 2.0


@dataclass(frozen=True)
class PgdSettings(Settings):
    """Projected gradient descent by signs.

    steps: iterations. first, last: step in half-widths of the box, falling geometrically. momentum: share of the
    gradients before.
    """

    starts: StartSettings = StartSettings()
    steps: Count = 20
    first: Nonnegative = 1.0
    last: Nonnegative = 0.02
    momentum: Share = 0.7


@dataclass(frozen=True)
class ApgdSettings(Settings):
    """Auto-PGD; the defaults but for the number of steps are those of the paper.

    steps: iterations. step: the first step, in half-widths of the box. share: of the iterations between two check
    points in which the loss has to fall. momentum: share alpha of the new step.
    """

    starts: StartSettings = StartSettings()
    steps: Count = 50
    step: Nonnegative = 2.0
    share: Share = 0.75
    momentum: Share = 0.75


@dataclass(frozen=True)
class LbfgsSettings(Settings):
    """L-BFGS-B.

    targets: how many of the open targets of a block are tried, those of least loss first. steps: iterations from one
    start. memory: pairs that stand for the Hessian. aim: how far below zero targets of several atoms aim, in units of
    the loss at the start.
    """

    starts: StartSettings = StartSettings(restarts=0)
    targets: Count = 2
    steps: Count = 30
    memory: AtLeastOne = 10
    aim: Nonnegative = 0.1


@dataclass(frozen=True)
class AttackSettings(Settings):
    """The sequence of `attack`: a short PGD, PGD from diversified restarts, Auto-PGD, L-BFGS.

    memory: limit on the working memory in bytes, None for half of what is free.
    """

    quick: PgdSettings = PgdSettings(StartSettings(restarts=0, most=0), steps=10, last=0.1)
    restarted: PgdSettings = PgdSettings(StartSettings(restarts=4, most=64, samples=1000))
    automatic: ApgdSettings = ApgdSettings(StartSettings(restarts=2, most=64, samples=1000), step=0.5)
    newton: LbfgsSettings = LbfgsSettings(StartSettings(restarts=0, most=24, work=3e5, samples=1000))
    memory: Memory = None
