"""Networks of all kinds, for recipes: `tests.helpers.nets:NAME`."""

import torch
from torch import nn


class Flattened(nn.Module):
    def forward(self, x):
        return torch.flatten(x, 1)


def between(*layers):
    head = (nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return nn.Sequential(nn.Conv2d(3, 8, 3), *layers, *head)


def plain():
    return between(nn.ReLU())


def grouped_norm():
    return between(nn.GroupNorm(2, 8))


def same():
    return between(nn.Conv2d(8, 8, 3, padding="same"))


def transposed():
    return between(nn.ConvTranspose2d(8, 8, 2, stride=2))


def two_channels():
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10))
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), *head)


def of_one_size():
    return nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 8, 5), Flattened(), nn.Linear(8 * 24 * 24, 10))


def too_long():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(7, 10))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(32, 8, 2), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.lstm(x.flatten(1, 2))[0].mean(1))


class Zeros(nn.Sequential):
    def __init__(self):
        super().__init__(*between(nn.ReLU()))
        nn.init.zeros_(self[2].weight)


class Auxiliary(nn.Sequential):
    def __init__(self):
        super().__init__(*between(nn.ReLU()))
        self.aux = nn.Linear(3, 3)

    def forward(self, x):
        for layer in list(self)[:-1]:
            x = layer(x)
        return x


class Branching(nn.Sequential):
    def __init__(self):
        super().__init__(*between(nn.ReLU()))

    def forward(self, x):
        return super().forward(x if x.mean() > 0 else -x)


class Asking(nn.Sequential):
    def __init__(self):
        super().__init__(*between(nn.ReLU()))

    def forward(self, x):
        assert type(x) is torch.Tensor
        return super().forward(x)


class Reshaping(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10))

    def forward(self, x):
        return self[2](self[1](self[0](x)).view(1, 8))
