"""`ganbench sweep status` in print."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from rich.cells import cell_len
from rich.console import Console

from harness.sweep.benchmark import Metric
from harness.sweep.board import LISTED, SAID, board, plain
from harness.sweep.overview import Overview, TrialStatus
from harness.sweep.search import Search

FID = Metric("best/fid", "minimize")


def trial(number: int = 0, state: str = "done", **facts) -> TrialStatus:
    running = state == "running"
    known = {
        "id": f"{number:012x}",
        "label": f"wgan seed {number}",
        "variant": "wgan",
        "state": state,
        "reason": None,
        "images": 1000 if state == "done" else 250,
        "total_images": 1000,
        "seconds": 1.0,
        "rate": 50.0 if running else None,
        "metric": "fid",
        "score": None,
        "best": None,
        "process": "machine:4711" if running else None,
        "heartbeat": 3.0 if running else None,
        "problems": [],
        "updated": None,
        "log": None,
    }
    return TrialStatus(**{**known, **facts})


def sweep(*trials: TrialStatus, **facts) -> Overview:
    return Overview("study", trials, **{"metric": FID, **facts})


def on_terminal(overview: Overview, width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(board(overview, everything=False, width=width))
    return console.export_text().splitlines()


def test_the_head_tells_counts_progress_rate_and_what_is_left():
    text = plain(sweep(trial(), trial(1, "running"), trial(2, "running"), trial(3, "pending", images=0)))
    assert text.splitlines()[:3] == [
        "study  4 trials",
        "1 done · 2 running · 1 pending",
        "37 % of 4,000 images · 100 images/s · about 25 s left",
    ]


def test_what_is_not_known_is_not_said():
    head = plain(sweep(trial(0, "running", rate=None))).splitlines()[2]
    assert head == "25 % of 1,000 images · rate not known yet"
    text = plain(sweep(trial(0, "pending", images=0)))
    assert text.splitlines()[2] == "0 % of 1,000 images"
    assert "FID" not in text
    assert "process" not in text


def test_almost_done_never_reads_as_done():
    assert "  99 % of 1,000 images" in "  " + plain(sweep(trial(0, "running", images=999))).splitlines()[2]


def test_a_budget_that_is_no_whole_number_of_rounds_is_done_all_the_same():
    assert "992 of 1,000 100 %" in plain(sweep(trial(0, images=992)))


def test_a_row_for_each_trial_of_a_small_sweep_without_empty_columns():
    text = plain(sweep(trial(0, score=9.25, best=8.125), trial(1, "running"), trial(2, "pending", images=0)))
    head = next(line for line in text.splitlines() if line.startswith("id"))
    assert head.split() == ["id", "trial", "state", "images", "img/s", "FID", "best", "process", "silent"]
    rows = [re.split(r"\s{2,}", line) for line in text.splitlines() if line.startswith("0000")]
    assert rows == [
        ["000000000000", "wgan seed 0", "done", "1,000 of 1,000 100 %", "9.25", "8.125"],
        ["000000000001", "wgan seed 1", "running", "250 of 1,000", "25 %", "50", "machine:4711", "3 s"],
        ["000000000002", "wgan seed 2", "pending", "0 of 1,000", "0 %"],
    ]


def test_a_large_sweep_lists_what_is_begun_unless_all_is_asked_for():
    many = [trial(number) for number in range(LISTED)] + [trial(98, "running"), trial(99, "interrupted")]
    rows = [line.split()[0] for line in plain(sweep(*many)).splitlines() if line.startswith("0000")]
    assert rows == [f"{98:012x}", f"{99:012x}"]
    assert plain(sweep(*many), everything=True).count("\n0000") == LISTED + 2


def test_many_that_are_begun_are_cut_and_counted():
    text = plain(sweep(*(trial(number, "interrupted") for number in range(LISTED + 5))))
    assert text.count("\n0000") == LISTED
    assert "… and 5 more begun: --all lists everything" in text


def test_each_variant_with_its_best_and_how_many_that_is_of():
    text = plain(
        sweep(
            trial(0, best=9.0), trial(1, best=8.0), trial(2, "diverged"),
            trial(3, "pending", variant="lsgan", label="lsgan seed 0"),
        )
    )  # fmt: skip
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("variant"))
    assert lines[place].split() == ["variant", "trials", "done", "diverged", "best", "FID", "of", "trial"]
    assert lines[place + 2].split() == ["wgan", "3", "2", "1", "8", "2", "seed", "1"]
    assert lines[place + 3].split() == ["lsgan", "1", "0"]


def test_failures_have_reason_and_log():
    text = plain(
        sweep(
            trial(0, "failed", reason="no luck", log="runs/s/logs/0.log"),
            trial(1, "diverged", reason="loss became nan at 16 images"),
            trial(2, "pruned", reason="worse than the best third"),
            trial(3, "failed"),
        )
    )
    told = text[text.index("Failures") :]
    assert told == (
        "Failures\n"
        "  wgan seed 0 failed: no luck\n"
        "    log: runs/s/logs/0.log\n"
        "  wgan seed 1 diverged: loss became nan at 16 images\n"
        "  wgan seed 3 failed: no reason was recorded\n"
    )


def test_problems_are_told_but_not_twice():
    nan = {"kind": "nan", "images": 16, "detail": "loss became nan"}
    collapse = {"kind": "collapse", "images": 12_000, "detail": "recall was below 0.01"}
    text = plain(sweep(trial(0, problems=[collapse]), trial(1, "diverged", problems=[nan], reason="nan, of course")))
    assert text.endswith("Problems\n  wgan seed 0 (done): collapse at 12,000 images: recall was below 0.01\n")


def test_many_failures_are_cut_and_counted():
    lost = [trial(number, "failed", reason="no luck") for number in range(SAID + 3)]
    assert plain(sweep(*lost)).count("no luck") == SAID
    assert "… and 3 more failures: --all lists everything" in plain(sweep(*lost))
    assert plain(sweep(*lost), everything=True).count("no luck") == SAID + 3


def test_a_search_says_how_far_it_may_go():
    search = Search("bayes", space={}, fixed={}, variants=({},), configurations=40, seeds=None, metric=FID)
    assert plain(sweep(trial(), search=search)).splitlines()[0] == "study  1 trials of at most 40 (bayes search)"


@pytest.mark.parametrize("width", [80, 110, 130, 150])
def test_nothing_wraps_on_a_terminal_and_numbers_stay_whole(width):
    long = "wgan-gp gan.lr_discriminator=0.000123456789 gan.penalty_weight=10.0 seed"
    trials = [
        trial(number, state, label=f"{long} {number}", images=80_000, total_images=100_000, score=12.34, best=9.876,
              process="ip-10-0-13-37.eu-central-1.compute.internal:123456")
        for number, state in enumerate(["running", "interrupted", "diverged"])
    ]  # fmt: skip
    lines = on_terminal(sweep(*trials), width)
    assert max(map(cell_len, lines)) <= width
    place = next(i for i, line in enumerate(lines) if "process" in line)
    table = lines[place + 2 : place + 5]
    for row, state in zip(table, ("running", "interrupted", "diverged"), strict=True):
        assert f" {state}  " in row
        assert "12.34" in row
        assert "9.876" in row
    assert ":123456" in table[0]
    assert table[0].rstrip().endswith(" 3 s")


@contextmanager
def terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen, list[bytes]]]:
    """The command at a terminal of 80 × 24, and what it has written there so far."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    code = "import sys; from harness.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    written: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while block := os.read(master, 65536):
                written.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield process, written
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(master)


def wait_for(text: str, written: list[bytes]) -> None:
    deadline = time.monotonic() + 60
    while text.encode() not in b"".join(written):
        assert time.monotonic() < deadline, b"".join(written)
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path):

    from harness.config import resolve
    from harness.sweep.folder import prepare, trial_folder
    from harness.sweep.spec import SweepSpec

    configs = [resolve({"gan": "wgan", "dataset": "digits", "images": 1000})]
    spec = SweepSpec(name="study", source_text="x: 1\n", grid=configs)
    (key,) = prepare(tmp_path, spec).trials
    return trial_folder(tmp_path, key)


def test_watching_ends_with_the_sweep(folder):
    folder.write_status("running", images=250)
    with terminal("sweep", "status", "--watch", str(folder.path.parents[1])) as (process, written):
        wait_for("25 %", written)
        folder.write_status("done", images=1000)
        assert process.wait(timeout=60) == 0
    last = b"".join(written).rpartition(b"\x1b[?1049l")[2].decode()  # after the alternate screen
    assert "1 done" in last
    assert "100 % of 1,000 images" in last


def test_ctrl_c_ends_the_watching_and_leaves_the_last_state(folder):
    folder.write_status("running", images=250)
    with terminal("sweep", "status", "--watch", str(folder.path.parents[1])) as (process, written):
        wait_for("25 %", written)
        process.send_signal(2)
        assert process.wait(timeout=60) == 0
    last = b"".join(written).rpartition(b"\x1b[?1049l")[2].decode()
    assert "1 running" in last
    assert "Traceback" not in last
