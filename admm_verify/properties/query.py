"""A query: a property together with the network it speaks about."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from admm_verify.errors import QueryError, StoppedError
from admm_verify.memory import Budget, Stopped
from admm_verify.network.from_onnx import network_from_model
from admm_verify.network.graph import Network
from admm_verify.network.layout import is_sample
from admm_verify.network.onnx_files import read_model
from admm_verify.options import callbacks, file_path, memory_bytes, timeout_seconds
from admm_verify.properties.property import NetworkDeclaration, Property
from admm_verify.properties.vnnlib import read_property

NetworkSource = str | os.PathLike[str] | Network


@dataclass(frozen=True, eq=False)
class Query:
    """A property and its network; model holds the ONNX bytes where the network came from a file, external data
    included, for replaying counterexamples.
    """

    name: str
    property: Property
    network: Network
    model: bytes | None = None


def read_query(
    path: str | os.PathLike[str],
    networks: Mapping[str, NetworkSource] | NetworkSource,
    *,
    timeout: float | None = None,
    stop: Callable[[], bool] | None = None,
    memory: float | None = None,
) -> Query:
    """A query from a VNN-LIB file (1.0 or 2.0, also gzip-compressed) and its network.

    networks: {declared name: network or ONNX path}; for a VNN-LIB 1.0 file, which declares no name, or for a single
    network, the network or path itself suffices. timeout in seconds and stop, asked now and then, end the reading;
    memory: limit on what the query may take in bytes, by default half of what is free.

    Raises: QueryError with line and column for a file that cannot be read, for missing or surplus networks, for what
    does not fit the memory, and where sizes or element types do not match; UnsupportedQueryError for what the solver
    does not cover; ModelError; StoppedError.
    """
    timeout, memory = timeout_seconds(timeout), memory_bytes(memory)
    callbacks(("stop", stop))
    place = file_path(path, "The query")
    deadline = None if timeout is None else time.monotonic() + timeout

    def over() -> bool:
        return (stop is not None and stop()) or (deadline is not None and time.monotonic() >= deadline)

    try:
        found = read_property(place, Budget.of(memory, over))
    except Stopped:
        raise StoppedError(
            f"{os.fspath(place)} was not read to its end: the time was up, or a stop was asked."
        ) from None
    source = _chosen(found, networks, os.fspath(place))
    if isinstance(source, Network):
        network, model = source, None
    else:
        read = read_model(source)
        network, model = network_from_model(read), read.data
    _check_interface(found.networks[0], network)
    return Query(place.name, found, network, model)


def _chosen(found: Property, networks: Mapping[str, NetworkSource] | NetworkSource, path: str) -> NetworkSource:
    """The one network the property speaks about."""
    if not isinstance(networks, Mapping):
        return networks
    declared = found.networks[0].name
    if len(networks) != 1:
        given = ", ".join(map(str, networks)) or "none"
        raise QueryError(f"{path} speaks about one network and {len(networks)} were given ({given}). Give exactly one.")
    name, source = next(iter(networks.items()))
    if declared and name not in ("", declared):
        raise QueryError(f"{path} declares the network {declared}, but {name} was given. Give {declared}=FILE.onnx.")
    return source


def _check_interface(declared: NetworkDeclaration, network: Network) -> None:
    sides = (
        ("input", declared.inputs[0], network.input_shape),
        ("output", declared.outputs[0], network.output_shape),
    )
    for side, variable, shape in sides:
        # One number has no layout, whatever the axes around it.
        if not (is_sample(variable.shape, shape) or variable.size == prod(shape) == 1):
            raise QueryError(
                f"The query declares the {side} {variable.name} with shape {list(variable.shape)}, but the {side} of "
                f"{network.name} has shape {list(shape)}. Give the network the query was written for."
            )
        if variable.element_type not in ("real", network.element_type):
            raise QueryError(
                f"The query declares the {side} {variable.name} as {variable.element_type}, but {network.name} "
                f"computes in {network.element_type}. Declare {network.element_type} or real."
            )
