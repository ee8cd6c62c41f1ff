"""Learners: side by side as alone, frozen numbers never touched, the step equal to torch's SGD."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from focil import backbones
from focil.expert import masked_weights
from focil.masks import Ledger
from focil.trainer import HEAD, Learners, Sgd, Start, in_turns

SHAPE = (1, 6, 6)


def setup(densities, rates, sgd=Sgd(), seed=0, owned=0.4):
    """Learners of the second task, so that their masks re-use connections of a first one."""
    backbone = backbones.build("mlp", SHAPE, seed)
    store = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    ledger = Ledger(backbones.masked_shapes(backbone), tasks=2, seed=seed)
    ledger.claim(ledger.draw(owned))
    masks = [ledger.draw(d) for d in densities]
    head = torch.randn(3, 100, generator=torch.Generator().manual_seed(1)) * 0.1
    starts = [Start(store, mask, rate, head, {}) for mask, rate in zip(masks, rates, strict=True)]
    return store, masks, Learners(backbone, starts, sgd)


def batches(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(10, *SHAPE, generator=generator), torch.randint(3, (10,), generator=generator))
        for _ in range(count)
    ]


def test_side_by_side_equals_alone():
    densities, rates = [0.1, 0.3, 0.3], [0.05, 0.02, 0.1]
    _, _, together = setup(densities, rates)
    alone = [setup([d], [r])[2] for d, r in zip(densities, rates, strict=True)]
    for images, labels in batches(20):
        scores = together.step(images, labels)
        for c, learner in enumerate(alone):
            accuracy, loss = learner.step(images, labels)
            assert accuracy.item() == scores[0][c].item()
            torch.testing.assert_close(
                loss[0], scores[1][c], rtol=1e-4, atol=1e-5
            )  # batched products round differently


def test_the_kept_go_on_as_if_alone():
    _, _, together = setup([0.1, 0.3, 0.2], [0.05, 0.02, 0.1])
    _, _, alone = setup([0.3], [0.02])
    for number, (images, labels) in enumerate(batches(12)):
        if number == 4:
            together.keep([1, 2])
        if number == 8:
            together.keep([0])
        together.step(images, labels)
        alone.step(images, labels)
    for mine, other in zip(together.finished()[0].values(), alone.finished()[0].values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_nothing_outside_the_new_connections_moves_by_a_bit():
    store, masks, learners = setup([0.2, 0.8], [0.3, 0.3], Sgd(weight_decay=0.1))
    before = {name: weights.clone() for name, weights in store.items()}
    for images, labels in batches(30):
        learners.step(images, labels)
    learners.keep([1])
    weights = {slot.name: slot.leaf.detach()[0] for slot in learners._slots}
    for name, mask in ((name, masks[1]) for name in store):
        assert torch.equal(store[name], before[name])  # the shared store is not the learners' to change
        flat, start = weights[name].flatten(), masked_weights(store, mask)[name].flatten()
        assert len(mask.reused[name]) and torch.equal(flat[mask.reused[name]], start[mask.reused[name]])
        assert (flat[mask.new[name]] != start[mask.new[name]]).float().mean() > 0.5
        outside = np.setdiff1d(np.arange(flat.numel()), mask.positions(name))
        assert not flat[outside].any()


def test_the_step_is_torchs_sgd_on_the_new_connections():
    sgd = Sgd(momentum=0.9, weight_decay=0.01, averaging=0.0, label_smoothing=0.1)
    store, (mask,), learners = setup([0.3], [0.05], sgd)
    head = {slot.name: slot.leaf for slot in learners._slots}[HEAD][0].detach().clone().requires_grad_()
    weights = {name: w.requires_grad_() for name, w in masked_weights(store, mask).items()}
    optimiser = torch.optim.SGD(
        [*weights.values(), head], lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    for images, labels in batches(10):
        learners.step(images, labels)
        logits = functional_call(learners.backbone, weights, (images,)) @ head.T
        optimiser.zero_grad()
        F.cross_entropy(logits, labels, label_smoothing=0.1).backward()
        fixed = {name: w.detach().clone() for name, w in weights.items()}
        optimiser.step()
        with torch.no_grad():
            for name, w in weights.items():
                trained = w.flatten()[mask.new[name]].clone()
                w.copy_(fixed[name])
                w.view(-1)[torch.as_tensor(mask.new[name])] = trained
    ours, _, our_head = learners.finished()
    for name in ours:
        torch.testing.assert_close(
            ours[name], weights[name].detach().flatten()[mask.new[name]], rtol=1e-4, atol=1e-6
        )
    torch.testing.assert_close(our_head, head.detach(), rtol=1e-4, atol=1e-6)


def test_the_average_lags_behind_the_values():
    _, _, last = setup([0.3], [0.05], Sgd(averaging=0.0))
    _, _, averaged = setup([0.3], [0.05], Sgd(averaging=0.9))
    first = averaged.finished()[2]
    for images, labels in batches(30):
        last.step(images, labels)
        averaged.step(images, labels)
    end, mean = last.finished()[2], averaged.finished()[2]
    assert not torch.equal(end, mean)
    assert (mean - first).norm() < (
        end - first
    ).norm()  # steps here go one way: the average is on it, but less far
    images, labels = batches(1, seed=9)[0]
    assert torch.equal(
        last.step(images, labels)[1], averaged.step(images, labels)[1]
    )  # averaging does not steer the learning


def test_one_must_be_chosen_before_it_is_finished():
    _, _, learners = setup([0.3, 0.3], [0.1, 0.2])
    with pytest.raises(ValueError, match="keep one first"):
        learners.finished()


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels last", "expanded"])
def test_gradients_are_gathered_in_any_memory_layout(layout):
    _, _, learners = setup([0.3, 0.2], [0.1, 0.1])
    slot = learners._slots[0]
    values = torch.arange(slot.leaf.numel(), dtype=torch.float32).view(slot.leaf.shape)
    tensor = {
        "contiguous": values,
        "transposed": values.mT.contiguous().mT,
        "channels last": values.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        "expanded": values[:1].expand_as(values),
    }[layout]
    assert torch.equal(slot.gather(tensor), tensor.reshape(-1)[slot.index])


def test_a_weight_that_the_network_does_not_use_stays_as_it_is():
    class Half(torch.nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.used, self.unused = torch.nn.Linear(36, 8, bias=False), torch.nn.Linear(5, 5, bias=False)

        def forward(self, images):
            return self.used(images.flatten(1))

    backbone = backbones.build(Half, SHAPE, 0)
    store = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    mask = Ledger(backbones.masked_shapes(backbone), 2, 0).draw(0.2)
    learners = Learners(backbone, [Start(store, mask, 0.1, torch.randn(3, 8), {})], Sgd(weight_decay=0.0))
    for images, labels in batches(3):
        learners.step(images, labels)
    assert torch.equal(
        learners.finished()[0]["unused.weight"], store["unused.weight"].flatten()[mask.new["unused.weight"]]
    )


def convolutions(groups, precision="float32", steps=4):
    """ResNet18 with two candidates, learning as one group or one group each: their losses, batch by batch."""
    shape = (3, 16, 16)
    backbone = backbones.build("resnet18", shape, 0)
    store = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    ledger = Ledger(backbones.masked_shapes(backbone), 2, 0)
    head = torch.randn(3, 512, generator=torch.Generator().manual_seed(1)) * 0.05
    own = backbones.own_tensors(backbone)
    # Small rates: rounding is not blown up by the steps.
    starts = [Start(store, ledger.draw(d), lr, head, own) for d, lr in ((0.05, 0.0002), (0.1, 0.0005))]
    sgd = Sgd(precision=precision)
    learners = [Learners(backbone, [starts[i] for i in group], sgd) for group in groups]
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(10, *shape, generator=generator), torch.randint(3, (10,), generator=generator))
        for _ in range(steps)
    ]
    return torch.stack([torch.cat([learner.step(*batch)[1] for learner in learners]) for batch in batches])


def test_convolutions_in_one_batched_graph_learn_as_in_a_loop():
    torch.testing.assert_close(
        convolutions([[0, 1]]), convolutions([[0], [1]]), rtol=1e-3, atol=1e-3
    )  # sums in another order


def test_half_precision_learns_nearly_the_same():
    full, half = convolutions([[0]]), convolutions([[0]], "bfloat16")
    assert not torch.equal(full, half)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.02)  # eight bits of mantissa through 18 layers


def test_images_learned_again_teach_but_are_not_scored():
    first, second, third = batches(3)
    _, _, again = setup([0.3], [0.05])
    _, _, joined = setup([0.3], [0.05])
    _, _, plain = setup([0.3], [0.05])
    scores = again.step(*first, again=second)
    assert torch.allclose(scores[1], plain.step(*first)[1])  # the new batch alone is scored
    joined.step(torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))
    losses = [learners.step(*third)[1].item() for learners in (again, joined, plain)]
    assert losses[0] == losses[1] != losses[2]


def test_convolutions_take_turns_on_a_cpu_and_layers_without_them_step_together():
    def starts(name, shape):
        backbone = backbones.build(name, shape, 0)
        store = {name: p.detach() for name, p in backbone.named_parameters()}
        mask = Ledger(backbones.masked_shapes(backbone), 2, 0).draw(0.05)
        return [Start(store, mask, rate, torch.zeros(2, 1), {}) for rate in (0.1, 0.2)]

    alone, together = starts("resnet18", (3, 16, 16)), starts("mlp", SHAPE)
    assert [[start.lr for start in group] for group in in_turns(alone)] == [[0.1], [0.2]]
    assert [[start.lr for start in group] for group in in_turns(together)] == [[0.1, 0.2]]
