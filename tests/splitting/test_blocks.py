"""Blocks of rows are records, which other processes solve as this one does."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.run import Run
from admm_verify.splitting.solve import Block
from tests.random_networks import random_case

ELSEWHERE = """
import pickle, sys
block, first, last = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(block.solved(first, last)))
"""


@pytest.mark.parametrize("method", ["auto", "admm"])
def test_another_process_solves_a_block_as_this_one(method):
    case = random_case(3)
    size = case.network.output_size
    problem = av.Problem(case.network, case.box, np.concatenate([np.eye(size), -np.eye(size)]))
    settings = av.SolverSettings(max_passes=40, precision="float64")
    block = Block(problem, method, Placement.numpy(), settings, Run.of(None))
    here = block.solved(1, 2 * size)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], input=pickle.dumps((block, 1, 2 * size)), capture_output=True, check=True
    )
    there = pickle.loads(done.stdout)
    np.testing.assert_array_equal(there.lower, here.lower)
    np.testing.assert_array_equal(there.relaxation_upper, here.relaxation_upper)
    assert (there.passes == here.passes).all()


def test_placements_survive_pickling():
    for placement in (Placement.numpy(), Placement.numpy(np.float32).single):
        assert pickle.loads(pickle.dumps(placement)) == placement
