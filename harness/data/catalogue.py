"""The datasets known by name. Add one: a module with `load(*, size, n, seed) -> Dataset`, and a line here."""

from ganbench.registry import Entry, Registry

DATASETS = Registry(
    "ganbench.datasets",
    "dataset",
    [
        Entry("ring8", "harness.data.mixtures:load_ring8", "8 Gaussians on a circle, in the plane", "Metz et al. 2017"),
        Entry("grid25", "harness.data.mixtures:load_grid25", "5×5 Gaussians, in the plane", "Dumoulin et al. 2017"),
        Entry("digits", "harness.data.digits:load", "scikit-learn's 1,797 handwritten digits, grey, 8×8 or enlarged"),
        Entry("polygons", "harness.data.polygons:load", "drawn 3- to 5-gons, grey, any size", "Lucic et al. 2018"),
    ],
)
