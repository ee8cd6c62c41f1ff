"""Networks of a user's own: what they must do, asked before a run begins."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from focil.base.errors import FocilError

ImageShape = tuple[int, int, int]
Factory = Callable[[ImageShape], nn.Module]


class BackboneError(FocilError, ValueError):
    """A network that cannot be a backbone; the message says what to change."""


def made(factory: Factory, image_shape: ImageShape) -> nn.Module:
    """The module that a factory makes. Raises BackboneError if it makes none."""
    if isinstance(factory, nn.Module) or not callable(factory):
        raise BackboneError(
            f"the backbone is a {type(factory).__name__}; hand over a function that makes one, from the "
            "image shape (C, H, W) to a module: lambda shape: MyNetwork(...)"
        )
    module = factory(image_shape)
    if not isinstance(module, nn.Module):
        raise BackboneError(
            f"the backbone's factory returns a {type(module).__name__}, expected a torch.nn.Module; does it "
            "end with return?"
        )
    return module


def feature_size(module: nn.Module, image_shape: ImageShape) -> int:
    """Number of features F of a backbone.

    Raises BackboneError if it does not map (B, C, H, W) to (B, F), floats, for every B, or changes its input.
    """
    sizes = {count: _features_of(module, torch.ones(count, *image_shape)) for count in (2, 3)}
    if len(set(sizes.values())) > 1:
        raise BackboneError(
            f"the backbone gives {sizes[2]} features for a batch of 2 images and {sizes[3]} for 3; the "
            "number must not depend on the batch: flatten from dimension 1 on"
        )
    return sizes[2]


def _features_of(module: nn.Module, images: Tensor) -> int:
    was_training = module.training
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    given, shape = images.to(device), tuple(images.shape)
    before = given.clone()
    try:
        with torch.no_grad():
            features = module.eval()(given)
    except Exception as error:  # whatever a network of a user's own may raise
        raise BackboneError(
            f"the backbone fails on images {shape} ({type(error).__name__}): "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    module.train(was_training)
    if not torch.equal(given, before):
        raise BackboneError(
            "the backbone changes its input, which others read too; leave out operations in place on it"
        )
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
        found = tuple(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise BackboneError(
            f"the backbone maps images {shape} to {found}, expected ({len(images)}, F): end it with pooling "
            "and flatten(1), and leave the classifier out; focil adds one head per task"
        )
    if not features.is_floating_point():
        raise BackboneError(
            f"the backbone's features are {features.dtype}; expected floats, which have gradients"
        )
    return features.shape[1]
