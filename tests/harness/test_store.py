"""The run folder: what a reader sees whatever happened to the writer."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from ganbench.errors import UserError
from harness.store import TrialFolder, load_checkpoint, trial_state

STATE = {"config": {}, "shape": [2], "model": {"weight": torch.arange(64.0)}}


# --- status


def test_a_status_keeps_what_was_said_before(tmp_path):
    folder = TrialFolder(tmp_path / "t")
    assert folder.status() == {}
    folder.write_status("running", images=64, total_images=256)
    started = folder.status()["started"]
    folder.write_status("failed", reason="the loss became nan")
    status = folder.status()
    assert (status["state"], status["reason"], status["images"], status["total_images"]) == (
        "failed", "the loss became nan", 64, 256
    )  # fmt: skip
    folder.write_status("running")
    assert folder.status()["reason"] is None
    assert folder.status()["started"] == started
    assert (folder.status()["pid"], folder.status()["host"]) == (os.getpid(), socket.gethostname())


def test_states_that_a_reader_makes_of_a_status():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    here = {"state": "running", "host": socket.gethostname()}
    assert trial_state({}) == "pending"
    assert trial_state({**here, "pid": os.getpid()}) == "running"
    assert trial_state({**here, "pid": ended.pid}) == "interrupted"
    assert trial_state({**here, "pid": None}) == "interrupted"
    assert trial_state({**here, "host": "elsewhere", "pid": ended.pid}) == "running"
    for state in ("interrupted", "done", "failed", "diverged", "pruned"):
        assert trial_state({**here, "state": state, "pid": ended.pid}) == state


def test_an_ended_process_that_nobody_waited_for_is_not_alive():
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        process.stdout.read()  # it has closed its end; it stays in the table until it is waited for
        status = {"state": "running", "host": socket.gethostname(), "pid": process.pid}
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert trial_state(status) == "interrupted"


# --- history


def test_a_torn_last_line_is_left_out_and_then_replaced(tmp_path):
    folder = TrialFolder(tmp_path)
    for images in (0, 64, 128):
        folder.append_history({"kind": "train", "images": images})
        if images == 64:
            size = folder.keep_history()
    with folder.history_file.open("a") as file:
        file.write('{"kind": "train", "ima')
    assert [row["images"] for row in folder.history()] == [0, 64, 128]
    assert folder.holds_history(size)
    folder.rewind_history(size)
    folder.append_history({"kind": "train", "images": 96})
    assert [row["images"] for row in folder.history()] == [0, 64, 96]


def test_a_history_that_lost_rows_is_told_from_one_that_only_grew(tmp_path):
    folder = TrialFolder(tmp_path)
    assert folder.keep_history() == 0
    assert folder.holds_history(0)
    assert not folder.holds_history(1)
    for images in (0, 64):
        folder.append_history({"kind": "train", "images": images})
    size = folder.keep_history()
    assert size == folder.history_file.stat().st_size
    folder.append_history({"kind": "train", "images": 128})
    assert folder.holds_history(size)
    assert not folder.holds_history(size - 1)  # the middle of a row
    os.truncate(folder.history_file, size - 1)
    assert not folder.holds_history(size)


def test_what_a_killed_process_left_half_written_is_swept_out_and_nothing_else(tmp_path, tiny):
    folder = TrialFolder(tmp_path)
    (tmp_path / ".config.yaml.k3j_9a1x").write_text("gan:")
    folder.check(tiny())  # less than its config is no strange folder
    folder.claim(tiny())
    folder.save_checkpoint("last", STATE)
    folder.samples.mkdir()
    left = [
        tmp_path / ".status.json.abcd1234",
        folder.checkpoint_file("last").with_name(".last.pt.abcd1234"),
        folder.checkpoint_file("last").with_name(".previous.pt.link"),
        folder.samples / ".0000000064.png.abcd1234",
    ]
    mine = [tmp_path / ".gitignore", tmp_path / ".status.json", folder.samples / ".DS_Store"]
    for file in left + mine:
        file.write_text("half")
    folder.sweep_out()
    assert not any(file.exists() for file in left)
    assert all(file.exists() for file in [*mine, folder.config_file, folder.checkpoint_file("last")])


def test_there_is_no_history_before_the_first_row(tmp_path):
    assert list(TrialFolder(tmp_path / "t").history()) == []


# --- checkpoints


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    folder = TrialFolder(tmp_path)
    folder.save_checkpoint("last", STATE)
    assert torch.equal(load_checkpoint(folder.checkpoint_file("last"))["model"]["weight"], torch.arange(64.0))


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    folder = TrialFolder(tmp_path)
    folder.save_checkpoint("last", STATE)
    before = folder.checkpoint_file("last").read_bytes()

    def torn(state, file) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="No space left"):
        folder.save_checkpoint("last", STATE)
    assert folder.checkpoint_file("last").read_bytes() == before
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["last.pt"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "noise", "text", "a flipped bit"])
def test_a_damaged_checkpoint_is_told_and_not_run(tmp_path, damage):
    folder = TrialFolder(tmp_path)
    folder.save_checkpoint("last", STATE)
    path = folder.checkpoint_file("last")
    whole = bytearray(path.read_bytes())
    flipped = whole.copy()
    flipped[whole.index(torch.arange(64.0).numpy().tobytes()) + 40] ^= 64
    path.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "noise": bytes(range(256)) * 8,
            "text": b"weights",
            "a flipped bit": flipped,
        }[damage]
    )
    with pytest.raises(UserError, match=r"last\.pt is no checkpoint of ganbench, or it is damaged"):
        load_checkpoint(path)


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"config": Trap(), "shape": [2], "model": {}}, tmp_path / "trap.pt")
    with pytest.raises(UserError, match="is no checkpoint of ganbench"):
        load_checkpoint(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_what_lacks_a_part_is_no_checkpoint(tmp_path):
    torch.save({"model": {}}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("other.pt", "list.pt"):
        with pytest.raises(UserError, match="lacks config, shape or model"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(UserError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.pt")


# --- damaged files


def test_damaged_files_are_told(tmp_path, tiny):
    folder = TrialFolder(tmp_path)
    folder.claim(tiny())
    for path, read in ((folder.status_file, folder.status), (folder.scores_file, folder.scores)):
        path.write_text('{"state": "do')
        with pytest.raises(UserError, match=f"{path.name} is damaged"):
            read()
    folder.config_file.write_text("gan: [")
    with pytest.raises(UserError, match=r"config\.yaml.*malformed YAML"):
        folder.config()
    folder.config_file.unlink()
    with pytest.raises(UserError, match="is no trial's folder"):
        folder.config()


def test_claiming_twice_is_nothing_new(tmp_path, tiny):
    folder = TrialFolder(tmp_path / "t")
    folder.claim(tiny())
    before = folder.config_file.stat().st_mtime_ns
    folder.claim(tiny())
    assert folder.config_file.stat().st_mtime_ns == before
    assert folder.config() == tiny()
    assert not json.loads(json.dumps(folder.status()))


def test_a_disk_that_fills_under_a_checkpoint_is_the_disks_error(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data, /):
            raise OSError(errno.ENOSPC, "No space left on device")

    folder = TrialFolder(tmp_path)
    folder.save_checkpoint("last", {"model": torch.zeros(3)})
    before = folder.checkpoint_file("last").read_bytes()
    monkeypatch.setattr("harness.store.write_atomic", lambda path, write: write(Full()))
    with pytest.raises(OSError, match="No space left") as error:
        folder.save_checkpoint("last", {"model": torch.ones(3)})
    assert error.value.errno == errno.ENOSPC
    assert folder.checkpoint_file("last").read_bytes() == before
