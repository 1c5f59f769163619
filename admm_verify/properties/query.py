"""A query: a property together with the network, or the networks, it speaks about."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError, UnsupportedQueryError
from admm_verify.memory import Budget
from admm_verify.network.graph import Network, check_classifier
from admm_verify.network.head_nodes import without_head
from admm_verify.network.onnx_runtime import runtime_output
from admm_verify.options import file_path, instance
from admm_verify.properties.beside import about_outputs
from admm_verify.properties.checks import check_networks, check_property
from admm_verify.properties.infix import property_of
from admm_verify.properties.joint import joint_question
from admm_verify.properties.property import Disjunct, NetworkDeclaration, Property
from admm_verify.properties.scores import about_scores
from admm_verify.properties.several import QueriedNetwork, bounded_networks, side_by_side
from admm_verify.properties.sources import (
    NetworkSource,
    chosen_sources,
    network_of,
    reading,
    with_constants,
)
from admm_verify.properties.ties import Ties
from admm_verify.properties.vnnlib import declared_in, property_in, read_text
from admm_verify.reprs import short_repr
from admm_verify.run import Run
from admm_verify.sets.contract import WalkableSet


@dataclass(frozen=True, eq=False, repr=False)
class Query:
    """A property and its network; model holds the ONNX bytes where the network came from a file, external data
    included, for replaying counterexamples. asked: the question that this one stands for, where it is one about the
    scores of a classifier, or the joint network of two. several: where it speaks about more than one network, these;
    network is then all of them side by side, without their heads. ties: how the inputs asked about follow from this
    question's own; None where they are the same.

    Raises: QueryError for a property that speaks of other inputs or outputs than the network has, in number, layout or
    element type, and for boxes that are empty or numbers that are not exact; InputError for what is no network.
    """

    name: str
    property: Property
    network: Network
    model: bytes | None = None
    asked: "Query | None" = None
    several: tuple[QueriedNetwork, ...] = ()
    ties: Ties | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_classifier(self.network)
        found = check_property(self.property)
        check_networks(found, [one.network for one in self.networks])
        for one in self.networks:
            if one.model is not None:
                instance(one.model, bytes, "The query's model")

    @classmethod
    def about_several(cls, name: str, property: Property, networks: Sequence[QueriedNetwork]) -> "Query":
        """A query about several networks, in the order in which the property declares them.

        Raises: as the class; UnsupportedQueryError for networks that read whole numbers.
        """
        check_networks(check_property(property), [check_classifier(one.network) for one in networks])
        together = side_by_side([one.network.scores for one in networks])
        return cls(name, property, together, several=tuple(networks))

    @cached_property
    def networks(self) -> tuple[QueriedNetwork, ...]:
        """The networks it speaks about, in the order of their declarations."""
        return self.several or (QueriedNetwork(self.network, self.model),)

    @cached_property
    def replays(self) -> bool:
        """Whether counterexamples are run in the models that the networks were read from."""
        return any(one.model is not None for one in self.networks)

    def computed(self, x: np.ndarray) -> np.ndarray:
        """What the networks compute, each for itself, in the type of x.

        Shapes: x [inputs] -> [outputs], flat, of all networks.
        """
        parts = [to_numpy(one.network(own.reshape(one.network.input_shape))) for one, own in self._inputs(x)]
        return np.concatenate([part.reshape(-1) for part in parts])

    def replayed(self, x: np.ndarray, run: Run) -> np.ndarray | None:
        """`computed` by onnxruntime where networks came from models, and it can run these; None where it runs none.

        Raises: ReplayError as `runtime_output` does.
        """
        pairs = list(self._inputs(x))
        found = [None if one.model is None else runtime_output(one.model, own, run) for one, own in pairs]
        if all(part is None for part in found):
            return None
        own = (to_numpy(one.network(part.reshape(one.network.input_shape))).reshape(-1) for one, part in pairs)
        return np.concatenate([mine if part is None else part for part, mine in zip(found, own, strict=True)])

    def _inputs(self, x: np.ndarray) -> list[tuple[QueriedNetwork, np.ndarray]]:
        """The networks with their own parts of a flat input."""
        ends = np.cumsum([one.network.input_size for one in self.networks])[:-1]
        return list(zip(self.networks, np.split(x, ends), strict=True))

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
        classifier, as `about_scores` says, about the joint network of two whose inputs are tied together, and where
        constraints compare outputs with inputs about a network that hands these on. Itself where it is such a question.

        Raises: UnsupportedQueryError where the scores alone do not tell.
        """
        query = self._about_one(arithmetic or self.property.arithmetic) if self.several else self
        query = query.about_scores(arithmetic)
        made = about_outputs(query.property, query.network)
        if made is None:
            return query
        return replace(query, property=made[0], network=made[1], several=(), asked=query.asked or query)

    def _about_one(self, arithmetic: str) -> "Query":
        """A question about several networks as one about one: the joint network of two that are tied, or all of them
        side by side.
        """
        networks = bounded_networks(self.property, [one.network for one in self.several], arithmetic)
        joint = joint_question(self.property, networks, arithmetic)
        if joint is not None:
            return replace(self, property=joint[0], network=joint[1], several=(), ties=joint[2], asked=self)
        if all(one.network.head is None for one in self.several):
            return self
        return replace(self, network=side_by_side(networks), asked=self)

    def as_asked(self, disjunct: Disjunct, x: tuple[Fraction, ...], dtype: type[np.floating]) -> tuple[Fraction, ...]:
        """The inputs asked about where this question's own are x, a point of the disjunct; of numbers of a type where
        such lie beside them.
        """
        if self.ties is None:
            return x
        point = self.ties.point(x)
        near = self.ties.settled(point, dtype)
        return near if disjunct.admits(self.ties.of(near)) else point

    def own_input(self, asked: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        """This question's input where the inputs asked about are these, tied as they have to be."""
        return asked if self.ties is None else self.ties.of(asked)

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
    """A query from a VNN-LIB file (1.0 or 2.0, also gzip-compressed) and its network, or its networks.

    networks: {declared name: network, ONNX path or ModelProto}, without those that are declared equal to another; for a
    VNN-LIB 1.0 file, which declares no name, or for a single network, the network or path itself suffices. output,
    inputs: what to read of a model, as for `read_onnx`; of one network alone.
    timeout in seconds and run, asked now and then, end the reading; its memory limits what the query may take.

    Raises: QueryError with line and column for a file that cannot be read, for missing or surplus networks, for what
    does not fit the memory, and where sizes or element types do not match; UnsupportedQueryError for what the solver
    does not cover; ModelError; StoppedError.
    """
    run, place = Run.of(run, timeout), file_path(path, "The query")
    name = os.fspath(place)
    with reading(name, run):
        text = read_text(place, Budget.of(run))
        declared = declared_in(text)
    # A network that is refused costs no more than the text: what it says may take many times as much.
    sources = chosen_sources(declared, networks, name)
    if len(sources) > 1:
        if output is not None or inputs:
            raise InputError(
                f"{name} speaks about {len(sources)} networks, for which no output (output=, --output-name) and no "
                "constants (inputs=, --fix) are chosen. In Python, read each by av.read_onnx(path, output=..., "
                "inputs=...) and give these."
            )
        several = _read_networks(declared, sources, run)
        check_networks(Property((2, 0), declared, ()), [one.network for one in several])
        with reading(name, run):
            found = property_in(text)
        return Query.about_several(place.name, found, several)
    network, model = network_of(sources[0], output, inputs, run, declared[0] if declared else None)
    with reading(name, run):
        found = property_in(text)
    return Query(place.name, found, with_constants(network, model, found, run), model)


def _read_networks(
    declared: Sequence[NetworkDeclaration], sources: Sequence[NetworkSource], run: Run
) -> list[QueriedNetwork]:
    """The networks of several declarations; of equal ones, one that is read alike is read once."""
    found: dict[object, QueriedNetwork] = {}
    several = []
    for one, source in zip(declared, sources, strict=True):
        sides = (one.inputs, one.outputs, one.hidden)
        key = id(source), tuple(tuple((part.shape, part.node) for part in side) for side in sides)
        if key not in found:
            found[key] = QueriedNetwork(*network_of(source, None, None, run, one))
        several.append(found[key])
    return several


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
    found, model = network_of(network, output, inputs, Run())
    property = property_of(found, region, condition)
    return Query("query", property, with_constants(found, model, property, Run()), model)
