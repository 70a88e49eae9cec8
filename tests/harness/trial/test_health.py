"""What is called a problem, what is not, and what a trial does about it."""

from __future__ import annotations

import pytest
import torch

import gans
from gans.recipe import Recipe
from harness.config import HealthConfig, TrackingConfig, resolve, trial_id
from harness.store import TrialFolder
from harness.trial.endings import DivergedError, PrunedError
from harness.trial.health import BEGINNER_STEPS, Monitor

DOOMED = {"health.window": 1, "health.gradient_floor": 1e9}
"""Any gradient counts as vanished."""


def monitor(objective: str = "minimax", *, total: int = 1000, side: int | None = None, modes=None, **health) -> Monitor:
    constraint = "clip" if objective == "wasserstein" else "none"
    recipe = Recipe(objective=objective, constraint=constraint, start_size=4, fade_share=0.5)
    return Monitor(HealthConfig(**health), recipe, total_images=total, grown_side=side, modes=modes)


def gradient(images: int, norm: float) -> dict:
    return {"kind": "train", "images": images, "health/gradient_generator": norm}


def duel(images: int, real: float, fake: float, loss: float) -> dict:
    names = ("health/accuracy_real", "health/accuracy_fake", "loss/discriminator")
    return {"kind": "train", "images": images, **dict(zip(names, (real, fake, loss), strict=True))}


def look(images: int, **values: float | None) -> dict:
    return {"kind": "scores", "images": images, "scores": {name: {"value": value} for name, value in values.items()}}


def kinds(watch: Monitor, rows) -> list[tuple[str, int]]:
    old = {"kind": "train", "images": 0, "g_steps": BEGINNER_STEPS}
    return [(problem.kind, problem.images) for row in [old, *rows] for problem in watch.observe(row)]


# --- each detector


def test_a_gradient_has_vanished_when_a_whole_window_of_readings_is_below_the_floor():
    rows = [gradient(1, 0.0), gradient(2, 1.0), *(gradient(i, 1e-8) for i in range(3, 8))]
    rows.insert(5, {"kind": "train", "images": 5, "loss/generator": 0.0})  # a row without a reading
    rows.insert(6, look(5, recall=0.5))
    assert kinds(monitor(window=3), rows) == [("vanished-gradient", 5)]
    assert kinds(monitor(window=3), [gradient(i, 1e-7) for i in range(9)]) == []  # the floor itself is not below it
    assert kinds(monitor(window=3, gradient_floor=0), [gradient(i, 0.0) for i in range(9)]) == []


@pytest.mark.parametrize(
    ("row", "wins"),
    [((1, 1, 0.001), True), ((0.99, 0.99, 0.02), True), ((0.98, 1, 0.001), False), ((1, 1, 0.03), False)],
)
def test_a_critic_wins_when_it_is_right_about_both_sides_at_no_loss(row, wins):
    rows = [duel(i, *row) for i in range(4)]
    for objective in ("minimax", "nonsaturating", "hinge"):
        assert kinds(monitor(objective, window=3), rows) == ([("critic-wins", 2)] if wins else [])
    for objective in ("wasserstein", "least-squares"):
        assert kinds(monitor(objective, window=3), rows) == []


def test_one_defeat_ends_a_critics_run_of_wins():
    rows = [duel(0, 1, 1, 0), duel(1, 1, 1, 0), duel(2, 0.5, 1, 0), duel(3, 1, 1, 0), duel(4, 1, 1, 0)]
    assert kinds(monitor(window=3), rows) == []


def test_collapse_is_low_recall_or_few_modes_at_looks_in_a_row():
    recall = [look(300, recall=0.0), look(400, recall=0.2), *(look(i, recall=0.009) for i in (500, 600, 700, 800))]
    assert kinds(monitor(), recall) == [("collapse", 700)]
    modes = [look(i, modes=1.0) for i in (300, 400, 500)]
    assert kinds(monitor(modes=8), modes) == [("collapse", 500)]
    assert kinds(monitor(), modes) == []  # nobody knows how many there are
    assert kinds(monitor(modes=8), [look(i, modes=2.0) for i in (300, 400, 500)]) == []
    assert kinds(monitor(), [look(i, recall=None) for i in (300, 400, 500)]) == []


def test_a_beginner_and_a_network_that_still_grows_have_not_collapsed():
    rows = [look(i, recall=0.0) for i in range(0, 1001, 100)]
    assert kinds(monitor(), rows) == [("collapse", 500)]  # the first look that counts is at 300
    assert kinds(monitor(grace=0), rows) == [("collapse", 200)]
    assert kinds(monitor(side=8), rows) == [("collapse", 1000)]  # grown at 750 of 1000
    assert kinds(monitor(side=32), rows) == []  # grown at 875: two looks are left


def test_who_has_hardly_begun_has_not_collapsed_either():
    def after(steps: int) -> list[tuple[str, int]]:
        return kinds(monitor(), [{"kind": "train", "images": 300, "g_steps": steps}, *looks])

    looks = [look(images, recall=0.0) for images in (400, 500, 600)]
    assert after(BEGINNER_STEPS) == [("collapse", 600)]
    assert after(BEGINNER_STEPS - 1) == []


def test_each_kind_is_named_once():
    watch = monitor(window=1)
    rows = [gradient(1, 0.0), duel(2, 1, 1, 0), gradient(3, 0.0), gradient(4, 1.0), gradient(5, 0.0), duel(6, 1, 1, 0)]
    assert kinds(watch, rows) == [("vanished-gradient", 1), ("critic-wins", 2)]
    assert watch.problems[0].as_json().keys() == {"kind", "images", "detail"}


# --- the config


def test_thresholds_at_their_defaults_leave_an_older_trial_its_id():
    raw = {"gan": "wgan", "dataset": "ring8", "images": 100_000}
    assert trial_id(resolve({**raw, "health.window": 10})) == trial_id(resolve(raw))
    assert trial_id(resolve({**raw, "health.stop": True})) != trial_id(resolve(raw))


# --- trials


@pytest.mark.parametrize(
    "gan", [pytest.param(gan, marks=[pytest.mark.slow] if gan == "progressive" else []) for gan in gans.names()[:8]]
)
def test_a_healthy_trial_has_no_problem(train, tmp_path, gan):
    quick = {"evaluation.generation_seeds": 2, "evaluation.n_fake": 200, "evaluation.metrics": ["fid", "recall"]}
    train(resolve({"gan": gan, "dataset": "digits", "images": 20_000, **quick}), tmp_path / "t")
    assert TrialFolder(tmp_path / "t").status()["problems"] == []


def test_a_problem_is_named_and_the_trial_goes_on(tiny, train, tmp_path):
    train(tiny(**DOOMED), tmp_path / "t")
    status = TrialFolder(tmp_path / "t").status()
    assert status["state"] == "done"
    (problem,) = status["problems"]
    assert (problem["kind"], problem["images"]) == ("vanished-gradient", 64)
    assert "gradient norm" in problem["detail"]


def test_a_trial_stops_at_a_problem_where_the_config_says_so(tiny, train, tmp_path):
    for _ in range(2):  # and again where it is taken up again
        with pytest.raises(DivergedError, match=r"gradient norm .* at 64 images"):
            train(tiny(**DOOMED, **{"health.stop": True}), tmp_path / "t")
        folder = TrialFolder(tmp_path / "t")
        assert folder.status()["state"] == "diverged"
        assert [problem["kind"] for problem in folder.status()["problems"]] == ["vanished-gradient"]
        assert not folder.scores_file.exists()
        assert [row["images"] for row in folder.history()][:2] == [0, 64]


@pytest.mark.parametrize("gan", ["vanilla", "nonsaturating"])
def test_a_sure_discriminator_leaves_minimax_no_gradient_and_nonsaturating_its_own(
    tiny, train, tmp_path, monkeypatch, gan
):
    """Real games whose discriminator cannot be wrong: the real samples are where no generator reaches."""
    step = gans.GAN.discriminator_step
    monkeypatch.setattr(gans.GAN, "discriminator_step", lambda self, real: step(self, real + 100))
    health = {"health.window": 3, "health.gradient_floor": 1e-5}
    sure = {"gan.lr_discriminator": 0.2, "images": 16 * 400, "evaluation.every": 16 * 100}
    train(tiny(gan, "ring8", **sure, **health), tmp_path / "t")
    found = {problem["kind"] for problem in TrialFolder(tmp_path / "t").status()["problems"]}
    assert "critic-wins" in found
    assert ("vanished-gradient" in found) == (gan == "vanilla")


def test_weights_that_are_no_numbers_are_found_before_they_are_scored(tiny, train, tmp_path, monkeypatch):
    average = gans.GAN._average

    def broken(self) -> None:
        average(self)
        if self.counters.g_steps == 6:
            with torch.no_grad():
                next(self.ema_generator.parameters()).view(-1)[0] = float("inf")

    monkeypatch.setattr(gans.GAN, "_average", broken)
    with pytest.raises(DivergedError, match=r"ema_generator\.\S+ holds NaN or infinite values at 128 images"):
        train(tiny(), tmp_path / "t")
    assert TrialFolder(tmp_path / "t").status()["problems"][0]["kind"] == "nan"


def test_a_pruned_trial_keeps_its_history_and_has_no_scores(tiny, train, tmp_path):
    asked = []

    def prune(images, value):
        asked.append((images, value))
        return "worse than the others" if images == 128 else None

    with pytest.raises(PrunedError, match="worse than the others"):
        train(tiny(), tmp_path / "t", prune=prune)
    folder = TrialFolder(tmp_path / "t")
    looks = [row for row in folder.history() if row["kind"] == "scores"]
    assert asked == [(row["images"], row["scores"]["fid"]["value"]) for row in looks[1:]]
    assert [row["images"] for row in looks] == [0, 64, 128]
    assert (folder.status()["state"], folder.status()["reason"]) == ("pruned", "worse than the others")
    assert not folder.scores_file.exists()
    assert not folder.error_file.exists()
    train(tiny(), folder.path, prune=lambda images, _: "too late" if images >= 256 else None)
    assert folder.status()["state"] == "done"


def test_wandb_is_alerted_once_though_a_trial_is_resumed(tiny, train, tmp_path, read_offline_run):
    def stop(facts) -> None:
        if facts["images"] == 192:
            raise SystemExit("enough")

    offline = TrackingConfig(mode="offline")
    with pytest.raises(SystemExit):
        train(tiny(**DOOMED), tmp_path / "t", progress=stop, tracking=offline)
    train(tiny(**DOOMED), tmp_path / "t", tracking=offline)
    run = read_offline_run(tmp_path / "t")
    assert [alert["title"] for alert in run.of("alert")] == ["vanilla seed 0: vanished-gradient"]
    assert run.summary["problems"] == "vanished-gradient"


def test_a_trial_that_stops_is_alerted_once_and_failed_in_wandb(tiny, train, tmp_path, read_offline_run):
    stops = tiny(**DOOMED, **{"health.stop": True})
    for _ in range(2):  # and not again where it is taken up again
        with pytest.raises(DivergedError):
            train(stops, tmp_path / "t", tracking=TrackingConfig(mode="offline"))
    run = read_offline_run(tmp_path / "t")
    assert [alert["title"] for alert in run.of("alert")] == ["vanilla seed 0: vanished-gradient"]
    assert (run.summary["status"], run.summary["problems"]) == ("diverged", "vanished-gradient")
    assert "gradient norm" in run.summary["reason"]


def test_what_the_last_look_finds_is_flagged_but_stops_nothing(tiny, train, tmp_path):
    images = 16 * BEGINNER_STEPS * 2
    once = {"images": images, "evaluation.every": images, "evaluation.metrics": ["fid", "recall"]}
    train(tiny(**once, **{"health.stop": True, "health.looks": 1, "health.recall_floor": 1.0}), tmp_path / "t")
    status = TrialFolder(tmp_path / "t").status()
    assert (status["state"], [problem["kind"] for problem in status["problems"]]) == ("done", ["collapse"])
    assert TrialFolder(tmp_path / "t").scores_file.exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [(["gan.lr_discriminator=1e30"], "diverged: loss/"), (["health.window=1", "health.gradient_floor=1e9"], "")],
)
def test_the_command_says_in_one_sentence_that_a_trial_diverged(ganbench, tiny_options, tmp_path, options, word):
    command = ["train", "--gan=vanilla", "--dataset=digits", "--wandb=disabled", "--device=cpu", f"--out={tmp_path}/t"]
    ended = ganbench(*command, *tiny_options, *options, "health.stop=true")
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert f"vanilla on digits seed 0 diverged: {word.removeprefix('diverged: ')}" in line
    assert ended.out == ""
