"""A ResNet-18 for images of 32 x 32 pixels as a torch module with seeded weights: nothing is trained or downloaded.

Layers as in torchvision's resnet18 (He et al. 2016) with the stem for small images: one 3x3 convolution, no pooling.
The batch statistics come from random images, so that activations have the spread they have in a trained network.
"""

from collections.abc import Sequence

import torch
from torch import nn

CALIBRATION_BATCHES = 4
"""Batches of 32 random images that set the batch statistics."""


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), the first convolution with a stride.

    Shapes: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride].
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's value."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, four stages of basic blocks with width, 2 width, 4 width and 8 width channels, mean and linear layer.

    Shapes: [N, 3, 32, 32] -> [N, classes].
    """

    def __init__(self, width: int, blocks: Sequence[int], classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        stages: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                outputs = width * 2**stage
                stages.append(BasicBlock(channels, outputs, 2 if stage > 0 and block == 0 else 1))
                channels = outputs
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The class scores."""
        return self.head(self.pool(self.stages(self.stem(x))).flatten(1))


def build(seed: int = 0, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)) -> ResNet:
    """The network in evaluation mode, the same for the same seed; 11 173 962 parameters as it stands.

    Smaller widths and fewer blocks keep the structure for tests.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = ResNet(width, blocks)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                # Training moves these away from ones and zeros; so does this.
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0.0, 0.1)
                module.momentum = None
        network.train()
        for _ in range(CALIBRATION_BATCHES):
            network(torch.rand(32, 3, 32, 32))
    return network.eval()
