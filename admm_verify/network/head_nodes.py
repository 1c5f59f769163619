"""A classifier's head written out as nodes, where more than comparisons reads its result."""

from dataclasses import replace

from admm_verify.network.builder import Builder, Scored, Tensor, UnsupportedUse
from admm_verify.network.graph import Network
from admm_verify.network.softmax import log_softmax, softmax
from admm_verify.network.splice import splice

_WRITERS = {
    ("softmax",): softmax,
    ("log_softmax",): log_softmax,
    ("softmax", "log"): log_softmax,
}
"""What writes the steps of a head."""


def can_be_written(scored: Scored) -> bool:
    """Whether a head's result can be written out as nodes."""
    return scored.head.steps in _WRITERS


def written_out(builder: Builder, scored: Scored) -> Tensor:
    """A head's result as a value of the graph, in its own shape."""
    if not can_be_written(scored):
        raise UnsupportedUse(f"it moves the entries of the result of {scored.head.words}")
    found = _WRITERS[scored.head.steps](builder, scored.scores, scored.head.groups)
    return builder.reshape(found, scored.shape)


def without_head(network: Network) -> Network | None:
    """The same network with its head written out as nodes; itself where it has none, None where that cannot be done."""
    head = network.head
    if head is None:
        return network
    builder = Builder(network.input_shape, network.element_type)
    flat = builder.reshape(builder.input, (network.input_size,))
    scores = builder.reshape(splice(builder, network.scores, flat), network.scores.output_shape)
    scored = Scored(scores, head, network.output_shape)
    if not can_be_written(scored):
        return None
    made = builder.finish(written_out(builder, scored), network.name)
    assert made.as_read is not None
    shapes = {"input_shape": network.input_shape, "output_shape": network.output_shape}
    return replace(made, as_read=replace(made.as_read, **shapes), **shapes)
