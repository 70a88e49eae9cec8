"""Short texts for the terminal."""

from __future__ import annotations

import pytest

from harness import doctor
from harness.listing import lines, score_table
from harness.store import TrialFolder


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("gans", "vanilla nonsaturating lsgan wgan wgan-gp sngan ttur progressive"),
        ("networks", "mlp dcgan sndcgan resnet progressive"),
        ("datasets", "digits polygons ring8 grid25"),
        ("features", "digits inception identity"),
        ("metrics", "is fid kid precision recall f1 modes high_quality mode_kl"),
    ],
)
def test_everything_that_can_be_named_is_a_line(what, names):
    listed = list(lines(what))
    first = [line.split()[0] for line in listed]
    assert set(names.split()) <= set(first)
    assert len(set(first)) == len(first)
    assert all("\n" not in line and len(line.split()) > 1 for line in listed)


def test_variants_and_metrics_name_their_papers():
    for what in ("gans", "metrics"):
        assert all(" — " in line for line in lines(what)), what


def test_the_table_shows_each_subject_and_its_protocol(trained):
    results = TrialFolder(trained).scores()["results"]
    header, *body = score_table(results).splitlines()
    assert header.split() == ["last", "ema", "last", "raw", "best", "ema", "untrained", "ema", "floor"]
    (fid,) = (line for line in body if line.startswith("FID (digits)"))
    assert f"{results[0]['scores']['fid']['value']:.4g}" in fid
    assert fid.count("±") == 5
    assert results[0]["protocol_id"] in body[-1]
    assert "32 fakes against 360 real of digits (test split)" in body[-1]
    assert "2 generation seeds of one training" in body[-1]


def test_the_table_says_why_a_score_is_missing(trained):
    (result, *_) = TrialFolder(trained).scores()["results"]
    broken = {"value": None, "spread": None, "spread_over": None, "direction": "lower", "reason": "3 samples are NaN"}
    result = {**result, "scores": {**result["scores"], "fid": broken}, "protocol": {**result["protocol"]}}
    result["protocol"]["generation_seeds"] = 1
    text = score_table([result])
    assert "failed: 3 samples are NaN" in text
    assert text.endswith("one draw, no spread")


def test_doctor_tells_what_is_here():
    healthy, text = doctor.diagnose()
    assert healthy
    for word in ("Python", "CPU cores", "torch ", "pytorch-lightning ", "digits: embedded, sha256", "inception: ",
                 "no published set", "W&B", "offline", "GiB free", "self-test   ok"):  # fmt: skip
        assert word in text
    assert "FAIL" not in text


def test_doctor_notices_a_metric_that_lies(monkeypatch):
    monkeypatch.setattr("metrics.selftest.frechet_distance", lambda **_: 1.0)
    healthy, text = doctor.diagnose()
    assert not healthy
    assert "FAIL FID of a set with itself is 0" in text
