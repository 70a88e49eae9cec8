"""Trials whose networks grow in phases of their own lengths, with batches of their own sizes."""

from __future__ import annotations

import pytest
import torch

import gans
from ganbench.errors import UserError
from gans.shards import check_divisible
from harness.precheck import check_sweep
from harness.store import TrialFolder, load_checkpoint
from harness.trial import rounds
from harness.trial.game import new_gan

STAGED = {
    "images": 256,
    "gan.stage_batches": [[8, 8]],
    "gan.stabilise_images": 96,
    "gan.fade_images": 64,
    "gan.ramp_images": 32,
    "gan.reset_optimizers": True,
    "gan.generator_batch": 12,
    "gan.latent_dim": 8,
    "evaluation.metrics": ["fid"],
    "evaluation.every": 128,
}
"""On 8×8 digits: 6 rounds of 16 images at 4×4, then 20 of 8 at 8×8."""


class Killed(BaseException):
    """What SIGKILL is to a process, for this one: nothing is written after it."""


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key not in {"seconds", "history"})
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.fixture(scope="module")
def whole(tiny, train, tmp_path_factory):
    folder = TrialFolder(tmp_path_factory.mktemp("growing") / "whole")
    train(tiny("progressive", **STAGED), folder.path)
    return folder


def test_the_budget_is_counted_in_images_whatever_the_batches(whole):
    assert whole.status()["images"] == 256
    assert whole.status()["d_steps"] == whole.status()["g_steps"] == 26
    assert [row["images"] for row in whole.history() if row["kind"] == "scores"] == [0, 128, 256]


@pytest.mark.parametrize("number", [5, 6, 7, 10])
def test_a_trial_killed_around_a_stages_beginning_ends_with_the_same_bits(
    number, whole, tiny, train, tmp_path, monkeypatch
):
    step = gans.GAN.generator_step

    def killed(self) -> None:
        if self.counters.g_steps == number:
            raise Killed
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "CHUNK_NUMBERS", 1)
        patch.setattr(gans.GAN, "generator_step", killed)
        with pytest.raises(Killed):
            train(tiny("progressive", **STAGED), tmp_path / "t", checkpoint_seconds=0)
    folder = TrialFolder(tmp_path / "t")
    shown = load_checkpoint(folder.checkpoint_file("last"))["model"]["_extra_state"]["images"]
    assert shown == min(number, 6) * 16 + max(number - 6, 0) * 8
    train(tiny("progressive", **STAGED), folder.path)
    assert folder.scores_file.read_bytes() == whole.scores_file.read_bytes()
    ends = [load_checkpoint(one.checkpoint_file("last")) for one in (folder, whole)]
    assert same(ends[0]["model"], ends[1]["model"])
    assert same(ends[0]["optimizers"], ends[1]["optimizers"])


def test_a_budget_that_ends_before_the_networks_have_grown_is_refused(tiny, train, tmp_path):
    config = tiny("progressive", **{**STAGED, "images": 159})
    sentence = r"images=159 ends before the networks have grown to 8×8, which takes 160 "
    with pytest.raises(UserError, match=sentence):
        train(config, tmp_path / "t")
    assert not (tmp_path / "t").exists()
    with pytest.raises(UserError, match=sentence):
        check_sweep([tiny("vanilla"), config])


def test_a_first_stage_that_shows_more_than_the_budget_is_refused(tiny, train, tmp_path):
    config = tiny("progressive", **{"images": 40, "gan.batch_size": 16, "gan.stage_batches": [[4, 64]]})
    with pytest.raises(UserError, match="images=40 pays for no round"):
        train(config, tmp_path / "t")


def test_a_batch_that_ranks_cannot_share_is_refused_by_its_option(tiny):
    config = tiny("progressive", **{**STAGED, "gan.stage_batches": [[8, 6]]})
    gan = new_gan(config, (1, 8, 8))
    assert gan.batch_sizes == {16: "gan.batch_size", 6: "gan.stage_batches: batch", 12: "gan.generator_batch"}
    with pytest.raises(UserError, match="batch=6 shared by 2 processes leaves no whole groups of 4"):
        check_divisible(6, 2, gan.discriminator, option=gan.batch_sizes[6])
