"""A hundred digits, three compressed networks: answers no attack contradicts, and robustness carried over."""

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.attacks.pgd import Pgd
from admm_verify.attacks.search import QUICK, attack
from admm_verify.attacks.starts import Starts
from admm_verify.attacks.targets import Targets
from admm_verify.report.demo import load_digits
from problems.pairs import half, pruned, quantised
from problems.train_digits import SEED, split

RADIUS, COUNT, CLASSES = 0.03, 100, 10
CHANGES = {"float16": half, "int8": quantised, "pruned": lambda network: pruned(network, 0.1)}
ATTACKS = (QUICK, Pgd(Starts(restarts=4, most=16, work=1e8, samples=32), steps=40, last=0.005))


def hits(first, second, box, criterion):
    """Which sets hold inputs that say otherwise, as attacks find on every way for the class of the centre."""
    ways, classes = criterion.ways(CLASSES), first(np.asarray(box.centre)).argmax(axis=1)
    pairs = [(k, j) for k in range(CLASSES) for j in range(CLASSES) if j != k]
    own = [(i, way) for i, k in enumerate(classes) for way, (of, _) in enumerate(pairs) if of == k]
    sets = np.array([i for i, _ in own])
    rows = np.array([ways.of[way] for _, way in own])
    targets = Targets(box.at(sets), ways.objective[rows], ways.offset[rows], np.ones(len(sets), dtype=bool))
    joint = av.paired(first, second).put(Placement.numpy())
    found = attack(joint, targets, ATTACKS, starts=np.asarray(box.centre)[sets][:, None], run=av.Run())
    return np.isin(np.arange(box.count), sets[np.asarray(targets.hit(found.loss))])


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_compressed_networks_of_digits(change):
    network = load_digits().network
    other = CHANGES[change](network)
    _, test = split(torch.Generator().manual_seed(SEED))
    images, labels = test.images.numpy()[:COUNT].astype(np.float64), test.labels.numpy()[:COUNT]
    box = av.Box.around(images, RADIUS, within=(0, 1))
    for confidence in (0.5, 0.9):
        criterion = av.Top1Equivalence(confidence)
        found = av.equivalence(network, other, box, criterion, run=av.Run(timeout=60))
        hit = hits(network, other, box, criterion)
        assert not np.any(hit & (found.answer == av.Answer.VERIFIED))
        # None is left open, and what attacks find is found.
        assert found.count(av.Answer.VERIFIED) + found.count(av.Answer.FALSIFIED) == COUNT
        assert (found.answer[hit] == av.Answer.FALSIFIED).all()
        assert found.count(av.Answer.VERIFIED) >= (90 if confidence == 0.5 else COUNT)
    transferred = av.transfer_robustness(network, other, box, labels).answer == av.Answer.VERIFIED
    direct = av.certify(other, images, labels, [RADIUS]).status[:, 0] == av.Answer.VERIFIED
    assert direct.sum() >= 85 and transferred[direct].mean() >= 0.95
