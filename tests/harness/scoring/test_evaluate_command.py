"""`ganbench evaluate`: anything against anything, and one sentence for every mistake."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from harness import data, images
from harness.scoring import feature_bar, feature_store
from harness.scoring.feature_bar import FeatureBar

QUICK = ("--real=digits", "--metrics=fid")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture
def fakes(tmp_path, digits):
    np.savez(tmp_path / "fakes.npz", images=digits.train[:100])
    return "fakes.npz"


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A module of the user's own networks, importable as `my_nets`."""
    (tmp_path / "my_nets.py").write_text(
        textwrap.dedent(
            """
            import torch
            from torch import nn

            class Means(nn.Module):
                def forward(self, x):
                    return x.float().mean((2, 3)).repeat(1, 3) + torch.arange(3.0) * x.float().amax((1, 2, 3))[:, None]

            class Broken(nn.Module):
                def forward(self, x):
                    return torch.full((len(x), 3), torch.nan)

            class HalfBroken(Means):
                def forward(self, x):
                    return super().forward(x).where(x.float().mean((1, 2, 3))[:, None] < 200, torch.nan)

            class Constant(nn.Module):
                def forward(self, x):
                    return torch.ones(len(x), 3)

            class OneClass(nn.Module):
                classes = 3

                def forward(self, x):
                    return x.float().mean((2, 3)).repeat(1, 3), torch.tensor([[9.0, 0, 0]]).repeat(len(x), 1)
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_nets", None)


# --- what is scored


def test_a_run_has_three_draws_a_floor_and_a_gap(ganbench, trained):
    ended = ganbench(*("evaluate", "--real=digits", "--fake", trained, "--metrics=fid,precision", "-n", 60))
    assert ended.code == 0
    header, fid, precision, gap, protocol = ended.out.splitlines()
    assert header.split() == ["last", "ema", "floor"]
    assert fid.startswith("FID (digits)")
    assert fid.count("±") == precision.count("±") == 2
    assert "against 360 held-out samples" in gap
    assert "a gap of" in gap
    assert "3 generation seeds" in protocol


def test_json_has_protocol_floor_gap_and_warnings(ganbench, trained):
    ended = ganbench("evaluate", *QUICK, "--fake", trained, "-n", 60, "--seeds", 4, "--k", 2, "--splits", 3, "--json")
    result = json.loads(ended.out)
    wanted = {"n_fake": 60, "generation_seeds": 4, "k": 2, "splits": 3, "split": "test", "n_real": 360}
    assert {name: result["protocol"][name] for name in wanted} == wanted
    assert result["scores"]["fid"]["spread_over"] == "4 generation seeds"
    assert result["floor"]["scores"]["fid"]["value"] < result["scores"]["fid"]["value"]
    gap = result["gap"]
    assert gap["n_real"] == 360
    assert gap["value"]["value"] == pytest.approx(gap["test"]["value"] - gap["train"]["value"])
    assert gap["test"]["value"] == result["scores"]["fid"]["value"]
    assert any("reports scores of another protocol" in warning for warning in result["warnings"])
    assert any("generation_seeds: 4 here, 2 there" in warning for warning in result["warnings"])
    assert ended.err.count("note: ") == len(result["warnings"]) == len(set(result["warnings"]))


def test_one_set_in_every_form_has_one_score(ganbench, tmp_path, fakes, digits):
    with zipfile.ZipFile(tmp_path / "fakes.zip", "w") as archive:
        for index, picture in enumerate(digits.train[:100]):
            images.save_picture(picture.transpose(1, 2, 0), tmp_path / "folder" / f"{index}.png")
            buffer = io.BytesIO()
            Image.fromarray(picture[0]).save(buffer, format="PNG")
            archive.writestr(f"{index}.png", buffer.getvalue())
    values = []
    for fake in ("folder", "fakes.zip", fakes):
        result = json.loads(ganbench("evaluate", *QUICK, "--fake", fake, "--bare", "--json").out)
        assert result["protocol"]["n_fake"] == 100
        assert result["floor"] is None
        assert result["gap"] is None
        values.append(result["scores"]["fid"]["value"])
    assert values == pytest.approx([values[0]] * 3)


def test_the_real_side_may_be_a_folder_and_its_training_part(ganbench, tmp_path, fakes, digits):
    for index, picture in enumerate(digits.test[:200]):
        images.save_picture(picture.transpose(1, 2, 0), tmp_path / "real" / f"{index}.png")
    result = json.loads(
        ganbench("evaluate", "--real=real", "--fake", fakes, "--split=train", "--metrics=fid", "--json").out
    )
    assert (result["protocol"]["split"], result["protocol"]["n_real"]) == ("train", 160)
    assert result["protocol"]["dataset"] == "real"
    assert result["gap"] is None


def test_the_gallery_shows_each_fake_beside_its_nearest_training_images(ganbench, tmp_path, fakes, digits):
    ended = ganbench("evaluate", *QUICK, "--fake", fakes, "--gallery=near.png", "--bare")
    assert ended.code == 0
    with Image.open(tmp_path / "near.png") as picture:
        shown = np.asarray(picture)
    tile = 8 + images.PADDING
    assert shown.shape == (16 * tile + images.PADDING, 4 * tile + images.PADDING)
    first, second = (shown[2:10, left : left + 8] for left in (2, 2 + tile))
    assert np.array_equal(first, second)  # these fakes are copies


def test_memorisation_is_measured_when_asked_for(ganbench, fakes):
    result = json.loads(
        ganbench("evaluate", "--real=digits", "--metrics=authpct,duplicates", "--fake", fakes, "--json").out
    )
    assert result["scores"]["duplicates"]["value"] == 100
    assert result["scores"]["authpct"]["value"] == 0
    assert result["floor"]["scores"] == {}
    assert not any("copies its training set" in warning for warning in result["warnings"])


def test_copies_of_the_test_split_are_pointed_out(ganbench, tmp_path, digits):
    np.savez(tmp_path / "a.npz", images=np.concatenate([digits.train[:80], digits.test[:20]]))
    ended = ganbench("evaluate", *QUICK, "--fake=a.npz")
    assert ended.code == 0
    assert "20 of 100 fake samples equal real ones of the test split to the last bit" in ended.err


# --- networks of one's own


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_network_of_ones_own_by_module_or_file(ganbench, fakes, nets):
    class First(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float().flatten(1)[:, :5]

    torch.jit.save(torch.jit.trace(First(), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), nets / "net.pt")
    for features in ("my_nets:Means", "net.pt"):
        result = json.loads(ganbench("evaluate", *QUICK, "--fake", fakes, "--features", features, "--json").out)
        assert result["features"] == features
        assert result["protocol"]["features"].startswith(f"{features}-")
        assert result["scores"]["fid"]["value"] > 0


def test_an_interrupted_evaluation_continues_from_stored_features(ganbench, tmp_path, nets, monkeypatch):
    import my_nets

    monkeypatch.setattr(feature_store, "WORTH_SECONDS", -1e9)
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(feature_store, "CHUNK", 64)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "many.npz", images=rng.integers(0, 256, (640, 1, 8, 8), dtype=np.uint8))
    command = ("evaluate", *QUICK, "--fake=many.npz", "--features=my_nets:Means", "--bare", "--json")
    seen, compute = [], my_nets.Means.forward

    def forward(self, x, stop_at=700):
        if sum(seen) + len(x) > stop_at:
            raise KeyboardInterrupt
        seen.append(len(x))
        return compute(self, x)

    monkeypatch.setattr(my_nets.Means, "forward", forward)
    assert ganbench(*command).code == 130
    interrupted = sum(seen)
    seen.clear()
    result = json.loads(ganbench(*command).out)
    probe = 4
    assert interrupted + sum(seen) == 360 + 640 + 2 * probe
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(my_nets.Means, "forward", compute)
    assert json.loads(ganbench(*command).out) == result


def test_a_killed_evaluation_continues_from_stored_features(ganbench, tmp_path, monkeypatch):
    (tmp_path / "slow_net.py").write_text(
        textwrap.dedent(
            """
            import os, time
            from torch import nn

            class Slow(nn.Module):
                def forward(self, x):
                    time.sleep(0.02)  # so that 1,024 samples are worth keeping
                    with open("seen", "a") as log:
                        log.write(f"{len(x)}\\n")
                    return x.float().flatten(1)[:, 20:24]
            """
        )
    )
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "many.npz", images=rng.integers(0, 256, (5000, 1, 8, 8), dtype=np.uint8))
    seen, cache = tmp_path / "seen", tmp_path / "cache"
    arguments = ("evaluate", *QUICK, "--fake=many.npz", "--features=slow_net:Slow", "--bare", "--json")
    command = [Path(sys.executable).with_name("ganbench"), *arguments]
    places = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "GANBENCH_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(places)}

    def answered() -> int:
        count = sum(map(int, seen.read_text().split()))
        seen.unlink()
        return count

    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 60
        while len(list(cache.glob("*.safetensors"))) < 3:
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    before = answered()
    assert 2048 <= before < 5000
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GANBENCH_CACHE", str(cache))
    continued = json.loads(ganbench(*arguments).out)
    assert answered() <= 360 + 5000 + 100 - 2048
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "other"))
    whole = json.loads(ganbench(*arguments).out)
    sys.modules.pop("slow_net", None)
    assert continued["protocol_id"] == whole["protocol_id"]
    assert continued["scores"]["fid"]["value"] == pytest.approx(whole["scores"]["fid"]["value"], rel=1e-9)


# --- points


def test_samples_of_a_mixture_come_back_as_fakes(ganbench, train, tiny, tmp_path):
    train(tiny(dataset="ring8", images=64), Path("run"))
    assert ganbench("sample", "run", "-n", 60, "--out=points.npz").code == 0
    command = ("evaluate", "--real=ring8", "--metrics=modes,fid,recall", "--json")
    result = json.loads(ganbench(*command, "--fake=points.npz").out)
    assert result["protocol"]["n_fake"] == 60
    assert result["features"] == "identity"
    assert all(score["value"] is not None for score in result["scores"].values())
    with np.load("points.npz") as file:
        points = file["points"]
    np.savez("double.npz", points=points.astype(np.float64))
    assert json.loads(ganbench(*command, "--fake=double.npz").out)["scores"] == result["scores"]
    np.savez("broken.npz", points=np.where(points == points[7], np.nan, points))
    assert "NaN" in reason(ganbench, "--real=ring8", "--fake=broken.npz")
    assert "(2,)" in reason(ganbench, *QUICK, "--fake=points.npz")
    assert "points, which have no size" in reason(ganbench, "--real=digits", "--fake=points.npz", "--size=16")
    np.savez("images.npz", images=points)
    assert "float32, not uint8" in reason(ganbench, *QUICK, "--fake=images.npz")


# --- mistakes


def reason(ganbench, *arguments: object) -> str:
    return ganbench("evaluate", *arguments).mistake()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metrics=fdi"], ["'fdi'", "'fid'"]),
        (["--features=inceptoin"], ["'inceptoin'", "'inception'"]),
        (["--features=inception:768"], ["'inception:768'", "import"]),
        (["--features=net.pt"], ["'net.pt'", "No such file"]),
        (["--features=inception", "--weights=none.pth"], ["none.pth"]),
        (["--features=digits", "--weights=fakes.npz"], ["own weights"]),
        (["--features=identity"], ["identity does not fit digits"]),
        (["--metrics=modes"], ["modes"]),
        (["--metrics=precision", "--k=100"], ["'precision'", "101 generated", "100"]),
        (["--metrics=precision", "--k=360"], ["'precision'", "361 real", "360"]),
        (["--metrics=is", "--splits=101"], ["'is'", "101 generated", "100"]),
        (["--size=0"], ["data.size is 0"]),
        (["--seeds=5"], ["--seeds is for generators"]),
        (["-n", "50"], ["-n is for generators", "fakes.npz"]),
        (["--gallery=near.jpg"], [".png"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_one_sentence(ganbench, fakes, arguments, words):
    sentence = reason(ganbench, "--real=digits", "--fake", fakes, *arguments)
    assert [word for word in words if word not in sentence] == [], sentence


@pytest.mark.parametrize(("metric", "least"), [("precision", 4), ("kid", 4), ("kid_all", 3), ("prd_f8", 20)])
def test_too_few_real_samples(ganbench, tmp_path, digits, fakes, metric, least):
    np.savez(tmp_path / "real.npz", images=digits.test[:21])
    said = reason(ganbench, "--real=real.npz", f"--metrics={metric}", "--fake", fakes)
    assert f"'{metric}' needs at least {least} real samples under these settings and there are 2" in said


@pytest.mark.parametrize("shape", [(60, 1, 16, 16), (60, 3, 8, 8), (60, 1, 8, 16)])
def test_sides_of_other_size_or_channels(ganbench, tmp_path, shape):
    np.savez(tmp_path / "other.npz", images=np.zeros(shape, np.uint8))
    sentence = reason(ganbench, *QUICK, "--fake=other.npz")
    assert str(shape[1:]) in sentence
    assert "(1, 8, 8)" in sentence


@pytest.mark.parametrize("other", ["same", "copied", "zipped"])
def test_one_folder_as_both_sides(ganbench, tmp_path, digits, other):
    for index, picture in enumerate(digits.test[:40]):
        images.save_picture(picture.transpose(1, 2, 0), tmp_path / "photos" / f"{index}.png")
    fake = {"same": "photos/", "copied": "photos2", "zipped": "photos.zip"}[other]
    if other == "copied":
        (tmp_path / "photos2").symlink_to(tmp_path / "photos")
    elif other == "zipped":
        with zipfile.ZipFile(tmp_path / fake, "w") as archive:
            for file in (tmp_path / "photos").iterdir():
                archive.write(file, file.name)
    sentence = reason(ganbench, "--real=photos", "--fake", fake)
    assert "hold the same samples" in sentence
    assert "are the same" in reason(ganbench, "--real=digits", "--fake=digits")


def test_networks_that_answer_nonsense(ganbench, tmp_path, nets, fakes):
    own = (*QUICK, "--fake", fakes, "--bare")
    assert "NaN" in reason(ganbench, *own, "--features=my_nets:Broken")
    bright = np.concatenate([data.load("digits").train[:50], np.full((3, 1, 8, 8), 255, np.uint8)])
    np.savez(tmp_path / "bright.npz", images=bright)
    failed = ganbench("evaluate", *QUICK, "--fake=bright.npz", "--bare", "--features=my_nets:HalfBroken")
    assert failed.code == 0
    assert "failed: 3 of 53 generated samples have non-finite features" in failed.out
    constant = ganbench(
        "evaluate", "--real=digits", "--metrics=fid,recall", "--fake", fakes, "--bare", "--features=my_nets:Constant"
    )
    assert constant.code == 0
    assert constant.out.splitlines()[1].split()[-1] == "0"
    assert "failed: all real samples have the same features, so there is no manifold" in constant.out.splitlines()[2]
    assert "fid: all real samples have the same features, so it is a distance to a single point" in constant.err
    one = ganbench(
        "evaluate", "--real=digits", "--metrics=is", "--fake", fakes, "--bare", "--features=my_nets:OneClass"
    )
    assert one.out.splitlines()[1].split()[-3:] == ["1", "±", "0"]
    assert "note: is: one class is given to every generated sample" in one.err


def test_images_that_are_all_alike(ganbench, tmp_path, fakes):
    np.savez(tmp_path / "black.npz", images=np.zeros((50, 1, 8, 8), np.uint8))
    against = ganbench("evaluate", "--real=black.npz", "--metrics=fid,coverage", "--fake", fakes, "--bare")
    assert against.code == 0
    assert "failed: all real samples have the same features" in against.out
    collapsed = ganbench("evaluate", "--real=digits", "--metrics=fid,recall", "--fake=black.npz", "--bare", "--json")
    assert json.loads(collapsed.out)["scores"]["recall"]["value"] == 0


def test_a_folder_of_one_class_is_that_of_none(ganbench, tmp_path, fakes, digits):
    for index, picture in enumerate(digits.test[:60]):
        for place in ("flat", "classes/cats"):
            images.save_picture(picture.transpose(1, 2, 0), tmp_path / place / f"{index}.png")
    flat, one = (
        json.loads(ganbench("evaluate", f"--real={real}", "--metrics=fid,is", "--fake", fakes, "--bare", "--json").out)
        for real in ("flat", "classes")
    )
    assert flat["protocol"]["fingerprint"] == one["protocol"]["fingerprint"]
    assert flat["scores"] == one["scores"]


def test_points_have_no_gallery(ganbench, trained, tmp_path, train, tiny):
    train(tiny(dataset="ring8", images=64), Path("points"))
    assert "leave out --gallery" in reason(ganbench, "--real=ring8", "--fake=points", "--gallery=near.png")


def test_a_run_on_part_of_the_data_is_judged_by_that_part(ganbench, train, tiny, tmp_path):
    train(tiny(**{"data.n": 200, "data.seed": 3, "images": 64}), Path("run"))
    result = json.loads(ganbench("evaluate", *QUICK, "--fake=run", "-n", 32, "--bare", "--json").out)
    reported = json.loads(Path("run/scores.json").read_text())["results"][0]["protocol"]
    assert result["protocol"]["fingerprint"] == reported["fingerprint"]


# --- the bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "patience", "shown"), [(True, -1.0, True), (True, 60.0, False), (False, -1.0, False)]
)
def test_slow_networks_have_a_bar_on_a_terminal(monkeypatch, terminal, patience, shown):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(feature_bar, "PATIENCE", patience)
    with FeatureBar() as bar:
        for _ in range(2):
            for done in (64, 128, 192):
                bar(done, 192)
    assert ("/192" in stream.getvalue()) == shown
    assert bool(stream.getvalue()) == shown
