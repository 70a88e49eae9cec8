"""Figures that others have published, for orientation: none was taken under a protocol of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

PAPER = "the paper"
LUCIC = "Lucic et al. 2018 (mean ± std of 50 seeds, 10k/10k)"
MIMICRY = "Mimicry (50k/50k, 100k G steps)"
STUDIOGAN = "StudioGAN (best checkpoint)"
COLLECTIONS = "small PyTorch collections"

SOURCES = (PAPER, LUCIC, MIMICRY, STUDIOGAN, COLLECTIONS)

CIFAR10_FID: Mapping[str, Mapping[str, str]] = {
    "vanilla": {LUCIC: "72.7 ± 3.6"},
    "nonsaturating": {
        PAPER: "36.9–37.7", LUCIC: "58.5 ± 1.9", MIMICRY: "28.95", STUDIOGAN: "48.29", COLLECTIONS: "42.7",
    },
    "lsgan": {LUCIC: "87.1 ± 47.5", STUDIOGAN: "40.22"},
    "wgan": {LUCIC: "55.2 ± 2.3", STUDIOGAN: "107.7", COLLECTIONS: "40.0 (c = 0.1)"},
    "wgan-gp": {
        PAPER: "29.3", LUCIC: "55.8 ± 0.9", MIMICRY: "22.29", STUDIOGAN: "25.9–54.0", COLLECTIONS: "16.95",
    },
    "sngan": {PAPER: "21.7", MIMICRY: "16.77", COLLECTIONS: "14.32"},
    "progressive": {PAPER: "none (Inception Score 8.56–8.80)", COLLECTIONS: "19.1"},
}  # fmt: skip
"""FID on CIFAR-10, unconditional: variant → source → the figure as printed."""


def published_fid(dataset: str) -> Mapping[str, Mapping[str, str]]:
    """Published FIDs on the dataset of that name or path: variant → source → the figure; {} where none is known.

    >>> published_fid("data/CIFAR-10.npz")["sngan"]["the paper"]
    '21.7'
    """
    name = re.sub(r"[^a-z0-9]", "", PurePath(dataset).name.removesuffix(".npz").removesuffix(".zip").lower())
    return CIFAR10_FID if name == "cifar10" else {}
