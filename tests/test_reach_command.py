"""The command `reach`, as a user types it."""

import json

import numpy as np
import pytest

import admm_verify as av
from admm_verify.cli import main
from admm_verify.reach.starts import drawn_inside
from tests.reach.tasks import INTEGRATOR, PENDULUM, write


def test_the_embedded_system(capsys, tmp_path) -> None:
    """Without a file: the table, three verdicts, and a plot."""
    plot, result = tmp_path / "tube.png", tmp_path / "sets.json"
    assert main(["reach", "--plot", str(plot), "--json", str(result)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("double_integrator: 6 steps, 1 cells, complete")
    assert lines[1].split()[:3] == ["time", "position", "velocity"]
    assert [line.split(":")[0] for line in lines[-3:]] == ["verified"] * 3
    assert plot.read_bytes().startswith(b"\x89PNG")
    content = json.loads(result.read_text())
    assert len(content["upper"]) == 7 and content["directions"][0] == [1.0, 0.0]
    assert [one["verdict"] for one in content["requirements"]] == ["verified"] * 3


@pytest.mark.parametrize(
    "options",
    [
        ["--partition", "uniform:3"],
        ["--partition", "greedy:0.02", "--directions", "octagon"],
        ["--partition", "greedy"],
        ["--window", "2", "--method", "crown", "--directions", "principal"],
        ["--steps", "2", "--directions", "8"],
    ],
)
def test_options_of_discrete_systems(capsys, tmp_path, options) -> None:
    path = write(tmp_path, INTEGRATOR)
    assert main(["reach", str(path), "--quiet", *options]) == 0
    out = capsys.readouterr().out
    short = "--steps" in options
    assert out.startswith(f"integrator: {2 if short else 4} steps")
    # A shorter horizon does not show what is to hold for the whole one.
    assert ("unknown" if short else "verified") in out


def test_pictures_of_a_continuous_system(capsys, tmp_path) -> None:
    path = write(tmp_path, PENDULUM)
    plots = [tmp_path / name for name in ("tube.png", "time.png", "moving.gif")]
    options = ["--plot", str(plots[0]), "--time-plot", str(plots[1]), "--animation", str(plots[2])]
    assert main(["reach", str(path), *options]) == 0
    assert "verified" in capsys.readouterr().out
    assert all(plot.stat().st_size > 1000 for plot in plots)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.json"], "missing.json cannot be read"),
        (["--partition", "uniform"], "uniform:K with a count"),
        (["--partition", "some"], "uniform:K with a count"),
        (["--partition", "uniform:0"], "grid is 0"),
        (["--directions", "circle"], "directions 'circle' is unknown"),
        (["--directions", "0"], "count of directions is 0"),
        (["--directions", "\u00b2"], "directions '\u00b2' is unknown"),
        (["--directions", "9" * 5000], "is unknown"),
        (["a" * 5000], "File name too long"),
        (["--plot", "a.txt"], "end its name in one of .png"),
        (["--animation", "a.png"], "end its name in one of .gif"),
        (["--steps", "9000"], "too long for one graph"),
        (["--steps", "0"], "--steps is 0"),
        (["--window", "2", "--partition", "greedy"], "leave out the window"),
        (["--plot", "no/such/folder/a.png"], "cannot be written"),
        (["--timeout", "-1"], "timeout is -1.0"),
        (["--cells", "0"], "cells is 0"),
    ],
)
def test_what_is_wrong_is_said(capsys, options, message) -> None:
    assert main(["reach", *options]) == 1
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out


def test_sets_that_end_early_are_named(capsys, tmp_path) -> None:
    data = PENDULUM | {
        "dynamics": {"kind": "continuous", "equations": ["x2 + u1*0", "x1*x1*x1*50"]},
        "initial_set": {"lower": [1, 1], "upper": [2, 2]},
    }
    assert main(["reach", str(write(tmp_path, data)), "--cells", "1"]) == 0
    out = capsys.readouterr().out
    assert "too loose after step" in out and "unknown" in out


INITIAL = {
    "ellipsoid": {"kind": "ellipsoid", "center": [0.35, 0], "shape": [[0.01, 0.004], [0.004, 0.01]]},
    "polytope": {"kind": "polytope", "normals": [[1, 1], [-1, 0], [0, -1]], "limits": [0.4, -0.3, 0.1]},
    "zonotope": {"kind": "zonotope", "center": [0.35, 0], "generators": [[0.03, 0.02, 0], [0, 0.05, 0.04]]},
    "ball": {"kind": "ball", "center": [0.35, 0], "radius": 0.05, "norm": "l1"},
}


# A polytope's minima are linear programs, which take their time, as pictures of tubes in continuous time do.
CASES = [
    pytest.param(data, kind, id=f"{kind}-{time}", marks=[] if kind in quick else [pytest.mark.slow])
    for time, data, quick in (
        ("discrete", INTEGRATOR, ("ellipsoid", "zonotope", "ball")),
        ("continuous", PENDULUM, ("ball",)),
    )
    for kind in INITIAL
]


@pytest.mark.parametrize(("data", "kind"), CASES)
def test_reach_from_a_set_that_is_no_box(data, kind, tmp_path, capsys):
    path = write(tmp_path, data | {"initial_set": INITIAL[kind]})
    names = {"--plot": "tube.png", "--time-plot": "time.png", "--json": "out.json"}
    files = [str(part) for option, name in names.items() for part in (option, tmp_path / name)]
    assert main(["reach", str(path), "--partition", "uniform:2", *files]) == 0
    assert "verified: " in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    task = av.read_task(path)
    points = drawn_inside(task.initial, np.asarray(task.initial.sample(300, np.random.default_rng(0))))
    states = av.simulate(task.system, points, task.steps)
    values = np.einsum("pts,ds->ptd", states, np.array(found["directions"]))
    # Integration in continuous time has an error of its own.
    assert (values <= np.array(found["upper"]) + (1e-9 if data is PENDULUM else 0.0)).all()
    # What the reader was told lies behind the result: the file with the set, and its hash.
    assert str(path) in [one["path"] for one in found["provenance"]["files"]]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names.values())
