"""The columns of a network's programs and the equations that tie them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from admm_verify.arrays import Placement
from admm_verify.network.graph import Network
from admm_verify.network.maps import LinearMap
from admm_verify.run import paced
from admm_verify.sets.contract import InputSet
from admm_verify.sets.polytopes import Polytopes

_BLOCK = 256
"""Columns of a map that are made dense at once."""


Entries = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns and numbers of some entries of a sparse matrix."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Columns v = (input, then pre-activations and activations of every layer), with ties v = tied and f = output v +
    shift.

    Shapes: pre[k], post[k] the columns of activation k; ties [sum n_k, width]; tied [sum n_k]; output [outputs, width];
    shift [outputs].
    """

    inputs: int
    pre: tuple[np.ndarray, ...]
    post: tuple[np.ndarray, ...]
    width: int
    ties: sparse.csr_array
    tied: np.ndarray
    output: sparse.csr_array
    shift: np.ndarray

    @property
    def neurons(self) -> tuple[np.ndarray, np.ndarray]:
        """The columns of pre-activations and activations over all layers."""
        none = np.zeros(0, dtype=np.int64)
        return np.concatenate([none, *self.pre]), np.concatenate([none, *self.post])

    def rows(self, objective: np.ndarray, first: int) -> Entries:
        """objective f without its constant, in rows from `first` on; objective [rows, outputs]."""
        values = sparse.coo_array(sparse.csr_array(objective) @ self.output)
        return first + values.row, values.col, values.data

    def widened_ties(self, width: int) -> sparse.csr_array:
        """The ties over more columns."""
        ties = self.ties
        return sparse.csr_array((ties.data, ties.indices, ties.indptr), shape=(len(self.tied), width))

    @classmethod
    def of(cls, network: Network) -> "Frame":
        """The frame of any network; what an activation does is not part of it."""
        network = network.put(Placement.numpy())
        width = network.input_size + 2 * sum(node.size for node in network.functions)
        eye = sparse.csr_array(sparse.eye_array(width))
        values = [(eye[: network.input_size], np.zeros(network.input_size))]
        pre, post, ties, tied, first = [], [], [], [], network.input_size
        for _, affine, k in paced(network.steps):
            if affine is not None:
                parts = [(sparse_map(term.map), values[term.source]) for term in affine.terms]
                matrix = sum((part @ own for part, (own, _) in parts), sparse.csr_array((affine.size, width)))
                values.append((matrix, sum((part @ shift for part, (_, shift) in parts), np.asarray(affine.bias))))
                continue
            node = network.functions[k]
            pre.append(np.arange(first, first + node.size))
            post.append(pre[-1] + node.size)
            first += 2 * node.size
            matrix, shift = values[node.source]
            ties.append(eye[pre[-1]] - matrix)
            tied.append(shift)
            values.append((eye[post[-1]], np.zeros(node.size)))
        none = sparse.csr_array((0, width))
        return cls(
            network.input_size,
            tuple(pre),
            tuple(post),
            width,
            sparse.csr_array(sparse.vstack([none, *ties], format="csr")),
            np.concatenate([np.zeros(0), *tied]),
            sparse.csr_array(values[-1][0]),
            np.asarray(values[-1][1]),
        )


def coupled(inputs: InputSet, first: int) -> tuple[list[Entries], np.ndarray]:
    """The rows of one polytope, from `first` on, and what they are at most; none for other sets, which only get wider.

    Shapes: inputs [n], the first columns.
    """
    if not isinstance(inputs, Polytopes):
        return [], np.zeros(0)
    row, column = np.nonzero(inputs.normals)
    return [(first + row, column, inputs.normals[row, column])], np.asarray(inputs.ceiling)


def matrix(entries: Sequence[Entries], rows: int, width: int) -> sparse.csr_array:
    """The sum of the entries [rows, width]."""
    places, columns, data = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return sparse.csr_array((data.astype(np.float64), (places, columns)), shape=(rows, width))


def sparse_map(map: LinearMap) -> sparse.csr_array:
    """A linear map on the host as a sparse matrix [rows, columns]."""
    blocks = []
    for first in paced(range(0, map.columns, _BLOCK)):
        picked = np.eye(min(_BLOCK, map.columns - first), map.columns, first)
        blocks.append(sparse.csr_array(np.asarray(map.apply(picked))))
    return sparse.csr_array(sparse.vstack(blocks).T)
