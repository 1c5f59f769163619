"""`attack`: the attacks in sequence, cheap ones first."""

from collections.abc import Callable

import numpy as np

from admm_verify.arrays import Array, namespace
from admm_verify.attacks.apgd import apgd_hunt
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.lbfgs import lbfgs_hunt
from admm_verify.attacks.pgd import fgsm_hunt, pgd_hunt
from admm_verify.attacks.settings import AttackSettings
from admm_verify.attacks.starts import check_starts
from admm_verify.attacks.targets import Found, Targets
from admm_verify.network.graph import Network


def attack(
    network: Network,
    targets: Targets,
    settings: AttackSettings | None = None,
    starts: Array | None = None,
    stop: Callable[[], bool] | None = None,
    seed: int = 0,
    any_suffices: bool = False,
) -> Found:
    """FGSM, a short PGD, restarted PGD, Auto-PGD and L-BFGS in turn, each from the best points so far too.

    It ends after the first method, or within it, once all targets are hit, or any of them where any_suffices. A hit
    that rounding might undo does not count for that, so that what is called a hit can usually be confirmed.

    Shapes: starts [targets, points, inputs], such as the primal points of a relaxation.
    Raises: InputError for sizes that do not fit.
    """
    chosen = AttackSettings() if settings is None else settings
    hunt = Hunt(Landscape.of(network, targets, chosen.memory), stop, any_suffices)
    rng, given = np.random.default_rng(seed), check_starts(targets, starts)
    methods = (
        lambda known: fgsm_hunt(hunt),
        lambda known: pgd_hunt(hunt, chosen.quick, known, rng),
        lambda known: pgd_hunt(hunt, chosen.restarted, known, rng),
        lambda known: apgd_hunt(hunt, chosen.automatic, known, rng),
        lambda known: lbfgs_hunt(hunt, chosen.newton, known, rng),
    )
    for method in methods:
        if hunt.over():
            break
        best = hunt.found.x[:, None, :]
        method(best if given is None else namespace(best).concat([given, best], axis=1))
    return hunt.found
