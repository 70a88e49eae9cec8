"""Stored features: found again by content alone, never believed when damaged, and never worth more than a result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from ganbench.errors import UserError
from harness import data
from harness.cache import entries, prune
from harness.config import EvaluationConfig
from harness.places import cache_folder
from harness.scoring import feature_store
from harness.scoring.evaluation import Evaluation
from harness.scoring.feature_store import CHUNK, FeatureStore, StoredExtractor
from metrics import Judge, features


class Slow:
    """A network that takes long enough to be worth storing, and counts what it sees."""

    name = "slow"
    kind = "images"
    weights_sha256: str | None = "a" * 64
    layer = "last"
    dim: int | None = 3
    classes: int | None = 2
    preprocessing: dict[str, object] = {"size": 8}  # noqa: RUF012

    def __init__(self) -> None:
        self.seen = 0
        self.stop_after = sys.maxsize

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        if self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(samples)
        flat = samples.reshape(len(samples), -1).astype(np.float32)
        return np.stack([flat.mean(1), flat.std(1), flat[:, 0]], 1), flat[:, :2]


@pytest.fixture(autouse=True)
def everything_is_worth_storing(monkeypatch):
    monkeypatch.setattr(feature_store, "WORTH_SECONDS", -1e9)


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore(tmp_path / "cache")


PROBE = 4


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)


def files(store: FeatureStore) -> list[Path]:
    return sorted(store.folder.glob("*.safetensors"))


# --- arrays


def test_arrays_come_back_as_they_were(store):
    arrays = {"x": np.arange(12, dtype=np.float32).reshape(3, 4).T, "n": np.array(7), "none": np.zeros((0, 3))}
    store.put({"what": "a"}, arrays)
    found = FeatureStore(store.folder).get({"what": "a"})
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        name: (array.dtype, array.shape) for name, array in arrays.items()
    }
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert store.get({"what": "b"}) is None
    assert store.notes == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other key", "other arrays", "text", "folder"])
def test_a_damaged_entry_is_computed_again_and_replaced(store, damage):
    key, other = {"what": "features", "n": 1}, {"what": "features", "n": 2}
    arrays = {"features": np.ones((50, 3), np.float32)}
    store.put(key, arrays)
    path = store.path(key)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-40])
    elif damage == "flipped":
        content[-7] ^= 1
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other key":
        store.put(other, arrays)
        store.path(other).replace(path)
    elif damage == "other arrays":  # a valid file whose checksum is that of other arrays
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = file.metadata()
        safetensors.numpy.save_file({"features": np.zeros((50, 3), np.float32)}, path, facts)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_text("not tensors")
    assert store.get(key) is None
    (note,) = store.notes
    assert str(path) in note
    assert "damaged" in note
    if damage != "folder":
        store.put(key, arrays)
        assert np.array_equal(store.get(key)["features"], arrays["features"])


@pytest.mark.skipif(os.getuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_costs_time_only(store):
    store.folder.mkdir()
    store.folder.chmod(0o500)
    assert store.keep({"what": "a"}, lambda: {"x": np.ones(3)})["x"].sum() == 3


def test_a_place_that_cannot_be_a_folder_costs_time_only(tmp_path):
    (tmp_path / "file").write_text("")
    store = FeatureStore(tmp_path / "file" / "cache")
    assert store.keep({"what": "a"}, lambda: {"x": np.ones(3)})["x"].sum() == 3
    assert store.get({"what": "a"}) is None
    assert "set GANBENCH_CACHE" in store.notes[0]


def test_quick_results_are_not_kept(store, monkeypatch):
    monkeypatch.setattr(feature_store, "WORTH_SECONDS", 0.2)
    store.keep({"what": "a"}, lambda: {"x": np.ones(3)})
    assert not store.folder.exists()


def test_the_folder_is_the_users_unless_told(monkeypatch, tmp_path):
    assert str(cache_folder()) == os.environ["GANBENCH_CACHE"]
    monkeypatch.delenv("GANBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ganbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "ganbench"


# --- features


def test_features_are_computed_once_and_have_the_same_bits(store):
    images, network = pictures(CHUNK + 70), Slow()
    first = StoredExtractor(network, store)(images)
    assert network.seen == len(images) + PROBE
    again = Slow()
    second = StoredExtractor(again, FeatureStore(store.folder))(images)
    assert again.seen == PROBE
    plain = Slow()(images)
    assert all(np.array_equal(a, b) and np.array_equal(a, c) for a, b, c in zip(first, second, plain, strict=True))
    assert len(files(store)) == 2


def test_an_interrupted_run_continues_where_it_was(store):
    images, network = pictures(3 * CHUNK), Slow()
    network.stop_after = PROBE + CHUNK + 100
    with pytest.raises(KeyboardInterrupt):
        StoredExtractor(network, store)(images)
    assert len(files(store)) == 1
    again, heard = Slow(), []
    result = StoredExtractor(again, store, lambda *done: heard.append(done))(images)
    assert again.seen == PROBE + 2 * CHUNK
    assert np.array_equal(result[0], Slow()(images)[0])
    assert heard[0] == (CHUNK + 64, 3 * CHUNK)
    assert heard[-1] == (3 * CHUNK, 3 * CHUNK)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"weights_sha256": "b" * 64},
        {"layer": "first"},
        {"preprocessing": {"size": 9}},
        {"images": pictures(50) ^ 1},
        {"images": pictures(50)[::-1]},
        {"code": "other"},
        {"torch": "0"},
        {"threads": 99},
        {"answer": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_nothing_stale_is_found(store, monkeypatch, change):
    StoredExtractor(Slow(), store)(pictures(50))
    network = Slow()
    images = change.pop("images", pictures(50))
    if "code" in change:
        monkeypatch.setattr(feature_store, "_code", lambda part: change["code"])
    elif "torch" in change:
        monkeypatch.setattr(feature_store, "_versions", lambda: {"torch": change["torch"]})
    elif "threads" in change:
        monkeypatch.setattr(torch, "get_num_threads", lambda: change["threads"])
    elif "answer" in change:  # code that the network calls has changed: nothing but its answers tells
        monkeypatch.setattr(Slow, "__call__", lambda self, x, call=Slow.__call__: [a + 1 for a in call(self, x)])
    for name, value in change.items():
        if hasattr(network, name):
            setattr(network, name, value)
    StoredExtractor(network, store)(images)
    assert network.seen == 50 + PROBE
    assert len(files(store)) == 2


def test_an_entry_of_wrong_shape_is_not_believed(store):
    images, network = pictures(50), StoredExtractor(Slow(), store)
    right = network(images)[0]
    (path,) = files(store)
    with safetensors.safe_open(path, framework="numpy") as file:
        key = feature_store.json.loads(file.metadata()["key"])
    for wrong in (
        {"features": right[:49], "logits": np.zeros((49, 2), np.float32)},
        {"features": right[:, :2], "logits": np.zeros((50, 2), np.float32)},
        {"features": right},
        {"feature": right},
        {"features": right[:, 0], "logits": np.zeros((50, 2), np.float32)},
    ):
        store.put(key, wrong)
        assert np.array_equal(network(images)[0], right)


def test_generated_features_are_kept_until_the_scores_are_safe(store):
    network = StoredExtractor(Slow(), store)
    network(pictures(30))
    real = files(store)
    with network.generated(keep=True):
        network(pictures(30, seed=1))
    with network.generated(keep=False):
        network(pictures(30, seed=2))
    assert len(files(store)) == 2
    network.forget()
    assert files(store) == real


def test_points_are_their_own_features_and_not_stored(store):
    points = data.load("ring8", n=50).train
    assert np.array_equal(StoredExtractor(features.load("identity"), store)(points)[0], points)
    assert not store.folder.exists()


# --- judges


def test_a_judge_scores_the_same_with_and_without_the_store(store):
    images = data.load("digits").train
    real, fake, train = images[:300], images[300:500], images[500:900]
    names = ["fid", "kid", "precision", "recall", "is", "authpct", "duplicates"]
    plain = Judge(real, metrics=names, train=train).score(fake)
    kept = {}
    for run in ("writes", "reads"):
        extractor = StoredExtractor(features.load("digits"), store)
        kept[run] = Judge(real, features=extractor, metrics=names, train=train, store=extractor).score(fake)
        assert store.notes == []
    assert kept["writes"] == kept["reads"]
    for name in names:
        assert kept["reads"][name].value == pytest.approx(plain[name].value, rel=1e-9)
    whats = {entry.content.split(" of ")[0] for entry in entries(store.folder)}
    assert whats == {"features", "frechet", "manifold", "training"}
    assert all(" of digits, " in entry.content for entry in entries(store.folder))


def test_the_trials_of_a_sweep_compute_the_real_side_once(store, monkeypatch):
    seen = []
    digits = features.load("digits")
    compute = type(digits).__call__
    monkeypatch.setattr(type(digits), "__call__", lambda self, x: seen.append(len(x)) or compute(self, x))
    config = EvaluationConfig(n_fake=40, splits=2, metrics=["fid", "precision"])
    for _ in range(2):
        Evaluation(data.load("digits"), config, store=store).judge("test")
    assert sum(seen) == 360


WRITER = """
import sys
import numpy as np
from pathlib import Path
from harness.scoring.feature_store import FeatureStore
store = FeatureStore(Path(sys.argv[1]))
for _ in range(50):
    store.put({"what": "x"}, {"x": np.ones((100, 100))})
    assert (store.get({"what": "x"})["x"] == 1).all()
assert store.notes == []
"""


def test_many_processes_may_share_a_folder(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0] * 3
    assert len(list(tmp_path.iterdir())) == 1


# --- showing and pruning


def aged(path: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_pruning_removes_what_is_asked_for_and_no_more(store):
    network = StoredExtractor(features.load("digits"), store)
    for seed in range(3):
        network(pictures(20, seed))
    first, second, third = files(store)
    aged(first, 9)
    damaged = store.folder / ("0" * 64 + ".safetensors")
    damaged.write_text("x")
    leftover, fresh = store.folder / f".{first.name}.abc", store.folder / f".{first.name}.def"
    leftover.write_text("half")
    aged(leftover, 1)
    fresh.write_text("half")
    (store.folder / "mine.txt").write_text("not ours")
    assert {e.path for e in entries(store.folder) if not e.usable} == {damaged, leftover}
    assert {e.path for e in prune(store.folder)} == {damaged, leftover}
    assert {e.path for e in prune(store.folder, unused_days=8)} == {first}
    assert second.exists()
    assert {e.path for e in prune(store.folder, everything=True)} == {second, third, fresh}
    assert [path.name for path in store.folder.iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="0 or more"):
        prune(store.folder, unused_days=-1)


def test_what_other_code_made_is_pruned(store, monkeypatch):
    StoredExtractor(features.load("digits"), store)(pictures(20))
    assert prune(store.folder) == []
    monkeypatch.setattr(feature_store, "_code", lambda part: "newer")
    assert len(prune(store.folder)) == 1


def test_reading_counts_as_use(store):
    images = pictures(20)
    StoredExtractor(features.load("digits"), store)(images)
    aged(files(store)[0], 9)
    StoredExtractor(features.load("digits"), store)(images)
    assert prune(store.folder, unused_days=8) == []


def test_the_command_shows_and_prunes(store, ganbench, monkeypatch):
    monkeypatch.setenv("GANBENCH_CACHE", str(store.folder))
    assert "0 entries, 0.0 MiB" in ganbench("cache").out
    StoredExtractor(features.load("digits"), store)(pictures(20))
    (store.folder / ("0" * 64 + ".safetensors")).write_text("x")
    shown = ganbench("cache").out
    assert "features of digits, 20 × 64" in shown
    assert "damaged" in shown
    assert f"{store.folder}: 2 entries" in shown
    assert ganbench("cache", "prune").out.startswith("removed 1 entries")
    assert "1 entries" in ganbench("cache", "prune", "--all").out
    assert files(store) == []
    assert "0 or more" in ganbench("cache", "prune", "--older-than", "-1").mistake()
