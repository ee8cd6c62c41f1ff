"""The study of layers: what an expert makes of images, layer by layer, and what is noted of each method."""

import json

import numpy as np
import pytest
import torch
from conftest import separable, small_benchmark, write_npz
from test_training import Counted
from torch import nn

from focil import Focil, FocilOptions, Stream, class_order
from focil.engine.worker import Progress
from focil.expert import masked_weights
from focil.memo import layers
from focil.studies.layers import Layers, expert_grams
from focil.studies.study import Job, StudyError
from focil.studies.tables import method_lines
from focil.studies.training import OnePass, Setting, build

ONLINE = {"sparsities": [0.5, 0.8], "learning_rates": [0.02, 0.1], "first_rung": 2, "router": "none"}
LAYERS = {"network": "convnet2", "exemplars": 30, "training": {"epochs": 2, "batch_size": 20, "lr": 0.05}}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    path = write_npz(tmp_path_factory.mktemp("layers") / "separable.npz")
    return small_benchmark(data=path, focil=ONLINE, layers=LAYERS)


@pytest.fixture(scope="module")
def finished(benchmark, tmp_path_factory):
    """A study of one seed, its trainings done in this process: folder and what finish() returned."""
    out = tmp_path_factory.mktemp("out")
    study = Layers(out, benchmark, [0])
    with pytest.raises(StudyError, match="3 trainings are missing"):
        study.finish()
    for job in study.jobs():
        study.keep(job, study.do(job, Progress()))
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
    options = FocilOptions(**{key: value for key, value in ONLINE.items() if key != "router"})
    method = Focil(Norm, data.image_shape, 3, 2, 0, options)
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
    jobs = Layers(tmp_path, benchmark, [0, 2]).jobs()
    assert [(job.seed, job.name) for job in jobs] == [
        (seed, method) for method in ("der", "memo", "focil") for seed in (0, 2)
    ]
    assert [job.what for job in jobs[::2]] == [
        Setting("der", "convnet2", 30),
        Setting("memo", "convnet2", 30),
        Setting("focil", "mlp", 0),
    ]
    assert [job.size for job in jobs[::2]] == [2 * (240 + 2 * 30)] * 2 + [240]


def test_offline_methods_are_trained_as_in_the_study_of_memory(benchmark):
    points = [{"network": "convnet2", "exemplars": 30, "anchor": "each"}]
    memory = {"network": "convnet2", "points": points, "training": LAYERS["training"]}
    alone = small_benchmark(data=benchmark.data, focil=ONLINE, memory=memory)
    made = [build(each, separable(), 0, Setting("memo", "convnet2", 30)) for each in (benchmark, alone)]
    first, second = ([*method.net.generalized.parameters()] for method in made)
    assert made[0].options == made[1].options and made[0].stream.augmentation == made[1].stream.augmentation
    assert all(map(torch.equal, first, second))


def test_focil_s_experts_are_compared_and_their_capacity_is_told(benchmark, tmp_path):
    counted = Counted()
    job = Job(0, "focil", 240, Setting("focil", "mlp", 0))
    found = Layers(tmp_path, benchmark, [0]).train(job, counted)
    assert counted.total == 240 and list(tmp_path.iterdir()) == []
    assert list(found["cka"]) == ["layers.0.weight", "layers.1.weight"]
    assert found["layers"] == [] and len(found["capacity"]) == 3
    for matrix in map(np.array, found["cka"].values()):
        assert matrix.shape == (3, 3) and np.allclose(np.diag(matrix), 1) and np.allclose(matrix, matrix.T)
        assert ((matrix >= 0) & (matrix <= 1 + 1e-6)).all()
    assert found["last"] > 0.8


def test_the_result_has_what_was_noted_of_each_method(finished):
    out, result = finished
    assert json.loads((out / "result.json").read_text()) == result
    assert {method: [set(report) for report in reports] for method, reports in result["runs"].items()} == {
        "der": [{"last", "layers", "cka"}],
        "memo": [{"last", "layers", "cka"}],
        "focil": [{"last", "layers", "cka", "capacity"}],
    }
    for method in ("der", "memo"):
        (report,) = result["runs"][method]
        assert [list(task) for task in report["layers"]] == [["block1", "block2"]] * 3
        assert list(report["cka"]) == ["block1", "block2", "pool"]


def test_memo_s_shared_block_stays_nearer_to_itself_than_der_s_own(finished):
    def between(method, block):
        matrix = np.array(finished[1]["runs"][method][0]["cka"][block])
        return matrix[~np.eye(3, dtype=bool)].mean()

    assert between("memo", "block1") > between("memo", "block2")


def test_the_table_has_a_line_a_method_with_its_shallow_and_its_deep_block():
    def alike(*values):
        return {
            name: [[1, value], [value, 1]]
            for name, value in zip(("stem", "block1", "block2", "pool"), (0.99, *values, 1), strict=True)
        }

    two_seeds = [{"last": 0.5, "cka": alike(0.91, 0.24)}, {"last": 0.625, "cka": alike(0.81, 0.2)}]
    runs = {"der": two_seeds, "focil": [{"last": 1.0, "cka": alike(0.8, 0.7)}]}
    der, focil = method_lines({"runs": runs})
    assert der.endswith("50.0 62.5 %, CKA between tasks 0.86 in block 1 (shallow), 0.22 in block 2 (deep)")
    assert focil.endswith("100.0 %, CKA between tasks 0.80 in block 1 (shallow), 0.70 in block 2 (deep)")
