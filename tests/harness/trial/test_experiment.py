"""One trial, end to end and in this process: its files, its determinism, its resumes and its failures."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import gans
from ganbench.errors import UserError
from harness.config import TrackingConfig, resolve, trial_id
from harness.store import TrialFolder, load_checkpoint, trial_state
from harness.trial import experiment, rounds
from harness.trial.endings import DivergedError
from harness.trial.rounds import chunks

NETWORKS_OF_A_ROUND = [
    ("vanilla", "digits"),
    ("wgan", "digits"),
    ("wgan-gp", "ring8"),
    ("sngan", "digits"),
    ("progressive", "digits"),
    ("ttur", "ring8"),
]
COMMAND = Path(sys.executable).with_name("ganbench")


def history_of(folder: Path) -> list[dict]:
    """The history without the one thing that no two runs share: device seconds."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in TrialFolder(folder).history()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(TrialFolder(folder).checkpoint_file("last"))["model"]
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


class Stop(BaseException):
    """Not an Exception: what ends a process in the middle, for this process."""


def stop_after(looks: int):
    seen = []

    def progress(facts) -> None:
        seen.append("scores" in facts)
        if sum(seen) == looks:
            raise Stop

    return progress


# --- what a trial writes


def test_a_trial_writes_its_config_status_history_scores_checkpoints_and_samples(tiny, trained):
    config, folder = tiny(), TrialFolder(trained)
    assert resolve(yaml.safe_load(folder.config_file.read_text())) == config
    status = folder.status()
    counters = {name: status[name] for name in ("state", "images", "d_steps", "g_steps", "total_images", "reason")}
    assert counters == {
        "state": "done", "images": 256, "d_steps": 16, "g_steps": 16, "total_images": 256, "reason": None
    }  # fmt: skip
    assert status["seconds"] > 0
    state = load_checkpoint(folder.checkpoint_file("last"))["model"]
    for player in ("generator", "discriminator"):
        assert (
            0
            < status["parameters"][player]
            <= sum(value.numel() for name, value in state.items() if name.startswith(f"{player}."))
        )
    assert status["environment"]["torch"] == torch.__version__.partition("+")[0]
    assert status["environment"]["threads"] == torch.get_num_threads()
    assert sorted(picture.name for picture in folder.samples.iterdir()) == [
        f"{images:010d}.png" for images in (0, 64, 128, 192, 256)
    ]


def test_history_has_losses_and_a_score_at_every_mark(trained):
    history = list(TrialFolder(trained).history())
    scored = [row for row in history if row["kind"] == "scores"]
    assert [row["images"] for row in scored] == [0, 64, 128, 192, 256]
    assert {row["split"] for row in scored} == {"selection"}
    assert all(math.isfinite(row["scores"]["fid"]["value"]) for row in scored)
    losses = [row for row in history if row["kind"] == "train"]
    assert [(row["images"], row["d_steps"]) for row in losses] == [(64, 4), (128, 8), (192, 12), (256, 16)]
    assert all({"loss/discriminator", "loss/generator", "seconds"} <= row.keys() for row in losses)


def test_scores_hold_every_subject_under_its_protocol(trained):
    scores = TrialFolder(trained).scores()
    subjects = [(r["checkpoint"], r["weights"], r["images"]) for r in scores["results"]]
    best = subjects[2][2]
    assert subjects == [
        ("last", "ema", 256), ("last", "raw", 256), ("best", "ema", best), ("untrained", "ema", 0),
        ("floor", None, None),
    ]  # fmt: skip
    for result in scores["results"]:
        assert set(result["scores"]) == {"fid", "kid", "precision", "recall", "f1", "is"}
        assert result["protocol"]["n_fake"] == 32
        assert result["protocol"]["split"] == "test"
    fid = {(r["checkpoint"], r["weights"]): r["scores"]["fid"]["value"] for r in scores["results"]}
    assert fid["floor", None] < fid["last", "ema"]
    assert fid["floor", None] < fid["untrained", "ema"]


def test_best_is_what_the_selection_split_liked_most(trained):
    scored = [row for row in TrialFolder(trained).history() if row["kind"] == "scores"]
    lowest = min(scored, key=lambda row: row["scores"]["fid"]["value"])
    state = load_checkpoint(TrialFolder(trained).checkpoint_file("best"))
    assert state["best"] == {"value": lowest["scores"]["fid"]["value"], "images": lowest["images"]}
    assert state["model"]["_extra_state"]["images"] == lowest["images"]
    (best,) = (r for r in TrialFolder(trained).scores()["results"] if r["checkpoint"] == "best")
    assert best["images"] == lowest["images"]


def test_best_is_not_the_last_where_training_made_it_worse(tiny, train, tmp_path):
    config = tiny(**{"gan.lr_generator": 1e30, "evaluation.metrics": ["fid"]})
    train(config, tmp_path / "t")
    scored = [row for row in TrialFolder(tmp_path / "t").history() if row["kind"] == "scores"]
    lowest = min(scored, key=lambda row: row["scores"]["fid"]["value"])["images"]
    assert lowest < 256
    best = load_checkpoint(tmp_path / "t" / "checkpoints" / "best.pt")
    assert best["model"]["_extra_state"]["images"] == lowest


# --- determinism


@pytest.mark.parametrize(("gan", "dataset"), NETWORKS_OF_A_ROUND)
def test_the_same_seed_gives_the_same_bytes_and_a_stopped_trial_too(tiny, train, tmp_path, gan, dataset):
    config = tiny(gan, dataset, **{"evaluation.every": 128, "images": 320, "evaluation.metrics": ["fid"]})
    train(config, tmp_path / "whole")
    expected = (tmp_path / "whole" / "scores.json").read_bytes()
    with pytest.raises(Stop):
        train(config, tmp_path / "stopped", progress=stop_after(2))
    assert not (tmp_path / "stopped" / "scores.json").exists()
    train(config, tmp_path / "stopped")
    assert (tmp_path / "stopped" / "scores.json").read_bytes() == expected
    assert history_of(tmp_path / "stopped") == history_of(tmp_path / "whole")
    for picture in (tmp_path / "whole" / "samples").iterdir():
        assert (tmp_path / "stopped" / "samples" / picture.name).read_bytes() == picture.read_bytes()
    ours, theirs = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_two_runs_of_one_trial_are_equal_and_another_seed_is_not(tiny, train, trained, tmp_path):
    train(tiny(), tmp_path / "again")
    assert (tmp_path / "again" / "scores.json").read_bytes() == (trained / "scores.json").read_bytes()
    train(tiny(seed=1), tmp_path / "other")
    other = TrialFolder(tmp_path / "other").scores()["results"][0]["scores"]
    assert other != TrialFolder(trained).scores()["results"][0]["scores"]


def test_scores_hold_no_time_place_or_process(trained):
    text = (trained / "scores.json").read_text()
    status = TrialFolder(trained).status()
    assert status["started"][:10] not in text
    for word in ("seconds", "updated", "pid", str(trained), status["host"] + '"'):
        assert word not in text


def test_losses_are_read_at_the_same_rounds_after_a_resume(tiny, train, tmp_path, monkeypatch):
    """They are read every 50 rounds counted from the last mark, which a resume must know of."""
    monkeypatch.setattr(rounds, "CHUNK_NUMBERS", 10 * 16 * 2)  # ten rounds of sixteen points a call
    config = tiny(dataset="ring8", images=16 * 140, **{"evaluation.every": 16 * 70, "evaluation.metrics": ["fid"]})
    train(config, tmp_path / "whole")
    assert [row["g_steps"] for row in history_of(tmp_path / "whole") if row["kind"] == "train"] == [50, 70, 120, 140]
    with pytest.raises(Stop):
        train(config, tmp_path / "stopped", progress=stop_after(2))
    train(config, tmp_path / "stopped")
    assert history_of(tmp_path / "stopped") == history_of(tmp_path / "whole")


def test_chunks_never_reach_over_a_mark():
    assert [list(c) for c in chunks(0, [3, 3, 5], 2)] == [[0, 1], [2], [3, 4]]
    assert list(chunks(5, [3, 5], 2)) == []


# --- finished and interrupted trials


def test_a_finished_trial_is_read_and_nothing_is_built(tiny, train, trained, monkeypatch):
    before, touched = files(trained), {f: f.stat().st_mtime_ns for f in trained.rglob("*")}

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a finished trial was taken up again")

    monkeypatch.setattr(gans, "from_recipe", never)
    monkeypatch.setattr(experiment.data, "load", never)
    assert train(tiny(), trained) == json.loads(before["scores.json"])
    assert files(trained) == before
    assert {f: f.stat().st_mtime_ns for f in trained.rglob("*")} == touched


def test_a_stopped_trial_does_not_pay_twice(tiny, train, tmp_path, monkeypatch):
    config = tiny(**{"evaluation.metrics": ["fid"]})
    with pytest.raises(Stop):
        train(config, tmp_path / "t", progress=stop_after(4))  # looks at 0, 64, 128 and 192 images
    played = []
    step = gans.GAN.discriminator_step
    monkeypatch.setattr(
        gans.GAN, "discriminator_step", lambda self, real: (played.append(len(real)), step(self, real))[1]
    )
    train(config, tmp_path / "t")
    assert sum(played) == 64
    assert TrialFolder(tmp_path / "t").status()["images"] == 256


def test_a_trial_stopped_between_training_and_scoring_only_scores(tiny, train, trained, tmp_path, monkeypatch):
    """As a kill between the last checkpoint and scores.json leaves it."""
    folder = tmp_path / "t"
    shutil.copytree(trained, folder)
    (folder / "scores.json").unlink()
    TrialFolder(folder).write_status("running")
    monkeypatch.setattr(gans.GAN, "discriminator_step", None)
    train(tiny(), folder)
    assert (folder / "scores.json").read_bytes() == (trained / "scores.json").read_bytes()
    assert history_of(folder) == history_of(trained)


def test_a_killed_process_is_continued_to_the_same_bits(tiny, tiny_options, train, trained, tmp_path):
    """A real SIGKILL of a real process, wherever it happens to be after its second checkpoint."""
    config = tiny(images=1536, **{"evaluation.metrics": ["fid"]})
    options = [*tiny_options, "images=1536", "evaluation.metrics=[fid]"]
    options.remove("images=256")
    # politely, so that on a busy machine it is not done before we come to kill it
    command = ["nice", COMMAND, "train", "--gan=vanilla", "--dataset=digits", "--wandb=disabled", "--device=cpu"]
    folder = TrialFolder(tmp_path / "killed")
    with subprocess.Popen([*command, f"--out={folder.path}", *options], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while sum(row["kind"] == "scores" for row in folder.history()) < 3:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert trial_state(folder.status()) == "interrupted"
    assert not folder.scores_file.exists()
    reached = load_checkpoint(folder.checkpoint_file("last"))["model"]["_extra_state"]["images"]
    assert reached < 1536
    train(config, folder.path)
    train(config, tmp_path / "whole")
    assert folder.scores_file.read_bytes() == (tmp_path / "whole" / "scores.json").read_bytes()
    assert history_of(folder.path) == history_of(tmp_path / "whole")
    assert folder.status()["state"] == "done"


def test_ctrl_c_leaves_a_trial_that_goes_on(tiny, train, tmp_path):
    def ctrl_c(facts) -> None:
        if facts["images"] == 128:
            raise KeyboardInterrupt

    config = tiny(**{"evaluation.metrics": ["fid"]})
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "t", progress=ctrl_c)
    status = TrialFolder(tmp_path / "t").status()
    assert trial_state(status) == "interrupted"
    assert not (tmp_path / "t" / "error.txt").exists()
    train(config, tmp_path / "t")
    assert TrialFolder(tmp_path / "t").status()["state"] == "done"


# --- scoring leaves no trace


@pytest.mark.parametrize("gan", ["vanilla", "wgan-gp"])
def test_a_trial_that_is_watched_learns_the_same(tiny, train, tmp_path, gan):
    options = {"evaluation.metrics": ["fid"], "images": 320}
    often, once = tiny(gan, **options, **{"evaluation.every": 80}), tiny(gan, **options, **{"evaluation.every": 320})
    assert trial_id(often) != trial_id(once)
    train(often, tmp_path / "often")
    train(once, tmp_path / "once")
    ours, theirs = weights(tmp_path / "often"), weights(tmp_path / "once")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    results = [TrialFolder(tmp_path / name).scores()["results"][0] for name in ("often", "once")]
    assert results[0] == results[1]


def test_a_trial_leaves_the_global_random_states_alone(tiny, train, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    train(tiny("wgan-gp", images=160, **{"evaluation.every": 80}), tmp_path / "t")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_other_peoples_global_seeds_change_nothing(tiny, train, trained, tmp_path):
    state = torch.get_rng_state()
    torch.manual_seed(1234)
    try:
        train(tiny(), tmp_path / "t")
    finally:
        torch.set_rng_state(state)
    assert (tmp_path / "t" / "scores.json").read_bytes() == (trained / "scores.json").read_bytes()


# --- failures


def test_a_trial_that_becomes_nan_ends_diverged_with_what_and_where(tiny, train, tmp_path):
    with pytest.raises(DivergedError, match=r"loss/\w+ became (nan|inf|-inf) at 16 images"):
        train(tiny(**{"gan.lr_discriminator": 1e30}), tmp_path / "t")
    status = TrialFolder(tmp_path / "t").status()
    assert status["state"] == "diverged"
    assert [(problem["kind"], problem["images"]) for problem in status["problems"]] == [("nan", 16)]
    assert status["reason"].startswith(status["problems"][0]["detail"])
    assert [row["images"] for row in TrialFolder(tmp_path / "t").history()] == [0]
    assert not (tmp_path / "t" / "error.txt").exists()
    assert not (tmp_path / "t" / "scores.json").exists()


def test_samples_that_are_no_numbers_end_a_trial_with_what_and_where(tiny, train, tmp_path, monkeypatch):
    def broken(self, n, *, seed=0, weights="ema"):
        return torch.full((n, *self.shape), float("nan") if self.counters.images else 0.0)

    monkeypatch.setattr(gans.GAN, "sample", broken)
    with pytest.raises(DivergedError, match=r"samples hold NaN or infinite values at \d+ images"):
        train(tiny(), tmp_path / "t")
    assert "NaN" in TrialFolder(tmp_path / "t").status()["reason"]
    assert TrialFolder(tmp_path / "t").status()["state"] == "diverged"


def test_a_program_fault_is_recorded_with_its_traceback(tiny, train, tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("the scorer\nbroke")

    monkeypatch.setattr(experiment.Evaluation, "report", broken)
    with pytest.raises(RuntimeError):
        train(tiny(images=64, **{"evaluation.metrics": ["fid"]}), tmp_path / "t")
    assert TrialFolder(tmp_path / "t").status()["reason"] == "RuntimeError: the scorer broke"
    assert "in broken" in (tmp_path / "t" / "error.txt").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data.size": 9}, "data.size=9"),
        ({"gan.batch_size": 1500, "images": 1500}, "training samples"),
        ({"evaluation.metrics": ["modes"]}, "modes"),
        ({"evaluation.features": "identity"}, "does not fit digits"),
    ],
)
def test_a_mistake_in_the_config_is_found_before_anything_is_written(tiny, train, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train(tiny(**options), tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_online_without_a_login_leaves_no_trial_that_seems_to_run(tiny, train, tmp_path):
    with pytest.raises(UserError, match="no W&B login"):
        train(tiny(), tmp_path / "t", tracking=TrackingConfig(mode="online"))
    assert TrialFolder(tmp_path / "t").status() == {}
    train(tiny(images=64, **{"evaluation.metrics": ["fid"]}), tmp_path / "u")  # and the next one is no worse for it


def test_a_folder_of_another_trial_or_of_something_else_is_left_alone(tiny, train, trained, tmp_path):
    before = files(trained)
    with pytest.raises(UserError, match=f"holds another trial .*{trial_id(tiny())}"):
        train(tiny(seed=7), trained)
    assert files(trained) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is no trial's folder"):
        train(tiny(), tmp_path)
    assert files(tmp_path) == {"notes.txt": b"mine"}


def test_a_trial_whose_process_died_before_its_first_write_can_be_retried(tiny, train, tmp_path):
    """The scheduler then writes the status, and nothing else is there."""
    TrialFolder(tmp_path).write_status("failed", reason="killed by signal 9")
    train(tiny(images=64, **{"evaluation.metrics": ["fid"]}), tmp_path)
    assert TrialFolder(tmp_path).status()["state"] == "done"


# --- Weights & Biases


def test_wandb_mirrors_the_trial(tiny, train, tmp_path, read_offline_run):
    config = tiny("wgan-gp", images=160, **{"gan.n_critic": 5, "evaluation.every": 80, "evaluation.metrics": ["fid"]})
    scores = train(config, tmp_path / "t", tracking=TrackingConfig(mode="offline", group="sweep-1"), label="wgan-gp 0")
    run, folder = read_offline_run(tmp_path / "t"), TrialFolder(tmp_path / "t")
    assert run.exit_code == 0
    assert run.run["run_group"] == "sweep-1"
    assert run.run["display_name"] == "wgan-gp 0"
    assert run.config == config.model_dump(mode="json")
    history = list(folder.history())
    for name in ("loss/discriminator", "loss/generator", "loss/penalty"):
        assert [(r["images"], r[name]) for r in run.history if name in r] == [
            (r["images"], r[name]) for r in history if name in r
        ]
    assert [(r["images"], r["scores/fid"]) for r in run.history if "scores/fid" in r] == [
        (r["images"], r["scores"]["fid"]["value"]) for r in history if r["kind"] == "scores"
    ]
    assert [r["images"] for r in run.history if "samples.path" in r] == [0, 80, 160]
    media = sorted((run.folder / "files" / "media" / "images").glob("samples_*.png"))
    assert len(media) == 3
    assert run.summary["status"] == "done"
    assert run.summary["final/fid"] == scores["results"][0]["scores"]["fid"]["value"]
    best = load_checkpoint(folder.checkpoint_file("best"))["best"]
    assert (run.summary["best/fid"], run.summary["best/images"]) == (best["value"], best["images"])


def test_wandb_hears_of_a_divergence(tiny, train, tmp_path, read_offline_run):
    with pytest.raises(DivergedError) as error:
        train(tiny(**{"gan.lr_discriminator": 1e30}), tmp_path / "t", tracking=TrackingConfig(mode="offline"))
    run = read_offline_run(tmp_path / "t")
    assert run.exit_code == 1
    assert run.summary["status"] == "diverged"
    assert run.summary["problems"] == "nan"
    assert run.summary["reason"] == str(error.value)
    assert [alert["text"] for alert in run.of("alert")] == [str(error.value)]
