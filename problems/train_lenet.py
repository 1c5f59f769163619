"""Trains a LeNet-like classifier of MNIST for certified accuracy: convolutions, each with a maximum pool, and matrices.

Source: the architecture is LeNet-5 (LeCun et al., Proceedings of the IEEE 1998) with ReLU and maximum pooling; the
first 12 000 training images of MNIST.
"""

import numpy as np
import torch

from problems.lp_instances import shared_folder
from problems.mnist_images import idx

SEED, EPOCHS, BATCH, RATE = 0, 6, 64, 1e-3


def train_lenet() -> torch.nn.Module:
    """The classifier after a few epochs of Adam, the same on every call up to the library's rounding.

    Shapes: [batch, 1, 28, 28] -> [batch, 10].
    Raises: FileNotFoundError as `mnist_test`.
    """
    folder = shared_folder() / "data" / "images"
    images = torch.as_tensor(idx(folder / "mnist-train-0-12000-images-idx3-ubyte.gz")[:, None] / np.float32(255))
    labels = torch.as_tensor(idx(folder / "mnist-train-0-12000-labels-idx1-ubyte.gz").astype(np.int64))
    torch.manual_seed(SEED)
    layers = torch.nn
    module = layers.Sequential(
        *(layers.Conv2d(1, 6, 5, padding=2), layers.ReLU(), layers.MaxPool2d(2)),
        *(layers.Conv2d(6, 16, 5), layers.ReLU(), layers.MaxPool2d(2)),
        *(layers.Flatten(), layers.Linear(400, 120), layers.ReLU()),
        *(layers.Linear(120, 84), layers.ReLU(), layers.Linear(84, 10)),
    )
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(labels)).split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(images[index]), labels[index]).backward()
            optimiser.step()
    return module.eval()
