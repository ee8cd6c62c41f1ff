"""The study of depth: what shallow and deep blocks do in DER and MEMO, and the same questions put to FOCIL's experts."""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from focil import layers, offline_runs
from focil.backbones import features
from focil.benchmark import Benchmark, MemoOptions, Point
from focil.expert import masked_weights
from focil.methods.focil import Focil
from focil.methods.offline import PROBES
from focil.offline_runs import Setting
from focil.results import shortened
from focil.sources import load_data, open_stream, order_of, sizes_of
from focil.stages import OnePass, Stages
from focil.studies import Job, Study, advance

OFFLINE = ("der", "memo")


class Depth(Study):
    """DER, MEMO and FOCIL on the same tasks; `finish` reads what was noted while they learned."""

    unit = "image"

    def jobs(self) -> list[Job]:
        """One per seed and method."""
        options, sizes = self.benchmark.layers, sizes_of(order_of(self.benchmark, self.data, 0))
        settings = [Setting(method, options.network, options.exemplars) for method in OFFLINE] + [Setting("focil", self.benchmark.backbone, 0)]
        view = offline_view(self.benchmark)
        return [Job(seed, setting.method, offline_runs.passes(view, self.data, sizes, setting), setting) for setting in settings for seed in self.seeds]

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing."""
        found: dict[str, list[dict]] = {}
        for job in self.jobs():
            if (content := self.read(job)) is not None:
                found.setdefault(job.name, []).append({key: content[key] for key in ("last", "layers", "cka", "capacity") if key in content})
        return self.write({"runs": shortened(found)})


def offline_view(benchmark: Benchmark) -> Benchmark:
    """The same benchmark as the study of equal memory would have it."""
    options = benchmark.layers
    point = Point(network=options.network, exemplars=options.exemplars, anchor="each")
    memo = MemoOptions(network=options.network, points=(point,), brightness=options.brightness, training=options.training)
    return benchmark.model_copy(update={"memo": memo})


def train(benchmark: Benchmark, job: Job, path: Path) -> dict:
    """Train one of the methods and return what was noted of its blocks."""
    if job.what.method != "focil":
        return offline_runs.train(offline_view(benchmark), job, path)
    data, start = load_data(benchmark), time.perf_counter()
    stream = open_stream(benchmark, data, job.seed)
    stream.on_draw = advance
    method, stages = OnePass(benchmark, stream), Stages(stream)
    for task in stream:
        method.learn(task)
        stages.after(method)
    rows = torch.linspace(0, len(stream.test) - 1, min(PROBES, len(stream.test))).long().to(stream.device)
    images = stream.prepare(stream.test[rows])
    grams = [expert_grams(method.method, expert, images) for expert in range(method.done)]
    return {
        "last": stages.accuracy[-1],
        "layers": [],
        "capacity": method.method.capacity(),
        "cka": {name: layers.cka_matrix(found[name] for found in grams) for name in grams[0]},
        "seconds": time.perf_counter() - start,
    }


Depth.worker = staticmethod(train)


def expert_grams(method: Focil, expert: int, images: Tensor) -> dict[str, Tensor]:
    """What one expert makes of the images after each masked layer, shallow to deep, as `layers.gram` matrices."""
    found: dict[str, Tensor] = {}
    frozen = method.experts[expert]
    modules = dict(method.backbone.named_modules())
    hooks = [
        modules[name.removesuffix(".weight")].register_forward_hook(lambda _, __, output, name=name: found.update({name: layers.gram(output.float()).cpu()}))
        for name in method.store
    ]
    method.backbone.eval()
    try:
        with torch.no_grad():
            features(method.backbone, masked_weights(method.store, frozen.mask) | frozen.own, images, "float32")
    finally:
        for hook in hooks:
            hook.remove()
    return found


def table(result: dict) -> list[str]:
    """One line a method: last accuracy by `sample`, and CKA between tasks at its first and last block or layer, first seed."""
    lines = []
    for method, reports in result["runs"].items():
        ends = [np.array(matrix) for matrix in (list(reports[0]["cka"].values())[i] for i in (0, -1))]
        alike = [matrix[~np.eye(len(matrix), dtype=bool)].mean() for matrix in ends]
        last = " ".join(f"{100 * report['last']:.1f}" for report in reports)
        lines.append(f"  {method:8} last accuracy {last} %, CKA between tasks {alike[0]:.2f} where shallow, {alike[1]:.2f} where deep")
    return lines
