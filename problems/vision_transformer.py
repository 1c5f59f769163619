"""A vision transformer of two blocks for scikit-learn's digits, trained here in seconds."""

import torch
from torch import nn

from problems.train_digits import Digits, attack

WIDTH, HEADS, HIDDEN, SIDE, PATCH = 16, 2, 32, 8, 4
EPOCHS, BATCH, RATE, RADIUS = 15, 100, 3e-3, 0.03


class Centred(nn.Module):
    """Tokens less their mean, scaled and shifted: a layer norm without its division.

    Reference: Shi et al., Robustness verification for transformers, ICLR 2020, section 3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[.., width] -> the same."""
        return (x - x.mean(-1, keepdim=True)) * self.scale + self.shift


class Block(nn.Module):
    """Attention and a perceptron for each token, both added to what they read, normalised before."""

    def __init__(self, divides: bool) -> None:
        super().__init__()
        self.before, self.between = (nn.LayerNorm(WIDTH) if divides else Centred() for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.first, self.second = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [samples, n, width] -> the same."""
        z = self.before(x)
        query, key, value = (self._heads(part(z)) for part in (self.query, self.key, self.value))
        shares = torch.softmax(torch.matmul(query, key.transpose(2, 3)) * (WIDTH // HEADS) ** -0.5, dim=-1)
        mixed = torch.matmul(shares, value).transpose(1, 2).reshape(x.shape[0], -1, WIDTH)
        x = x + self.out(mixed)
        return x + self.second(torch.relu(self.first(self.between(x))))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], -1, HEADS, WIDTH // HEADS).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Patches of 4 x 4 pixels as tokens, two blocks, the mean of the tokens, a linear layer.

    divides: whether tokens are normalised by their deviation, or centred alone.
    """

    def __init__(self, divides: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, PATCH, PATCH)
        self.places = nn.Parameter(0.1 * torch.randn(1, (SIDE // PATCH) ** 2, WIDTH))
        self.blocks = nn.Sequential(Block(divides), Block(divides))
        self.scores = nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [samples, 64] -> scores [samples, 10]."""
        tokens = self.patches(x.reshape(x.shape[0], 1, SIDE, SIDE)).flatten(2).transpose(1, 2)
        return self.scores(self.blocks(tokens + self.places).mean(1))


def trained(digits: Digits, generator: torch.Generator, divides: bool) -> VisionTransformer:
    """The trained classifier, on half clean and half adversarial images."""
    module = VisionTransformer(divides)
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    loss = nn.functional.cross_entropy
    for epoch in range(EPOCHS):
        radius = RADIUS * min(1.0, epoch / (0.4 * EPOCHS))
        for index in torch.randperm(len(digits.labels), generator=generator).split(BATCH):
            part = digits.take(index)
            moved = attack(module, part, radius, generator)
            total = loss(module(part.images), part.labels) + loss(module(moved), part.labels)
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        schedule.step()
    return module.eval()
