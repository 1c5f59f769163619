"""From files in the text format .nnet to networks."""

import os

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.errors import ModelError
from admm_verify.network.builder import Builder, Value
from admm_verify.network.file_content import file_content
from admm_verify.network.graph import Network
from admm_verify.network.nnet_files import Nnet, nnet_in
from admm_verify.options import file_path


def read_nnet(path: str | os.PathLike[str], *, own_units: bool = False) -> Network:
    """The network in a .nnet file, also gzip-compressed: dense layers with rectifiers between them, in float32.

    By default the network is what the layers compute, f(n), of normalised inputs n and with normalised outputs, as
    NeuroDiff and the ONNX files of ACAS Xu have it. own_units: of inputs x and with outputs in the units of the file's
    header, range f((x - mean) / range) + mean, with the means and ranges of each input and of the outputs. Inputs
    outside of the header's ends (`nnet_ranges`) are not moved to them, as some readers do.

    Raises: ModelError naming the line that is not as it must be, for numbers that are not finite, and for a file that
    cannot be read; InputError for what is no path.
    Reference: K. Julian, Stanford 2016, and Katz et al., Reluplex (CAV 2017).
    """
    found, name = _read(path)
    with quiet_overflow():
        builder = Builder((found.weights[0].shape[1],))
        x: Value = builder.input
        if own_units:
            x = builder.divide(builder.add(x, -found.means[:-1]), found.ranges[:-1])
        for k, (weight, bias) in enumerate(zip(found.weights, found.biases, strict=True)):
            x = x if k == 0 else builder.activation("relu", x)
            x = builder.add(builder.matmul(x, weight.T), bias)
        if own_units:
            x = builder.add(builder.scale(x, found.ranges[-1:]), found.means[-1:])
        network = builder.finish(x, name)
    network.check_finite()
    return network


def nnet_ranges(path: str | os.PathLike[str], *, own_units: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest values of the inputs that the header of a .nnet file names, as a box's two ends.

    Of the network's normalised inputs, (end - mean) / range rounded to the nearest float64 numbers; own_units: as they
    are written. `av.Box(*av.nnet_ranges(path))` is the box.

    Shapes: [inputs] both.
    Raises: as `read_nnet`.
    """
    found, name = _read(path)
    if own_units:
        return found.lower, found.upper
    with quiet_overflow():
        ends = [(end - found.means[:-1]) / found.ranges[:-1] for end in (found.lower, found.upper)]
    if not np.isfinite(ends).all():
        raise ModelError(f"The inputs' normalised ends in {name} overflow: its header names ranges too small for them.")
    return np.minimum(*ends), np.maximum(*ends)


def _read(path: str | os.PathLike[str]) -> tuple[Nnet, str]:
    place = file_path(path, "The network", " .nnet")
    try:
        return nnet_in(file_content(place, "a network in the text format .nnet"), place.name), place.name
    except MemoryError as error:
        raise ModelError(f"{place.name} does not fit into memory: {error}. Give a smaller network.") from error
