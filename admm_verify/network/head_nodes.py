"""A classifier's head written out as nodes, where more than comparisons reads its result."""

from admm_verify.network.builder import Builder, Scored, Tensor, UnsupportedUse
from admm_verify.network.softmax import log_softmax, softmax

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
