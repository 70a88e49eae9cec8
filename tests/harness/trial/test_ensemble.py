"""Trials that differ by their seed alone, trained as one: each as if alone, and no one at another's mercy."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest
import torch

import gans
from ganbench.errors import UserError
from gans.ensemble import Ensemble
from harness.config import TrackingConfig
from harness.scoring.evaluation import Evaluation
from harness.store import TrialFolder, load_checkpoint
from harness.trial import checkpoints, rounds
from harness.trial.endings import PrunedError
from harness.trial.ensemble import Member, run_ensemble
from harness.trial.walk import Walk

FEW = {"images": 320, "evaluation.every": 160, "evaluation.metrics": ["fid"], "gan.network": "mlp"}
SEEDS = (0, 1, 2)


@pytest.fixture
def round_by_round(monkeypatch):
    """One round in each call, and the losses read every second one."""
    monkeypatch.setattr(rounds, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr("harness.trial.walk.FLUSH_ROUNDS", 2)


@pytest.fixture
def members(tiny, tmp_path):
    """Three seeds of a tiny game on points, in folders of their own."""

    def make(where: str, gan: str = "nonsaturating", **options) -> list[Member]:
        configs = [tiny(gan, "ring8", **{**FEW, "seed": seed, **options}) for seed in SEEDS]
        return [Member(config, tmp_path / where / str(config.seed)) for config in configs]

    return make


def train(members, **options) -> None:
    run_ensemble(members, **{"tracking": TrackingConfig(mode="disabled"), "device": "cpu", **options})


def folders(members) -> list[TrialFolder]:
    return [TrialFolder(member.path) for member in members]


def states(members) -> list[str]:
    return [folder.status()["state"] for folder in folders(members)]


def same(a, b) -> bool:
    """Equal to the bit, through all levels; device seconds and the history's bytes (they hold seconds) aside."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k not in {"seconds", "history"})
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def assert_same_trial(ours: TrialFolder, theirs: TrialFolder) -> None:
    assert ours.scores_file.read_bytes() == theirs.scores_file.read_bytes()
    for name in ("last", "best"):
        assert same(*(load_checkpoint(folder.checkpoint_file(name)) for folder in (ours, theirs))), name
    rows = [[{k: v for k, v in r.items() if k != "seconds"} for r in folder.history()] for folder in (ours, theirs)]
    assert rows[0] == rows[1]
    pictures = [{file.name: file.read_bytes() for file in folder.samples.iterdir()} for folder in (ours, theirs)]
    assert pictures[0] == pictures[1]


class Killed(BaseException):
    """Not an Exception: what ends a process in the middle, for this process."""


def at_round(monkeypatch, number: int, action) -> None:
    step = Ensemble.generator_step

    def stepped(self) -> None:
        step(self)
        if self.counters.g_steps == number:
            action(self)

    monkeypatch.setattr(Ensemble, "generator_step", stepped)


def sigterm(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


# --- each as if alone


def test_every_member_has_what_a_trial_of_its_own_has(members, tmp_path):
    from harness.trial.experiment import run_trial

    trio = members("together")
    reports = []
    train(trio, progress=lambda place, facts: reports.append((place, facts["images"], "scores" in facts)))
    for place, (member, folder) in enumerate(zip(trio, folders(trio), strict=True)):
        alone = TrialFolder(tmp_path / "alone" / str(place))
        run_trial(member.config, alone.path, tracking=TrackingConfig(mode="disabled"), device="cpu")
        assert folder.config() == member.config
        status, single = folder.status(), alone.status()
        assert status["state"] == "done"
        for fact in ("images", "d_steps", "g_steps", "parameters"):
            assert status[fact] == single[fact]
        assert status["seconds"] > 0
        assert (status["ensemble"], folder.scores()["ensemble"]) == (3, 3)
        assert "ensemble" not in single
        assert "ensemble" not in alone.scores()
        ours, theirs = list(folder.history()), list(alone.history())
        assert [(row["kind"], row["images"]) for row in ours] == [(row["kind"], row["images"]) for row in theirs]
        for here, there in zip(ours, theirs, strict=True):
            assert here.keys() == there.keys()
            if here["kind"] == "train":
                assert here["loss/discriminator"] == pytest.approx(there["loss/discriminator"], rel=1e-3)
            else:
                assert here["scores"]["fid"]["value"] == pytest.approx(there["scores"]["fid"]["value"], rel=0.05)
        assert {p.name for p in folder.samples.iterdir()} == {p.name for p in alone.samples.iterdir()}
        assert (place, 320, True) in reports
        # a checkpoint holds its own weights alone, and a single trial's reader takes it
        last = folder.checkpoint_file("last")
        assert last.stat().st_size < 1.2 * alone.checkpoint_file("last").stat().st_size
        assert load_checkpoint(last)["ensemble"] == 3


def test_seeds_stay_different(members):
    trio = members("t")
    train(trio)
    assert len({folder.scores_file.read_bytes() for folder in folders(trio)}) == 3


def test_what_is_done_is_not_trained_again(members, monkeypatch):
    trio = members("t")
    train(trio[:2])
    kept = [folder.scores_file.read_bytes() for folder in folders(trio[:2])]
    played = []
    monkeypatch.setattr(gans.GAN, "on_train_start", lambda self: played.append(len(self.members)))
    train(trio)
    assert played == [1]
    assert [folder.scores_file.read_bytes() for folder in folders(trio[:2])] == kept
    assert [folder.scores()["ensemble"] for folder in folders(trio)] == [2, 2, 1]
    train(trio)
    assert played == [1]


# --- exact resume


@pytest.mark.usefixtures("round_by_round")
@pytest.mark.parametrize(
    ("gan", "end"),
    [
        pytest.param("nonsaturating", "a signal", marks=pytest.mark.slow),
        ("nonsaturating", "a kill"),
        *(
            pytest.param(gan, end, marks=pytest.mark.slow)
            for gan in ("wgan", "wgan-gp", "sngan")
            for end in ("a signal", "a kill")
        ),
    ],
)
def test_an_ensemble_stopped_between_two_looks_ends_as_one_that_was_not(members, monkeypatch, gan, end):
    whole, stopped = members("whole", gan), members("stopped", gan)
    train(whole)
    number = 13 // whole[0].config.gan.n_critic

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        at_round(patch, number, sigterm if end == "a signal" else kill)
        with pytest.raises((SystemExit, Killed)):
            train(stopped, checkpoint_seconds=60 if end == "a signal" else 0)
    assert states(stopped) == ["interrupted" if end == "a signal" else "failed"] * 3
    reached = [checkpoints.rounds_played(load_checkpoint(f.checkpoint_file("last"))) for f in folders(stopped)]
    assert reached == [number if end == "a signal" else number - 1] * 3
    train(stopped)
    for ours, theirs in zip(folders(stopped), folders(whole), strict=True):
        assert_same_trial(ours, theirs)


@pytest.mark.usefixtures("round_by_round")
@pytest.mark.parametrize("saves", [8, *(pytest.param(saves, marks=pytest.mark.slow) for saves in (1, 2, 3, 5, 11))])
def test_a_kill_between_two_members_saves_loses_nobody(members, monkeypatch, saves, tmp_path):
    if not (shared := tmp_path.parent / "whole-of-kills").exists():
        train(members("whole"))
        shutil.copytree(tmp_path / "whole", shared)
    stopped, save, done = members("stopped"), Walk.save, []

    def dying(self) -> None:
        save(self)
        done.append(self)
        if len(done) == saves:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Walk, "save", dying)
        with pytest.raises(Killed):
            train(stopped, checkpoint_seconds=0)
    train(stopped)
    for ours in folders(stopped):
        assert_same_trial(ours, TrialFolder(shared / ours.path.name))


def test_a_signal_during_one_members_look_leaves_all_at_one_place(members, monkeypatch):
    whole, stopped = members("whole"), members("stopped")
    train(whole)
    selection, looks = Evaluation.selection, []

    def interrupted(self, gan):
        looks.append(gan)
        if len(looks) == 5:  # the second member's second look
            sigterm()
            time.sleep(5)
            raise AssertionError("the signal was waited out")
        return selection(self, gan)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "selection", interrupted)
        with pytest.raises(SystemExit, match="143"):
            train(stopped)
    reached = {checkpoints.rounds_played(load_checkpoint(f.checkpoint_file("last"))) for f in folders(stopped)}
    assert len(reached) == 1
    train(stopped)
    for ours, theirs in zip(folders(stopped), folders(whole), strict=True):
        assert_same_trial(ours, theirs)


def test_members_without_a_place_in_common_are_continued_apart(members, monkeypatch):
    trio = members("t")
    train(trio[:1])
    status = folders(trio)[0].status()
    folders(trio)[0].write_status("interrupted", images=status["images"])
    folders(trio)[0].scores_file.unlink()
    played = []
    fit = gans.GAN.on_train_start
    monkeypatch.setattr(gans.GAN, "on_train_start", lambda self: (played.append(len(self.members)), fit(self)))
    train(trio)
    assert played == [2]
    assert states(trio) == ["done"] * 3


# --- nobody at another's mercy


@pytest.mark.usefixtures("round_by_round")
def test_a_member_that_diverges_leaves_the_others_to_go_on(members, monkeypatch):
    whole, hurt = members("whole"), members("hurt")
    train(whole)

    def poison(ensemble) -> None:
        if len(ensemble.members) == 3:
            with torch.no_grad():
                next(ensemble.members[1].generator.parameters()).fill_(float("nan"))

    at_round(monkeypatch, 5, poison)
    train(hurt)
    assert states(hurt) == ["done", "diverged", "done"]
    status = folders(hurt)[1].status()
    assert "NaN" in status["reason"] or "nan" in status["reason"]
    assert status["problems"][0]["kind"] == "nan"
    assert not folders(hurt)[1].scores_file.exists()
    for place in (0, 2):
        ours, theirs = (folders(trio)[place] for trio in (hurt, whole))
        assert ours.status()["ensemble"] == 3
        here, there = (list(folder.history())[-1]["scores"]["fid"]["value"] for folder in (ours, theirs))
        assert here == pytest.approx(there, rel=0.05)


@pytest.mark.usefixtures("round_by_round")
def test_members_may_be_pruned_or_fail_one_by_one(members, monkeypatch):
    first, second, third = members("t")
    pruned = Member(first.config, first.path, prune=lambda images, value: "hopeless" if images >= 160 else None)
    look = Walk.look

    def broken(self) -> None:
        if self.config.seed == 2 and self.gan.counters.images > 0:
            raise RuntimeError("no luck")
        look(self)

    monkeypatch.setattr(Walk, "look", broken)
    train([pruned, second, third])
    assert states([first, second, third]) == ["pruned", "done", "failed"]
    assert [folder.status()["reason"] for folder in folders([first, second, third])] == [
        "hopeless", None, "RuntimeError: no luck"
    ]  # fmt: skip
    assert "RuntimeError: no luck" in TrialFolder(third.path).error_file.read_text()
    assert PrunedError.state == "pruned"


# --- what cannot be


def test_what_cannot_be_trained_together_is_refused_before_anything_is_written(members, tiny, tmp_path):
    growing = [Member(tiny("progressive", seed=seed), tmp_path / "p" / str(seed)) for seed in SEEDS]
    with pytest.raises(UserError, match="grows with the images"):
        train(growing)
    for options, said in (
        ({"trainer.devices": 2}, "several processes"),
        ({"trainer.precision": "bf16-mixed"}, "precision"),
        ({"trainer.compile": "default"}, "compile"),
    ):
        with pytest.raises(UserError, match=said):
            train(members("t", **options))
    with pytest.raises(ValueError, match="seed alone"):
        train([*members("t")[:1], *members("t", **{"gan.width": 5})[1:]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_every_member_has_a_wandb_run_of_its_own(members, read_offline_run):
    trio = members("t")
    train(trio, tracking=TrackingConfig(mode="offline"))
    runs = [read_offline_run(member.path) for member in trio]
    assert len({run.run["run_id"] for run in runs}) == 3
    for run, folder in zip(runs, folders(trio), strict=True):
        assert run.exit_code == 0
        assert run.summary["status"] == "done"
        assert len(run.history) == len(list(folder.history()))
