"""The data sets that have a name, and what is known of each without reading it."""

from dataclasses import dataclass

FOLDER = "imagenet100"  # a folder of images, like any that is named by its path


@dataclass(frozen=True)
class Entry:
    """mean, std: per channel, for pixels scaled to [0, 1]. classes: names; None: as the files say."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] | None = None


_DIGITS = tuple("0123456789")
_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
    can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
    lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
    palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
    rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower
    sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm
"""
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_TINY = Entry((0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821))
CATALOGUE = {
    "digits": Entry((0.3045,), (0.3760,), _DIGITS),
    "mnist": Entry((0.1307,), (0.3081,), _DIGITS),
    "fashion-mnist": Entry((0.2862,), (0.3530,), _FASHION),
    "cifar10": Entry((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), tuple(_CIFAR10.split())),
    "cifar100": Entry((0.5073, 0.4868, 0.4412), (0.2676, 0.2565, 0.2764), tuple(_CIFAR100.split())),
    "tiny-imagenet": _TINY,
    "tiny-imagenet-20": _TINY,
    FOLDER: Entry((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
NAMES: tuple[str, ...] = tuple(CATALOGUE)
