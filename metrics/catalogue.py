"""Which metrics there are: names, labels, directions and papers, without torch or numpy.

To add one, write its function (`Comparison` → number) in `metrics/scorers.py`, or in a package of your own,
and a row here; a package registers its `Metric` row as an entry point of the group `ganbench.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganbench.registry import Entry, Registry
from metrics.score import Direction


@dataclass(frozen=True)
class Metric:
    """One metric's row.

    `compute` is `module:function`, a function from `metrics.comparison.Comparison` to a float or an
    `Estimate`, whose deviation is over `spread_over`. `domain` tells what it can judge and `needs` what it
    looks at: the label of a score from features or logits names the feature network. `ideal` is the value
    of a perfect generator where that is one number. `default` metrics run when none are asked for, or, where
    they need a known truth, when that is there. Those `by_class` compare samples of equal labels, which both
    sides must have.
    """

    name: str
    label: str
    direction: Direction
    summary: str
    paper: str
    domain: Literal["images", "points", "both"]
    compute: str
    ideal: float | None = None
    spread_over: str | None = None
    needs: Literal["samples", "features", "logits", "mixture", "polygons", "train", "train features", "classifier"] = (
        "features"
    )
    default: bool = True
    by_class: bool = False

    def judges(self, kind: str) -> bool:
        """Whether it fits samples of `kind`, "images" or "points"."""
        return self.domain in ("both", kind)


IS = Metric(
    name="is",
    label="Inception Score",
    direction="higher",
    summary="sure and varied answers of a classifier: exp of the mean KL(p(y|x) ‖ p(y)); blind to the real data",
    paper="Salimans et al. 2016, arXiv:1606.03498",
    domain="images",
    compute="metrics.scorers:inception_score",
    needs="logits",
    spread_over="splits",
)
FID = Metric(
    name="fid",
    label="FID",
    direction="lower",
    summary="Fréchet distance between Gaussians fitted to the features; biased upward at small n",
    paper="Heusel et al. 2017, arXiv:1706.08500",
    domain="both",
    compute="metrics.scorers:frechet",
    ideal=0.0,
)
KID = Metric(
    name="kid",
    label="KID",
    direction="lower",
    summary="unbiased squared maximum mean discrepancy with a cubic kernel; may be slightly below 0",
    paper="Bińkowski et al. 2018, arXiv:1801.01401",
    domain="both",
    compute="metrics.scorers:kernel",
    ideal=0.0,
    spread_over="subsets",
)
KID_ALL = Metric(
    name="kid_all",
    label="KID (all pairs)",
    direction="lower",
    summary="the same from every pair of samples, without subsets or seed, with its jackknife standard error",
    paper="Bińkowski et al. 2018, arXiv:1801.01401",
    domain="both",
    compute="metrics.scorers:kernel_all",
    ideal=0.0,
    spread_over="standard error",
    default=False,
)
FID_INF = Metric(
    name="fid_inf",
    label="FID∞",
    direction="lower",
    summary="FID extrapolated to infinitely many generated samples; the bias of the real side stays",
    paper="Chong & Forsyth 2020, arXiv:1911.07023",
    domain="both",
    compute="metrics.scorers:frechet_infinity",
    ideal=0.0,
    spread_over="standard error of the fit",
    default=False,
)
PRECISION = Metric(
    name="precision",
    label="Precision",
    direction="higher",
    summary="share of generated samples within the real manifold of k-nearest-neighbour balls",
    paper="Kynkäänniemi et al. 2019, arXiv:1904.06991",
    domain="both",
    compute="metrics.scorers:precision",
)
RECALL = Metric(
    name="recall",
    label="Recall",
    direction="higher",
    summary="share of real samples within the generated manifold of k-nearest-neighbour balls",
    paper="Kynkäänniemi et al. 2019, arXiv:1904.06991",
    domain="both",
    compute="metrics.scorers:recall",
)
F1 = Metric(
    name="f1",
    label="F1",
    direction="higher",
    summary="harmonic mean of precision and recall; read both beside it",
    paper="Lucic et al. 2018, arXiv:1711.10337",
    domain="both",
    compute="metrics.scorers:f1",
)
DENSITY = Metric(
    name="density",
    label="Density",
    direction="higher",
    summary="real balls around a generated sample, over k; 1 for equal laws, and it can exceed 1",
    paper="Naeem et al. 2020, arXiv:2002.09797",
    domain="both",
    compute="metrics.scorers:density",
    ideal=1.0,
    default=False,
)
COVERAGE = Metric(
    name="coverage",
    label="Coverage",
    direction="higher",
    summary="share of real balls that hold a generated sample; 1 − 2⁻ᵏ for equal laws",
    paper="Naeem et al. 2020, arXiv:2002.09797",
    domain="both",
    compute="metrics.scorers:coverage",
    default=False,
)
PRD_F1_8 = Metric(
    name="prd_f1_8",
    label="PRD F_1/8 (precision)",
    direction="higher",
    summary="best F_1/8 along the precision–recall curve of shared clusters: weighs precision",
    paper="Sajjadi et al. 2018, arXiv:1806.00035",
    domain="both",
    compute="metrics.scorers:prd_f1_8",
    ideal=1.0,
    default=False,
)
PRD_F8 = Metric(
    name="prd_f8",
    label="PRD F_8 (recall)",
    direction="higher",
    summary="best F_8 along the precision–recall curve of shared clusters: weighs recall",
    paper="Sajjadi et al. 2018, arXiv:1806.00035",
    domain="both",
    compute="metrics.scorers:prd_f8",
    ideal=1.0,
    default=False,
)
AUTHPCT = Metric(
    name="authpct",
    label="AuthPct",
    direction="higher",
    summary="percent of generated samples further from the nearest training sample than that is from its own nearest",
    paper="Alaa et al. 2022, arXiv:2102.08921",
    domain="both",
    compute="metrics.scorers:authpct",
    needs="train features",
    default=False,
)
DUPLICATES = Metric(
    name="duplicates",
    label="Duplicates",
    direction="lower",
    summary="generated samples that equal a training sample to the last bit",
    paper="Stein et al. 2023, arXiv:2306.04675",
    domain="both",
    compute="metrics.scorers:duplicates",
    ideal=0.0,
    needs="train",
    default=False,
)
POLYGON_PRECISION = Metric(
    name="polygon_precision",
    label="True precision (polygons)",
    direction="higher",
    summary="share of images that are drawable polygons, within a pixel error of 0.05",
    paper="Lucic et al. 2018, arXiv:1711.10337",
    domain="images",
    compute="metrics.scorers:polygon_precision",
    ideal=1.0,
    needs="polygons",
)
POLYGON_RECALL = Metric(
    name="polygon_recall",
    label="True recall (polygons)",
    direction="higher",
    summary="share of the polygons' parameter cells that the fitted images cover",
    paper="Lucic et al. 2018, arXiv:1711.10337",
    domain="images",
    compute="metrics.scorers:polygon_recall",
    ideal=1.0,
    needs="polygons",
)
MODES = Metric(
    name="modes",
    label="Modes covered",
    direction="higher",
    summary="modes that hold at least a tenth of their fair share of samples within 3σ",
    paper="Srivastava et al. 2017, arXiv:1705.07761",
    domain="points",
    compute="metrics.scorers:modes",
    needs="mixture",
)
HIGH_QUALITY = Metric(
    name="high_quality",
    label="High-quality share",
    direction="higher",
    summary="share of samples within 3σ of a mode; 98.89 % for a perfect generator in two dimensions",
    paper="Srivastava et al. 2017, arXiv:1705.07761",
    domain="points",
    compute="metrics.scorers:high_quality",
    needs="mixture",
)
MODE_KL = Metric(
    name="mode_kl",
    label="Mode KL (nats)",
    direction="lower",
    summary="KL of the samples' shares of the modes to uniform shares, in nats",
    paper="Lin et al. 2018, arXiv:1712.04086",
    domain="points",
    compute="metrics.scorers:mode_kl",
    ideal=0.0,
    needs="mixture",
)
CLASS_MODES = Metric(
    name="class_modes",
    label="Classes covered",
    direction="higher",
    summary="classes that a classifier gives at least a tenth of their fair share of samples to",
    paper="Metz et al. 2017, arXiv:1611.02163",
    domain="images",
    compute="metrics.scorers:class_modes",
    needs="logits",
    default=False,
)
CLASS_KL = Metric(
    name="class_kl",
    label="Class KL (nats)",
    direction="lower",
    summary="KL of the shares of a classifier's classes to uniform shares, in nats",
    paper="Lin et al. 2018, arXiv:1712.04086",
    domain="images",
    compute="metrics.scorers:class_kl",
    ideal=0.0,
    needs="logits",
    default=False,
)

INTRA_FID = Metric(
    name="intra_fid",
    label="Intra-class FID",
    direction="lower",
    summary="FID of each class against the real samples of that class, averaged over classes",
    paper="Miyato & Koyama 2018, arXiv:1802.05637",
    domain="both",
    compute="metrics.scorers:intra_frechet",
    ideal=0.0,
    spread_over="classes",
    by_class=True,
)
CLASS_PRECISION = Metric(
    name="class_precision",
    label="Class-wise precision",
    direction="higher",
    summary="precision of each class against the real samples of that class, averaged over classes",
    paper="Kynkäänniemi et al. 2019, arXiv:1904.06991",
    domain="both",
    compute="metrics.scorers:class_precision",
    spread_over="classes",
    by_class=True,
)
CLASS_RECALL = Metric(
    name="class_recall",
    label="Class-wise recall",
    direction="higher",
    summary="recall of each class's real samples by the generated ones of that class, averaged over classes",
    paper="Kynkäänniemi et al. 2019, arXiv:1904.06991",
    domain="both",
    compute="metrics.scorers:class_recall",
    spread_over="classes",
    by_class=True,
)
LABEL_ACCURACY = Metric(
    name="label_accuracy",
    label="Label accuracy",
    direction="higher",
    summary="share of generated samples that a classifier, or the nearest mode, gives the label they were asked for",
    paper="Odena et al. 2017, arXiv:1610.09585",
    domain="both",
    compute="metrics.scorers:label_accuracy",
    needs="classifier",
    by_class=True,
)

METRICS: tuple[Metric, ...] = (
    MODES,
    HIGH_QUALITY,
    MODE_KL,
    CLASS_MODES,
    CLASS_KL,
    POLYGON_PRECISION,
    POLYGON_RECALL,
    FID,
    FID_INF,
    KID,
    KID_ALL,
    PRECISION,
    RECALL,
    F1,
    DENSITY,
    COVERAGE,
    PRD_F1_8,
    PRD_F8,
    AUTHPCT,
    DUPLICATES,
    IS,
    INTRA_FID,
    CLASS_PRECISION,
    CLASS_RECALL,
    LABEL_ACCURACY,
)
"""In the order in which tables show and rank by them: the truth where it is known, then distances to the real data,
then the one that never looks at them, and last those that compare class by class."""

BY_CLASS = tuple(row.name for row in METRICS if row.by_class)

REGISTRY = Registry(
    "ganbench.metrics",
    "metric",
    [Entry(row.name, f"{__name__}:{row.name.upper()}", row.summary, row.paper) for row in METRICS],
)


def metric(name: str) -> Metric:
    """The row called `name`, ours or a plug-in's; raises `UserError` naming the nearest known one."""
    row: Metric = REGISTRY.load(name)
    return row


def label_for(name: str, features: str) -> str:
    """How to print metric `name` computed on the feature network `features`.

    Only Inception's scores carry the bare name, so that no other network's are taken for them.

    >>> label_for("fid", "inception"), label_for("fid", "digits"), label_for("modes", "identity")
    ('FID', 'FID (digits)', 'Modes covered')
    """
    row = metric(name)
    named = row.needs in ("features", "logits", "train features", "classifier") and features != "inception"
    return f"{row.label} ({features})" if named else row.label
