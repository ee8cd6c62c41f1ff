"""What only a GPU does: recorded steps learn what steps one by one learn."""

import pytest
import torch

import focil
from focil.data.images import Augmentation
from focil.data.stream import Stream, class_order
from focil.memo import recorded
from focil.memo.schedule import OfflineOptions
from focil.memo.table import OFFLINE

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
TASKS, EPOCHS = 3, 4


def weights(name: str) -> list[torch.Tensor]:
    data = focil.load("digits")
    order = class_order(data, 5, 0)[:TASKS]
    stream = Stream(data, order, 0, passes=100, augmentation=Augmentation(crop=1), device="cuda")
    options = OfflineOptions(schedule="budget", epochs=EPOCHS, batch_size=32, lr=0.05)
    exemplars = 100 if OFFLINE[name].keeps_exemplars else 0
    method = OFFLINE[name]("convnet2", data.image_shape, [2] * TASKS, 0, stream, options, exemplars)
    for task in list(stream)[:TASKS]:
        method.learn(task)
    gradients = [torch.tensor(block["gradient"]) for report in method.report for block in report.values()]
    return [p.detach().cpu() for p in method.net.parameters()] + gradients


@pytest.mark.parametrize("name", ["replay", "memo", "wa"])
def test_recorded_steps_learn_what_steps_one_by_one_learn(name, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    replayed = weights(name)
    monkeypatch.setattr(recorded, "WARM", 10**9)
    for mine, plain in zip(replayed, weights(name), strict=True):
        assert torch.equal(mine, plain)
