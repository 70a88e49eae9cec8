"""Trials that are stopped anywhere, and end as if nobody had stopped them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch

import gans
from ganbench.errors import UserError
from harness.config import trial_id
from harness.store import TrialFolder, load_checkpoint, trial_state
from harness.trial import checkpoints, experiment, rounds

COMMAND = Path(sys.executable).with_name("ganbench")
FEW = {"images": 640, "evaluation.every": 320}
STATE = {"config": {}, "shape": [2], "model": {}, **dict.fromkeys(checkpoints.NEEDED, 0)}


class Killed(BaseException):
    """What SIGKILL is to a process, for this one: nothing is written after it."""


@pytest.fixture
def round_by_round(monkeypatch):
    """One round a call, so that a trial may be stopped after any."""
    monkeypatch.setattr(rounds, "CHUNK_NUMBERS", 1)


@pytest.fixture
def at_round(monkeypatch):
    """`at_round(3, action)`: the action is done in the middle of that round."""

    def arrange(number, action) -> None:
        step = gans.GAN.generator_step

        def stepped(self) -> None:
            if self.counters.g_steps == number:
                monkeypatch.setattr(gans.GAN, "generator_step", step)
                action(self)
            step(self)

        monkeypatch.setattr(gans.GAN, "generator_step", stepped)

    return arrange


def sigterm(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill(*_: object) -> None:
    raise Killed


def same(a, b) -> bool:
    """Equal to the bit, through all levels; device seconds and the history's bytes (they hold seconds) aside."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.stride() == b.stride()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k not in {"seconds", "history"})
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def assert_same_trial(one: Path, other: Path) -> None:
    """Scores, weights, optimisers, counters, history and pictures."""
    ours, theirs = TrialFolder(one), TrialFolder(other)
    assert ours.scores_file.read_bytes() == theirs.scores_file.read_bytes()
    for name in ("last", "best"):
        assert same(*(load_checkpoint(folder.checkpoint_file(name)) for folder in (ours, theirs))), name
    rows = [[{k: v for k, v in r.items() if k != "seconds"} for r in folder.history()] for folder in (ours, theirs)]
    assert rows[0] == rows[1]
    pictures = [{file.name: file.read_bytes() for file in folder.samples.iterdir()} for folder in (ours, theirs)]
    assert pictures[0] == pictures[1]


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The folder of a trial that nobody stops; trained once, for reading only."""
    folders: dict[str, Path] = {}

    def find(config) -> Path:
        key = trial_id(config)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("whole") / "trial"
            train(config, folders[key])
        return folders[key]

    return find


@pytest.fixture(scope="module")
def dataset_named(tmp_path_factory):
    """A dataset's name, or the place of one that is made here once."""
    places: dict[str, str] = {}

    def find(name: str) -> str:
        if name in ("folder", "zip", "npz"):
            places[name] = places.get(name) or images_of(name, tmp_path_factory.mktemp(name))
        return places.get(name, name)

    return find


def images_of(name: str, folder: Path) -> str:
    """A dataset of each kind of file, made here."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    if name == "npz":
        np.savez(folder / "set.npz", images=pixels)
        return str(folder / "set.npz")
    (folder / "set").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / "set" / f"{i}.png")
    if name == "folder":
        return str(folder / "set")
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for file in sorted((folder / "set").iterdir()):
            archive.write(file, file.name)
    return str(folder / "set.zip")


# --- to the bit


@pytest.mark.usefixtures("round_by_round")
@pytest.mark.parametrize("end", ["a signal", "a kill"])
@pytest.mark.parametrize(
    ("gan", "dataset"),
    [
        *((name, "digits") for name in gans.names()[:8]),
        ("wgan-gp", "ring8"),
        *((name, "digits") for name in ("cgan", "acgan", "projection")),
        ("ttur", "grid25"),
        ("vanilla", "polygons"),
        ("lsgan", "folder"),
        ("sngan", "zip"),
        ("nonsaturating", "npz"),
    ],
)
def test_a_trial_stopped_between_two_looks_ends_as_one_that_was_not(
    tiny, train, whole, dataset_named, at_round, tmp_path, gan, dataset, end
):
    metrics = {"evaluation.metrics": ["fid"], "evaluation.n_fake": 16, "gan.batch_size": 8}
    config = tiny(gan, dataset_named(dataset), **{**FEW, "images": 320, "evaluation.every": 160, **metrics})
    number = int(config.images * 0.65) // (config.gan.batch_size * config.gan.n_critic)

    def stop(game) -> None:
        assert gan != "progressive" or 0 < game.stage.alpha < 1
        (sigterm if end == "a signal" else kill)()

    expected = whole(config)
    at_round(number, stop)
    with pytest.raises((SystemExit, Killed)):
        train(config, tmp_path / "stopped", checkpoint_seconds=60 if end == "a signal" else 0)
    stopped = TrialFolder(tmp_path / "stopped")
    assert not stopped.scores_file.exists()
    state = load_checkpoint(stopped.checkpoint_file("last"))
    shown = state["model"]["_extra_state"]["images"]
    assert state["looked"] < shown < config.images  # between two looks
    assert stopped.status()["state"] == ("interrupted" if end == "a signal" else "failed")
    train(config, tmp_path / "stopped")
    assert_same_trial(tmp_path / "stopped", expected)


@pytest.mark.usefixtures("round_by_round")
def test_a_trial_stopped_again_and_again_still_ends_the_same(tiny, train, whole, at_round, tmp_path):
    config = tiny("sngan", **{**FEW, "evaluation.metrics": ["fid"]})
    expected = whole(config)
    for number in (0, 1, 2, 5, 7):
        at_round(number, sigterm)
        with pytest.raises(SystemExit, match="143"):
            train(config, tmp_path / "stopped")
    train(config, tmp_path / "stopped")
    assert_same_trial(tmp_path / "stopped", expected)


@pytest.mark.parametrize("look", [0, 320, 640])
def test_a_signal_during_a_look_repeats_the_look_and_no_training(tiny, train, whole, tmp_path, monkeypatch, look):
    config = tiny(**{**FEW, "evaluation.metrics": ["fid"]})
    expected = whole(config)
    selection = experiment.Evaluation.selection

    def interrupted(self, gan):
        if gan.counters.images == look:
            sigterm()
            time.sleep(5)
            raise AssertionError("the signal was waited out")
        return selection(self, gan)

    with monkeypatch.context() as patch:
        patch.setattr(experiment.Evaluation, "selection", interrupted)
        with pytest.raises(SystemExit, match="143"):
            train(config, tmp_path / "stopped")
    folder = TrialFolder(tmp_path / "stopped")
    assert folder.status()["state"] == "interrupted"
    assert load_checkpoint(folder.checkpoint_file("last"))["model"]["_extra_state"]["images"] == look
    played = []
    step = gans.GAN.discriminator_step
    monkeypatch.setattr(gans.GAN, "discriminator_step", lambda self, x: (played.append(len(x)), step(self, x))[1])
    train(config, folder.path)
    assert sum(played) == 640 - look
    assert_same_trial(folder.path, expected)


def test_a_signal_during_the_report_repeats_the_report(tiny, train, whole, tmp_path, monkeypatch):
    config = tiny(**{**FEW, "evaluation.metrics": ["fid"]})
    expected = whole(config)

    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("the signal was waited out")

    with monkeypatch.context() as patch:
        patch.setattr(experiment.Evaluation, "floor", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped")
    assert TrialFolder(tmp_path / "stopped").status()["state"] == "interrupted"
    monkeypatch.setattr(gans.GAN, "discriminator_step", None)
    train(config, tmp_path / "stopped")
    assert_same_trial(tmp_path / "stopped", expected)


@pytest.mark.usefixtures("round_by_round")
def test_how_often_checkpoints_are_written_changes_nothing(tiny, train, whole, tmp_path):
    config = tiny(**{**FEW, "evaluation.metrics": ["fid"]})
    train(config, tmp_path / "always", checkpoint_seconds=0)
    assert_same_trial(tmp_path / "always", whole(config))
    assert load_checkpoint(tmp_path / "always" / "checkpoints" / "previous.pt")["looked"] == 320


def test_files_that_are_ahead_of_the_checkpoint_are_brought_back_to_it(tiny, train, whole, tmp_path, monkeypatch):
    """As a kill leaves them between the saves of a look, on a device that does not repeat its bits."""
    config, folder = tiny(**{**FEW, "evaluation.metrics": ["fid"]}), TrialFolder(tmp_path / "t")
    expected = whole(config)

    def stop(facts) -> None:
        if facts["images"] == 320 and "scores" in facts:
            raise Killed

    with pytest.raises(Killed):
        train(config, folder.path, progress=stop)
    best = load_checkpoint(folder.checkpoint_file("best"))
    folder.save_checkpoint("best", {**best, "best": {"value": 0.0, "images": 640}})
    (folder.samples / "0000000640.png").write_bytes(b"of another future")
    with monkeypatch.context() as patch:
        patch.setattr(gans.GAN, "generator_step", kill)
        with pytest.raises(Killed):
            train(config, folder.path)
    assert same(load_checkpoint(folder.checkpoint_file("best")), best)
    assert sorted(picture.name for picture in folder.samples.iterdir()) == ["0000000000.png", "0000000320.png"]
    folder.checkpoint_file("best").write_bytes(b"damaged")
    train(config, folder.path)
    assert_same_trial(folder.path, expected)


# --- signals


def test_a_second_signal_ends_the_trial_where_it_is(tiny, train, at_round, tmp_path):
    def twice(_: object) -> None:
        sigterm()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("the second signal was waited out")

    at_round(2, twice)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(**{**FEW, "evaluation.metrics": ["fid"]}), tmp_path / "t")
    assert TrialFolder(tmp_path / "t").status()["state"] == "interrupted"


def test_handlers_are_put_back_and_an_ignored_signal_stays_ignored(tiny, train, at_round, tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        at_round(2, lambda _: os.kill(os.getpid(), signal.SIGINT))
        term = signal.getsignal(signal.SIGTERM)
        train(tiny(images=64, **{"evaluation.metrics": ["fid"]}), tmp_path / "t")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is term
    finally:
        signal.signal(signal.SIGINT, before)
    assert TrialFolder(tmp_path / "t").status()["state"] == "done"


# --- damaged checkpoints


@pytest.mark.usefixtures("round_by_round")
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
@pytest.mark.parametrize("which", [["last"], ["last", "previous"]])
def test_damaged_checkpoints_are_passed_over(tiny, train, whole, at_round, tmp_path, capfd, damage, which):
    config, folder = tiny(**{**FEW, "evaluation.metrics": ["fid"]}), TrialFolder(tmp_path / "t")
    expected = whole(config)
    at_round(25, kill)
    with pytest.raises(Killed):
        train(config, folder.path, checkpoint_seconds=0)
    for name in which:
        path = folder.checkpoint_file(name)
        content = bytearray(path.read_bytes())
        if damage == "gone":
            path.unlink()
        elif damage == "truncated":
            os.truncate(path, len(content) // 2)
        else:
            content[len(content) // 3] ^= 4
            path.write_bytes(content)
    capfd.readouterr()
    train(config, folder.path)
    said = capfd.readouterr().err.splitlines()
    assert_same_trial(folder.path, expected)
    if damage != "gone":
        places = ["the one before it", "the start"][: len(which)] if len(which) == 2 else ["the one before it"]
        for line, name, place in zip(said, which, places, strict=True):
            assert str(folder.checkpoint_file(name)) in line
            assert line.endswith(f"goes on from {place}")
    elif which == ["last"]:
        assert said == []


def test_any_bit_may_flip(tiny, train, tmp_path):
    """Each is either noticed or without effect."""
    config, folder = tiny(**{**FEW, "evaluation.metrics": ["fid"]}), TrialFolder(tmp_path / "t")
    train(config, tmp_path / "t")
    path = folder.checkpoint_file("last")
    whole, state = path.read_bytes(), load_checkpoint(path)
    draw, noticed = random.Random(0), 0
    for _ in range(60):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            assert same(load_checkpoint(path), state)
        except UserError:
            noticed += 1
    assert noticed > 30


def test_a_checkpoint_whose_history_is_lost_is_passed_over(tmp_path, capfd):
    folder = TrialFolder(tmp_path)
    folder.append_history({"kind": "train", "images": 64})
    checkpoints.save(folder, {**STATE, "history": folder.keep_history()})
    folder.append_history({"kind": "train", "images": 128})
    checkpoints.save(folder, {**STATE, "history": folder.keep_history(), "looked": 1})
    os.truncate(folder.history_file, folder.history_file.stat().st_size - 3)
    assert checkpoints.newest(folder)["looked"] == 0
    assert "has lost rows" in capfd.readouterr().err


def test_a_checkpoint_of_another_version_is_passed_over(tmp_path, capfd):
    folder = TrialFolder(tmp_path)
    folder.save_checkpoint("last", {"config": {}, "shape": [2], "model": {}})
    assert checkpoints.newest(folder) is None
    assert "goes on from the start" in capfd.readouterr().err


# --- two of them


@pytest.mark.parametrize("links", [True, False])
def test_the_last_two_are_kept(tmp_path, monkeypatch, links):
    folder = TrialFolder(tmp_path)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    for number in range(4):
        checkpoints.save(folder, {**STATE, "looked": number})
        assert load_checkpoint(folder.checkpoint_file("last"))["looked"] == number
        if number:
            assert load_checkpoint(folder.checkpoint_file("previous"))["looked"] == number - 1
    assert sorted(file.name for file in folder.checkpoint_file("last").parent.iterdir()) == ["last.pt", "previous.pt"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("step", ["hardlink_to", "replace", "unlink"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_kill_between_the_steps_of_a_save_loses_nothing_older(tmp_path, monkeypatch, step, call, links):
    folder = TrialFolder(tmp_path)
    for number in (0, 1):
        checkpoints.save(folder, {**STATE, "looked": number})
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    calls, real = [], getattr(Path, step)

    def step_or_die(self, *arguments, **options):
        calls.append(self)
        if len(calls) >= call:  # nothing works any more: nor does the clean-up of a process that is gone
            raise Killed
        return real(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, step_or_die)
        with suppress(Killed):
            checkpoints.save(folder, {**STATE, "looked": 2})
    found = checkpoints.newest(folder)
    assert found is not None
    assert found["looked"] in {1, 2}
    folder.sweep_out()
    for number in (3, 4):
        checkpoints.save(folder, {**STATE, "looked": number})
    assert load_checkpoint(folder.checkpoint_file("previous"))["looked"] == 3
    assert sorted(file.name for file in folder.checkpoint_file("last").parent.iterdir()) == ["last.pt", "previous.pt"]


# --- real processes


@contextmanager
def start(folder: Path, *options: str) -> Iterator[subprocess.Popen]:
    command = [COMMAND, "train", "--gan=vanilla", "--dataset=digits", "--wandb=disabled", "--device=cpu"]
    with subprocess.Popen([*command, f"--out={folder}", *options], stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()  # where a check has failed it would train on, and be waited for


def wait_for(process: subprocess.Popen, ready, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_processes_killed_at_random_moments_end_in_the_same_bits(tiny, tiny_options, train, whole, tmp_path):
    config = tiny(images=4096, **{"evaluation.metrics": ["fid"], "evaluation.every": 1024})
    options = [*(o for o in tiny_options if not o.startswith(("images", "evaluation.every")))]
    options += ["images=4096", "evaluation.metrics=[fid]", "evaluation.every=1024"]
    folder, draw = TrialFolder(tmp_path / "killed"), random.Random(1)
    for _ in range(4):
        with start(folder.path, *options) as process:
            wait_for(process, lambda p=process: folder.status().get("pid") == p.pid)
            time.sleep(draw.uniform(0, 0.5))
            process.kill()
        if folder.status()["state"] == "done":
            break
        assert trial_state(folder.status()) == "interrupted"
    train(config, folder.path)
    expected = whole(config)
    assert_same_trial(folder.path, expected)
    assert not [file for file in folder.path.rglob(".*") if file.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_asked_to_end_does_so_soon_and_says_so(tiny_options, tmp_path, number, code):
    folder = TrialFolder(tmp_path / "t")
    options = [o for o in tiny_options if not o.startswith(("images", "evaluation.every"))]
    with start(folder.path, *options, "images=2000000", "evaluation.every=1000000") as process:
        wait_for(process, lambda: folder.status().get("images", 0) > 0)
        asked = time.monotonic()
        process.send_signal(number)
        said = process.communicate(timeout=30)[1].decode()
        assert time.monotonic() - asked < 5
    assert process.returncode == code
    assert "the same command continues where it was" in said
    assert "Traceback" not in said
    status = folder.status()
    assert status["state"] == "interrupted"
    assert load_checkpoint(folder.checkpoint_file("last"))["model"]["_extra_state"]["images"] >= status["images"] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk to fill")
def test_a_full_disk_stops_a_trial_that_goes_on_when_there_is_room(tiny, train, whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        config = tiny(**{**FEW, "evaluation.metrics": ["fid"]})
        filler = disk / "filler"

        def fill(facts) -> None:
            if facts["images"] == 320:
                with pytest.raises(OSError, match="No space"):
                    filler.write_bytes(bytes(4 << 20))

        with pytest.raises(OSError, match="No space"):
            train(config, disk / "t", progress=fill)
        folder = TrialFolder(disk / "t")
        assert load_checkpoint(folder.checkpoint_file("last"))["model"]["_extra_state"]["images"] == 0
        filler.unlink()
        train(config, disk / "t")
        expected = whole(config)
        assert_same_trial(disk / "t", expected)
    finally:
        subprocess.run(["umount", disk], check=True)
