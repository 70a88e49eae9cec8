"""W&B's client, held to limits of ours."""

from __future__ import annotations

import threading

import pytest

from harness.config import TrackingConfig
from harness.tracking import client as wandb_client
from harness.tracking import tracker as tracking

LOST = ConnectionResetError("Connection lost")
"""One for all: W&B's client keeps what broke its connection, and raises it in every thread that asks again."""


def raise_in(name: str) -> None:
    def fail() -> None:
        raise LOST

    thread = threading.Thread(target=fail, name=name)
    thread.start()
    thread.join()


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """The threads whose exceptions were told to whoever listened before us."""
    names: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda raised: names.append(raised.thread.name))
    return names


def test_the_traceback_of_a_wandb_thread_whose_service_was_ended_is_nobodys_news(told, monkeypatch):
    everybody = (*wandb_client.WANDB_THREADS, "a thread of ours")
    for _ in range(2):  # the second finds it done
        wandb_client.hush_threads()
        for name in everybody:
            raise_in(name)
    assert told == ["a thread of ours"] * 2
    told.clear()
    monkeypatch.setattr(threading, "excepthook", lambda raised: told.append("another hook"))
    wandb_client.hush_threads()
    for name in everybody:
        raise_in(name)
    assert told == ["another hook"]


def test_a_service_may_die_as_soon_as_its_run_is_opened(told, monkeypatch, tmp_path):
    import wandb

    def die(**_: object) -> None:
        raise_in("NetStatThr")
        raise LOST

    monkeypatch.setattr(wandb, "init", die)
    tracker = tracking.Tracker.start(
        TrackingConfig(mode="offline"), folder=tmp_path, run_id="run", name="run", config={}, tags=[]
    )
    assert tracker.mode == "disabled"
    assert told == []
