"""The study of depth: what an expert makes of images, layer by layer, and what is noted of each method."""

import json

import numpy as np
import pytest
import torch
from conftest import separable, small_benchmark
from torch import nn

from focil import Stream, depth, layers
from focil.depth import Depth, expert_grams, offline_view, table, train
from focil.expert import masked_weights
from focil.methods.focil import Focil
from focil.offline_runs import Setting
from focil.stages import OnePass
from focil.stream import class_order
from focil.studies import Job, StudyError

ONLINE = {"sparsities": [0.5, 0.8], "learning_rates": [0.02, 0.1], "first_rung": 2, "router": "none"}
LAYERS = {"network": "convnet2", "exemplars": 30, "training": {"cpu_epochs": 2, "batch_size": 20, "lr": 0.05}}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    path, data = tmp_path_factory.mktemp("depth") / "separable.npz", separable()
    np.savez(path, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return small_benchmark(data=str(path), focil=ONLINE, layers=LAYERS)


@pytest.fixture(scope="module")
def finished(benchmark, tmp_path_factory):
    """A study of one seed, its trainings done in this process: folder and what finish() returned."""
    out = tmp_path_factory.mktemp("out")
    study = Depth(out, benchmark, [0])
    with pytest.raises(StudyError, match="3 trainings are missing"):
        study.finish()
    for job in study.jobs():
        path = out / "seed-0" / f"{job.name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"identity": study.identity} | Depth.worker(benchmark, job, path), allow_nan=False))
    return out, study.finish()


def learned(backbone="mlp", tasks=3, options=ONLINE):
    data = separable(size=8)
    stream = Stream(data, class_order(data, tasks, 0), 0)
    method = OnePass(small_benchmark(backbone=backbone, focil=options), stream)
    for task in stream:
        method.learn(task)
    return method, stream.prepare(stream.test)


# Experts

def test_what_an_expert_makes_of_images_is_its_masked_forward():
    method, images = learned()
    for number, expert in enumerate(method.method.experts):
        weights = masked_weights(method.method.store, expert.mask)
        first = images.flatten(1) @ weights["layers.0.weight"].T
        second = first.relu() @ weights["layers.1.weight"].T
        found = expert_grams(method.method, number, images)
        assert list(found) == list(method.method.store)
        for gram, direct in zip(found.values(), (first, second), strict=True):
            torch.testing.assert_close(gram, layers.gram(direct))


def test_asking_experts_leaves_no_trace_and_every_expert_has_an_answer_of_its_own():
    method, images = learned()
    before = method.method.scores(images)
    found = [expert_grams(method.method, number, images) for number in range(3)]
    assert torch.equal(method.method.scores(images), before)
    assert not [module for module in method.method.backbone.modules() if module._forward_hooks]
    assert not torch.allclose(found[0]["layers.1.weight"], found[1]["layers.1.weight"])


def test_hooks_are_taken_away_even_after_an_error():
    method, images = learned(tasks=1)
    with pytest.raises(RuntimeError):
        expert_grams(method.method, 0, images[:, :, :3])
    assert not [module for module in method.method.backbone.modules() if module._forward_hooks]


class Norm(nn.Module):
    """A convolution whose output depends on the statistics of BatchNorm before it."""

    def __init__(self, image_shape):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(image_shape[0]), nn.Conv2d(image_shape[0], 4, 3)

    def forward(self, images):
        return self.conv(self.norm(images)).flatten(1)


def test_an_expert_sees_with_its_own_statistics():
    data = separable()
    stream = Stream(data, class_order(data, 3, 0), 0)
    method = Focil(Norm, data.image_shape, 3, 2, 0, small_benchmark(focil=ONLINE).focil)
    for task in stream:
        method.learn(task)
    images = stream.prepare(stream.test)
    for number, expert in enumerate(method.experts):
        own = Norm(data.image_shape).eval()
        own.load_state_dict(masked_weights(method.store, expert.mask) | expert.own)
        with torch.no_grad():
            direct = own.conv(own.norm(images))
        torch.testing.assert_close(expert_grams(method, number, images)["conv.weight"], layers.gram(direct))


# The study

def test_jobs_are_der_memo_and_focil_for_each_seed(benchmark, tmp_path):
    jobs = Depth(tmp_path, benchmark, [0, 2]).jobs()
    assert [(job.seed, job.name) for job in jobs] == [(seed, method) for method in ("der", "memo", "focil") for seed in (0, 2)]
    assert [job.what for job in jobs[::2]] == [Setting("der", "convnet2", 30), Setting("memo", "convnet2", 30), Setting("focil", "mlp", 0)]
    assert [job.size for job in jobs[::2]] == [2 * (240 + 2 * 30)] * 2 + [240]


def test_offline_methods_are_trained_as_the_study_of_equal_memory_would(benchmark):
    memo = offline_view(benchmark).memo
    assert (memo.network, memo.training, memo.brightness) == ("convnet2", benchmark.layers.training, 0)
    assert [(point.anchor, point.exemplars) for point in memo.points] == [("each", 30)]


def test_focil_s_experts_are_compared_and_their_capacity_is_told(benchmark, tmp_path):
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth, "advance", told.append)
        found = train(benchmark, Job(0, "focil", 240, Setting("focil", "mlp", 0)), tmp_path / "focil.json")
    assert sum(told) == 240 and list(tmp_path.iterdir()) == []
    assert list(found["cka"]) == ["layers.0.weight", "layers.1.weight"] and found["layers"] == [] and len(found["capacity"]) == 3
    for matrix in map(np.array, found["cka"].values()):
        assert matrix.shape == (3, 3) and np.allclose(np.diag(matrix), 1) and np.allclose(matrix, matrix.T)
        assert ((matrix >= 0) & (matrix <= 1 + 1e-6)).all()
    assert found["last"] > 0.8


def test_the_result_has_what_was_noted_of_each_method(finished):
    out, result = finished
    assert json.loads((out / "result.json").read_text()) == result
    assert {method: [set(report) for report in reports] for method, reports in result["runs"].items()} == {
        "der": [{"last", "layers", "cka"}], "memo": [{"last", "layers", "cka"}], "focil": [{"last", "layers", "cka", "capacity"}]
    }  # fmt: skip
    for method in ("der", "memo"):
        (report,) = result["runs"][method]
        assert [list(task) for task in report["layers"]] == [["block1", "block2"]] * 3
        assert list(report["cka"]) == ["block1", "block2", "pool"]


def test_memo_s_shared_block_stays_nearer_to_itself_than_der_s_own(finished):
    def between(method, block):
        matrix = np.array(finished[1]["runs"][method][0]["cka"][block])
        return matrix[~np.eye(3, dtype=bool)].mean()

    assert between("memo", "block1") > between("memo", "block2")


def test_the_table_has_a_line_a_method_with_its_first_and_last_block():
    def alike(*values):
        return {name: [[1, value], [value, 1]] for name, value in zip(("first", "middle", "last"), values, strict=True)}

    two_seeds = [{"last": 0.5, "cka": alike(0.91, 0.5, 0.24)}, {"last": 0.625, "cka": alike(0, 0, 0)}]
    runs = {"der": two_seeds, "focil": [{"last": 1.0, "cka": alike(0.8, 0.1, 0.7)}]}
    assert table({"runs": runs}) == [
        "  der      last accuracy 50.0 62.5 %, CKA between tasks 0.91 where shallow, 0.24 where deep",
        "  focil    last accuracy 100.0 %, CKA between tasks 0.80 where shallow, 0.70 where deep",
    ]
