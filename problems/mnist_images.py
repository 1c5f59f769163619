"""MNIST images and labels, for training and certified accuracy.

Source: the MNIST test set (LeCun, Cortes, Burges), 10 000 images of 28 x 28 bytes in IDX format, from
ShaoruChen/DeepSplit, examples/mnist/data/MNIST/raw.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

from problems.lp_instances import shared_folder


def mnist_train() -> tuple[np.ndarray, np.ndarray]:
    """The first 12 000 images of the training set, scaled to [0, 1] in float32, and their labels.

    Source: rasbt/mnist-pngs (MIT), assembled in IDX format.
    Shapes: [12000, 1, 28, 28], [12000].
    Raises: FileNotFoundError, naming the environment variable, where the shared data set is missing.
    """
    return _scaled("mnist-train-0-12000", 12_000)


def mnist_test(count: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    """The first images, scaled to [0, 1] in float32, and their labels.

    Shapes: [count, 1, 28, 28], [count].
    Raises: FileNotFoundError, naming the environment variable, where the shared data set is missing.
    """
    return _scaled("mnist-t10k", count)


def _scaled(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    folder = shared_folder() / "data" / "images"
    images = idx(folder / f"{name}-images-idx3-ubyte.gz")[:count]
    labels = idx(folder / f"{name}-labels-idx1-ubyte.gz")[:count]
    return (images[:, None] / np.float32(255)).astype(np.float32), labels.astype(np.int64)


def idx(path: Path) -> np.ndarray:
    """The bytes of an IDX file: two zeros, type 8, the number of axes, their lengths, the values."""
    with gzip.open(path) as file:
        content = file.read()
    zero, kind, axes = struct.unpack(">HBB", content[:4])
    if (zero, kind) != (0, 8):
        raise ValueError(f"{path.name} is no IDX file of bytes.")
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)
