"""What in the router matters: variants of its features, and of what is made of them, on a benchmark's
development split.

`python -m focil variants params/NAME.yaml` prints the table that the choices were made by. Of the experts
only the first is trained.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from focil import backbones
from focil.base import seeds
from focil.data.stream import Stream
from focil.evaluation import protocols
from focil.expert import masked_weights
from focil.method import Focil
from focil.router import answers, discriminant
from focil.router.discriminant import Discriminant
from focil.router.patches import CHUNK, ONE, TWO, Patches, Recipe
from focil.router.routed import recipe_of
from focil.router.router import RIDGE, Router
from focil.runs.params import Benchmark
from focil.runs.sources import load_data, open_stream, order_of
from focil.studies import rules
from focil.studies.rules import Rule, scores

LIFTED = 2  # random rectified features for each feature
COMPONENTS = 22  # filters of a size whose products are pooled: 253 features
Map = Callable[[Tensor], Tensor]  # images -> features


class Row(NamedTuple):
    """One variant: accuracy of the router alone (shares of the development split), bytes kept, seconds for
    features and sums."""

    what: str
    sample: float
    oracle: float
    nbytes: int
    seconds: float


class Extracted(NamedTuple):
    """One pass over the stream through a feature map."""

    features: Tensor
    labels: Tensor
    test: Tensor
    nbytes: int
    seconds: float
    blocks: int = 1  # discriminants, each on an equal part of the features


class RouterVariants:
    """Routers of at most `budget` bytes on the development split of a benchmark."""

    def __init__(self, benchmark: Benchmark, seed: int, budget: int):
        benchmark.must_run_here()
        benchmark = benchmark.model_copy(update={"memory": None})  # a larger first task is of that study only
        torch.set_num_threads(benchmark.threads)
        data = load_data(benchmark.model_copy(update={"development": True}))
        order = order_of(benchmark, data, seed)
        held = benchmark.batch_size * benchmark.held_batches
        self.open = lambda: Stream(data, order, seed, device=benchmark.device, batch_size=held)
        self.stream = self.open()
        self.benchmark = benchmark
        self.seed, self.budget, self.precision = seed, budget, benchmark.focil.precision
        self.base = recipe_of(benchmark.focil)
        self.shape = data.image_shape

    def rows(self) -> Iterator[Row]:
        """Every variant, one by one: first of the features, then of what one discriminant makes of the same
        features."""
        yield self._row("the default", self._pass(self.base), scores)
        for what, change in self._changes().items():
            yield self._row(what, self._pass(dataclasses.replace(self.base, **change)), scores)
        base = self._pass(dataclasses.replace(self.base, sizes=ONE))
        yield self._row(
            f"pooled products of {COMPONENTS} filters a size", self._pass(self.base, products=True), scores
        )
        for power in (-2, -1, 1, 2):
            yield self._row(f"ridge {RIDGE * 10**power:g}", base, rules.with_ridge(RIDGE * 10**power))
        yield self._row("least squares on one-hot labels", base, rules.least_squares)
        packed = 2 * base.features.shape[1] * (base.features.shape[1] + 1)
        yield self._row(
            f"moments kept in float16, ridge {rules.COARSE:g}", base, rules.half_precision, saved=packed // 2
        )
        directions = 4 * base.features.shape[1] * (rules.RANK + 1)
        yield self._row(
            f"only the {rules.RANK} strongest directions and the diagonal",
            base,
            rules.low_rank,
            saved=packed - directions,
        )
        yield self._row(f"{LIFTED} x as many random rectified sums of them", self._lifted(base), scores)
        yield from self.expert_rows(base)

    def expert_rows(self, base: Extracted) -> Iterator[Row]:
        """The features of the first task's expert, which is frozen when the second task begins, instead of
        patches and beside them."""
        expert = self._first_expert()
        yield self._row("features of the first task's expert instead", expert, scores)
        features, test = (
            torch.cat(pair, dim=1)
            for pair in zip((base.features, base.test), (expert.features, expert.test), strict=True)
        )
        yield self._row(
            "the same, beside the patches",
            Extracted(features, base.labels, test, base.nbytes, base.seconds + expert.seconds),
            scores,
        )

    def _changes(self) -> dict[str, dict]:
        changes = {
            "one discriminant, four sizes": {"sizes": ONE},
            "one discriminant, three sizes": {"sizes": TWO[:1]},
            "one discriminant, one size (3/16)": {"sizes": ((3 / 16,),)},
            "two discriminants, three sizes each": {"sizes": TWO},
            "both on the same sizes": {"sizes": (TWO[0],) * 2},
            "both on two sizes, none in common": {"sizes": ((1 / 8, 1 / 4), (3 / 16, 3 / 8))},
            "four discriminants, two sizes each": {
                "sizes": ((1 / 8, 3 / 16), (1 / 8, 1 / 4), (3 / 16, 1 / 4), (1 / 8, 3 / 8))
            },
            "every second position": {"stride": self.base.stride * 2},
            "pooled to 1 x 1": {"cells": 1},
            "pooled to 2 x 2": {"cells": 2},
            "pooled to 3 x 3": {"cells": 3},
            "pooled to 4 x 4": {"cells": 4},
            "threshold 0": {"threshold": 0.0},
            "threshold 0.5": {"threshold": 0.5},
            "contrast 1 (only strong edges are normalised)": {"contrast": 1.0},
            "whitening 0.01": {"whitening": 0.01},
            "no square root": {"root": False},
            "without the mirror image" if self.base.mirror else "with the mirror image": {
                "mirror": not self.base.mirror
            },
        }
        return {
            what: change
            for what, change in changes.items()
            if any(getattr(self.base, key) != value for key, value in change.items())
        }

    def _pass(self, recipe: Recipe, products: bool = False) -> Extracted:
        """Features of the whole stream, from patches fitted on the first images that are held."""
        filters = (
            COMPONENTS
            if products
            else Router(self.shape, *self.stream.order.shape, budget=self.budget, recipe=recipe).filters
        )
        features, labels, extract, start = [], [], None, time.perf_counter()
        for task in self.open():
            for images, inside in task.batches():
                if extract is None:
                    generator = seeds.torch_generator(self.seed, "patches")
                    patches = Patches.fit(images, filters, recipe, self.precision, generator)
                    extract = pooled_products(patches) if products else patches
                features.append(extract(images))
                labels.append(task.index * len(task.classes) + inside)
        seconds = time.perf_counter() - start
        return Extracted(
            torch.cat(features),
            torch.cat(labels),
            extract(self.stream.prepare(self.stream.test)),
            patches.nbytes,
            seconds,
            1 if products else len(recipe.sizes),
        )

    def _first_expert(self) -> Extracted:
        benchmark, shape = self.benchmark, self.stream.order.shape
        stream = open_stream(benchmark, self.stream.data, self.seed)
        start = time.perf_counter()
        method = Focil(benchmark.backbone, self.shape, *shape, self.seed, benchmark.focil, benchmark.device)
        method.learn(next(iter(stream)))
        (expert,) = method.experts
        tensors = masked_weights(method.store, expert.mask) | expert.own
        method.backbone.eval()

        def extract(images: Tensor) -> Tensor:
            with torch.no_grad():
                return torch.cat(
                    [
                        backbones.compute_features(method.backbone, tensors, part, self.precision)
                        for part in images.split(CHUNK)
                    ]
                )

        found = [
            (extract(images), task.index * shape[1] + inside)
            for task in self.open()
            for images, inside in task.batches()
        ]
        features, labels = map(torch.cat, zip(*found, strict=True))
        return Extracted(
            features, labels, extract(self.stream.prepare(self.stream.test)), 0, time.perf_counter() - start
        )

    def _lifted(self, seen: Extracted) -> Extracted:
        size = seen.features.shape[1]
        lift = torch.randn(size, LIFTED * size, generator=seeds.torch_generator(self.seed, "patches", 1)).to(
            seen.features.device
        )
        lift /= (seen.features @ lift[:, :1]).std()
        return seen._replace(
            features=(seen.features @ lift).relu(),
            test=(seen.test @ lift).relu(),
            nbytes=seen.nbytes + lift.nbytes,
        )

    def _row(self, what: str, seen: Extracted, rule: Rule, saved: int = 0) -> Row:
        start, shape = time.perf_counter(), self.stream.order.shape
        even = seen.features.shape[1] // 2 * 2
        sums = Discriminant(even, self.stream.order.size, RIDGE, self.stream.device, seen.blocks)
        for part, labels in zip(seen.features.split(500), seen.labels.split(500), strict=True):
            sums.observe(part[:, :even], labels)

        def by_task(features: Tensor) -> Tensor:
            return rule(sums, features).unflatten(1, shape)

        offsets = discriminant.class_offsets(sums.sums, sums.counts, shape[0], by_task)
        known = by_task(seen.test[:, :even]), offsets
        evidence = answers.router(*(tensor.cpu().double().numpy() for tensor in known))
        task, label = self.stream.test_task(), self.stream.test_label()
        found, answered = protocols.sample(evidence)
        _, given_task = protocols.oracle(evidence, task)
        sample = float(((found == task) & (answered == label)).mean())
        seconds = seen.seconds + time.perf_counter() - start
        oracle = float((given_task == label).mean())
        return Row(what, sample, oracle, sums.nbytes + seen.nbytes - saved, seconds)


def markdown(rows: Iterator[Row]) -> Iterator[str]:
    """The rows as lines of a Markdown table."""
    yield "| variant | `sample-router` % | `oracle-router` % | MB | seconds |"
    yield "|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row.what} | {100 * row.sample:.1f} | {100 * row.oracle:.1f} | {row.nbytes / 1e6:.2f} | "
            f"{row.seconds:.0f} |"
        )


def pooled_products(patches: Patches) -> Map:
    """Mean product of every two codes of a size over the image, signed roots: second-order pooling."""

    def products(images: Tensor) -> Tensor:
        pooled = []
        for codes in patches.codes(images):
            flat = codes.float().flatten(2)
            pairs = flat @ flat.transpose(1, 2) / flat.shape[2]
            pooled.append(pairs[:, *torch.triu_indices(*pairs.shape[1:], device=images.device)])
        return torch.cat(pooled, dim=1)

    def extract(images: Tensor) -> Tensor:
        both = (
            products(part) + (products(part.flip(3)) if patches.recipe.mirror else 0)
            for part in images.split(CHUNK)
        )
        return torch.cat([found.sqrt() for found in both])

    return extract
