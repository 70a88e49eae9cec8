from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.sweep import claims
from harness.sweep.claims import claim_file, held, take

HOLD = """
import sys, time
from pathlib import Path
from harness.sweep.claims import take

claim = take(Path(sys.argv[1]), "a")
print(claim is not None, flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the claim on trial "a"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_one_holder_at_a_time(tmp_path):
    first = take(tmp_path, "a")
    assert first is not None
    assert claim_file(tmp_path, "a").read_text() == f"{socket.gethostname()} {os.getpid()}\n"
    assert take(tmp_path, "a") is None
    assert held(tmp_path, "a")
    assert not held(tmp_path, "b")
    with take(tmp_path, "b"):
        assert held(tmp_path, "b")
    first.release()
    first.release()
    assert not held(tmp_path, "a")
    assert list((tmp_path / "claims").iterdir()) == []
    with pytest.raises(ValueError, match="given up"):
        first.fileno()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_claim_ends_with_its_holder_however_it_ends(tmp_path, holder, number):
    assert take(tmp_path, "a") is None
    holder.send_signal(number)
    holder.wait(60)
    assert not held(tmp_path, "a")
    with take(tmp_path, "a") as claim:
        assert claim is not None
        assert claim_file(tmp_path, "a").read_text().split()[1] == str(os.getpid())


def test_a_holder_that_leaves_while_another_waits_at_its_file(tmp_path, monkeypatch):
    """The file that was opened may have been removed before it is locked: its lock would then keep nobody out."""
    first, flock, calls = take(tmp_path, "a"), claims.fcntl.flock, []

    def late(descriptor, operation):
        calls.append(descriptor)
        if len(calls) == 1:
            first.release()
        flock(descriptor, operation)

    monkeypatch.setattr(claims.fcntl, "flock", late)
    second = take(tmp_path, "a")
    assert len(calls) == 2
    assert os.path.samestat(os.fstat(second.fileno()), claim_file(tmp_path, "a").stat())
    assert take(tmp_path, "a") is None
    second.release()


def foreign(tmp_path, age: float) -> None:
    """A claim of another machine whose lock is not seen here."""
    file = claim_file(tmp_path, "a")
    file.parent.mkdir(exist_ok=True)
    file.write_text("another-machine 17\n")
    os.utime(file, (time.time() - age,) * 2)


def test_a_heartbeat_counts_where_the_lock_is_not_seen(tmp_path):
    foreign(tmp_path, claims.LAPSE / 2)
    assert held(tmp_path, "a")
    assert take(tmp_path, "a") is None
    foreign(tmp_path, claims.LAPSE * 2)
    assert not held(tmp_path, "a")
    with take(tmp_path, "a") as claim:
        assert claim is not None


def test_the_heartbeat_beats_until_the_claim_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    claim, file = take(tmp_path, "a"), claim_file(tmp_path, "a")
    os.utime(file, (0, 0))
    claim.keep_alive()
    (heartbeat,) = [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
    give_up = time.monotonic() + 60
    while file.stat().st_mtime == 0:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    claim.release()
    heartbeat.join(60)
    assert not heartbeat.is_alive()
    assert not file.exists()


def test_a_claim_goes_to_the_process_that_it_is_handed_to(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from fake_trials import hold_on

    context = multiprocessing.get_context("spawn")
    begun, end = context.Event(), context.Event()
    claim = take(tmp_path, "a")
    process = context.Process(target=hold_on, args=(claim, begun, end))
    process.start()
    claim.hand_over()
    assert begun.wait(60)
    assert take(tmp_path, "a") is None
    assert claim_file(tmp_path, "a").read_text() == f"{socket.gethostname()} {process.pid}\n"
    end.set()
    process.join(60)
    assert not held(tmp_path, "a")


def test_a_claim_cannot_be_copied(tmp_path):
    import pickle

    with take(tmp_path, "a") as claim, pytest.raises(RuntimeError, match=r"spawning|inheritance"):
        pickle.dumps(claim)
