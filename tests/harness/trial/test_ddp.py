"""Two processes that share every batch play the game of one, end together, and leave one process's files."""

from __future__ import annotations

import importlib.util
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from ganbench.errors import UserError
from harness.config import TrainerConfig, resolve, trial_id
from harness.config_text import load_config_file
from harness.store import TrialFolder, load_checkpoint
from harness.trial.endings import DivergedError
from harness.trial.trainer import lean_trainer

COMMAND = Path(sys.executable).with_name("ganbench")
HERE = Path(__file__).parent

SMALL = {"gan.width": 4, "gan.batch_size": 16, "gan.latent_dim": 8}
GAMES = {
    "mlp": {"gan": "nonsaturating", "dataset": "ring8"},
    "clipped": {"gan": "wgan", "dataset": "ring8"},
    "batch-norm": {"gan": "lsgan", "dataset": "digits"},
    "penalty": {"gan": "wgan-gp", "dataset": "digits"},
    "penalty-on-points": {"gan": "wgan-gp", "dataset": "ring8"},
    "spectral-norm": {"gan": "sngan", "dataset": "digits"},
    "labels": {"gan": "projection", "dataset": "digits"},
    "guessed-labels": {"gan": "acgan", "dataset": "ring8"},
    "growing": {"gan": "progressive", "dataset": "digits"},
    "predicted": {"gan": "dragan", "dataset": "ring8", "gan.prediction": "both", "gan.minibatch": "stddev"},
    "tricks": {"gan": "dragan", "dataset": "ring8", "gan.label_flip": 0.2, "gan.instance_noise": 0.2},
    "extragradient": {"gan": "lsgan", "dataset": "digits", "gan.update": "extragradient", "gan.constraint": "r1"},
    "balanced": {"gan": "began", "dataset": "digits"},
    "half-precision": {"gan": "wgan-gp", "dataset": "digits", "trainer.precision": "bf16-mixed"},
}
N_CRITIC = {"wgan": 5, "wgan-gp": 2, "sngan": 2}


def game(name: str) -> dict:
    """Twelve rounds."""
    options = {**GAMES[name], **SMALL}
    return {**options, "images": 12 * 16 * N_CRITIC.get(options["gan"], 1)}


def play_games():
    spec = importlib.util.spec_from_file_location("play_games", HERE / "play_games.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tensors(state: dict) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def play_all(folder: Path, device: str) -> Path:
    (folder / "games.json").write_text(json.dumps({name: game(name) for name in GAMES}))
    command = [sys.executable, "-W", "ignore", str(HERE / "play_games.py"), str(folder)]
    pair = [subprocess.Popen([*command, str(rank), device]) for rank in (0, 1)]
    try:
        assert [process.wait(200) for process in pair] == [0, 0]
    finally:
        for process in pair:
            process.kill()
    return folder


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Path:
    """All games, by one pair of processes: what they import takes longer than what they play."""
    return play_all(tmp_path_factory.mktemp("played"), "cpu")


# --- the same game


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode")
@pytest.mark.parametrize("name", GAMES)
def test_two_processes_play_the_game_of_one(name, played):
    assert_one_game(name, played, "cpu")


@pytest.mark.cuda(gpus=2)
@pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode")
def test_two_gpus_play_the_game_of_one(tmp_path):
    """Up to their convolutions' rounding, which is coarser than a CPU's."""
    play_all(tmp_path, "cuda")
    for name in GAMES:
        assert_one_game(name, tmp_path, "cuda")


def assert_one_game(name: str, played: Path, device: str) -> None:
    ours, theirs = (torch.load(played / f"{name}.{rank}.pt", weights_only=True) for rank in (0, 1))
    config = resolve(game(name))
    alone = play_games().play(config, device)

    model, other = tensors(ours["model"]), tensors(theirs["model"])
    assert any(key.startswith("ema_generator.") for key in model)
    if name == "spectral-norm":
        assert any(key.endswith("_u") for key in model)
    assert all(torch.equal(value, other[key]) for key, value in model.items())  # the ranks: to the bit
    assert ours["records"] == theirs["records"]
    assert ours["model"]["_extra_state"]["images"] == config.images == alone["model"]["_extra_state"]["images"]

    half = name == "half-precision" or device == "cuda"
    assert len(ours["records"]) == len(alone["records"])
    for together, single in zip(ours["records"], alone["records"], strict=True):
        assert together == pytest.approx(single, rel=0.2 if half else 1e-3, abs=0.02 if half else 1e-5)
    for key, value in tensors(alone["model"]).items():
        assert torch.allclose(model[key], value, rtol=1e-4, atol=0.02 if half else 2e-5), key
    assert torch.allclose(ours["samples"], alone["samples"], atol=0.05 if half else 1e-4)


@pytest.mark.slow
def test_the_others_wait_for_a_long_scoring(played):
    assert all((played / f"waited.{rank}").exists() for rank in (0, 1))


# --- trials


def pair(tiny, gan="vanilla", dataset="ring8", **options):
    return tiny(gan, dataset, **{"trainer.devices": 2, **options})


def rows(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in TrialFolder(folder).history()]


def numbers(row: dict) -> dict[str, float]:
    return {key: value for key, value in row.items() if key != "kind"}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return tensors(load_checkpoint(TrialFolder(folder).checkpoint_file("last"))["model"])


class Stop(BaseException):
    """What ends a process in the middle, for this process."""


@pytest.mark.slow
def test_a_trial_of_two_processes_has_the_files_of_one_and_is_continued_to_the_same_bits(tiny, train, tmp_path):
    config = pair(tiny)
    alone, whole, stopped = (tmp_path / name for name in ("alone", "whole", "stopped"))
    train(tiny("vanilla", "ring8"), alone)
    train(config, whole)
    names = [sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()) for folder in (alone, whole)]
    assert names[0] == names[1]
    assert len(rows(whole)) == len(rows(alone))
    for together, single in zip(rows(whole), rows(alone), strict=True):
        assert together["kind"] == single["kind"]
        if single["kind"] == "train":
            assert numbers(together) == pytest.approx(numbers(single), rel=1e-3, abs=1e-5)

    seen = []

    def progress(facts) -> None:
        seen.append("scores" in facts)
        if sum(seen) == 3:
            raise Stop

    with pytest.raises(Stop):
        train(config, stopped, progress=progress)
    assert multiprocessing.active_children() == []
    train(config, stopped)
    assert rows(stopped) == rows(whole)
    assert (stopped / "scores.json").read_bytes() == (whole / "scores.json").read_bytes()
    ours, theirs = weights(stopped), weights(whole)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_a_trial_ends_with_the_reason_when_another_of_its_processes_is_killed(tiny, train, tmp_path):
    def progress(facts) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(RuntimeError, match="process 1 of the trial was killed by signal 9"):
        train(pair(tiny), tmp_path / "trial", progress=progress)
    status = TrialFolder(tmp_path / "trial").status()
    assert status["state"] == "failed"
    assert "process 1 of the trial was killed by signal 9" in status["reason"]
    assert 0 < status["images"] < 256
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_divergence_ends_all_processes(tiny, train, tmp_path):
    with pytest.raises(DivergedError):
        train(pair(tiny, **{"gan.lr_discriminator": 1e30, "gan.objective": "least-squares"}), tmp_path / "trial")
    assert multiprocessing.active_children() == []
    assert TrialFolder(tmp_path / "trial").status()["state"] == "diverged"


def test_a_process_that_fails_before_it_plays_says_why(tiny, train, tmp_path, monkeypatch):
    """It is given a threads' number that torch refuses; rank 0 does not wait for it."""
    from harness.trial import ranks

    start = ranks._start
    monkeypatch.setattr(ranks, "_start", lambda rank, port, threads, *rest: start(rank, port, -1, *rest))
    with pytest.raises(RuntimeError, match=r"process 1 of the trial failed: RuntimeError: .*positive integer"):
        train(pair(tiny), tmp_path / "trial")


# --- commands


def command(folder: Path, tiny_options, *more: str, **environment: str) -> subprocess.Popen:
    arguments = ["train", "--gan", "vanilla", "--dataset", "ring8", "--device", "cpu", "--wandb", "disabled"]
    changed = {option.partition("=")[0] for option in more}
    options = [option for option in tiny_options if option.partition("=")[0] not in changed]
    options += ["evaluation.metrics=[fid]", "trainer.strategy=ddp", *more]
    return subprocess.Popen(
        [COMMAND, *arguments, "--out", str(folder), *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def followers(pid: int) -> list[int]:
    return [child for child in children(pid) if b"multiprocessing.spawn" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def wait_until_it_trains(process: subprocess.Popen, folder: TrialFolder, *, beyond: int) -> None:
    wait_until(lambda: process.poll() is not None or folder.status().get("images", 0) > beyond)
    assert process.poll() is None, process.communicate()


LONG = ("images=20000000", "evaluation.every=10000000")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_sigterm_checkpoints_and_ends_all_and_a_killed_rank_0_takes_the_others_along(tiny_options, tmp_path):
    folder = TrialFolder(tmp_path / "trial")
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        before = folder.status().get("images", 0)
        process = command(folder.path, tiny_options, *LONG, "trainer.devices=2")
        try:
            wait_until_it_trains(process, folder, beyond=before)
            (follower,) = followers(process.pid)
            process.send_signal(number)
            process.communicate(timeout=60)
            assert process.returncode == code
            wait_until(lambda follower=follower: not alive(follower))
        finally:
            process.kill()
        if number == signal.SIGTERM:
            assert folder.status()["state"] == "interrupted"
            saved = load_checkpoint(folder.checkpoint_file("last"))["model"]["_extra_state"]["images"]
            assert saved >= folder.status()["images"] > 0


@pytest.mark.slow
def test_the_command_trains_on_two_processes_and_on_two_machines(tiny_options, tmp_path):
    """The machines are this one, twice, as somebody starts them by hand."""
    together = command(tmp_path / "together", tiny_options, "trainer.devices=2")
    out, err = together.communicate(timeout=120)
    assert together.returncode == 0, err
    assert "FID" in out
    with_port = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    machines = [
        command(tmp_path / "apart", tiny_options, "trainer.num_nodes=2", NODE_RANK=str(node), **with_port)
        for node in (0, 1)
    ]
    ends = [machine.communicate(timeout=120) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], ends
    assert "FID" in ends[0][0]
    assert ends[1][0] == ""
    assert (tmp_path / "apart" / "scores.json").read_bytes() == (tmp_path / "together" / "scores.json").read_bytes()


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.slow
def test_a_sweep_trains_a_trial_on_two_processes(tiny_options, tmp_path):
    spec = tmp_path / "spec.yaml"
    fixed = {"gan.name": "vanilla", "data.name": "ring8", "evaluation.metrics": ["fid"], "trainer.devices": 2}
    parameters = {key: {"value": value} for key, value in fixed.items()} | {"seed": {"values": [0, 1]}}
    spec.write_text(yaml.safe_dump({"name": "pairs", "method": "grid", "parameters": parameters}))
    options = ["--jobs", "1", "--device", "cpu", "--wandb", "disabled"]
    ended = subprocess.run(
        [COMMAND, "sweep", "run", spec, "--out", tmp_path / "runs", *options, *tiny_options],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    states = [json.loads(file.read_text())["state"] for file in tmp_path.glob("runs/**/trials/*/status.json")]
    assert states == ["done", "done"]
    assert {load_config_file(file)["trainer.devices"] for file in tmp_path.glob("runs/**/trials/*/config.yaml")} == {2}


# --- what is refused, and what makes a trial another one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainer.devices": 3}, r"gan\.batch_size=64 cannot be shared equally by 3 processes .*choose a multiple"),
        ({"trainer.devices": 2, "trainer.num_nodes": 3}, r"shared equally by 6 processes"),
        ({"trainer.devices": 0}, r"trainer\.devices must be at least 1: got 0"),
        ({"trainer.strategy": "fsdp"}, r"trainer\.strategy must be 'auto' or 'ddp'"),
        ({"trainer.precision": "64-true"}, r"trainer\.precision must be '32-true', 'bf16-mixed' or '16-mixed'"),
    ],
)
def test_mistakes_are_told_before_anything_starts(options, message):
    with pytest.raises(UserError, match=message):
        resolve({"gan": "vanilla", "dataset": "ring8", **options})


def test_a_shard_that_tears_the_discriminators_groups_apart_is_refused(tiny, train, tmp_path):
    config = pair(tiny, "progressive", "digits", **{"gan.batch_size": 12})
    with pytest.raises(UserError, match=r"gan\.batch_size=12 shared by 2 processes leaves no whole groups of 4"):
        train(config, tmp_path / "trial")
    assert not (tmp_path / "trial").exists()


def test_sixteen_bits_need_a_gpu():
    with pytest.raises(UserError, match="16-mixed needs a GPU: choose bf16-mixed"):
        lean_trainer(config=TrainerConfig(precision="16-mixed"), device="cpu")


def test_the_number_of_devices_is_no_part_of_a_trials_identity_but_its_precision_is():
    def make(**options):
        return trial_id(resolve({"gan": "vanilla", "dataset": "ring8", **options}))

    assert make() == make(**{"trainer.devices": 4, "trainer.num_nodes": 2, "trainer.strategy": "ddp"})
    ids = {
        make(**{"trainer.precision": name, "trainer.devices": n}) for name in ("32-true", "bf16-mixed") for n in (1, 2)
    }
    assert len(ids) == 2


def test_a_single_process_is_nobodys_rank_under_a_launcher(monkeypatch):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    for name, value in {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    trainer = lean_trainer(device="cpu")
    assert (trainer.global_rank, trainer.world_size) == (0, 1)


@pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode")
@pytest.mark.parametrize("gan", ["vanilla", "wgan-gp", "sngan", "progressive"])
def test_bfloat16_trains(gan, tiny, train, tmp_path):
    scores = train(tiny(gan, "digits", **{"trainer.precision": "bf16-mixed"}), tmp_path)
    assert all(math.isfinite(result["scores"]["fid"]["value"]) for result in scores["results"])
    assert all(value.isfinite().all() and value.dtype != torch.bfloat16 for value in weights(tmp_path).values())
