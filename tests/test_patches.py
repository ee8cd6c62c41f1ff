"""The fixed feature map: what it does not depend on, what it keeps, and that it takes images of every
size."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focil.router import patches
from focil.router.patches import TWO, Patches, Recipe

SHAPES = [(1, 2, 2), (1, 3, 3), (1, 8, 8), (1, 28, 28), (3, 5, 7), (3, 7, 5), (3, 32, 32)]
ROUNDING = {
    "rtol": 0,
    "atol": 1e-4,
}  # features are roots of float32 means; a root makes more of a rounding error near 0


@pytest.fixture(autouse=True)
def fewer_patches(monkeypatch):
    """As many as are needed for whitening are drawn, not as many as are good for it."""
    monkeypatch.setattr(patches, "DRAWN", 2000)


def pictures(shape=(1, 8, 8), count=40, seed=0):
    """Noise smoothed a little, normalised: neighbours are alike, as in photographs."""
    noise = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
    return noise + noise.roll(1, 2) + noise.roll(1, 3)


def fitted(images, count=6, cells=2, mirror=False, precision="float32", seed=0):
    return Patches.fit(
        images, count, Recipe(cells=cells, mirror=mirror), precision, torch.Generator().manual_seed(seed)
    )


def flat(state):
    return [*state["filters"], *state["biases"], state["centre"]]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(flat(one.state()), flat(other.state()), strict=True))


# Sizes


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cells", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_image_size_gives_finite_features_that_differ(shape, cells, precision):
    images = pictures(shape)
    found = fitted(images, cells=cells, precision=precision)
    features = found(images)
    assert (
        features.shape == (40, 6 * len(Recipe().sides(shape)) * cells * cells)
        and features.dtype == torch.float32
    )
    assert features.isfinite().all()
    assert (features.std(dim=0) > 0).all()  # no filter is idle
    # the mean is subtracted in float32, of bfloat16 codes too
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(features.shape[1]), rtol=0, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 300), st.integers(2, 300))
def test_patches_fit_into_the_image_and_are_of_several_sizes_where_there_is_room(height, width):
    found = Recipe().sides((3, height, width))
    assert found == sorted(set(found)) and min(found) >= 2 and max(found) <= min(height, width)
    assert len(found) == 4 or min(height, width) < 28
    both = Recipe(sizes=TWO).sides((3, height, width))
    assert len(both) == 6 and set(both) == set(found)
    assert both[:2] == both[3:5]  # as many a group, on the smallest image too


def test_images_of_one_pixel_give_finite_features():
    for shape in ((3, 1, 1), (1, 1, 1)):
        assert fitted(pictures(shape))(pictures(shape)).isfinite().all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_fitting_image_is_enough(precision):
    found = fitted(pictures(count=1), precision=precision)
    assert found(pictures(seed=1)).isfinite().all()
    assert found(pictures(count=1)).abs().max() == 0  # it is its own mean


@pytest.mark.parametrize("value", [0.0, -2.0, 1000.0])
def test_flat_images_give_finite_features(value):
    plain = torch.full((10, 3, 8, 8), value)
    assert fitted(pictures((3, 8, 8)))(plain).isfinite().all()
    of_plain = fitted(plain)  # nothing was there to draw patterns from
    assert of_plain(plain).isfinite().all() and of_plain(pictures((3, 8, 8))).isfinite().all()


# What does not matter


def test_the_generator_decides_everything_that_is_drawn():
    images = pictures()
    first, again, other = (fitted(images, seed=seed) for seed in (0, 0, 1))
    assert equal(first, again)
    assert not any(torch.equal(a, b) for a, b in zip(flat(first.state()), flat(other.state()), strict=True))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 16)])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_first_filters_of_many_are_the_few(shape, mirror):
    images = pictures(shape)
    few, many = fitted(images, 4, mirror=mirror), fitted(images, 10, mirror=mirror)
    for small, large in zip(few.filters + few.biases, many.filters + many.biases, strict=True):
        assert len(small) == 4 and len(large) == 10
        torch.testing.assert_close(
            small, large[:4], rtol=1e-4, atol=1e-5
        )  # a product of other rows may round otherwise


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_alone_has_the_features_it_has_among_others(shape):
    images = pictures(shape)
    found = fitted(images)
    torch.testing.assert_close(found(images), torch.cat([found(image[None]) for image in images]), **ROUNDING)


def test_images_beyond_a_chunk_are_as_those_inside(monkeypatch):
    images = pictures()
    found = fitted(images)
    together = found(images)
    monkeypatch.setattr(patches, "CHUNK", 7)
    torch.testing.assert_close(found(images), together, **ROUNDING)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "shape", [*SHAPES, (1, 9, 40), (3, 33, 31)]
)  # whether or not the strides fit the sides
def test_an_image_and_its_mirror_image_have_the_same_features_if_mirrored(shape, precision):
    images = pictures(shape)
    mirrored, plain = fitted(images, mirror=True, precision=precision), fitted(images, precision=precision)
    assert torch.equal(mirrored(images), mirrored(images.flip(3)))  # a + b is b + a
    assert (plain(images) - plain(images.flip(3))).abs().max() > 0.1  # else the test would say nothing
    assert (mirrored(images) - mirrored(images.flip(2))).abs().max() > 0.1  # upside down is something else


def test_what_is_found_on_both_sides_is_added_before_the_root_is_taken():
    images = pictures((3, 16, 16))
    plain, mirrored = fitted(images), fitted(images, mirror=True)
    found, there, together = (
        (m(x) + m.centre).square() for m, x in ((plain, images), (plain, images.flip(3)), (mirrored, images))
    )
    torch.testing.assert_close(together, found + there, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_brightness_changes_nothing(shape):
    images = pictures(shape)
    found = fitted(images)
    for constant in (-2.0, 1.0):
        torch.testing.assert_close(found(images + constant), found(images), **ROUNDING)
    assert found(images).std() > 0.01


def test_in_bfloat16_brightness_changes_little():
    images = pictures()
    found = fitted(images, precision="bfloat16")
    assert (found(images + 1) - found(images)).std() < 0.1 * found(
        images
    ).std()  # 8 bits of an image, not of its deviations


def test_contrast_changes_less_than_another_image_does():
    images = pictures()
    found = fitted(images)
    features = found(images)
    other = (features - features.roll(1, 0)).norm(dim=1).mean()
    for factor in (0.5, 2.0):
        assert (found(factor * images) - features).norm(dim=1).mean() < 0.5 * other
    # so far as a patch has any contrast: noise far below the contrast of the recipe is not blown up to a
    # pattern
    assert found(1e-3 * images).std(dim=0).max() < 0.1 * features.std(dim=0).max()


def test_bfloat16_is_float32_but_for_rounding():
    images = pictures((3, 16, 16))
    features, rounded = (fitted(images, precision=precision)(images) for precision in ("float32", "bfloat16"))
    assert (features - rounded).std() < 0.1 * features.std()
    assert not torch.equal(features, rounded)


def test_a_pattern_is_found_where_it_is():
    images = torch.zeros(4, 1, 16, 16)
    corner = pictures((1, 8, 8), 1)[0]
    for image, (row, column) in zip(images, ((0, 0), (0, 8), (8, 0), (8, 8)), strict=True):
        image[:, row : row + 8, column : column + 8] = corner
    found = fitted(images, count=20)
    cells = (found(images) + found.centre).view(4, -1, 2, 2).mean(dim=1).flatten(1)  # (image, cell)
    assert cells.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_fitting_and_asking_leave_the_images_alone():
    images = pictures()
    before = images.clone()
    fitted(images, mirror=True, precision="bfloat16")(images)
    assert torch.equal(images, before)


# What is kept


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_nbytes_are_those_of_the_state(shape, cells):
    found = fitted(pictures(shape), count=4, cells=cells)
    assert (
        found.nbytes
        == Recipe(cells=cells).nbytes(4, shape)
        == sum(tensor.nbytes for tensor in flat(found.state()))
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_state_restores_the_map_bit_for_bit(mirror, precision):
    images = pictures((3, 20, 20))
    found = fitted(images, mirror=mirror, precision=precision)
    again = Patches.from_state(
        copy.deepcopy(found.state()), Recipe(mirror=mirror), precision, torch.device("cpu")
    )
    assert equal(found, again) and found.nbytes == again.nbytes
    assert torch.equal(found(pictures((3, 20, 20), seed=1)), again(pictures((3, 20, 20), seed=1)))
