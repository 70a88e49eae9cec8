"""W&B's client, held to limits of ours."""

from __future__ import annotations

import threading

from harness import wandb_client


def raise_in(name: str) -> None:
    def fail() -> None:
        raise ConnectionResetError("Connection lost")

    thread = threading.Thread(target=fail, name=name)
    thread.start()
    thread.join()


def test_the_traceback_of_a_wandb_thread_whose_service_was_ended_is_nobodys_news(monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda raised: told.append(raised.thread.name))
    wandb_client._hush_threads.__wrapped__()
    for name in (*wandb_client.WANDB_THREADS, "a thread of ours"):
        raise_in(name)
    assert told == ["a thread of ours"]
