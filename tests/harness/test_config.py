from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ganbench.errors import UserError
from gans.catalogue import VARIANTS, preset
from gans.recipe import Recipe
from harness.config import (
    OPTIONS,
    TrackingConfig,
    merge,
    resolve,
    trial_id,
)
from harness.config_text import load_config_file, parse_assignments
from harness.precheck import check_names

BASE = {"gan": "wgan-gp", "dataset": "digits"}


def with_(**changes: object) -> dict[str, object]:
    return {**BASE, **{key.replace("__", "."): value for key, value in changes.items()}}


# --- resolution


@pytest.mark.parametrize("name", VARIANTS.names())
@pytest.mark.parametrize("which", ["common", "author"])
def test_every_option_comes_from_the_preset(name, which):
    config = resolve({"gan": name, "gan.preset": which, "dataset": "digits"})
    assert config.gan.recipe() == preset(name, which)
    assert type(config.gan.recipe()) is Recipe
    assert (config.gan.name, config.gan.preset) == (name, which)


def test_what_is_given_wins_over_the_preset_and_only_there():
    config = resolve(with_(gan__n_critic=2, network="dcgan"))
    assert config.gan.recipe() == preset("wgan-gp").model_copy(update={"n_critic": 2, "network": "dcgan"})


@pytest.mark.parametrize(
    "raw",
    [
        {"gan": "sngan", "gan.n_critic": 3, "dataset": "digits", "evaluation.k": 4},
        {"gan": {"name": "sngan", "n_critic": 3}, "data": {"name": "digits"}, "evaluation": {"k": 4}},
        {"gan.name": "sngan", "gan": {"n_critic": 3}, "data.name": "digits", "evaluation": {"k": 4}},
    ],
)
def test_nested_dotted_and_short_keys_mean_the_same(raw):
    config = resolve(raw)
    assert (config.gan.name, config.gan.n_critic, config.data.name, config.evaluation.k) == ("sngan", 3, "digits", 4)
    assert trial_id(config) == trial_id(resolve({**BASE, "gan": "sngan", "gan.n_critic": 3, "evaluation.k": 4}))


def test_resolving_a_dump_changes_nothing():
    config = resolve(with_(evaluation__metrics=["fid"], images=5000, data__size=16))
    assert resolve(config.model_dump()) == config
    assert resolve(config.model_dump(mode="json")) == config
    assert set(merge(config.model_dump())) == set(OPTIONS)


def test_a_trials_own_files_are_read_where_its_variants_package_is_not_installed():
    dump = resolve(BASE).model_dump(mode="json")
    dump["gan"]["name"] = "of-another-package"
    config = resolve(dump)
    assert config.model_dump(mode="json") == dump
    with pytest.raises(UserError, match="unknown variant 'of-another-package'"):  # to train it, it must be
        check_names(config)
    with pytest.raises(UserError, match="unknown variant 'of-another-package'"):
        resolve({**BASE, "gan": "of-another-package"})


@pytest.mark.parametrize(("images", "every"), [(20_000, 2000), (1000, 100), (320, 64)])
def test_scoring_interval_is_a_tenth_of_the_budget_but_a_batch_at_least(images, every):
    assert resolve(with_(images=images)).evaluation.every == every
    assert trial_id(resolve(with_(images=images))) == trial_id(resolve(with_(images=images, evaluation__every=every)))


def test_a_resolved_config_is_immutable():
    config = resolve(BASE)
    with pytest.raises(ValidationError, match="frozen"):
        config.gan.n_critic = 7


# --- mistakes


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (with_(gan__n_critics=5), "unknown option 'gan.n_critics': did you mean 'gan.n_critic'?"),
        (with_(n_critic=5), "unknown option 'n_critic': did you mean 'gan.n_critic'?"),
        (with_(n_critics=5), "unknown option 'n_critics': did you mean 'gan.n_critic'?"),
        (with_(imags=5), "unknown option 'imags': did you mean 'images'?"),
        (with_(images={"a": 5}), "unknown option 'images.a': did you mean 'images'?"),
        (with_(zzz=5), "unknown option 'zzz': known are images, seed, "),
        (with_(data=5), "option 'data' is a group: give one of data.name, data.size, data.n, data.seed"),
        ({3: 4}, "option 3: an option's name is text"),
        (with_(gan__name="wgan"), 'option gan.name is given twice, as "wgan-gp" and as "wgan": keep one'),
        (with_(images=0), "images must be at least 1: got 0"),
        (with_(images=2.5), "images must be a whole number: got 2.5"),
        (with_(images="many"), 'images must be a whole number: got "many"'),
        (with_(images={}), "images must be a whole number: got {}"),
        (with_(images=None), "images must be a whole number: got null"),
        (with_(seed=True), "seed must be a whole number: got true"),
        (with_(seed=-1), "seed must be at least 0: got -1"),
        (with_(gan__clip=0), "gan.clip must be above 0: got 0"),
        (with_(gan__beta1=1), "gan.beta1 must be below 1: got 1"),
        (with_(gan__fade_share=1.5), "gan.fade_share must be at most 1: got 1.5"),
        (with_(gan__lr_generator="fast"), 'gan.lr_generator must be a number: got "fast"'),
        (with_(gan__lsgan_a=float("nan")), "gan.lsgan_a must be a finite number: got NaN"),
        (with_(gan__objective="hing"), "gan.objective must be 'minimax', 'nonsaturating',"),
        (with_(gan__preset="mine"), "gan.preset must be 'common' or 'author': got \"mine\""),
        (with_(dataset=7), "data.name must be text: got 7"),
        (with_(evaluation__metrics="fid"), 'evaluation.metrics must be a list, such as [fid, kid]: got "fid"'),
        (with_(evaluation__metrics=[]), "evaluation.metrics must name at least one: got []"),
        (with_(gan="wgna"), "unknown variant 'wgna': did you mean 'wgan'?"),
        ({"gan": "wgan"}, "option data.name is missing: give it as dataset="),
        ({"dataset": "digits"}, "option gan.name is missing: give it as gan="),
        (
            with_(images=319, gan__batch_size=64, gan__n_critic=5),
            "pays for no round of the game: one shows gan.batch_size 64 × gan.n_critic 5 = 320",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_the_key(raw, message):
    with pytest.raises(UserError) as caught:
        resolve(raw)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_round_is_enough():
    assert resolve(with_(images=320)).images == 320


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gan.network": "dcgna"}, "unknown network 'dcgna': did you mean 'dcgan'?"),
        ({"dataset": "digit"}, "unknown dataset 'digit': did you mean 'digits'?"),
        ({"evaluation.metrics": ["fid", "fdi"]}, "unknown metric 'fdi': did you mean 'fid'?"),
        ({"evaluation.features": "incepton"}, "did you mean 'inception'?"),
        ({"evaluation.weights": "/no/such.pt"}, "evaluation.weights: no file at /no/such.pt"),
    ],
)
def test_names_are_checked_before_anything_starts(changes, message):
    check_names(resolve(BASE))
    with pytest.raises(UserError) as caught:
        check_names(resolve({**BASE, **changes}))
    assert message in str(caught.value)


def test_a_dataset_may_be_a_path(tmp_path):
    check_names(resolve({**BASE, "dataset": str(tmp_path)}))


# --- identity

values = st.fixed_dictionaries(
    {"gan.n_critic": st.integers(1, 5), "images": st.integers(1000, 10**6), "gan.clip": st.floats(1e-6, 1e3)},
    optional={"evaluation.k": st.integers(1, 9), "data.size": st.sampled_from([8, 16]), "seed": st.integers(0, 9)},
)


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_change_the_id(changes, random):
    items = [*{**BASE, **changes}.items()]
    expected = trial_id(resolve(dict(items)))
    random.shuffle(items)
    assert trial_id(resolve(dict(items))) == expected


@given(values, st.integers(0, 2**31), st.integers(0, 2**31))
def test_the_seed_changes_the_id(changes, one, other):
    ids = {trial_id(resolve({**BASE, **changes, "seed": seed})) for seed in (one, other)}
    assert len(ids) == len({one, other})


def test_equal_numbers_are_one_trial_and_ids_do_not_move():
    assert trial_id(resolve(with_(gan__penalty_weight=10))) == trial_id(resolve(with_(gan__penalty_weight=10.0)))
    assert trial_id(resolve(BASE)) == trial_id(resolve(with_(images=20_000, seed=0, gan__preset="common")))
    assert len(trial_id(resolve(BASE))) == 12


def test_tracking_is_no_part_of_a_trial():
    assert not any(option.rpartition(".")[2] in TrackingConfig.model_fields for option in OPTIONS)
    with pytest.raises(UserError, match=r"unknown option 'tracking\.mode'"):
        resolve(with_(tracking__mode="offline"))


# --- text


def test_assignments_are_yaml():
    raw = parse_assignments(["gan=wgan", "gan.clip=1e-2", "data.size=16", "evaluation.metrics=[fid, kid]", "data.n="])
    assert raw == {
        "gan.name": "wgan",
        "gan.clip": 0.01,
        "data.size": 16,
        "evaluation.metrics": ["fid", "kid"],
        "data.n": None,
    }


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["images"], "'images' is no key=value: write for example gan.n_critic=5"),
        (["=5"], "'=5' is no key=value"),
        (["images=[1"], "option images: malformed YAML"),
        (["images=!!python/object/apply:os.getcwd []"], "option images: malformed YAML"),
        (["gan=a\x00"], "option gan: malformed YAML"),
        (["data.name=2020-13-45"], "option data.name: malformed YAML"),
        (["seed=1", "seed=2"], "option seed is given twice"),
        (["gan=wgan", "gan.name=wgan"], "option gan.name is given twice"),
        (["sead=1"], "did you mean 'seed'?"),
    ],
)
def test_malformed_assignments(assignments, message):
    with pytest.raises(UserError) as caught:
        parse_assignments(assignments)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "+1e-4", "1.e-4", "1.0e-4", "0.0001", ".1e-3"])
def test_numbers_with_exponents_are_numbers(text):
    assert parse_assignments([f"gan.clip={text}"]) == {"gan.clip": pytest.approx(1e-4)}


def test_later_layers_win_under_any_spelling():
    merged = merge({"gan": {"name": "wgan", "clip": 0.1}}, {"gan.clip": 0.2}, {"gan": "sngan"})
    assert merged == {"gan.name": "sngan", "gan.clip": 0.2}


def test_a_config_file_round_trips(tmp_path):
    import yaml

    path = tmp_path / "config.yaml"
    config = resolve(with_(gan__lr_generator=1e-5, evaluation__metrics=["fid"]))
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert resolve(load_config_file(path)) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n", "holds no options: write 'key: value' lines"),
        (b"", "holds no options"),
        (b"a: 1\nb: [\n", ", line 3: malformed YAML"),
        (b"gan: wgan\nseed: 1\nseed: 2\n", ", line 3: malformed YAML (the key 'seed' is given twice)"),
        (b"\xff\xfe\xff", "cannot be read: it is no UTF-8 text"),
        (b"gan: wgan\nimgs: 3\n", "config.yaml: unknown option 'imgs'"),
    ],
)
def test_config_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_config_file(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_config_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        load_config_file(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load_config_file(tmp_path)


def test_nothing_heavy_is_imported():
    code = (
        "import sys, harness.config as c, harness.precheck as p, harness.sweep.scheduler;"
        "p.check_names(c.resolve({'gan': 'wgan', 'dataset': 'digits', 'evaluation.features': 'digits'}));"
        "print(sys.modules.keys() & {'torch', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'wandb'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
