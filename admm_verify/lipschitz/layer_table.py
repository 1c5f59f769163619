"""`layer_norms`: how much every layer of a network stretches differences at most, and all of them together."""

from dataclasses import dataclass

from admm_verify.arrays import Placement
from admm_verify.errors import StoppedError
from admm_verify.lipschitz.layers import LayerNorm, layer_norms_of, measured_graph, product_of, steps_of
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network, check_network
from admm_verify.run import Run, Stopped
from admm_verify.sets.norm_names import NormName, norm_name
from admm_verify.text_tables import table
from admm_verify.threads import threads_for


@dataclass(frozen=True, repr=False)
class LayerNorms:
    """Certified norms of all layers of a network in order, and the Lipschitz constant that they make together.

    layers: one per linear map, activation and pooling; product: their product along every path from the input to the
    output, summed over paths that meet.
    """

    network: str
    norm: NormName
    layers: tuple[LayerNorm, ...]
    product: float

    def __repr__(self) -> str:
        """A table, a line per layer."""
        lines = [
            (
                f"{layer.node}",
                layer.kind,
                f"{layer.source}",
                f"{layer.inputs} -> {layer.outputs}",
                f"{layer.upper:.6g}",
                "" if layer.lower is None else f"{layer.lower:.6g}",
            )
            for layer in self.layers
        ]
        head = ("node", "kind", "of", "size", f"{self.norm} norm <=", ">=")
        return f"{table(head, lines)}\n{self.network}: Lipschitz constant <= {self.product:.6g}, by this table"


@memory_errors()
def layer_norms(
    network: Network, *, norm: NormName | float = "l2", attained: bool = True, run: Run | None = None
) -> LayerNorms:
    """The norms of all layers, as in the table of "Intriguing properties of neural networks", but certified.

    |W|_p = max |W x|_p / |x|_p of linear maps, max |phi'| of activations; a pooling chooses among entries. Affine maps
    that follow one another, such as a convolution and its batch normalisation, are one layer. In l2 matrices and small
    convolutions are bounded within 1e-6, large convolutions by their frequencies with the border of the image; l1 and
    linf are exact up to rounding. Activations whose slopes have no bound have an infinite norm.

    attained: whether a lower bound of each linear map's norm is looked for as well.
    Raises: InputError for what is no network, an unknown norm, or a network that ends in a softmax or the like;
    StoppedError where the run's time is up.
    Error: rounded outward, for the network in real numbers.
    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.3.
    """
    network, name, run = check_network(network), norm_name(norm), Run.of(run)
    network.check_finite()
    graph = measured_graph(network).put(Placement.numpy())
    with threads_for(graph.weight_count, most=run.threads), run.watching():
        try:
            steps = steps_of(graph)
            layers = list(layer_norms_of(graph, steps, name, attained))
        except Stopped:
            raise StoppedError(
                f"Not all layers of {network.name} were measured: the time was up. Allow more."
            ) from None
    product = product_of(steps, layers, name).get(graph.output, 0.0)
    return LayerNorms(network.name, name, tuple(layers), product)
