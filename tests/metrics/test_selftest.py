import pytest

from metrics import self_test
from metrics.selftest import ORACLES


def test_every_oracle_holds_here() -> None:
    results = list(self_test())
    assert len(results) == len(ORACLES) >= 15
    assert [name for name, passed in results if not passed] == []


@pytest.mark.parametrize(
    ("target", "broken", "names"),
    [
        ("metrics.selftest.frechet_distance", lambda **_: 0.0, "FID"),
        ("metrics.selftest.neighbours", None, "neighbours"),
        ("metrics.selftest.inception_score", None, "IS"),
    ],
)
def test_wrong_or_raising_metrics_fail_it(monkeypatch, target, broken, names) -> None:
    monkeypatch.setattr(target, broken)
    failed = [name for name, passed in self_test() if not passed]
    assert any(names in name for name in failed)
    assert len(failed) < len(ORACLES)
