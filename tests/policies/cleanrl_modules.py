"""Modules as single-file training programs in CleanRL's style write them."""

import torch
from torch import nn


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.actor = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))

    def get_action_and_value(self, x):
        return self.actor(x).argmax(1)


class Continuous(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor_mean = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        self.actor_logstd = nn.Parameter(torch.zeros(1, 2))

    def act(self, x):
        return self.actor_mean(x)


class QNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        return self.network(x)


class Scaled(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 8)
        setattr(self, last, nn.Linear(8, 2))
        self.register_buffer("action_scale", torch.tensor([2.0, 0.5]))
        self.register_buffer("action_bias", torch.tensor([0.0, 1.0]))

    def hidden(self, x):
        return torch.relu(self.fc2(torch.relu(self.fc1(x))))


class Actor(Scaled):
    def __init__(self):
        super().__init__("fc_mu")

    def forward(self, x):
        return torch.tanh(self.fc_mu(self.hidden(x))) * self.action_scale + self.action_bias


class SoftActor(Scaled):
    def __init__(self):
        super().__init__("fc_mean")
        self.fc_logstd = nn.Linear(8, 2)

    def forward(self, x):
        x = self.hidden(x)
        return self.fc_mean(x), torch.tanh(self.fc_logstd(x))

    def act(self, x):
        return torch.tanh(self.forward(x)[0]) * self.action_scale + self.action_bias
