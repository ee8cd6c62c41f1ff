"""ER and GDumb as CapyMOA has them, on our stream: what ours are checked against.

CapyMOA (https://capymoa.org) is no dependency, and needs Java. Make an environment of its own, in the root of
the repository:

    python -m venv capymoa-env && capymoa-env/bin/pip install . capymoa
    FOCIL_DATA=... capymoa-env/bin/python docs/others.py mnist-5 --seed 0 1 2 3 4

It prints one line a method: final average accuracy by `sample` in %, seed by seed and their mean. Network,
weights at the start, images, batches and buffer are those of `params/er-mnist-5.yaml` and
`params/gdumb-mnist-5.yaml`, and the rate of ER too. CapyMOA's GDumb learns its buffer with Adam, ours with
SGD and a cosine, as its paper has it. So ours is also run with Adam.
"""

import argparse
from functools import partial
from importlib import metadata

import numpy as np
import torch
from capymoa.classifier import Finetune
from capymoa.ocl.strategy import ExperienceReplay, GDumb
from capymoa.stream import Schema
from torch import nn

from focil.online import networks
from focil.online.gdumb import Gdumb, GdumbOptions
from focil.runs.params import read_params
from focil.runs.params_files import find
from focil.runs.sources import load_data, open_stream

STORED, RATE, EPOCHS, ADAMS_RATE = 2000, 0.05, 30, 0.001


def main() -> None:
    """Run both methods with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params")
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    print("CapyMOA", metadata.version("capymoa"), "torch", torch.__version__)
    benchmark = read_params(find(parsed.params))
    data = load_data(benchmark)
    methods = {"ER": _er, "GDumb": _gdumb, "GDumb of focil, with Adam": _ours_with_adam}
    for name, learn in methods.items():
        shares = [learn(open_stream(benchmark, data, seed), seed) for seed in parsed.seed]
        print(name, " ".join(f"{100 * share:.1f}" for share in shares), f"mean {100 * np.mean(shares):.2f}")


def _er(stream, seed: int) -> float:
    schema, net = _schema(stream), _network(stream, seed)
    finetune = Finetune(schema, net, optimizer=partial(torch.optim.SGD, lr=RATE), random_seed=seed)
    return _accuracy(ExperienceReplay(finetune, STORED), stream)


def _gdumb(stream, seed: int) -> float:
    learner = GDumb(
        _schema(stream), _network(stream, seed), EPOCHS, stream.batch_size, STORED, ADAMS_RATE, seed=seed
    )
    return _accuracy(learner, stream, learner.gdumb_fit)


class _WithAdam(Gdumb):
    """Ours, but for the optimiser."""

    def _build(self) -> None:
        super()._build()
        self.adam = torch.optim.Adam(self.net.parameters(), ADAMS_RATE)

    def _descend(self, parameters, gradients) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.adam.step()


def _ours_with_adam(stream, seed: int) -> float:
    options = GdumbOptions(exemplars=STORED, epochs=EPOCHS)
    learner = _WithAdam(stream.data.image_shape, *stream.order.shape, seed, stream, options)
    for task in stream:
        learner.learn(task)
    with torch.no_grad():
        return _mean_of_tasks(learner.scores(stream.prepare(stream.test)), stream)


def _accuracy(learner, stream, finish=lambda: None) -> float:
    """Train on every batch once; the mean over tasks of the accuracy for one image alone."""
    first = 0
    for task in stream:
        for images, labels in task.raw_batches():
            learner.batch_train(stream.prepare(images).flatten(1), labels + first)
        first += len(task.classes)
    finish()
    with torch.no_grad():
        return _mean_of_tasks(learner.batch_predict_proba(stream.prepare(stream.test).flatten(1)), stream)


def _mean_of_tasks(scores: torch.Tensor, stream) -> float:
    right = scores.argmax(1).numpy() == stream.test_position()
    return float(np.mean([right[stream.test_task() == task].mean() for task in range(len(stream))]))


def _network(stream, seed: int) -> nn.Module:
    shape = stream.data.image_shape
    return nn.Sequential(nn.Unflatten(1, shape), networks.build("mlp", shape, stream.data.num_classes, seed))


def _schema(stream) -> Schema:
    pixels = [f"pixel-{number}" for number in range(int(np.prod(stream.data.image_shape)))]
    return Schema.from_custom(
        features=[*pixels, "class"], target="class", categories={"class": list(stream.data.classes)}
    )


if __name__ == "__main__":
    main()
