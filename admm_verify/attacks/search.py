"""`attack`: the attacks in sequence, cheap ones first."""

from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import Array, namespace
from admm_verify.attacks.apgd import Apgd
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.lbfgs import Lbfgs
from admm_verify.attacks.method import Method
from admm_verify.attacks.pgd import FGSM, Pgd
from admm_verify.attacks.starts import Starts, check_starts
from admm_verify.attacks.targets import Found, Targets
from admm_verify.network.graph import Network
from admm_verify.run import Run

QUICK = Pgd(Starts(restarts=0, most=0), steps=10, last=0.1)
SEQUENCE: tuple[Method, ...] = (
    FGSM,
    QUICK,
    Pgd(Starts(restarts=4, most=64, samples=1000)),
    Apgd(Starts(restarts=2, most=64, samples=1000), step=0.5),
    Lbfgs(Starts(restarts=0, most=24, work=3e5, samples=1000)),
)


def attack(
    network: Network,
    targets: Targets,
    methods: Sequence[Method] = SEQUENCE,
    *,
    starts: Array | None = None,
    seed: int = 0,
    any_suffices: bool = False,
    run: Run | None = None,
) -> Found:
    """Attacks in turn, each from the best points so far too: FGSM, a short PGD, restarted PGD, Auto-PGD and L-BFGS.

    It ends after the first method, or within it, once all targets are hit, or any of them where any_suffices. A hit
    that rounding might undo does not count for that, so that what is called a hit can usually be confirmed.

    Shapes: starts [targets, points, inputs], such as the primal points of a relaxation, used beside the methods' own.
    Raises: InputError for sizes that do not fit.
    """
    how = Run.of(run)
    hunt = Hunt(Landscape.of(network, targets, how), how, any_suffices)
    rng, given = np.random.default_rng(seed), check_starts(targets, starts)
    for number, method in enumerate(methods):
        best = [hunt.found.x[:, None, :]] if number else []
        known = [*([] if given is None else [given]), *best]
        method.search(hunt, namespace(*known).concat(known, axis=1) if known else None, rng)
    return hunt.found
