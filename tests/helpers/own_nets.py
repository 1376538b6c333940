"""Networks of a user's own, of several kinds: `tests.helpers.own_nets:NAME`."""

import torch
from torch import nn


def cnn(num_classes=10, in_chans=1):
    return nn.Sequential(
        *convolution(in_chans, 16), *convolution(16, 32, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes),
    )  # fmt: skip


def convolution(inside, out, stride=1, groups=1):
    return nn.Conv2d(inside, out, 3, stride, 1, groups=groups), nn.BatchNorm2d(out), nn.ReLU()


class Residual(nn.Module):
    def __init__(self, inside, out, stride):
        super().__init__()
        self.body = nn.Sequential(*convolution(inside, out, stride), *convolution(out, out)[:2])
        self.shortcut = nn.Sequential(nn.Conv2d(inside, out, 1, stride), nn.BatchNorm2d(out))
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, num_classes=10, in_chans=1):
        super().__init__()
        self.stem = nn.Sequential(*convolution(in_chans, 16))
        self.layer1, self.layer2 = Residual(16, 16, 1), Residual(16, 32, 2)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.pool(self.layer2(self.layer1(self.stem(x)))).flatten(1))


def depthwise(num_classes=10, in_chans=1):
    inner = [
        layer
        for _ in range(3)
        for layer in (*convolution(32, 32, groups=32), nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32), nn.ReLU())
    ]
    tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes))
    return nn.Sequential(*convolution(in_chans, 32), *inner, *tail)


class Transformer(nn.Module):
    def __init__(self, num_classes=10, in_chans=1):
        super().__init__()
        self.patches = nn.Conv2d(in_chans, 16, 2, stride=2)
        self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return self.head((x + self.mlp(x)).mean(1))


class Branching(nn.Module):
    def __init__(self, num_classes=10, in_chans=1):
        super().__init__()
        self.body, self.head = nn.Sequential(*convolution(in_chans, 16)), nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.body(x)
        return self.head((x if x.mean() > 0 else -x).mean((2, 3)))


class Untrainable(nn.Module):
    def __init__(self, num_classes=10, in_chans=1):
        super().__init__()
        self.head = nn.Linear(64, num_classes)

    def forward(self, x):
        with torch.no_grad():
            return self.head(x.flatten(1))
