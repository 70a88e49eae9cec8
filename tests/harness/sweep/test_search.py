from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import yaml

from ganbench.errors import UserError
from harness.config import resolve, trial_id
from harness.store import TrialFolder
from harness.sweep.benchmark import read_metric
from harness.sweep.pruning import Pruning, pruner, read_early_terminate
from harness.sweep.search import Search, extends, initial, propose, value
from harness.sweep.spec import read_spec

SPEC = """
method: random
metric: {name: best/fid, goal: minimize}
parameters:
  gan: {values: [nonsaturating, wgan, wgan-gp]}
  dataset: {value: digits}
  gan.lr_generator: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  gan.penalty_weight: {min: 0.0, max: 10.0}
  gan.n_critic: {values: [1, 5]}
"""


@pytest.fixture
def read(tmp_path):
    def read_text(benchmark: str, text: str = SPEC, **overrides):
        path = tmp_path / "some.yaml"
        path.write_text(text + benchmark)
        return read_spec(path, {key.replace("__", "."): given for key, given in overrides.items()})

    return read_text


def recipe(config):
    return config.model_dump(exclude={"seed"}) | {"gan": config.gan.model_dump(exclude={"name"})}


def drive(search: Search, trials, score, at_once=1):
    """What a scheduler does: run what is known, then ask; returns the trials in the order in which they were added."""
    manifest, scores, waiting = list(trials), {}, list(trials)
    running = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0))
        ended = running.pop(0)
        scores[trial_id(ended)] = score(ended)
        while len(running) + len(waiting) < at_once:
            finished = [(c, scores[trial_id(c)]) for c in manifest if trial_id(c) in scores]
            found = propose(search, finished, [*running, *waiting])
            if found is None:
                break
            assert trial_id(found) not in map(trial_id, manifest)
            manifest.append(found)
            waiting.append(found)
    return manifest, scores


# --- random


def test_every_variant_gets_the_same_number_of_configurations_and_the_same_draws(read):
    spec = read("benchmark: {configurations: 5, seeds: [3, 4], images: 5000, protocol: {n_fake: 500}}")
    assert spec.search is None
    assert len(spec.trials) == spec.planned == 30
    assert len({trial_id(config) for config in spec.trials}) == 30
    assert Counter((c.gan.name, c.seed) for c in spec.trials) == {
        (name, seed): 5 for name in ("nonsaturating", "wgan", "wgan-gp") for seed in (3, 4)
    }
    assert {(c.images, c.evaluation.n_fake) for c in spec.trials} == {(5000, 500)}
    draws = {
        name: [(c.gan.lr_generator, c.gan.penalty_weight, c.gan.n_critic) for c in spec.trials if c.gan.name == name]
        for name in ("nonsaturating", "wgan", "wgan-gp")
    }
    assert draws["nonsaturating"] == draws["wgan"] == draws["wgan-gp"]
    assert len(set(draws["wgan"])) == 5


def test_seeds_are_slowest_and_variants_fastest(read):
    trials = read("benchmark: {configurations: 2, seeds: 2}").trials
    assert [c.seed for c in trials] == [0] * 6 + [1] * 6
    assert [c.gan.name for c in trials] == ["nonsaturating", "wgan", "wgan-gp"] * 4
    assert [recipe(c)["gan"]["lr_generator"] for c in trials[:3]] == [trials[0].gan.lr_generator] * 3


def test_draws_follow_from_the_seed_alone_and_more_only_adds(read):
    few, many = read("benchmark: {configurations: 3}").trials, read("benchmark: {configurations: 8}").trials
    assert few == read("benchmark: {configurations: 3}").trials
    assert many[: len(few)] == few
    assert read("benchmark: {configurations: 3, search_seed: 1}").trials != few
    capped, longer = read("run_cap: 4").trials, read("run_cap: 9").trials
    assert longer[:4] == capped


def test_another_parameter_changes_no_draw_of_the_others(read):
    more = SPEC + "  gan.beta1: {min: 0.0, max: 0.9}\n"
    old, new = read("run_cap: 6"), read("run_cap: 6", text=more)
    assert [c.gan.lr_generator for c in old.trials] == [c.gan.lr_generator for c in new.trials]
    assert [c.gan.name for c in old.trials] == [c.gan.name for c in new.trials]


def test_without_a_benchmark_block_the_variant_is_drawn_too(read):
    names = Counter(c.gan.name for c in read("run_cap: 60").trials)
    assert set(names) == {"nonsaturating", "wgan", "wgan-gp"}
    assert len(set(names.values())) > 1


def test_the_draws_are_those_of_the_distribution(read):
    trials = read("run_cap: 400").trials
    logs = [math.log10(c.gan.lr_generator) for c in trials]
    assert all(-4 <= number <= -2 for number in logs)
    for decile in range(1, 10):  # three standard deviations of a count's share
        share = sum(number < -4 + 0.2 * decile for number in logs) / len(logs)
        assert share == pytest.approx(decile / 10, abs=3 * math.sqrt(0.25 / len(logs)))


def test_overrides_hold_for_every_trial(read):
    trials = read("benchmark: {configurations: 3, seeds: 2}", gan__n_critic=2, seed=7).trials
    assert {(c.gan.n_critic, c.seed) for c in trials} == {(2, 7)}
    assert len(trials) == 9
    one = read("benchmark: {configurations: 3, seeds: 2}", gan__name="sngan").trials
    assert {c.gan.name for c in one} == {"sngan"}
    assert len(one) == 6


def test_a_space_that_is_used_up_is_said_to_be(read):
    text = SPEC.split("  gan.lr_generator")[0] + "  gan.n_critic: {values: [1, 5]}\n"
    assert len(read("benchmark: {configurations: 2}", text=text).trials) == 6
    with pytest.raises(UserError, match="the parameters hold 2 different configurations, not 3"):
        read("benchmark: {configurations: 3}", text=text)


# --- Bayesian


def fit(config):
    """Best at a learning rate of 0.001 and one critic step."""
    return abs(math.log10(config.gan.lr_generator) + 3) + config.gan.n_critic / 5


def bayes(read, benchmark, **overrides):
    return read(f"benchmark: {benchmark}", text=SPEC.replace("random", "bayes"), **overrides)


def test_a_bayesian_search_is_reproducible_fair_and_ends(read):
    spec = bayes(read, "{configurations: 9, seeds: 2}")
    assert len(spec.trials) == 18  # three warm-ups of three variants with two seeds
    manifest, _ = drive(spec.search, spec.trials, fit)
    assert len(manifest) == spec.planned == 54
    assert Counter((c.gan.name, c.seed) for c in manifest) == {
        (name, seed): 9 for name in ("nonsaturating", "wgan", "wgan-gp") for seed in (0, 1)
    }
    again, _ = drive(Search.from_json(json.loads(json.dumps(spec.search.as_json()))), spec.trials, fit)
    assert again == manifest
    parallel, _ = drive(spec.search, spec.trials, fit, at_once=4)
    assert Counter(c.gan.name for c in parallel) == Counter(c.gan.name for c in manifest)


def test_a_bayesian_search_learns(read):
    spec = bayes(read, "{configurations: 30}", gan__name="wgan")
    manifest, scores = drive(spec.search, spec.trials, fit)
    first, last = manifest[:10], manifest[-10:]
    assert sum(map(fit, last)) < 0.6 * sum(map(fit, first))
    assert [c.gan.n_critic for c in last].count(1) >= 7
    assert min(scores.values()) < 0.25


def test_a_higher_score_can_be_the_better_one(read):
    text = SPEC.replace("random", "bayes").replace("best/fid, goal: minimize", "best/recall, goal: maximize")
    spec = read("benchmark: {configurations: 30}", text=text, gan__name="wgan")
    manifest, _ = drive(spec.search, spec.trials, lambda config: -fit(config))
    assert sum(map(fit, manifest[-10:])) < 0.6 * sum(map(fit, manifest[:10]))


def test_what_failed_is_avoided(read):
    spec = bayes(read, "{configurations: 30}", gan__name="wgan")
    manifest, _ = drive(spec.search, spec.trials, lambda c: None if c.gan.n_critic == 5 else fit(c))
    assert [c.gan.n_critic for c in manifest[-10:]].count(1) >= 7
    assert len(drive(spec.search, spec.trials, lambda c: None)[0]) == 30


def test_the_search_ends_at_the_target_or_when_the_space_is_used_up(read):
    text = SPEC.replace("random", "bayes").replace("minimize}", "minimize, target: 0.5}")
    spec = read("run_cap: 200", text=text)
    manifest, scores = drive(spec.search, spec.trials, fit)
    assert len(manifest) < 200
    assert min(scores.values()) <= 0.5
    discrete = SPEC.replace("random", "bayes").split("  gan.lr_generator")[0] + "  gan.n_critic: {min: 1, max: 5}\n"
    spec = read("run_cap: 30", text=discrete)
    assert len(drive(spec.search, spec.trials, fit)[0]) == 15


# --- the three phases


def test_the_study_of_lucic_et_al(read):
    spec = read("benchmark: {configurations: 8, seeds: 3, phases: [wide, narrow, best]}")
    assert (len(spec.trials), spec.planned) == (24, 45)
    assert {c.seed for c in spec.trials} == {0}
    manifest, scores = drive(spec.search, spec.trials, fit, at_once=2)
    assert len(manifest) == 45
    for name in ("nonsaturating", "wgan", "wgan-gp"):
        own = [c for c in manifest if c.gan.name == name]
        wide, narrow, best = own[:8], own[8:12], own[12:]
        centre = min(wide, key=fit)
        half = 2 * 0.25  # decades: a quarter of the two, around the best
        low = min(max(math.log10(centre.gan.lr_generator) - half / 2, -4), -2 - half)
        assert all(low - 1e-5 <= math.log10(c.gan.lr_generator) <= low + half + 1e-5 for c in narrow)
        quarter = sorted(wide, key=fit)[:2]
        assert {c.gan.n_critic for c in narrow} <= {c.gan.n_critic for c in quarter}
        winner = min(wide + narrow, key=lambda c: scores[trial_id(c)])
        assert [c.seed for c in best] == [1, 2, 3]
        assert [c.model_copy(update={"seed": 0}) for c in best] == [winner] * 3


def test_the_same_results_give_the_same_study_however_many_run_at_once(read):
    spec = read("benchmark: {configurations: 4, seeds: 2, phases: [wide, narrow, best]}")
    one, four = (drive(spec.search, spec.trials, fit, at_once=jobs)[0] for jobs in (1, 4))
    assert {trial_id(c) for c in one} == {trial_id(c) for c in four}


def test_a_phase_waits_for_the_one_before_it(read):
    spec = read("benchmark: {configurations: 2, seeds: 2, phases: [wide, narrow, best]}", gan__name="wgan")
    first, second = spec.trials
    assert propose(spec.search, [(first, 1.0)], [second]) is None
    ended = [(first, 1.0), (second, 2.0)]
    narrow = propose(spec.search, ended, [])
    assert narrow.seed == 0
    assert propose(spec.search, ended, [narrow]) is None
    assert propose(spec.search, [*ended, (narrow, 3.0)], []) == first.model_copy(update={"seed": 1})


def test_a_variant_that_always_fails_stops_no_other(read):
    spec = read("benchmark: {configurations: 4, seeds: 2, phases: [wide, narrow, best]}")
    manifest, _ = drive(spec.search, spec.trials, lambda c: None if c.gan.name == "wgan" else fit(c))
    assert Counter(c.gan.name for c in manifest) == {"nonsaturating": 8, "wgan": 6, "wgan-gp": 8}


def test_a_longer_study_extends_a_shorter_one(read):
    short = read("benchmark: {configurations: 4, seeds: 2, phases: [wide, best]}")
    manifest, scores = drive(short.search, short.trials, fit)
    long = read("benchmark: {configurations: 6, seeds: 3, phases: [wide, best]}")
    assert extends(long.search, short.search)
    assert not extends(short.search, long.search)
    new = [c for c in long.trials if trial_id(c) not in scores]
    assert len(new) == 6  # two more for each of three
    finished = [(c, scores[trial_id(c)]) for c in manifest]
    assert propose(long.search, finished, new) is None
    finished += [(c, fit(c)) for c in new]
    following = propose(long.search, finished, [])
    assert following.seed in (1, 2, 3)


def test_another_search_extends_nothing(read):
    held = bayes(read, "{configurations: 4, seeds: 2}").search
    assert extends(bayes(read, "{configurations: 5, seeds: 2}").search, held)
    assert not extends(bayes(read, "{configurations: 5, seeds: 2, search_seed: 1}").search, held)
    assert not extends(bayes(read, "{configurations: 5}").search, held)
    assert not extends(bayes(read, "{configurations: 5, seeds: 2, images: 9000}").search, held)


def test_a_trial_is_judged_on_the_selection_split(read, tmp_path):
    folder = TrialFolder(tmp_path / "trial")
    for images, fid in ((0, 9.0), (10, 2.0), (20, 3.0), (30, None)):
        folder.append_history(
            {"kind": "scores", "images": images, "split": "selection", "scores": {"fid": {"value": fid}}}
        )
        folder.append_history({"kind": "train", "images": images, "loss/generator": 0.1})
    folder.append_history({"kind": "scores", "images": 30, "split": "test", "scores": {"fid": {"value": 1.0}}})
    search = bayes(read, "{configurations: 4}").search
    assert value(search, folder) == 2.0
    assert read_metric({"name": "final/fid"}).read(folder.history()) == 3.0
    assert read_metric({"name": "scores/fid"}).read(folder.history()) == 3.0
    assert read_metric({"name": "best/recall", "goal": "maximize"}).read(folder.history()) is None


def test_initial_needs_no_results(read):
    spec = bayes(read, "{configurations: 6, seeds: 2}")
    assert initial(spec.search) == spec.trials


# --- pruning


def sibling(sweep: Path, key: str, scores, gan="wgan", seed=0):
    folder = TrialFolder(sweep / "trials" / key)
    config = resolve({"gan": gan, "dataset": "digits", "seed": seed})
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.config_file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    for look, fid in enumerate([99.0, *scores]):  # the untrained one first
        row = {"kind": "scores", "images": look * 100, "split": "selection", "scores": {"fid": {"value": fid}}}
        folder.append_history(row)
        folder.append_history({"kind": "train", "images": look * 100 + 1, "loss/discriminator": 1.0})


@pytest.mark.parametrize(
    ("block", "brackets"),
    [
        ("min_iter: 3", (3, 9, 27, 81, 243, 729, 2187, 6561)),  # the examples of W&B's documentation
        ("max_iter: 27, s: 2", (3, 9)),
        ("max_iter: 5, s: 2, eta: 2", (1, 2)),
        ("max_iter: 5, s: 9, eta: 2", (1, 2)),
        ("max_iter: 26, s: 2", (2, 8)),
    ],
)
def test_brackets_are_wandbs(block, brackets):
    found = read_early_terminate(yaml.safe_load(f"{{type: hyperband, {block}}}"))
    assert found.brackets == brackets
    assert Pruning.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_decisions_in_a_hand_worked_bracket(tmp_path):
    # eta 3, brackets at 1 and 3 looks. Of n that came to a bracket, n // 3 go on (at least one): by Optuna's rule.
    rule = Pruning((1, 3), strict=True)
    decide = pruner(rule, tmp_path, "me")
    sibling(tmp_path, "me", [])
    assert decide(100, 50.0) is None  # the first to come goes on
    sibling(tmp_path, "a", [10.0])
    assert decide(100, 9.0) is None  # best of two
    assert decide(100, 11.0) == "fid 11 after 1 look is not among the best 1/3 of 2 trials"
    for key, fid in (("b", 20.0), ("c", 30.0), ("d", 40.0), ("e", 50.0)):
        sibling(tmp_path, key, [fid])
    assert decide(100, 15.0) is None  # the second of six: 6 // 3 go on
    assert decide(100, 20.5) is not None  # the third of six
    sibling(tmp_path, "f", [5.0, 5.0, 5.0])
    assert decide(100, 9.0) is None  # the second of seven
    sibling(tmp_path, "me", [15.0, 4.9])
    assert decide(200, 99.0) is None  # no bracket at two looks
    assert decide(300, 4.0) is None  # better than f, the only one that came to three
    assert "after 3 looks" in decide(300, 6.0)


def test_only_strict_forgets_a_better_score_on_the_way(tmp_path):
    sibling(tmp_path, "a", [10.0, 10.0, 10.0])
    sibling(tmp_path, "me", [20.0, 8.0])
    assert pruner(Pruning((3,), strict=True), tmp_path, "me")(300, 12.0) is not None
    assert pruner(Pruning((3,), strict=False), tmp_path, "me")(300, 12.0) is None


def test_the_present_look_counts_once_whether_or_not_it_is_written(tmp_path):
    sibling(tmp_path, "a", [10.0, 10.0])
    sibling(tmp_path, "me", [20.0, 20.0])
    decide = pruner(Pruning((2,)), tmp_path, "me")
    assert decide(200, 20.0) is not None
    assert decide(300, 20.0) is None


def test_a_fair_comparison_prunes_within_a_variant_and_spares_the_last_phase(tmp_path):
    sibling(tmp_path, "a", [10.0], gan="lsgan")
    sibling(tmp_path, "me", [])
    assert pruner(Pruning((1,), per_variant=True), tmp_path, "me")(100, 50.0) is None
    sibling(tmp_path, "b", [10.0])
    reason = pruner(Pruning((1,), per_variant=True), tmp_path, "me")(100, 50.0)
    assert reason == "fid 50 after 1 look is not among the best 1/3 of 2 wgan trials"
    sibling(tmp_path, "final", [], seed=4)
    assert pruner(Pruning((1,), only_seed=0), tmp_path, "final")(100, 50.0) is None


def test_a_score_that_could_not_be_taken_is_the_worst(tmp_path):
    sibling(tmp_path, "a", [None])
    sibling(tmp_path, "b", [math.nan])
    sibling(tmp_path, "me", [])
    assert pruner(Pruning((1,)), tmp_path, "me")(100, 50.0) is None
    assert pruner(Pruning((1,)), tmp_path, "me")(100, math.nan) is not None


def test_a_torn_line_is_left_out_and_a_grown_file_read_again(tmp_path):
    sibling(tmp_path, "me", [])
    sibling(tmp_path, "a", [])
    history = tmp_path / "trials" / "a" / "history.jsonl"
    row = json.dumps({"kind": "scores", "images": 100, "split": "selection", "scores": {"fid": {"value": 1.0}}})
    with history.open("a") as file:
        file.write(row[:40])
    decide = pruner(Pruning((1,)), tmp_path, "me")
    assert decide(100, 50.0) is None
    with history.open("a") as file:
        file.write(row[40:] + "\n")
    assert decide(100, 50.0) is not None


def test_a_thousand_siblings_are_read_once(tmp_path, monkeypatch):
    for number in range(1000):
        sibling(tmp_path, f"{number:04d}", [float(number)])
    sibling(tmp_path, "me", [])
    decide = pruner(Pruning((1,)), tmp_path, "me")
    assert decide(100, 331.5) is None  # the 333rd of 1001, of which 1001 // 3 = 333 go on
    assert decide(100, 332.5) is not None
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: opened.append(path) or real(path, *args, **kwargs))
    assert decide(100, 900.0) is not None
    assert opened == []


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("[]", "early_terminate must be as W&B has it"),
        ("{type: hyperbond, min_iter: 1}", "unknown type of early_terminate 'hyperbond': did you mean 'hyperband'?"),
        ("{type: hyperband, min_itr: 1}", "unknown key of early_terminate 'min_itr': did you mean 'min_iter'?"),
        ("{type: hyperband}", "give either min_iter, or max_iter and s"),
        ("{type: hyperband, max_iter: 9}", "give either min_iter, or max_iter and s"),
        ("{type: hyperband, min_iter: 0}", "min_iter must be a whole number from 1, got 0"),
        ("{type: hyperband, min_iter: 1, eta: 1.5}", "eta must be a whole number from 2, got 1.5"),
        ("{type: hyperband, min_iter: 1, strict: 1}", "strict must be true or false, got 1"),
        ("{type: hyperband, max_iter: 2, s: 1}", "max_iter 2 is below eta 3, so there is no bracket"),
    ],
)
def test_a_mistake_in_early_terminate_is_one_sentence(block, message):
    with pytest.raises(UserError) as caught:
        read_early_terminate(yaml.safe_load(block))
    assert message in str(caught.value)
