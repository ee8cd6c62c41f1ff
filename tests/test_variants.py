"""The study of the router: its default is the router's own accuracy, its shortcuts are what they say."""

import pytest
import torch

import focil
from focil.__main__ import main
from focil.router import discriminant, patches
from focil.router.discriminant import Discriminant
from focil.studies import rules, variants


@pytest.fixture(autouse=True)
def fewer_patches(monkeypatch):
    monkeypatch.setattr(patches, "DRAWN", 4000)


@pytest.fixture(scope="module")
def sums():
    """Sums over 3000 images of 4 classes, strongly correlated features."""
    generator = torch.Generator().manual_seed(0)
    mix, centres = torch.randn(20, 20, generator=generator), torch.randn(4, 20, generator=generator)
    labels = torch.arange(3000) % 4
    found = Discriminant(20, 4, 1e-3)
    found.observe((centres[labels] + torch.randn(3000, 20, generator=generator)) @ mix, labels)
    return found, (centres[labels] + torch.randn(3000, 20, generator=generator)) @ mix, labels


def right(scores, labels):
    return (scores.argmax(1) == labels).float().mean().item()


def test_every_rule_works_on_the_same_sums(sums, monkeypatch):
    found, features, labels = sums
    best = right(rules.scores(found, features), labels)
    assert best > 0.8
    assert right(rules.with_ridge(1e-3)(found, features), labels) == best
    assert right(rules.half_precision(found, features), labels) == pytest.approx(best, abs=0.03)
    assert right(rules.least_squares(found, features), labels) == pytest.approx(best, abs=0.05)
    monkeypatch.setattr(rules, "RANK", 20)
    # All directions: nothing is left out.
    assert right(rules.low_rank(found, features), labels) == pytest.approx(best, abs=0.005)
    monkeypatch.setattr(rules, "RANK", 1)
    assert right(rules.low_rank(found, features), labels) < best - 0.01


def test_params_of_a_study_and_of_a_gpu_are_understood():
    points = [{"network": "convnet2", "exemplars": 20}]
    larger = focil.Benchmark(
        name="larger", data="digits", tasks=5, device="cpu", memory={"points": points, "first_classes": 2}
    )
    assert variants.RouterVariants(larger, 0, 10**6).stream.order.shape == (5, 2)
    if not torch.cuda.is_available():
        with pytest.raises(focil.BenchmarkError, match="finds no GPU"):
            variants.RouterVariants(larger.model_copy(update={"device": "cuda"}), 0, 10**6)


def test_packing_is_the_inverse_of_unpacking(sums):
    (moments,) = sums[0].moments
    assert torch.equal(discriminant.pack(discriminant.unpack(moments)), moments)


def test_least_squares_is_the_regression_on_one_hot_labels(sums):
    found, features, labels = sums
    observed = torch.nn.functional.one_hot(torch.arange(4), 4)
    prediction = rules.least_squares(found, found.sums / found.counts[:, None])
    assert prediction.sum(1).tolist() == pytest.approx([1] * 4, abs=1e-3)  # shares of classes
    assert (prediction.argmax(1) == observed.argmax(1)).all()


def test_pooled_products_do_not_see_the_mirror():
    images = torch.randn(30, 1, 8, 8)
    found = patches.Patches.fit(images, 4, patches.Recipe(mirror=True), "float32", torch.Generator())
    products = variants.pooled_products(found)
    assert products(images).shape == (30, len(found.filters) * 4 * 5 // 2)
    torch.testing.assert_close(products(images), products(images.flip(3)))


def test_the_table_holds_every_variant_and_starts_with_the_routers_own_accuracy(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(variants, "COMPONENTS", 3)
    monkeypatch.setattr(rules, "RANK", 8)
    (tmp_path / "digits.yaml").write_text("config: {name: digits, data: digits, tasks: 5}\n")
    assert main(["variants", str(tmp_path / "digits.yaml"), "--megabytes", "0.05", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][0] == "variant" and cells[2][0] == "the default" and len(cells) > 20
    assert len({row[0] for row in cells[2:]}) == len(cells) - 2
    small = {"router_megabytes": 0.05}
    benchmark = focil.Benchmark(name="d", data="digits", tasks=5, threads=1, development=True, focil=small)
    result = focil.run(benchmark, out=tmp_path / "run")
    own = 100 * result["accuracy"]["sample-router"]["final_average"]
    assert float(cells[2][1]) == pytest.approx(own, abs=1.5)  # tasks or images weigh the same
    assert float(cells[2][3]) == pytest.approx(result["memory_bytes"]["router"] / 1e6, abs=0.005)
