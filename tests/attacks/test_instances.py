"""Real queries with known counterexamples, which the default attack finds and the network confirms."""

import csv

import pytest

import admm_verify as av
from admm_verify.attacks.confirm import confirm
from admm_verify.attacks.search import attack
from admm_verify.attacks.targets import Targets
from admm_verify.properties.rows import atom_rows
from tests.shared import SHARED, needs_shared

SATISFIABLE = (
    "acasxu/ACASXU_run2a_2_1_batch_2000/prop_2",
    "acasxu/ACASXU_run2a_1_9_batch_2000/prop_4",
    "mnist_fc/mnist-net_256x2/prop_2_0.03",
    "mnist_fc/mnist-net_256x4/prop_6_0.05",
    "mnist_fc/mnist-net_256x4/prop_8_0.05",
    "oval21/cifar_base_kw/cifar_base_kw-img1598-eps0.0026143790849673205",
    "reach_prob_density/vdp/vdp_3",
    "reach_prob_density/robot/robot_0",
    "tllverifybench/tllBench_n=2_N=M=16_m=1_instance_1_3/property_N=16_3",
    "marabou-cifar10/cifar10_small/networkcifar10_small_index2317_eps0.024_target6_orig5",
    "collins_rul_cnn/NN_rul_small_window_20/robustness_8perturbations_delta10_epsilon10_w20",
    "collins_rul_cnn/NN_rul_small_window_20/robustness_8perturbations_delta5_epsilon10_w20",
)
"""One query for every stage of the sequence, and the hardest ones for each."""


def query(name: str) -> av.Query:
    with open(SHARED / "data" / "instances.csv", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == f"vnncomp/{name}")
    return av.read_query(SHARED / "data" / row["spec"], SHARED / "data" / row["model"])


@needs_shared
@pytest.mark.data
@pytest.mark.parametrize("name", SATISFIABLE)
def test_known_counterexamples_are_found(name):
    asked = query(name)
    disjuncts = asked.property.disjuncts
    targets = Targets.of(atom_rows(asked.property), range(len(disjuncts)))
    found = attack(asked.network, targets, any_suffices=True)
    witnesses = [confirm(asked, disjuncts[i], found.x[i]) for i in range(len(disjuncts)) if targets.hit(found.loss)[i]]
    confirmed = [witness for witness in witnesses if witness is not None]
    assert confirmed and all(any(one.box.holds(witness.exact) for one in disjuncts) for witness in confirmed)
