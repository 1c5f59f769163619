"""The text format .nnet of fully connected ReLU networks (K. Julian, Stanford 2016; Reluplex, NeuroDiff).

Lines of numbers with a comma between any two, and one more at the end or none; lines that begin with // before the
first one say nothing:

    layers, inputs, outputs, largest width
    the widths of all layers, the inputs first
    a number that means nothing any more
    the smallest and the largest value of each input (two lines)
    the means and the ranges of the inputs, and of all outputs at the end (two lines)
    and for each layer a line for each row of its matrix, then a line for each number of its bias

The first networks of ACAS Xu name two more inputs in the lines of the header than they read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.errors import ModelError
from admm_verify.network.onnx_checks import ENTRIES
from admm_verify.run import paced

_SUFFIX = ".nnet"

_MOST_LAYERS = 1000
"""Layers of the deepest network that is read."""

_MOST_WEIGHTS = 2**28
"""Entries of the largest matrix that is read."""

_QUOTED = 40
"""Characters of a line that are quoted."""


@dataclass(frozen=True, eq=False)
class Nnet:
    """What a .nnet file says, its weights rounded to float32, as Reluplex and NeuroDiff hold them.

    Shapes: weights[k] [n_{k+1}, n_k]; biases[k] [n_{k+1}]; lower, upper [n_0] in the inputs' own units; means and
    ranges [n_0 + 1], of each input and, at the end, of all outputs.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    lower: np.ndarray
    upper: np.ndarray
    means: np.ndarray
    ranges: np.ndarray


def is_nnet(path: Path) -> bool:
    """Whether a file is named as one in this format, .nnet or .nnet.gz."""
    return path.name.lower().removesuffix(".gz").endswith(_SUFFIX)


def nnet_in(data: bytes, name: str) -> Nnet:
    """What the bytes of a .nnet file say; `name` is for messages.

    Raises: ModelError naming the line that is not as it must be; Stopped once a run that watches is over.
    """
    try:
        lines = _NnetLines(data.decode("ascii"), name)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ModelError(
            f"Line {line} of {name} holds a byte that is no ASCII character; .nnet is a text format."
        ) from error
    layers, inputs, outputs, _ = lines.whole("the numbers of layers, inputs and outputs and the largest width", 4)
    if layers > _MOST_LAYERS:
        raise lines.wrong(f"names {layers} layers, and at most {_MOST_LAYERS} are read")
    sizes = lines.whole("the widths of all layers", layers + 1)
    if (sizes[0], sizes[-1]) != (inputs, outputs):
        raise lines.wrong(
            f"gives {sizes[0]} inputs and {sizes[-1]} outputs, and the line before {inputs} and {outputs}"
        )
    largest = max(prod(pair) for pair in pairwise(sizes))
    if inputs > ENTRIES or largest > _MOST_WEIGHTS:
        raise lines.wrong(f"asks for a matrix of {largest} entries; at most {_MOST_WEIGHTS} are read")
    lines.numbers("a number that means nothing any more", 1, more=True)
    lower = lines.numbers("the inputs' smallest values", inputs, more=True)
    named = len(lower)
    upper = lines.numbers("the inputs' largest values", named)
    if (lower > upper).any():
        raise lines.wrong("holds a largest value of an input that is below its smallest")
    means, ranges = (lines.numbers(f"the {what} of inputs and outputs", named + 1) for what in ("means", "ranges"))
    if (ranges == 0).any():
        raise lines.wrong("holds a range of zero, by which nothing can be divided")
    weights, biases = [], []
    for k in range(layers):
        weights.append(lines.block(f"a row of the matrix of layer {k + 1}", sizes[k + 1], sizes[k]))
        biases.append(lines.block(f"a number of the bias of layer {k + 1}", sizes[k + 1], 1)[:, 0])
    lines.end()
    read = [*range(inputs), named]
    return Nnet(weights, biases, lower[:inputs], upper[:inputs], means[read], ranges[read])


class _NnetLines:
    """The lines of a file one after the other, each with its number."""

    def __init__(self, text: str, name: str) -> None:
        self._left: Iterator[tuple[int, str]] = enumerate(text.splitlines(), start=1)
        self._name, self._number, self._line = name, 0, ""
        self._started = False

    def numbers(self, what: str, count: int, more: bool = False) -> np.ndarray:
        """The numbers of the next line, so many; more: at least. Raises: ModelError."""
        self._next(what)
        texts = self._line.strip().removesuffix(",").split(",")
        if len(texts) != count and not (more and len(texts) > count):
            raise self.wrong(f"holds {len(texts)} number{'s' * (len(texts) != 1)} where {what} must be, {count} in all")
        if "_" in self._line:
            raise self.wrong(f"reads {self._quoted}, where {what} must be: numbers with commas between them")
        try:
            found = np.array([float(text) for text in texts])
        except ValueError:
            raise self.wrong(f"reads {self._quoted}, where {what} must be: numbers with commas between them") from None
        if not np.isfinite(found).all():
            raise self.wrong(f"reads {self._quoted}: {what} must be finite")
        return found

    def whole(self, what: str, count: int) -> list[int]:
        """The positive whole numbers of the next line. Raises: ModelError."""
        found = self.numbers(what, count)
        if (found != np.rint(found)).any() or (found < 1).any() or (found > ENTRIES).any():
            raise self.wrong(f"reads {self._quoted}: {what} must be whole numbers from 1 to {ENTRIES}")
        return [int(number) for number in found]

    def block(self, what: str, rows: int, columns: int) -> np.ndarray:
        """So many lines of so many numbers, as float32. Raises: ModelError."""
        # Rows are collected: a file that names more than it holds takes no more memory than it is long.
        with quiet_overflow():
            found = np.stack([np.float32(self.numbers(what, columns)) for _ in paced(range(rows))])
        if not np.isfinite(found).all():
            raise self.wrong(f"or one before it holds a number too large for float32 where {what} must be")
        return found

    def end(self) -> None:
        """Raises: ModelError where anything but empty lines is left."""
        for number, line in self._left:
            self._number, self._line = number, line
            if line.strip():
                raise self.wrong(f"reads {self._quoted}, and the last layer ended before it")

    def wrong(self, what: str) -> ModelError:
        """An error about the line read last."""
        return ModelError(f"Line {self._number} of {self._name} {what}. Give a network in the text format .nnet.")

    def _next(self, what: str) -> None:
        for number, line in self._left:
            self._number, self._line = number, line
            if self._started or not line.startswith("//"):
                self._started = True
                return
        raise ModelError(f"{self._name} ends after line {self._number}, where {what} must follow. Copy the file again.")

    @property
    def _quoted(self) -> str:
        text = self._line.strip()
        return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}...")
