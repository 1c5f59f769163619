"""Where the networks of queries come from: models with the inputs and outputs that a query declares."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction

import numpy as np

from admm_verify.errors import InputError, QueryError, StoppedError, UnsupportedOperatorError
from admm_verify.network.from_onnx import network_from_model
from admm_verify.network.graph import Network
from admm_verify.network.onnx_files import Model, ModelSource, model_from_bytes, read_model
from admm_verify.network.onnx_part import part_of
from admm_verify.network.onnx_ports import Port, joined
from admm_verify.network.whole import WholeNetwork
from admm_verify.properties.property import NetworkDeclaration, Property
from admm_verify.run import Run, Stopped

NetworkSource = ModelSource | Network


@contextmanager
def reading(name: str, run: Run) -> Iterator[None]:
    """Raise StoppedError naming what was read when the run ended."""
    try:
        with run.watching():
            yield
    except Stopped:
        raise StoppedError(f"{name} was not read to its end: the time was up, or a stop was asked.") from None


def network_of(
    source: NetworkSource,
    output: str | None,
    inputs: Mapping[str, object] | None,
    run: Run,
    declared: NetworkDeclaration | None = None,
) -> tuple[Network, bytes | None]:
    """A network, and the model that it was read from.

    declared: what a query says of it; with several inputs or outputs, or hidden nodes, these are side by side.
    """
    tensors = () if declared is None else (*declared.inputs, *declared.outputs, *declared.hidden)
    named = any(variable.node for variable in tensors) and not isinstance(source, Network)
    if declared is not None and (named or len(tensors) > 2):
        return _joined(source, declared, output is not None or bool(inputs), run)
    if isinstance(source, Network):
        if output is not None or inputs:
            raise InputError(
                f"{source.name} is a network already, whose output and constants are chosen. Choose them in "
                "av.read_onnx(path, output=..., inputs=...), or give the path here."
            )
        return source, None
    return _from_model(lambda: part_of(read_model(source), output, inputs), run)


def _joined(source: NetworkSource, declared: NetworkDeclaration, chosen: bool, run: Run) -> tuple[Network, bytes]:
    """The network of all that a query declares, and its model. chosen: whether inputs or outputs were chosen, too."""
    if chosen or isinstance(source, Network):
        raise InputError(
            f"The query declares the inputs, outputs and hidden nodes of {declared.name or 'its network'} itself. "
            "Give the model or its path, without output= or inputs=."
        )
    sides = tuple(
        [Port(one.name, one.element_type, one.shape, one.node) for one in side]
        for side in (declared.inputs, (*declared.outputs, *declared.hidden))
    )
    return _from_model(lambda: joined(read_model(source), *sides), run)


def with_constants(network: Network, model: bytes | None, found: Property, run: Run) -> Network:
    """A network that reads whole numbers, read again with the inputs that a query fixes as the constants that they are.

    Only a number of the network's type is one, and only where all disjuncts agree on it.
    """
    if not isinstance(network, WholeNetwork) or model is None or not found.disjuncts:
        return network
    dtype, fixed = np.dtype(network.element_type), {}
    boxes = list({id(one.box): one.box for one in found.disjuncts}.values())
    for i, value in enumerate(boxes[0].range[0]):
        number = float(dtype.type(float(value)))
        if Fraction(number) == value and all(box.fixes(i) and box.range[0][i] == value for box in boxes):
            fixed[i] = number
    read = model
    try:
        return _from_model(lambda: part_of(model_from_bytes(read, network.name)), run, fixed)[0]
    except UnsupportedOperatorError:
        # Numbers of the query would be rounded where whole numbers are decided; read is what needs none of them.
        return network


def _from_model(read: Callable[[], Model], run: Run, fixed: Mapping[int, float] | None = None) -> tuple[Network, bytes]:
    """A network from the model that is read, and the model's bytes. fixed: as for `network_from_model`."""
    with reading("The network", run):
        model = read()
    with reading(model.name, run):
        return network_from_model(model, run, fixed), model.data


def chosen_sources(
    declared: Sequence[NetworkDeclaration], networks: Mapping[str, NetworkSource] | NetworkSource, path: str
) -> list[NetworkSource]:
    """What is given for every network that is declared, or for the one that it is equal to. One alone needs no name.

    Raises: QueryError for missing and surplus networks.
    """
    wanted = [one.name for one in declared if not one.equal_to] or [""]
    equal = {one.name: one.equal_to for one in declared if one.equal_to}
    given = networks if isinstance(networks, Mapping) else {"": networks}
    how = " and ".join(f"{name}=FILE.onnx" for name in wanted)
    twice = next((name for name in given if name in equal), None)
    if twice is not None:
        raise QueryError(
            f"{path} declares {twice} as equal to {equal[twice]}, and {twice} was given, too. Both are the same: give "
            f"{how} alone."
        )
    if len(wanted) == 1:
        return [_only(wanted[0], given, path)] * max(1, len(declared))
    missing = [name for name in wanted if name not in given]
    surplus = [name or "one without a name" for name in given if name not in wanted]
    if missing or surplus:
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"too many: {', '.join(surplus)}"] if surplus else []
        raise QueryError(f"{path} speaks about the networks {' and '.join(wanted)}; {'; '.join(parts)}. Give {how}.")
    found = dict(given)
    for one in declared:
        found[one.name] = found[one.equal_to or one.name]
    return [found[one.name] for one in declared]


def _only(wanted: str, given: Mapping[str, NetworkSource], path: str) -> NetworkSource:
    """The one network that is given, under its declared name where it has one."""
    if len(given) != 1:
        found = ", ".join(map(str, given)) or "none"
        raise QueryError(f"{path} speaks about one network and {len(given)} were given ({found}). Give exactly one.")
    name, source = next(iter(given.items()))
    if wanted and name not in ("", wanted):
        raise QueryError(f"{path} declares the network {wanted}, but {name} was given. Give {wanted}=FILE.onnx.")
    return source
