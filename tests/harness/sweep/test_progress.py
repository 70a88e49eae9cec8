from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from harness.sweep.progress import PlainView, RichView, headline, open_view


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_stream_decides():
    assert type(open_view({}, before=0, stream=io.StringIO())) is PlainView
    assert type(open_view({}, before=0, stream=Terminal())) is RichView


def test_plain_lines_only_when_a_trial_has_ended():
    stream = io.StringIO()
    with open_view({"a": 100, "b": 100}, before=1, stream=stream) as view:
        view.started("a", "wgan-gp seed 0")
        view.advanced("a", {"images": 50, "total": 100, "scores": {"fid": 3.0}})
        assert stream.getvalue() == ""
        view.finished("a", "done in 12.3 s · FID (digits) 8.1")
    assert stream.getvalue() == "[2/3] wgan-gp seed 0: done in 12.3 s · FID (digits) 8.1\n"


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    clock = iter(range(100, 200))
    monkeypatch.setattr("harness.sweep.progress.time.monotonic", lambda: next(clock))
    with RichView({"a": 100, "b": 300}, before=2, stream=Terminal()) as view:
        yield view


def described(view: RichView) -> dict[str, tuple[float, str]]:
    return {bar.description: (bar.completed, bar.fields["detail"]) for bar in view.bars.tasks}


def test_bars_show_rate_and_latest_scores(bars):
    bars.started("a", "wgan[0]")
    assert described(bars) == {"sweep": (0, "2/4 trials"), "wgan[0]": (0, "starting")}
    bars.advanced("a", {"images": 20, "total": 100})  # a resumed trial: what it did before is no speed
    assert described(bars)["wgan[0]"] == (20, " 20 %")
    bars.advanced("a", {"images": 50, "total": 100, "scores": {"precision": 0.5, "fid": 8.125, "modes": None}})
    assert described(bars)["wgan[0]"] == (50, " 50 % · 30 img/s · fid 8.12")
    bars.advanced("a", {"images": 60, "total": 100})
    assert described(bars) == {"sweep": (60, "2/4 trials"), "wgan[0]": (60, " 60 % · 20 img/s · fid 8.12")}


def test_an_ended_trial_leaves_a_line_and_counts_whole(bars):
    bars.started("a", "wgan[0]")
    bars.started("b", "lsgan")
    bars.advanced("a", {"images": 20, "total": 100})
    bars.finished("a", "failed after 1.0 s: why [not]")
    assert described(bars) == {"sweep": (100, "3/4 trials"), "lsgan": (0, "starting")}
    assert "[3/4] wgan[0]: failed after 1.0 s: why [not]" in bars.stream.getvalue()


def test_no_line_is_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    clock = iter((100.0, 105.0))
    monkeypatch.setattr("harness.sweep.progress.time.monotonic", lambda: next(clock, 105.0))
    view = RichView({"a": 80_000}, before=0, stream=Terminal())
    view.started("a", "wgan-gp gan.lr_discriminator=0.000123456 gan.penalty_weight=10.0 seed 7")
    view.advanced("a", {"images": 10_000, "total": 80_000})
    view.advanced("a", {"images": 72_000, "total": 80_000, "scores": {"fid": 123.4, "recall": 0.5, "modes": 8.0}})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(view.bars)
    sweep, trial = console.export_text().splitlines()  # neither is folded
    assert trial.startswith("wgan-gp")
    assert " seed 7 " in trial
    assert "fid 123 modes 8 " in trial
    assert re.search(r"\d:\d\d", trial)
    assert "0/1 trials" in sweep


def test_a_search_is_measured_by_all_that_is_to_come(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with open_view({"a": 100}, before=1, planned=4, stream=stream) as view:
        view.started("a", "wgan seed 0")
        view.finished("a", "done")
        view.added({"b": 100})
        view.started("b", "wgan seed 1")
        view.finished("b", "done")
    assert stream.getvalue().splitlines() == ["[2/4] wgan seed 0: done", "[3/4] wgan seed 1: done"]
    with RichView({"a": 100, "b": 300}, before=2, planned=6, stream=Terminal()) as view:
        (overall,) = view.bars.tasks
        assert (overall.total, overall.fields["detail"]) == (800, "2/6 trials")
        view.added({"c": 200})  # one of the two that were expected
        assert (overall.total, overall.fields["detail"]) == (800, "2/6 trials")


def scores(**values: float | None) -> dict:
    last = {"checkpoint": "last", "weights": "ema", "protocol": {"features": "identity"}}
    other = {"checkpoint": "best", "weights": "ema", "scores": {"fid": {"value": 99.0}}}
    return {"results": [other, {**last, "scores": {name: {"value": value} for name, value in values.items()}}]}


def test_the_headline_is_of_the_last_averaged_generator():
    assert headline(scores(modes=7.0, fid=0.5, kid=3.0)).endswith(" 0.5 · Modes covered 7")
    assert headline(scores(fid=None, modes=8.0)) == "Modes covered 8"
    assert headline(scores(kid=1.0)) == headline({"results": []}) == headline(None) == ""
