"""A query: a property together with the network it speaks about."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from admm_verify.errors import InputError, QueryError, StoppedError, UnsupportedOperatorError, UnsupportedQueryError
from admm_verify.memory import Budget
from admm_verify.network.from_onnx import network_from_model
from admm_verify.network.graph import Network, check_classifier
from admm_verify.network.head_nodes import without_head
from admm_verify.network.onnx_files import Model, ModelSource, model_from_bytes, read_model
from admm_verify.network.onnx_part import part_of
from admm_verify.network.onnx_ports import Port, joined
from admm_verify.network.whole import WholeNetwork
from admm_verify.options import file_path, instance
from admm_verify.properties.beside import about_outputs
from admm_verify.properties.checks import check_layout, check_property, check_types
from admm_verify.properties.infix import property_of
from admm_verify.properties.property import NetworkDeclaration, Property
from admm_verify.properties.scores import about_scores
from admm_verify.properties.vnnlib import declared_in, property_in, read_text
from admm_verify.reprs import short_repr
from admm_verify.run import Run, Stopped
from admm_verify.sets.contract import WalkableSet

NetworkSource = ModelSource | Network


@dataclass(frozen=True, eq=False, repr=False)
class Query:
    """A property and its network; model holds the ONNX bytes where the network came from a file, external data
    included, for replaying counterexamples. asked: the question that this one stands for, where it is one about the
    scores of a classifier.

    Raises: QueryError for a property that speaks of other inputs or outputs than the network has, in number, layout or
    element type, and for boxes that are empty or numbers that are not exact; InputError for what is no network.
    """

    name: str
    property: Property
    network: Network
    model: bytes | None = None
    asked: "Query | None" = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_classifier(self.network)
        found = check_property(self.property)
        check_layout(found, self.network)
        check_types(found, self.network)
        if self.model is not None:
            instance(self.model, bytes, "The query's model")

    def note(self) -> str | None:
        """What is left out of the network to answer, in words; None where nothing is."""
        if self.network.head is None:
            return None
        try:
            self._of_scores(None)
        except UnsupportedQueryError:
            return None
        return self.network.head.note(self.network.name)

    def about_scores(self, arithmetic: str | None = None) -> "Query":
        """The same question about the scores before the network's head, in an arithmetic, by default the declared one;
        where they alone do not tell, about the network with its head as nodes of its own, in real arithmetic.

        Itself where the network has none. A counterexample of it counts once it is one of the question asked.
        Raises: UnsupportedQueryError where neither can be had.
        """
        if self.network.head is None:
            return self
        try:
            found = self._of_scores(arithmetic)
        except UnsupportedQueryError:
            # How a head rounds, nothing bounds.
            real = (arithmetic or self.property.arithmetic) == "real"
            network = without_head(self.network) if real else None
            if network is None:
                raise
            return replace(self, network=network, asked=self)
        return replace(self, property=found, network=self.network.scores, asked=self)

    def _of_scores(self, arithmetic: str | None) -> Property:
        head = self.network.head
        assert head is not None, "there are scores"
        return about_scores(self.property, head, arithmetic or self.property.arithmetic, self.network.name)

    def about_outputs(self, arithmetic: str | None = None) -> "Query":
        """The same question about outputs alone, in an arithmetic, by default the declared one: about the scores of a
        classifier, as `about_scores` says, and where constraints compare outputs with inputs about a network that hands
        these on. Itself where it is such a question.

        Raises: UnsupportedQueryError where the scores alone do not tell.
        """
        query = self.about_scores(arithmetic)
        made = about_outputs(query.property, query.network)
        if made is None:
            return query
        return replace(query, property=made[0], network=made[1], asked=query.asked or query)

    def accepts(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Whether an input and what the network computes there satisfy the query, exactly."""
        return any(disjunct.holds(x, y) for disjunct in self.property.disjuncts)


def read_query(
    path: str | os.PathLike[str],
    networks: Mapping[str, NetworkSource] | NetworkSource,
    *,
    output: str | None = None,
    inputs: Mapping[str, object] | None = None,
    timeout: float | None = None,
    run: Run | None = None,
) -> Query:
    """A query from a VNN-LIB file (1.0 or 2.0, also gzip-compressed) and its network.

    networks: {declared name: network, ONNX path or ModelProto}; for a VNN-LIB 1.0 file, which declares no name, or for
    a single network, the network or path itself suffices. output, inputs: what to read of a model, as for `read_onnx`.
    timeout in seconds and run, asked now and then, end the reading; its memory limits what the query may take.

    Raises: QueryError with line and column for a file that cannot be read, for missing or surplus networks, for what
    does not fit the memory, and where sizes or element types do not match; UnsupportedQueryError for what the solver
    does not cover; ModelError; StoppedError.
    """
    run, place = Run.of(run, timeout), file_path(path, "The query")
    name = os.fspath(place)
    with _reading(name, run):
        text = read_text(place, Budget.of(run))
        declared = declared_in(text)
    # A network that is refused costs no more than the text: what it says may take many times as much.
    source = _chosen("" if declared is None else declared.name, networks, name)
    network, model = _network_of(source, output, inputs, run, declared)
    with _reading(name, run):
        found = property_in(text)
    return Query(place.name, found, _with_constants(network, model, found, run), model)


def query(
    network: NetworkSource,
    region: WalkableSet | None,
    condition: str,
    *,
    output: str | None = None,
    inputs: Mapping[str, object] | None = None,
) -> Query:
    """A query without a file: is there an x in the region for which the condition holds of x and y = f(x)?

    condition is what a counterexample satisfies, the opposite of what is to be shown, as in VNN-LIB: comparisons by <=,
    <, >=, >, ==, != of polynomials of outputs y0, y1, ... (y[i,j] where they have several axes) and inputs x0, x1, ...,
    joined by and, or and parentheses, such as "y0 <= y1 or y0 <= y2" or "x0 + x1 <= 1 and y0**2 + y1*x0 >= 4".
    Comparisons of single inputs with numbers cut the region; without a region they bound every input. Numbers of the
    condition are the decimals that are written, floats of the region the numbers they are.

    region: a Box or another set of inputs, such as a Ball or a Polytope; counterexamples lie in it exactly.

    network: a network, ONNX path or ModelProto; only a model lets counterexamples be replayed by onnxruntime. output,
    inputs: what to read of a model, as for `read_onnx`.
    Shapes: region of numbers [inputs] or the network's input shape, with or without a batch axis of one.
    Raises: QueryError with the column for what is no condition, for empty boxes and unbounded inputs;
        UnsupportedQueryError for divisions and polynomials of too many terms; InputError; ModelError.
    """
    found, model = _network_of(network, output, inputs, Run())
    property = property_of(found, region, condition)
    return Query("query", property, _with_constants(found, model, property, Run()), model)


@contextmanager
def _reading(name: str, run: Run) -> Iterator[None]:
    """Raise StoppedError naming what was read when the run ended."""
    try:
        with run.watching():
            yield
    except Stopped:
        raise StoppedError(f"{name} was not read to its end: the time was up, or a stop was asked.") from None


def _network_of(
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


def _with_constants(network: Network, model: bytes | None, found: Property, run: Run) -> Network:
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
    with _reading("The network", run):
        model = read()
    with _reading(model.name, run):
        return network_from_model(model, run, fixed), model.data


def _chosen(declared: str, networks: Mapping[str, NetworkSource] | NetworkSource, path: str) -> NetworkSource:
    """The one network that is given, under its declared name where there is one."""
    if not isinstance(networks, Mapping):
        return networks
    if len(networks) != 1:
        given = ", ".join(map(str, networks)) or "none"
        raise QueryError(f"{path} speaks about one network and {len(networks)} were given ({given}). Give exactly one.")
    name, source = next(iter(networks.items()))
    if declared and name not in ("", declared):
        raise QueryError(f"{path} declares the network {declared}, but {name} was given. Give {declared}=FILE.onnx.")
    return source
