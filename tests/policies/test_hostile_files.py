"""Files that somebody made to do harm, or that are damaged, are refused, and nothing in them is run."""

import copy
import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

import admm_verify as av
from admm_verify.policies.readers import archive
from admm_verify.policies.readers.unpickle import number_array, read_pickle
from tests.policies.sb3_oracle import library


class Harm:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


SPACES = {
    "observation_space": {":type:": "<class 'gymnasium.spaces.box.Box'>", "_shape": [2], "dtype": "float32"},
    "action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "2"},
}


def tensors():
    torch = library("torch")
    generator = torch.Generator().manual_seed(0)
    names = {"action_net.weight": (2, 3), "action_net.bias": (2,), "value_net.weight": (1, 3), "value_net.bias": (1,)}
    names |= {"mlp_extractor.policy_net.0.weight": (3, 2), "mlp_extractor.policy_net.0.bias": (3,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


def saved(state):
    buffer = io.BytesIO()
    library("torch").save(state, buffer)
    return buffer.getvalue()


def zipped(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def plain(tmp_path):
    """The members of an honest file, which is read."""
    members = {"data": json.dumps(SPACES), "policy.pth": saved(tensors())}
    assert av.read_policy(zipped(tmp_path / "honest.zip", members)).is_discrete
    return members


def test_pickled_code_in_tensors_is_not_run(plain, tmp_path):
    harm = tmp_path / "harmed"
    for state in (Harm(harm), {"action_net.weight": Harm(harm)}, {**tensors(), "extra": [Harm(harm)]}):
        plain["policy.pth"] = saved(state)
        with pytest.raises(av.ModelError, match=r"refused: it holds something else than tensors.*system"):
            av.read_policy(zipped(tmp_path / "p.zip", plain))
        # The older format of torch is one pickle after another.
        buffer = io.BytesIO()
        library("torch").save(state, buffer, _use_new_zipfile_serialization=False)
        plain["policy.pth"] = buffer.getvalue()
        with pytest.raises(av.ModelError, match="refused"):
            av.read_policy(zipped(tmp_path / "p.zip", plain))
        plain["policy.pth"] = pickle.dumps(state if isinstance(state, Harm) else Harm(harm))
        with pytest.raises(av.ModelError, match="refused"):
            av.read_policy(zipped(tmp_path / "p.zip", plain))
    assert not harm.exists()


def test_pickles_in_data_stay_unread(plain, tmp_path):
    import base64

    harm = tmp_path / "harmed"
    evil = base64.b64encode(pickle.dumps(Harm(harm))).decode()
    told = {key: {**value, ":serialized:": evil} for key, value in SPACES.items()}
    plain["data"] = json.dumps({**told, "policy_class": {":type:": "<class 'type'>", ":serialized:": evil}})
    assert av.read_policy(zipped(tmp_path / "p.zip", plain)).is_discrete
    assert not harm.exists()


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"policy_kwargs": ' * 5000])
def test_damaged_descriptions_are_refused(content, plain, tmp_path):
    plain["data"] = content
    with pytest.raises(av.ModelError, match="data of"):
        av.read_policy(zipped(tmp_path / "p.zip", plain))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\b", "C:\\b", "C:b"])
def test_members_that_lead_out_are_refused(name, plain, tmp_path):
    with pytest.raises(av.ModelError, match="leads out of the archive"):
        av.read_policy(zipped(tmp_path / "p.zip", {**plain, name: b""}))


def test_links_and_doubles_are_refused(plain, tmp_path):
    path = zipped(tmp_path / "p.zip", plain)
    link = zipfile.ZipInfo("policy.optimizer.pth")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(av.ModelError, match="symbolic link"):
        av.read_policy(path)
    path = zipped(tmp_path / "q.zip", plain)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("policy.pth", plain["policy.pth"])
    with pytest.raises(av.ModelError, match="is there twice"):
        av.read_policy(path)


def test_bombs_are_refused(plain, tmp_path, monkeypatch):
    zeros = bytes(2**26)
    with pytest.raises(av.ModelError, match="as only harmful ones do"):
        av.read_policy(zipped(tmp_path / "p.zip", {**plain, "policy.pth": zeros}, zipfile.ZIP_DEFLATED))
    # The same inside of what torch reads, which unpacks whatever it finds.
    inner = tmp_path / "inner.zip"
    zipped(inner, {"archive/data.pkl": zeros}, zipfile.ZIP_DEFLATED)
    with pytest.raises(av.ModelError, match="as only harmful ones do"):
        av.read_policy(zipped(tmp_path / "p.zip", {**plain, "policy.pth": inner.read_bytes()}))
    monkeypatch.setattr(archive, "_MOST_MEMBERS", 3)
    with pytest.raises(av.ModelError, match="holds 5 files"):
        av.read_policy(zipped(tmp_path / "p.zip", {**plain, "a": b"", "b": b"", "c": b""}))


def test_members_that_lie_on_one_another_are_refused(plain, tmp_path):
    path = zipped(tmp_path / "p.zip", {**plain, "zzz": b"x" * len(plain["policy.pth"])})
    with zipfile.ZipFile(path, "a") as file:
        # Every member of the directory points to the same bytes.
        for k in range(5):
            file.filelist.append(copy.copy(file.getinfo("zzz")))
            file.filelist[-1].filename = f"again{k}"
        file._didModify = True
    with pytest.raises(av.ModelError, match="members overlap"):
        av.read_policy(path)


def test_sizes_beyond_the_limit_are_refused(plain, tmp_path):
    path = zipped(tmp_path / "p.zip", plain)
    with pytest.raises(av.ModelError, match="and at most 10 are read"):
        archive.read_members(path, ("policy.pth",), "It", most=10)
    assert archive.read_members(path, ("nothing",), "It", most=10) == {}


def test_sizes_that_lie_are_refused(plain, tmp_path):
    path = zipped(tmp_path / "p.zip", plain)
    content = bytearray(path.read_bytes())
    # The directory at the end claims that policy.pth holds more than it does.
    place = content.rindex(b"policy.pth") - 46
    assert content[place : place + 4] == b"PK\1\2"
    content[place + 20 : place + 28] = struct.pack("<II", 2**22, 2**22)
    path.write_bytes(content)
    with pytest.raises(av.ModelError, match=r"overlap"):
        av.read_policy(path)


def test_tensors_that_claim_more_than_they_hold_are_refused(plain, tmp_path):
    torch = library("torch")
    state = tensors()
    state["action_net.weight"] = torch.zeros(1).expand(2**20, 2**20)
    plain["policy.pth"] = saved(state)
    with pytest.raises(av.ModelError, match="claims 1099511627776 entries"):
        av.read_policy(zipped(tmp_path / "p.zip", plain))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_without_bounds_are_refused(bad, plain, tmp_path):
    state = tensors()
    state["action_net.bias"][0] = bad
    plain["policy.pth"] = saved(state)
    with pytest.raises(av.ModelError, match=r"action_net.bias.*NaN or infinite"):
        av.read_policy(zipped(tmp_path / "p.zip", plain))


def test_tensors_of_unknown_parts_are_refused(plain, tmp_path):
    torch = library("torch")
    plain["policy.pth"] = saved({**tensors(), "mlp_extractor.attention.weight": torch.zeros(1)})
    with pytest.raises(av.ModelError, match=r"mlp_extractor.attention.weight, which belongs to no policy"):
        av.read_policy(zipped(tmp_path / "p.zip", plain))
    plain["policy.pth"] = saved({"encoder.weight": torch.zeros(1, 1)})
    with pytest.raises(av.ModelError, match=r"tensors such as 'encoder.weight'"):
        av.read_policy(zipped(tmp_path / "p.zip", plain))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(av.ModelError, match=r"holds no policy.pth"):
        av.read_policy(zipped(tmp_path / "p.zip", {"data": "{}"}))
    (tmp_path / "q.zip").write_bytes(b"nothing of the kind")
    with pytest.raises(av.ModelError, match="no zip archive"):
        av.read_policy(tmp_path / "q.zip")
    with pytest.raises(av.InputError, match="There is no file"):
        av.read_policy(tmp_path / "missing.zip")
    with pytest.raises(av.InputError, match="A policy was to be read of 3"):
        av.read_policy(3)


@pytest.mark.parametrize("protocol", range(6))
def test_normalisations_that_call_anything_are_refused(protocol, tmp_path):
    harm = tmp_path / "harmed"
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(pickle.dumps({"obs_rms": Harm(harm)}, protocol))
    with pytest.raises(av.ModelError, match=r"refused: it names posix.system|refused: it names nt.system"):
        read_pickle(path, "The normalisation")
    assert not harm.exists()


@pytest.mark.parametrize(
    ("module", "name"), [("builtins", "eval"), ("functools", "partial"), ("operator", "attrgetter"), ("torch", "load")]
)
def test_names_of_other_packages_are_refused(module, name, tmp_path):
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(f"c{module}\n{name}\n(S'1'\ntR.".encode())
    with pytest.raises(av.ModelError, match=f"it names {module}.{name}"):
        read_pickle(path, "The normalisation")


def test_names_of_known_packages_call_nothing(tmp_path):
    # NumPy's own functions would open files, or unpickle what they find there.
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(b"cnumpy\nload\n(S'" + os.fsencode(tmp_path / "x.npy") + b"'\ntR.")
    assert read_pickle(path, "The normalisation") == {}
    path.write_bytes(b"cstable_baselines3.common.vec_env.vec_normalize\nVecNormalize\n)\x81}(X\1\0\0\0aK\1ub.")
    assert read_pickle(path, "The normalisation") == {"a": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\x80\x04.",
        b"\x80\x04]r\xff\xff\xff\x7f.",  # a memo of 2**31 places
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b".",  # an array of 2**62 bytes
        b"\x80\x04P1\n.",
        b"\x80\x04" + b"N0" * 600_000 + b"N.",  # a million operations
    ],
)
def test_damaged_normalisations_are_refused(content, tmp_path):
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(content)
    with pytest.raises(av.ModelError, match=r"The normalisation (is refused|holds)"):
        read_pickle(path, "The normalisation")


class Holder:
    """What arrays are pickled in, under a name that is read."""


@pytest.mark.parametrize("protocol", range(3, 6))
def test_arrays_are_made_of_their_bytes(protocol, tmp_path, monkeypatch):
    rng = np.random.default_rng(protocol)
    arrays = {
        "plain": rng.standard_normal(5),
        "table": rng.standard_normal((2, 3)),
        "turned": np.asfortranarray(rng.standard_normal((2, 3))),
        "single": rng.standard_normal(4).astype(np.float32),
        "other order": rng.standard_normal(4).astype(">f8"),
        "whole": np.arange(6, dtype=np.int16),
        "empty": np.zeros((0, 2)),
        "scalar": np.float64(rng.standard_normal()),
        "truth": np.array([True, False]),
        "number": 3.5,
    }
    path = tmp_path / "vecnormalize.pkl"
    holder = Holder()
    holder.__dict__.update(arrays)
    package = types.ModuleType("gym")
    package.Holder = Holder
    monkeypatch.setitem(sys.modules, "gym", package)
    monkeypatch.setattr(Holder, "__module__", "gym")
    path.write_bytes(pickle.dumps(holder, protocol))
    found = read_pickle(path, "It")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        read = number_array(found[name], name)
        assert read.dtype == np.float64 and np.array_equal(read, np.asarray(array, dtype=np.float64)), name


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(b"cgym\nA\n)\x81}S'x'\n" + pickle.dumps(np.array([{}], dtype=object), 3)[2:-1] + b"sb.")
    with pytest.raises(av.ModelError, match="no array of numbers"):
        number_array(read_pickle(path, "It")["x"], "x")


_STRANGE = (None, True, -1, 0, 1e400, 10**30, "", "abc", "9" * 5000, "<class 'x'>", [], [[]], {}, {"a": 1}, [10**12])
_STRANGE += ("[1000000000000]", "[" + "1" * 50_000, "[-1 2 3]", [0], "(0,)", "alpha=-1", "<class 'torch.nn.Tanh'>")
_TOLD = ("policy_kwargs", "observation_space", "action_space", "policy_class", "use_sde")


@pytest.mark.parametrize("told", _TOLD)
def test_strange_descriptions_are_read_or_refused(told, plain, tmp_path):
    whole = {**SPACES, "policy_kwargs": {}, "policy_class": {}}
    options = ("activation_fn", "squash_output", "clip_mean", "normalize_images", "features_extractor_class")
    inner = {"policy_kwargs": options, "policy_class": ("__module__", "__doc__")}
    inner |= dict.fromkeys(SPACES, (":type:", "shape", "_shape", "low", "high", "dtype", "n"))
    endings = set()
    for name in (None, *inner.get(told, ())):
        for value in _STRANGE:
            changed = {**whole, told: value if name is None else {**whole[told], name: value}}
            path = zipped(tmp_path / "p.zip", {**plain, "data": json.dumps(changed)})
            try:
                endings.add(type(av.read_policy(path)).__name__)
            except av.AdmmVerifyError as error:
                endings.add(type(error).__name__)
    assert "Policy" in endings


@pytest.mark.parametrize("old", [False, True])
def test_damaged_tensors_are_read_or_refused(old, plain, tmp_path):
    buffer = io.BytesIO()
    library("torch").save(tensors(), buffer, _use_new_zipfile_serialization=not old)
    rng, endings = np.random.default_rng(int(old)), set()
    for _ in range(150):
        content = bytearray(buffer.getvalue())
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        path = zipped(tmp_path / "p.zip", {**plain, "policy.pth": bytes(content)})
        try:
            endings.add(type(av.read_policy(path)).__name__)
        except av.AdmmVerifyError as error:
            endings.add(type(error).__name__)
    assert endings == {"Policy", "ModelError"}


def test_damaged_pickles_are_read_or_refused(tmp_path):
    path, rng, endings = tmp_path / "vecnormalize.pkl", np.random.default_rng(0), set()
    content = pickle.dumps({"obs_rms": np.arange(4.0), "clip_obs": np.float64(3.0), "epsilon": 1e-8})
    for _ in range(400):
        damaged = bytearray(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.2 else content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(b"cgym\nA\n)\x81" + bytes(damaged[2:-1]) + b"b.")
        try:
            state = read_pickle(path, "It")
            endings.add({name: number_array(value, name).shape for name, value in state.items()} == {} or "numbers")
        except av.ModelError:
            endings.add("refused")
    assert {"numbers", "refused"} <= endings
