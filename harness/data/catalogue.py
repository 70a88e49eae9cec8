"""The datasets known by name. Add one: a module with `load(*, size, n, seed) -> Dataset`, and a line here."""

from ganbench.registry import Entry, Registry
from harness.data.published import LSUN_CATEGORIES

_IDX = "70,000 {}, grey, 28×28"

DATASETS = Registry(
    "ganbench.datasets",
    "dataset",
    [
        Entry("ring8", "harness.data.mixtures:load_ring8", "8 Gaussians on a circle, in the plane", "Metz et al. 2017"),
        Entry("grid25", "harness.data.mixtures:load_grid25", "5×5 Gaussians, in the plane", "Dumoulin et al. 2017"),
        Entry("digits", "harness.data.digits:load", "scikit-learn's 1,797 handwritten digits, grey, 8×8 or enlarged"),
        Entry(
            "stacked-digits",
            "harness.data.stacked_digits:load",
            "three digits as colour channels: 1,000 modes, 8×8 or enlarged",
            "Metz et al. 2017",
        ),
        Entry("polygons", "harness.data.polygons:load", "drawn 3- to 5-gons, grey, any size", "Lucic et al. 2018"),
        Entry("mnist", "harness.data.idx:load_mnist", _IDX.format("handwritten digits"), "LeCun et al. 1998"),
        Entry("fashion-mnist", "harness.data.idx:load_fashion_mnist", _IDX.format("clothes"), "Xiao et al. 2017"),
        Entry("kmnist", "harness.data.idx:load_kmnist", _IDX.format("cursive characters"), "Clanuwat et al. 2018"),
        Entry("cifar10", "harness.data.cifar:load_cifar10", "60,000 photos of 10 classes, 32×32", "Krizhevsky 2009"),
        Entry("cifar100", "harness.data.cifar:load_cifar100", "60,000 photos of 100 classes, 32×32", "Krizhevsky 2009"),
        Entry("svhn", "harness.data.svhn:load", "99,289 house numbers, in colour, 32×32", "Netzer et al. 2011"),
        Entry("stl10", "harness.data.stl10:load", "13,000 photos of 10 classes, 96×96", "Coates et al. 2011"),
        Entry(
            "stl10-unlabelled",
            "harness.data.stl10:load_unlabelled",
            "100,000 photos, 96×96, for training, and stl10's for the test",
            "Coates et al. 2011",
        ),
        Entry("celeba", "harness.data.celeba:load", "202,599 aligned faces, 64×64 or another size", "Liu et al. 2015"),
        *(
            Entry(
                f"lsun-{category.replace('_', '-')}",
                f"harness.data.lsun:load_{category}",
                f"LSUN's photos of category {category}, 64×64 or another size (`ganbench[lsun]`)",
                "Yu et al. 2015",
            )
            for category in LSUN_CATEGORIES
        ),
    ],
)
