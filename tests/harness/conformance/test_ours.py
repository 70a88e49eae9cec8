"""What ganbench ships keeps the contracts that it asks others to keep."""

from __future__ import annotations

import pytest

from gans.networks import NETWORKS
from harness.conformance import check
from metrics.catalogue import METRICS

OURS = [
    *(("variant", name) for name in ("wgan", "sngan", "progressive", "acgan", "projection")),
    *(("network", name) for name in NETWORKS.names()),
    *(("dataset", name) for name in ("ring8", "grid25", "digits", "stacked-digits", "polygons")),
    *(("metric", row.name) for row in METRICS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), OURS)
def test_what_we_ship_passes_its_own_checks(kind, name):
    assert [finding.line() for finding in check(name, kind) if not finding.ok] == []
