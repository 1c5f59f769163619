"""Policies as arrays with a description: W0, b0, W1, .. in a .npz file, and model.json beside it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from admm_verify.errors import InputError, ModelError
from admm_verify.given import read_arrays
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.options import brief
from admm_verify.policies.policy import DiscreteActions, ObservationScale, Policy
from admm_verify.policies.readers.graphs import policy_of_network
from admm_verify.policies.readers.normaliser import Normalisation, checked_scale, found_scale, normalise
from admm_verify.policies.readers.npz_layers import layered_network
from admm_verify.policies.readers.outcome import CONTINUOUS, DISCRETE, Actions, RawOutputs, taken

_MOST_JSON = 2**26
_MOST_BYTES = 2**31
_CURVES = ("linear", "relu", "sigmoid", "tanh")


def read_stored(path: Path, normalisation: Normalisation, actions: Actions | str | None) -> Policy:
    """The policy of a folder, of the model.json in it, or of its .npz file: y = act(W x + b), layer by layer, or layers
    with the names of their arrays (`layered_network`).

    model.json may hold activations, output (what the outputs are, in words) and observation_normaliser (mean, std,
    clip: clip((x - mean) / (std + 1e-8), -clip, clip)).
    Raises: ModelError for files that cannot be read; InputError where nothing tells what the outputs are.
    """
    folder = path if path.is_dir() else path.parent
    weights = folder / "policy.npz" if path.suffix != ".npz" else path
    description = path if path.suffix == ".json" else folder / "model.json"
    # Other arrays in the folder have nothing to do with it.
    own = path.suffix != ".npz" or path.name == "policy.npz"
    told = _described(description, required=path.suffix != ".npz") if own else {}
    arrays = read_arrays(weights, "policy", most=_MOST_BYTES)
    if isinstance(arrays, np.ndarray):
        raise ModelError(f"The policy {weights} holds one array; give a .npz file with W0, b0, W1, b1, ..")
    kind = str(told.get("kind", "mlp"))
    if kind == "conv":
        return _layered(told, arrays, folder.name, normalisation, actions)
    if kind != "mlp":
        raise ModelError(f"The policy {folder.name} is of the kind {brief(kind)}; mlp and conv are read.")
    layers = _layers(arrays, weights)
    kinds = _curves(told.get("activations"), arrays.get("activations"), len(layers), weights)
    size = layers[0][0].shape[1]
    scale, notes = found_scale(normalisation, None, size)
    if normalisation is None and "observation_normaliser" in told:
        scale = checked_scale(_scale(told["observation_normaliser"], weights), size)
        notes = ("its observations are normalised as model.json says",)
    meaning = actions or _meaning(str(told.get("output", "")), kinds[-1], weights)
    squashed = kinds[-1] == "tanh" and meaning != DISCRETE and not isinstance(meaning, DiscreteActions)
    builder = Builder((1, size), "float32" if scale is None else "float64")
    x = normalise(builder, builder.input, scale)
    for k, ((weight, bias), kind) in enumerate(zip(layers, kinds, strict=True)):
        x = Tensor(builder.affine(x, DenseMap(weight), bias), (1, len(bias)))
        ends = squashed and k == len(layers) - 1
        x = x if kind == "linear" or ends else builder.activation(kind, x)
    result, known, more = taken(builder, RawOutputs(x, squashed), meaning)
    name = folder.name if path.suffix != ".npz" or path.stem == "policy" else path.stem
    return Policy(builder.finish(result, name), known, scale, (*notes, *more))


def _layered(
    told: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    name: str,
    normalisation: Normalisation,
    actions: Actions | str | None,
) -> Policy:
    """The policy of a list of layers that name their arrays; a recurrent cell's state becomes its last inputs."""
    layers, shape = told.get("layers"), told.get("input_shape")
    sizes = isinstance(shape, list) and all(isinstance(size, int) and size > 0 for size in shape)
    if not isinstance(layers, list) or not isinstance(shape, list) or not sizes:
        raise InputError(
            f"The policy {name} takes images, and its description lacks layers or input_shape, hence the order of "
            "their axes; give both, input_shape as [channels, height, width]."
        )
    network, memory = layered_network(layers, arrays, tuple(shape), name)
    made = policy_of_network(network, normalisation, actions or _meaning(str(told.get("output", "")), "", Path(name)))
    return replace(made, memory=memory)


def _described(path: Path, required: bool) -> Mapping[str, Any]:
    """What model.json says; nothing where it may be missing."""
    if not path.exists() and not required:
        return {}
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ModelError(f"The description {path} has {path.stat().st_size} bytes; at most {_MOST_JSON} are read.")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"The description {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The description {path} is no JSON that can be read: {error}.") from error
    if not isinstance(found, dict):
        raise ModelError(f"The description {path} is no JSON object.")
    return found


def _layers(arrays: Mapping[str, np.ndarray], path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    depth = sum(name.startswith("W") for name in arrays)
    wanted = {f"{letter}{k}" for letter in "Wb" for k in range(depth)}
    if not depth or wanted != set(arrays) - {"activations"}:
        raise ModelError(
            f"The policy {path} holds the arrays {brief(sorted(arrays))}; give W0, b0, W1, b1, .. and nothing but "
            "activations beside them."
        )
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    for k in range(depth):
        weight, bias = arrays[f"W{k}"], arrays[f"b{k}"]
        inputs = len(layers[-1][1]) if layers else max(weight.shape[-1:], default=0)
        if weight.ndim != 2 or weight.shape[1] != inputs or bias.shape != weight.shape[:1] or not weight.size:
            raise ModelError(f"W{k} and b{k} of {path} have shapes {weight.shape} and {bias.shape} after {inputs}.")
        if weight.dtype.kind not in "fiu" or bias.dtype.kind not in "fiu":
            raise ModelError(f"W{k} and b{k} of {path} hold {weight.dtype} and {bias.dtype}; give real numbers.")
        with np.errstate(over="ignore"):
            weight, bias = weight.astype(np.float64), bias.astype(np.float64)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ModelError(f"W{k} or b{k} of {path} holds NaN or infinite numbers, for which no bound exists.")
        layers.append((weight, bias))
    return layers


def _curves(told: Any, held: Any, depth: int, path: Path) -> list[str]:
    """The activation functions that the description tells and the file holds, which are the same where both do."""
    found = [[str(kind) for kind in one] for one in (told, held) if isinstance(one, list | np.ndarray)]
    if len(found) == 2 and found[0] != found[1]:
        raise ModelError(
            f"The activations of {path} are {brief(found[0])} in its description and {brief(found[1])} in it."
        )
    kinds = found[0] if found else []
    if len(kinds) != depth or not set(kinds) <= set(_CURVES):
        raise ModelError(
            f"The activations of {path} are {brief(kinds)}; for each of {depth} layers, name one of "
            f"{', '.join(_CURVES)}."
        )
    return kinds


def _scale(entry: Any, path: Path) -> ObservationScale:
    try:
        mean, std = (np.asarray(entry[name], dtype=np.float64) for name in ("mean", "std"))
        return ObservationScale(mean, std + 1e-8, float(entry.get("clip", np.inf)))
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"The observation_normaliser of {path} is no mean, std and clip in numbers: {error}."
        ) from error


def _meaning(words: str, last: str, path: Path) -> str:
    """Whether the outputs are scores or actions, by the words of the description, or a tanh at the end."""
    if "logits" in words or "Q values" in words:
        return DISCRETE
    if "action" in words or last == "tanh":
        return CONTINUOUS
    raise InputError(
        f"Nothing tells whether the outputs of {path} are scores of actions or actions themselves: say "
        "actions='discrete', actions='continuous', or actions=(low, high)."
    )
