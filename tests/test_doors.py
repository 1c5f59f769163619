"""What callers hand in: right, or one paragraph that says what is wrong; never a traceback, never believed blindly."""

import copy
import pickle
import sys
from dataclasses import MISSING, FrozenInstanceError, fields, replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.attacks.search import attack
from admm_verify.attacks.targets import Targets
from admm_verify.network.layers import network_from_layers
from admm_verify.options import Settings

RNG = np.random.default_rng(0)
NET = network_from_layers([RNG.standard_normal((6, 4)), RNG.standard_normal((3, 6))], [np.zeros(6), np.zeros(3)])
BOX = av.Box(-np.ones(4), np.ones(4))
PRE = av.preactivation_bounds(NET, BOX)
PROBLEM = av.Problem(NET, BOX, np.eye(3))


def image_network(shape=(3, 8, 8)):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(shape[0], 2, 3, stride=2), torch.nn.ReLU())
    return av.trace(module, torch.zeros(1, *shape))


NO_NUMBERS = {
    "none": None,
    "text": "abc",
    "bytes": b"abc",
    "bytearray": bytearray(4),
    "dictionary": {},
    "object": object(),
    "ragged": [1, 2, 3, [4]],
    "strings": ["1", "2", "3", "4"],
    "nothing among numbers": np.array([1, None, 2, 3]),
    "fractions": [Fraction(1, 3)] * 4,
    "complex": np.ones(4) * 1j,
    "truth": np.ones(4, dtype=bool),
    "dates": np.zeros(4, dtype="M8[s]"),
    "records": np.zeros(4, dtype=[("a", float)]),
    "masked": np.ma.array(np.zeros(4), mask=[1, 0, 0, 0]),
    "beyond float64": np.full(4, 2**60 + 1),
    "torch complex": torch.zeros(4, dtype=torch.complex64),
    "torch truth": torch.zeros(4, dtype=torch.bool),
    "torch sparse": torch.eye(4).to_sparse(),
    "torch meta": torch.zeros(4, device="meta"),
    "a network": NET,
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_array_of_real_numbers_is_refused_everywhere(name):
    wrong, images = NO_NUMBERS[name], np.full((2, 4), 0.5)
    doors = [
        lambda: av.Box(wrong, np.ones(4)),
        lambda: av.Box.around(wrong, 0.1),
        lambda: av.Box.around(np.zeros(4), wrong),
        lambda: av.Box.around(np.zeros(4), 0.1, within=(wrong, 1.0)),
        lambda: av.Problem(NET, BOX, wrong),
        lambda: av.Problem(NET, BOX, np.eye(3), wrong),
        lambda: av.PreactivationBounds.from_arrays(NET, [(wrong, PRE.upper[0])]),
        lambda: av.Problem(NET, BOX, np.eye(3), preactivation=av.PreactivationBounds((wrong,), PRE.upper)),
        lambda: replace(PROBLEM, start=[wrong]),
        lambda: av.certify(NET, wrong, [0, 1], [0.1]),
        lambda: av.certify(NET, images, wrong, [0.1]),
        lambda: av.certify(NET, images, [0, 1], wrong),
        lambda: av.certify(NET, images, [0, 1], [0.1], settings=av.CertifySettings(within=(wrong, 1.0))),
        lambda: NET(wrong),
    ]
    for door in doors:
        with pytest.raises(av.InputError) as caught:
            door()
        assert "\n" not in str(caught.value)


def test_numbers_of_every_kind_are_what_they_are():
    plain = np.array([0.25, -0.5, 1.0, 2.0])
    negated = torch.complex(torch.zeros(4), torch.tensor(-plain, dtype=torch.float32)).conj().imag
    kinds = [
        plain.tolist(),
        plain[::-1].copy()[::-1],
        plain.astype(">f8"),
        plain.astype(np.longdouble),
        plain.astype(np.float16),
        np.ma.array(plain),
        torch.tensor(plain, dtype=torch.bfloat16),
        torch.tensor(plain, dtype=torch.float16),
        torch.nn.Parameter(torch.tensor(plain)),
        negated,
        [torch.tensor(v, requires_grad=True) for v in plain],
    ]
    with torch.inference_mode():
        kinds.append(torch.tensor(plain))
    for kind in kinds:
        box = av.Box(kind, kind)
        assert np.asarray(box.lower).reshape(-1).tolist() == plain.tolist() and box.lower is not kind
        assert np.isfinite(
            np.asarray(av.solve(av.Problem(NET, box, np.eye(3)), settings=av.SolverSettings(max_passes=4)).lower)
        ).all()


def test_images_of_small_floats_are_certified():
    images = torch.full((2, 4), 0.5, dtype=torch.bfloat16)
    labels = NET(np.full((2, 4), 0.5)).argmax(axis=1)
    assert av.certify(NET, images, labels, [0.0]).correct.all()


@pytest.mark.parametrize("method", ["auto", "admm"])
def test_gradients_stay_outside(method):
    ends = [torch.full((4,), end, dtype=torch.float64, requires_grad=True) for end in (-1.0, 1.0)]
    problem = av.Problem(NET, av.Box(*ends), torch.eye(3, requires_grad=True), torch.ones(3, requires_grad=True))
    start = [torch.zeros(3, 6, dtype=torch.float64, requires_grad=True)]
    found = av.solve(replace(problem, start=start), method, settings=av.SolverSettings(max_passes=4))
    for array in (found.lower, found.relaxation_upper, found.primal, *found.multipliers, problem.objective):
        assert not array.requires_grad
    x = torch.ones(2, 4, requires_grad=True)
    NET(x).sum().backward()
    assert x.grad is not None


def test_attacks_see_no_gradients():
    ends = [torch.full((1, 4), end, requires_grad=True) for end in (-1.0, 1.0)]
    targets = Targets(
        av.Box(*ends), torch.ones((1, 1, 3), requires_grad=True), torch.full((1, 1), 9.0, requires_grad=True)
    )
    found = attack(NET, targets, starts=torch.zeros((1, 2, 4), requires_grad=True))
    assert not targets.objective.requires_grad and not found.x.requires_grad and found.x.grad_fn is None
    for wrong in (None, "abc", np.ma.array(np.zeros((1, 4)), mask=True)):
        with pytest.raises(av.InputError):
            Targets(BOX, wrong, np.zeros((1, 1)))


def test_what_was_handed_in_may_change_afterwards():
    lower, objective = -np.ones(4), np.eye(3)
    ends = [end.copy() for end in (PRE.lower[0], PRE.upper[0])]
    box = av.Box(lower, np.ones(4))
    problem = av.Problem(NET, box, objective, preactivation=av.PreactivationBounds((ends[0],), (ends[1],)))
    before = av.solve(problem, settings=av.SolverSettings(max_passes=4)).lower
    for array in (lower, objective, *ends, box.lower):
        array[...] = 0.0
    assert (av.solve(problem, settings=av.SolverSettings(max_passes=4)).lower == before).all()


def test_an_image_with_its_channels_last_is_refused():
    net, image = image_network(), np.zeros((8, 8, 3), dtype=np.float32)
    box = av.Box.around(image, 0.1)
    labels = [0]
    for door in (
        lambda: net(image),
        lambda: av.Problem(net, box, np.eye(net.output_size)),
        lambda: av.preactivation_bounds(net, box),
        lambda: av.output_bounds(net, box),
        lambda: av.certify(net, image[None], labels, [0.1]),
    ):
        with pytest.raises(
            av.InputError, match=r"\(3, 8, 8\).*channels first.*transpose\((0, 3, 1, 2|2, 0, 1)\).*flatten"
        ):
            door()
    with pytest.raises(av.InputError, match=r"permute\(2, 0, 1\)"):
        net(torch.tensor(image))
    assert net(image.transpose(2, 0, 1)).shape == net.output_shape


@pytest.mark.parametrize(
    ("sample", "good", "bad"),
    [
        (
            (3, 8, 8),
            [(3, 8, 8), (1, 3, 8, 8), (5, 3, 8, 8), (192,), (5, 192)],
            [(8, 8, 3), (8, 3, 8), (2, 3, 3, 8, 8), (5, 8, 8, 3), (64, 3), (192, 1, 2), (384,), (24, 8), (0, 3, 8, 8)],
        ),
        (
            (1, 8, 8),
            [(8, 8), (1, 8, 8), (5, 8, 8), (5, 1, 8, 8), (64,), (5, 64)],
            [(8, 8, 1), (5, 8, 8, 1), (128,), (16, 8, 2)],
        ),
    ],
)
def test_shapes_of_samples(sample, good, bad):
    net = image_network(sample)
    for shape in good:
        x = RNG.random(shape)
        rows = x.reshape(-1, np.prod(sample))
        assert (net(x).reshape(len(rows), -1) == net(rows).reshape(len(rows), -1)).all()
        assert len(av.Problem(net, av.Box(x, x), np.ones((len(rows), net.output_size))).inputs.lower) == len(rows)
    for shape in bad:
        with pytest.raises(av.InputError, match="shape"):
            net(np.zeros(shape))
        with pytest.raises(av.InputError, match="shape"):
            av.preactivation_bounds(net, av.Box(np.zeros(shape), np.zeros(shape)))


def test_bounds_that_cannot_hold_are_refused():
    low, high = PRE.lower[0], PRE.upper[0]
    wrong = {
        "neuron 0.*lower <= upper": av.PreactivationBounds((high,), (low,)),
        "NaN": av.PreactivationBounds((low * np.nan,), (high,)),
        "0 lower and 0 upper": av.PreactivationBounds((), ()),
        r"\(1, 3\)": av.PreactivationBounds((np.zeros((1, 3)),), (np.ones((1, 3)),)),
        "exclude every value": av.PreactivationBounds((low + 1e3,), (high + 1e3,)),
        "one entry per activation": av.PreactivationBounds(low, high),
        "rows": av.PreactivationBounds((np.repeat(low, 2, 0),), (np.repeat(high, 2, 0),)),
    }
    for words, bounds in wrong.items():
        for door in (
            lambda: av.Problem(NET, BOX, np.eye(3), preactivation=bounds),  # noqa: B023
            lambda: av.preactivation_bounds(NET, BOX, known=bounds),  # noqa: B023
            lambda: av.output_bounds(NET, BOX, preactivation=bounds),  # noqa: B023
        ):
            with pytest.raises(av.InputError, match=words):
                door()


def test_bounds_of_another_box_or_network_are_refused():
    wider = av.Box(-2.0 * np.ones(4), 2.0 * np.ones(4))
    other = network_from_layers([np.eye(6, 4), np.eye(3, 6)], [np.zeros(6), np.zeros(3)])
    for box, network, words in ((wider, NET, "does not hold this one"), (BOX, other, "another network")):
        with pytest.raises(av.InputError, match=words):
            av.Problem(network, box, np.eye(3), preactivation=PRE)
        with pytest.raises(av.InputError, match=words):
            av.preactivation_bounds(network, box, known=PRE)
    inside = av.Box(-0.5 * np.ones(4), np.ones(4))
    assert av.Problem(NET, inside, np.eye(3), preactivation=PRE).rows == 3
    same = av.Network(tuple(NET.nodes), NET.input_shape, NET.output_shape)
    assert av.Problem(same, BOX, np.eye(3), preactivation=PRE).rows == 3


def test_copies_of_bounds_know_what_they_were_made_for():
    wider = av.Box(-2.0 * np.ones(4), 2.0 * np.ones(4))
    for copied in (replace(PRE), replace(PRE, upper=PRE.upper), copy.deepcopy(PRE), pickle.loads(pickle.dumps(PRE))):
        assert av.Problem(NET, BOX, np.eye(3), preactivation=copied).rows == 3
        with pytest.raises(av.InputError, match="does not hold this one"):
            av.Problem(NET, wider, np.eye(3), preactivation=copied)
    with pytest.raises(av.InputError, match="origin"):
        av.Problem(NET, BOX, np.eye(3), preactivation=replace(PRE, origin="elsewhere"))


def test_bounds_that_were_changed_are_looked_at_again():
    changed = av.preactivation_bounds(NET, BOX)
    changed.lower[0][...], changed.upper[0][...] = 1e3, 1e3 + 1.0
    moved = replace(PRE, lower=(PRE.lower[0] + 1e3,), upper=(PRE.upper[0] + 1e3,))
    for bounds in (changed, moved):
        for door in (
            lambda: av.Problem(NET, BOX, np.eye(3), preactivation=bounds),  # noqa: B023
            lambda: av.preactivation_bounds(NET, BOX, known=bounds),  # noqa: B023
            lambda: av.output_bounds(NET, BOX, preactivation=bounds),  # noqa: B023
        ):
            with pytest.raises(av.InputError, match="exclude every value"):
                door()


def test_a_problem_is_not_changed_once_it_is_made():
    own = av.PreactivationBounds(PRE.lower, PRE.upper)
    wider = av.Box(-2.0 * np.ones(4), 2.0 * np.ones(4))
    for problem in (av.Problem(NET, BOX, np.eye(3)), av.Problem(NET, BOX, np.eye(3), preactivation=own)):
        for name, value in (("network", image_network()), ("inputs", wider), ("objective", -np.eye(3))):
            with pytest.raises(FrozenInstanceError):
                setattr(problem, name, value)
        started = replace(problem, start=av.solve(problem).multipliers)
        arrays = (*problem.inputs.range, problem.objective, problem.offset, *started.start)
        for array in (*arrays, *problem.preactivation.lower, *problem.preactivation.upper):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0.0
        with pytest.raises(av.InputError, match="does not hold this one"):
            replace(problem, inputs=wider)
        assert (av.solve(replace(problem, inputs=wider, preactivation=None)).lower <= av.solve(problem).lower).all()
        assert (
            av.solve(replace(problem, objective=2.0 * np.eye(3))).lower >= 2.0 * av.solve(problem).lower - 1e-3
        ).all()


@pytest.mark.parametrize("given", [torch.nn.Linear(4, 3), "net.onnx", None, BOX], ids=["module", "path", "none", "box"])
def test_what_is_no_network_says_how_to_make_one(given):
    words = "av.trace" if isinstance(given, torch.nn.Module) else "av.read_onnx"
    images = np.full((1, 4), 0.5)
    for door in (
        lambda: av.Problem(given, BOX, np.eye(3)),
        lambda: av.preactivation_bounds(given, BOX),
        lambda: av.output_bounds(given, BOX),
        lambda: av.PreactivationBounds.from_arrays(given, []),
    ):
        with pytest.raises(av.InputError, match=words):
            door()
    # Which reads files itself.
    told = "cannot be read" if isinstance(given, str) else words
    with pytest.raises((av.InputError, av.ModelError), match=told):
        av.certify(given, images, [0], [0.1])
    if isinstance(given, torch.nn.Module):
        with pytest.raises(av.InputError, match=r"av\.trace"):
            av.read_onnx(given)


@pytest.mark.parametrize("within", [0.5, (0.0,), (0.0, 0.5, 1.0), "01", {}, (None, 1.0), (1.0, 0.0)])
def test_a_range_is_a_pair(within):
    with pytest.raises(av.InputError):
        av.Box.around(np.full(4, 0.5), 0.1, within)
    with pytest.raises(av.InputError):
        av.certify(NET, np.full((1, 4), 0.5), [0], [0.1], settings=av.CertifySettings(within=within))


NO_NUMBER = ["1GB", True, -1, float("nan"), [], {}, np.array([1.0]), 1j, object()]
OPTIONS = {
    "timeout": NO_NUMBER,
    "method": [None, "bogus", 1, ["auto"], np.array(["auto"])],
    "device": ["gpu", 0, "meta", torch.device("meta")],
    "settings": [{}, av.SolverSettings, av.AscentSettings()],
    "run": [{}, av.Run, 3.0, lambda: True],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_checked(option):
    for value in OPTIONS[option]:
        with pytest.raises(av.InputError):
            av.solve(PROBLEM, **{option: value})
        if option in ("method", "settings", "run"):
            with pytest.raises(av.InputError):
                av.output_bounds(NET, BOX, **{option: value})


@pytest.mark.parametrize("start", [[], PRE, [np.zeros((3, 5))], np.zeros((1, 3, 6))], ids=["none", "bounds", "5", "3d"])
def test_multipliers_of_other_problems_are_no_start(start):
    with pytest.raises(av.InputError, match="start"):
        replace(PROBLEM, start=start)


def test_counts_end_where_floats_would_overflow():
    kinds = [av.SolverSettings, av.AscentSettings, av.PrimalDualSettings, av.AdmmSettings, av.TightenSettings]
    for kind in (*kinds, av.RefineSettings, av.SearchSettings, av.VerifySettings, av.CertifySettings, av.ReachSettings):
        counts = [field.name for field in fields(kind) if isinstance(getattr(kind(), field.name), int)]
        counts += {av.SolverSettings: ["max_passes"], av.VerifySettings: ["max_subproblems"]}.get(kind, [])
        for name in set(counts) - {"certificate"}:
            kind(**{name: sys.maxsize})
            with pytest.raises(av.InputError, match=f"{name}.*<= 9.22"):
                kind(**{name: 10**400})
    settings = av.SolverSettings(max_passes=sys.maxsize)
    for method in ("auto", "ascent", "primal_dual", "admm"):
        assert np.isfinite(av.solve(PROBLEM, method, timeout=0.0, settings=settings).lower).all()


@pytest.mark.parametrize("status", [None, 3, av.Ended.CONVERGED, "converged", ["sat"], [None]])
def test_rows_end_in_words_that_there_are(status):
    with pytest.raises(av.InputError, match="status"):
        replace(av.solve(PROBLEM, timeout=0.0), status=status)


@pytest.mark.parametrize("value", ["float16", np.float32, 32])
def test_precisions_are_checked(value):
    with pytest.raises(av.InputError, match="precision"):
        av.SolverSettings(precision=value)


@pytest.mark.parametrize(
    "kind", [av.SolverSettings, av.AscentSettings, av.TightenSettings, av.CertifySettings, av.VerifySettings]
)
def test_settings_are_checked_as_they_are_made(kind):
    for field in fields(kind):
        # Paths may be any text, and some things are there or not.
        right = {"output": "1GB", "checkpoint": "1GB", "certificate": True}.get(field.name, 0)
        for value in (*(one for one in NO_NUMBER if one is not right), av.Ended.CONVERGED):
            with pytest.raises(av.InputError, match=f"{field.name}|unknown"):
                kind(**{field.name: value})


def test_records_that_settings_are_made_of_are_public():
    for name in av.__all__:
        kind = getattr(av, name)
        if isinstance(kind, type) and issubclass(kind, Settings):
            # Losses have no radius by default, and trainings no loss.
            given = {"eps": 0.1, "loss": av.StandardLoss()}
            needed = [one.name for one in fields(kind) if one.default is one.default_factory is MISSING]
            made = kind(**{name: given[name] for name in needed})
            for field in fields(kind):
                inner = type(getattr(made, field.name))
                assert not issubclass(inner, Settings) or inner.__name__ in av.__all__, f"{name}.{field.name}"


def test_a_query_must_declare_the_networks_axes_in_order(tmp_path):
    net, path = image_network(), tmp_path / "query.vnnlib"
    shapes = {(1, 3, 8, 8): True, (3, 8, 8): True, (192,): True, (1, 8, 8, 3): False, (3, 64): False}
    for shape, fits in shapes.items():
        entries = [f"X[{','.join(map(str, index))}]" for index in np.ndindex(*shape)]
        bounds = "".join(f"(assert (and (<= {entry} 1.0) (>= {entry} 0.0)))\n" for entry in entries)
        path.write_text(
            f"(vnnlib-version <2.0>)\n(declare-network f (declare-input X float32 [{','.join(map(str, shape))}]) "
            f"(declare-output Y float32 [{net.output_size}]))\n{bounds}(assert (<= Y[0] 0.0))\n"
        )
        if fits:
            assert av.read_query(path, net).network is net
        else:
            with pytest.raises(av.QueryError, match="with shape"):
                av.read_query(path, net)
