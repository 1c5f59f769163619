"""What `lipschitz` tells."""

from dataclasses import dataclass, field

from admm_verify.lipschitz.constant import ConstantBound, LipschitzConstant
from admm_verify.lipschitz.layer_table import LayerNorms
from admm_verify.lipschitz.layers import LayerNorm
from admm_verify.lipschitz.local import LocalLipschitz
from admm_verify.network.graph import Network
from admm_verify.report.records.record import Record
from admm_verify.run import Ended
from admm_verify.sets.norm_names import NormName


@dataclass(frozen=True)
class LocalPart:
    """A constant over a set of inputs, as `LocalLipschitz` says it; rows: of every output, where that was asked for."""

    upper: float
    lower: float
    bounds: list[ConstantBound]
    point: list[float] | None
    rows: list[float] | None
    open_neurons: int
    subproblems: int
    status: Ended
    seconds: float

    @classmethod
    def of(cls, found: LocalLipschitz) -> "LocalPart":
        """The part of a record that a constant is."""
        return cls(
            found.upper,
            found.lower,
            list(found.bounds),
            None if found.point is None else found.point.reshape(-1).tolist(),
            None if found.rows is None else found.rows.upper.tolist(),
            found.open_neurons,
            found.subproblems,
            found.status,
            found.seconds,
        )


@dataclass(frozen=True)
class LipschitzRecord(Record):
    """Norms of a network's layers, the constant that they make, and the best certified one, as `LipschitzConstant`
    says it; upper, lower and status are missing where layers alone were asked for.

    norm, output_norm: of differences of inputs and of outputs; those of layers are in the first one. inputs: the pair
    of inputs, flat, between which the slope is lower, as computed. local: the constant over a set of inputs, instead,
    where one was given.
    """

    SCHEMA = "admm_verify/lipschitz"

    network: str
    norm: NormName
    layers: list[LayerNorm]
    product: float
    upper: float | None = None
    lower: float | None = None
    bounds: list[ConstantBound] = field(default_factory=list)
    inputs: list[list[float]] | None = None
    status: Ended | None = None
    seconds: float | None = None
    output_norm: NormName | None = None
    local: LocalPart | None = None

    @classmethod
    def over(cls, network: Network, layers: LayerNorms, found: LocalLipschitz) -> "LipschitzRecord":
        """The record of a network's norms and its constant over a set of inputs."""
        text = f"{layers!r}\n\n{found!r}"
        return cls(text, network.name, layers.norm, list(layers.layers), layers.product, local=LocalPart.of(found))

    @classmethod
    def of(cls, network: Network, layers: LayerNorms, found: LipschitzConstant | None) -> "LipschitzRecord":
        """The record of a network's norms and, where it was asked for, its constant."""
        first = cls(repr(layers), network.name, layers.norm, list(layers.layers), layers.product)
        if found is None:
            return first
        pair = None
        if found.first is not None and found.second is not None:
            pair = [found.first.reshape(-1).tolist(), found.second.reshape(-1).tolist()]
        return cls(
            f"{first.text}\n\n{found!r}",
            network.name,
            layers.norm,
            first.layers,
            layers.product,
            found.upper,
            found.lower,
            list(found.bounds),
            pair,
            found.status,
            found.seconds,
            found.output_norm,
        )
