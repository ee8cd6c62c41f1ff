"""The study of layers: what shallow and deep blocks do in DER and MEMO, and the same asked of FOCIL's
experts."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from focil.backbones import compute_features
from focil.engine.worker import Progress
from focil.expert import masked_weights
from focil.memo import layers
from focil.memo.method import PROBES
from focil.memo.table import ONLINE
from focil.method import Focil
from focil.runs.results import shortened
from focil.runs.sources import order_of, sizes_of
from focil.studies import training
from focil.studies.study import Job, Study
from focil.studies.training import Setting

OFFLINE = ("der", "memo")
KEPT = ("last", "layers", "cka", "capacity")  # what a result says of each training


class Layers(Study):
    """DER, MEMO and FOCIL on the same tasks; `finish` reads what was noted while they learned."""

    unit = "image"

    def jobs(self) -> list[Job]:
        """One per seed and method."""
        options, sizes = self.benchmark.layers, sizes_of(order_of(self.benchmark, self.data, 0))
        settings = [Setting(method, options.network, options.exemplars) for method in OFFLINE]
        settings.append(Setting(ONLINE, self.benchmark.backbone, 0))
        return [
            Job(seed, setting.method, training.passes(self.benchmark, self.data, sizes, setting), setting)
            for setting in settings
            for seed in self.seeds
        ]

    def train(self, job: Job, progress: Progress) -> dict:
        """Train one of the methods and return what was noted of its blocks."""
        if job.what.method != ONLINE:
            return training.train(self, job, progress)
        method, report = training.train_online(self, job, progress)
        images = method.stream.spread_test_images(PROBES)
        grams = [expert_grams(method.method, expert, images) for expert in range(method.done)]
        cka = {name: layers.cka_matrix(found[name] for found in grams) for name in grams[0]}
        return report | {"capacity": method.method.capacity(), "cka": cka}

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing."""
        found: dict[str, list[dict]] = {}
        for job in self.jobs():
            if (content := self.read(job)) is not None:
                kept = {key: content[key] for key in KEPT if key in content}
                found.setdefault(job.name, []).append(kept)
        return self.write({"runs": shortened(found)})


def expert_grams(method: Focil, expert: int, images: Float[Tensor, "N C H W"]) -> dict[str, Tensor]:
    """What one expert makes of the images after each masked layer, shallow to deep, as `layers.gram`
    matrices."""
    found: dict[str, Tensor] = {}
    frozen = method.experts[expert]
    modules = dict(method.backbone.named_modules())

    def note(name: str) -> RemovableHandle:
        def keep(_module: object, _inputs: object, output: Tensor) -> None:
            found[name] = layers.gram(output.float()).cpu()

        return modules[name.removesuffix(".weight")].register_forward_hook(keep)

    hooks = [note(name) for name in method.store]
    method.backbone.eval()
    try:
        with torch.no_grad():
            tensors = masked_weights(method.store, frozen.mask) | frozen.own
            compute_features(method.backbone, tensors, images, "float32")
    finally:
        for hook in hooks:
            hook.remove()
    return found
