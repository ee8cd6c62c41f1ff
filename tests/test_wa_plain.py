"""WA once more, in its plainest form and from the paper alone (Zhao et al. 2020): it ends with the same
weights, so that where WA is weak, no mistake of ours is the cause.

Only the images of each batch, the exemplars and the fresh rows of the head are taken from the method.
"""

import copy
import math

import torch
from test_offline import new

from focil.memo.schedule import OfflineOptions
from focil.memo.wa import Wa

OPTIONS = OfflineOptions(epochs=4, batch_size=20, lr=0.05)
T = 2  # temperature: section 3.1


def loss_of(logits, labels, taught):
    """Equations 1 to 3: (1 - l) cross-entropy + l distillation, l the share of old classes."""
    cross_entropy = -torch.log_softmax(logits, 1)[torch.arange(len(labels)), labels].mean()
    if taught is None:
        return cross_entropy
    old, classes = taught.shape[1], logits.shape[1]
    theirs = torch.softmax(taught / T, 1)
    mine = torch.softmax(logits[:, :old] / T, 1)
    distilled = -(theirs * torch.log(mine)).sum(1).mean()
    share = old / classes
    return (1 - share) * cross_entropy + share * distilled


class Recorded(Wa):
    """Ours, which notes the network as a task begins, and the batches of each epoch."""

    def _fit(self, images, labels, on_epoch):
        self.start, self.epochs = copy.deepcopy(self.net), []
        super()._fit(images, labels, on_epoch)

    def _batches(self, images, labels, epoch):
        self.epochs.append(list(super()._batches(images, labels, epoch)))
        yield from self.epochs[-1]


def trained(net, epochs, teacher):
    """One task: SGD with momentum 0.9 and decay, half a cosine from the rate down to 0."""
    decay = 5e-4 if teacher is None else 2e-4
    parameters = list(net.parameters())
    speed = [torch.zeros_like(parameter) for parameter in parameters]
    net.train()
    for epoch, batches in enumerate(epochs):
        for number, (images, labels) in enumerate(batches):
            passed = (epoch + number / len(batches)) / len(epochs)
            rate = OPTIONS.lr * (1 + math.cos(math.pi * passed)) / 2
            taught = None if teacher is None else teacher(images).detach()
            gradients = torch.autograd.grad(loss_of(net(images), labels, taught), parameters)
            for parameter, gradient, moving in zip(parameters, gradients, speed, strict=True):
                moving.mul_(0.9).add_(gradient + decay * parameter.detach())
                parameter.data -= rate * moving


def grown(net, fresh):
    """The network with new rows in its head, drawn by the method; the old ones stay."""
    old, head = net.head, copy.deepcopy(fresh.head)
    head.weight.data[: old.out_features] = old.weight.data
    head.bias.data[: old.out_features] = old.bias.data
    net.head = head


def align(head, old):
    """Equations 7 and 8: new rows get the mean norm of the old ones; biases stay."""
    norms = head.weight.data.norm(dim=1)
    head.weight.data[old:] *= norms[:old].mean() / norms[old:].mean()


def test_wa_ends_with_the_weights_of_its_plainest_form():
    ours, net, known = new("wa", Recorded, options=OPTIONS), None, 0
    for task in ours.stream:
        ours.learn(task)
        if net is None:
            net, teacher = copy.deepcopy(ours.start), None
        else:
            teacher = copy.deepcopy(net).eval()
            grown(net, ours.start)
        trained(net, ours.epochs, teacher)
        if known:
            align(net.head, known)
        known += 2
        for mine, plain in zip(ours.net.parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-4)
