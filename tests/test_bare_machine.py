"""A machine with few packages: what is optional is asked for where it is used, and nowhere else."""

import subprocess
import sys

OPTIONAL = (
    "highspy",
    "onnx",
    "onnxruntime",
    "cupy",
    "matplotlib",
    "safetensors",
)

SCRIPT = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {OPTIONAL!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
import numpy as np, torch
import admm_verify as av
module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
network = av.trace(module, torch.zeros(1, 3))
box = av.Box(np.full(3, -1.0), np.full(3, 1.0))
bounds = av.preactivation_bounds(network, box, "tightened")
for method in ("ascent", "primal_dual", "admm"):
    found = av.solve(av.Problem(network, box, np.eye(2), preactivation=bounds), method, max_passes=10)
    assert np.isfinite(found.lower).all()
low = float(found.lower[0])
assert av.verify(av.query(network, box, f"y0 <= {{low - 1.0}}")).verdict is av.Verdict.UNSAT
assert av.certify(network, np.full((1, 3), 0.5), [0], [0.01]).lower.shape == (1, 1)
system = av.NetworkSystem(av.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)))
task = av.Task("made up", system, av.Box(np.zeros(2), np.ones(2)), 2)
assert av.reach_sets(task).sets.upper.shape[1] == 4
"""


def test_the_library_works_without_what_is_optional() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
