"""Images that are sent batch by batch train the same network as those that are on the device."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from searcher import tasks
from searcher.compression import training
from searcher.compression.feed import MAX_SHARE, Feed, feed
from searcher.compression.training import Run, fit
from searcher.config.recipe import Train
from searcher.models import build
from searcher.tasks.base import Split

TINY = {"growth_rate": 2, "blocks": [1, 1, 1, 1]}

CPU = torch.device("cpu")
SPLIT = Split(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1), torch.arange(10))
SLICES = [slice(0, 4), slice(4, 8), slice(8, 10)]


def test_batches_are_those_of_the_order():
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    batches = list(Feed(SPLIT, CPU, sends=True).batches(order, SLICES))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([labels for _, labels in batches]), order)
    assert torch.equal(torch.cat([images.flatten() for images, _ in batches]).long(), order)


def test_one_batch_is_gathered_ahead():
    taken: list[int] = []

    class Images:
        def __getitem__(self, chosen: torch.Tensor) -> torch.Tensor:
            taken.append(len(chosen))
            return SPLIT.images[chosen]

    batches = Feed(replace(SPLIT, images=Images()), CPU, sends=True).batches(torch.arange(10), SLICES)
    for gathered in (2, 3, 3):
        next(batches)
        assert len(taken) == gathered
    assert next(batches, None) is None


def test_nothing_is_sent_where_the_device_has_it():
    assert feed(SPLIT, CPU) == Feed(SPLIT, CPU, sends=False)
    assert list(feed(SPLIT, CPU).batches(torch.arange(10), SLICES)) == [(), (), ()]
    assert list(Feed(SPLIT, CPU, sends=True).batches(torch.arange(0), [])) == []


@pytest.mark.parametrize(("images", "sends"), [(1000, False), (1001, True)])
def test_a_split_beyond_a_share_of_the_gpu_stays_on_the_host(
    monkeypatch: pytest.MonkeyPatch, images: int, sends: bool
):
    memory = SimpleNamespace(total_memory=1000 / MAX_SHARE)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    moved: list[torch.device] = []
    monkeypatch.setattr(Split, "to", lambda split, device: moved.append(device) or split)
    gpu = torch.device("cuda", 0)
    found = feed(Split(torch.zeros(images, 1, 1, 1, dtype=torch.uint8), torch.zeros(images)), gpu)
    assert found.sends == sends
    assert moved == ([] if sends else [gpu])


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_both_ways_train_the_same_network(monkeypatch: pytest.MonkeyPatch, mixup: float):
    def trained() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        run = Run(tasks.entry("digits").load().trained_on(200), 2, 0, CPU, lambda *_: None)
        net = build("densenet", TINY, in_channels=1, classes=10)
        return fit(net, run, Train(batch_size=64, mixup=mixup), "train").state_dict()

    there = trained()
    asked: list[int] = []

    def sending(split: Split, device: torch.device) -> Feed:
        asked.append(len(split))
        return Feed(split, device, sends=True)

    monkeypatch.setattr(training, "feed", sending)
    sent = trained()
    assert asked
    assert all(torch.equal(there[name], sent[name]) for name in there)
