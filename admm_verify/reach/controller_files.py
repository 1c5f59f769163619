"""Controllers from the files that a system's JSON names."""

from pathlib import Path

import numpy as np

from admm_verify.errors import InputError
from admm_verify.files import note_read
from admm_verify.given import read_arrays
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap
from admm_verify.options import brief
from admm_verify.reach.entries import Entries, count, listed, text, word
from admm_verify.reach.inputs import array

ACTIVATIONS = ("relu", "tanh", "sigmoid", "linear")

_MOST_BYTES = 2**30
"""Of all arrays of a file."""

Layers = list[tuple[np.ndarray, np.ndarray]]


def read_network(entries: Entries, folder: Path) -> Network:
    """The network of a controller: of its arrays, where there are any, and else of its ONNX file.

    Raises: InputError where what the JSON says of its layers is not what the file holds; ModelError for an ONNX file
    that cannot be read.
    """
    kinds = entries.get("activations", listed(word(*ACTIVATIONS)), None)
    sizes = entries.get("layers", listed(count(1)), None)
    if entries.has("npz"):
        # Many systems come with both; which one was read is said beside the verdicts.
        entries.get("onnx", text, None)
        network, own_kinds, own_sizes = _arrays(folder / entries.take("npz", _name), kinds)
    else:
        network = read_onnx_file(entries, folder)
        inner = network.functions
        own_kinds, own_sizes = [node.kind for node in inner], [network.input_size, *(node.size for node in inner)]
        # The last layer of an ONNX file may be an activation, or have none.
        own_sizes += [network.output_size] if sizes is not None and len(sizes) > len(own_sizes) else []
        kinds = None if kinds is None else [kind for kind in kinds if kind != "linear"]
    for name, said, own in (("activations", kinds, own_kinds), ("layers", sizes, own_sizes)):
        if said is not None and list(said) != list(own):
            raise InputError(
                f"The entry {entries.where(name)} says {brief(said)}, but the controller's file holds "
                f"{brief(own)}; correct it or leave it out."
            )
    return network


def read_onnx_file(entries: Entries, folder: Path) -> Network:
    """The network of an entry onnx.

    Raises: ModelError for a file that cannot be read.
    """
    from admm_verify.network.from_onnx import read_onnx

    path = folder / entries.take("onnx", _name)
    note_read(path)
    return read_onnx(path)


def _name(value: object, path: str) -> str:
    name = text(value, path)
    if not name or "\0" in name:
        raise InputError(f"The entry {path} is {brief(name)}; give the name of a file.")
    return name


def _arrays(path: Path, said: list[str] | None) -> tuple[Network, list[str], list[int]]:
    """The network of arrays W0, b0, W1, .. with its activations and sizes."""
    layers, kinds = _layers(path)
    if said is not None and kinds is not None and said != kinds:
        raise InputError(f"The activations are {brief(said)} here and {brief(kinds)} in {path}; correct one.")
    kinds = said or kinds or ["relu"] * (len(layers) - 1) + ["linear"]
    if len(kinds) != len(layers) or not set(kinds) <= set(ACTIVATIONS):
        raise InputError(
            f"The controller's activations are {brief(kinds)} for {len(layers)} layers; name one of "
            f"{', '.join(ACTIVATIONS)} for each."
        )
    builder = Builder((layers[0][0].shape[1],), "float64")
    x = builder.input
    for (weight, bias), kind in zip(layers, kinds, strict=True):
        x = Tensor(builder.affine(x, DenseMap(weight), bias), bias.shape)
        x = x if kind == "linear" else builder.activation(kind, x)
    return builder.finish(x, path.stem), kinds, [layers[0][0].shape[1], *(len(bias) for _, bias in layers)]


def _layers(path: Path) -> tuple[Layers, list[str] | None]:
    note_read(path)
    arrays = read_arrays(path, "controller", most=_MOST_BYTES)
    if isinstance(arrays, np.ndarray):
        raise InputError(f"The controller {path} holds one array; give a .npz with W0, b0, W1, b1, ...")
    kinds = arrays.pop("activations", None)
    if kinds is not None and (kinds.ndim != 1 or kinds.dtype.kind != "U"):
        raise InputError(f"The controller {path} holds activations that are no list of words.")
    depth = sum(name.startswith("W") for name in arrays)
    wanted = {f"{letter}{k}" for letter in "Wb" for k in range(depth)}
    if not depth or wanted != set(arrays):
        raise InputError(
            f"The controller {path} holds the arrays {brief(sorted(arrays))}; give W0, b0, W1, b1, .. and nothing "
            "but activations beside them."
        )
    layers: Layers = []
    for k in range(depth):
        inputs = len(layers[-1][1]) if layers else None
        weight = array(arrays[f"W{k}"], (None, inputs), f"weight W{k} of {path}")
        layers.append((weight, array(arrays[f"b{k}"], (len(weight),), f"bias b{k} of {path}")))
    if not all(weight.size for weight, _ in layers):
        raise InputError(f"The controller {path} has a layer without inputs or outputs.")
    return layers, None if kinds is None else [str(kind) for kind in kinds]
