"""Digests of networks, properties and arrays: what a file speaks about, independent of formats and names."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from fractions import Fraction
from itertools import chain

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import CertificateError
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.pair import PairedNetwork
from admm_verify.network.selection import SelectionMap
from admm_verify.properties.property import Disjunct, Property
from admm_verify.sets.contract import InputSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import Inequality


def network_digest(network: Network) -> str:
    """SHA-256 of the graph as read: element type, nodes, maps and numbers, with all that bounds on rounding are made
    of, and the functions that nodes stand for; no names and no shapes. Of two networks in one, of `pair_digests`.

    Raises: CertificateError for maps of an unknown kind.
    """
    if isinstance(network, PairedNetwork):
        return _hashed(digest.encode() for digest in pair_digests(network))
    read = network.as_read or network
    head = f"network {network.element_type}".encode()
    return _hashed(chain([head], (piece for node in read.nodes for piece in _node(node))))


def pair_digests(network: PairedNetwork) -> tuple[str, str, str]:
    """SHA-256 of f, of f', and of how both are joined: what each is given, and which nodes the joint graph has. Its
    numbers follow from those of both, but may be rounded otherwise elsewhere.
    """
    first, second = map(network_digest, network.both)
    given = network.inputs
    assert given is not None, "made by `paired`"
    inputs = chain(_map(given.first), _map(given.second), (_bytes(given.first_shift), _bytes(given.second_shift)))
    frame = (line.encode() for line in map(_frame, network.nodes))
    return first, second, _hashed(chain([b"pair"], inputs, frame))


def property_digest(property: Property) -> str:
    """SHA-256 of a property's meaning: sizes, declared arithmetic, input sets and atoms in exact numbers, no names and
    no line numbers.
    """
    sizes = [(part.input_size, part.output_size) for part in property.networks]
    head = f"sizes {sizes} arithmetic {property.arithmetic}".encode()
    ends = {id(disjunct.box): disjunct.box for disjunct in property.disjuncts}
    shared = {key: [text.encode() for text in _ends(box)] for key, box in ends.items()}
    parts = (chain(shared[id(disjunct.box)], _rest(disjunct)) for disjunct in property.disjuncts)
    return _hashed(chain([head], chain.from_iterable(parts)))


def arrays_digest(arrays: Iterable[object]) -> str:
    """SHA-256 of the shapes and the numbers of arrays."""
    return _hashed(chain.from_iterable((str(np.shape(to_numpy(array))).encode(), _bytes(array)) for array in arrays))


def _hashed(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        # With its length in front no piece can run into the next.
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()


def _node(node: object) -> Iterator[bytes]:
    if isinstance(node, Affine):
        yield f"affine {node.size} {len(node.terms)} {node.peak_gain!r} {node.peak_shift!r}".encode()
        yield _bytes(node.bias)
        yield _bytes(node.bias_magnitude)
        for term in node.terms:
            yield f"term {term.source}".encode()
            yield from _map(term.map)
        if node.original is not None:
            yield f"original {node.original.kind} {node.original.sources} {len(node.original.parameters)}".encode()
            yield from (str(shape).encode() for shape in node.original.shapes)
            yield from (_bytes(array) for array in node.original.parameters)
    elif isinstance(node, Activation):
        yield f"activation {node.kind} {node.source} {node.size} {len(node.parameters)}".encode()
        yield from (_bytes(array) for array in node.parameters)
        if node.limits is not None:
            yield f"limits {node.limits.entry!r} {node.limits.norm!r}".encode()
    else:
        yield f"input {getattr(node, 'size', 0)}".encode()


def _frame(node: object) -> str:
    """What a node is, without its numbers."""
    if isinstance(node, Activation):
        return f"activation {node.kind} {node.source} {node.size}"
    if isinstance(node, Affine):
        return f"affine {node.size} {[(type(term.map).__name__, term.source) for term in node.terms]}"
    return f"input {getattr(node, 'size', 0)}"


def _map(map: LinearMap) -> Iterator[bytes]:
    yield f"{type(map).__name__} {map.rows} {map.columns} {map.roundings}".encode()
    if isinstance(map, TransposedMap):
        yield from _map(map.inner)
        return
    if isinstance(map, SelectionMap):
        yield to_numpy(map.gather).astype("<i8").tobytes()
        return
    if isinstance(map, ConvolutionMap):
        shape = (map.weight.shape, map.input_shape, map.output_shape, map.stride, map.padding, map.dilation)
        yield f"{[tuple(int(size) for size in part) for part in shape]} {map.groups}".encode()
    elif isinstance(map, BlockMap):
        yield f"{map.outer} {map.inner}".encode()
    elif not isinstance(map, DenseMap | DiagonalMap):
        raise CertificateError(f"No digest is defined of a {type(map).__name__}.")
    yield from (_bytes(array) for array in map.numbers)
    yield b"" if map.magnitude is None else _bytes(map.magnitude)


def _bytes(array: object) -> bytes:
    # Adding zero makes the two zeros one.
    return (np.asarray(to_numpy(array), dtype="<f8") + 0.0).tobytes()


def _ends(box: ExactBox) -> Iterator[str]:
    for side, ends in zip(("lower", "upper"), box.range, strict=True):
        yield f"{side} {' '.join(map(str, ends))}"


def _rest(disjunct: Disjunct) -> Iterator[bytes]:
    """What a disjunct adds to the ends of its box."""
    box = disjunct.box
    yield f"strict {sorted(box.strict_lower)} {sorted(box.strict_upper)} atoms {len(disjunct.atoms)}".encode()
    for atom in disjunct.atoms:
        yield f"atom {_row(atom)}".encode()
        if atom.inputs:
            yield f"inputs {_terms(atom.inputs)}".encode()
        if atom.products:
            yield f"products {' '.join(f'{factors}:{coefficient}' for factors, coefficient in atom.products)}".encode()
    if disjunct.cut is not None:
        yield f"cut {len(disjunct.cut.rows)}".encode()
        yield from (f"row {_row(row)}".encode() for row in disjunct.cut.rows)
        if disjunct.cut.within is not None:
            yield from _set(disjunct.cut.within)


def _row(row: Inequality) -> str:
    return f"{_terms(row.terms)} constant {row.constant} strict {row.strict}"


def _terms(terms: tuple[tuple[int, Fraction], ...]) -> str:
    return " ".join(f"{index}:{coefficient}" for index, coefficient in terms)


def _set(found: InputSet) -> Iterator[bytes]:
    """A set's kind and all that it is made of."""
    assert is_dataclass(found), "sets are records"
    yield f"set {type(found).__name__}".encode()
    for part in fields(found):
        value = getattr(found, part.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, InputSet):
                yield from _set(one)
            else:
                yield f"{part.name} {np.shape(one)} {'' if hasattr(one, 'shape') else one}".encode()
                yield _bytes(one) if hasattr(one, "shape") else b""
