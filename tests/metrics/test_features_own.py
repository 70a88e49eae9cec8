import hashlib
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganbench.errors import UserError
from metrics import Judge, label_for
from metrics.features import check, load

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 3, 8, 8), dtype=np.uint8)

CODE = """
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        assert images.dtype == torch.uint8
        return self.dropout(self.linear(images.float().mean((2, 3)) / 255))


class Classifier(Encoder):
    classes = 4

    def forward(self, images):
        features = super().forward(images)
        return features, features[:, :4]


class Fixed(nn.Module):
    def __init__(self, output, classes=None):
        super().__init__()
        self.output, self.classes = output, classes

    def forward(self, images):
        return self.output


instance = Encoder()
number = 7
integers = Fixed(torch.zeros(70, 3, dtype=torch.int64))
images = Fixed(torch.zeros(70, 3, 8, 8))
too_few = Fixed(torch.zeros(69, 3))
three = Fixed((torch.zeros(70, 3),) * 3)
unannounced = Fixed((torch.zeros(70, 3), torch.zeros(70, 2)))
announced = Fixed(torch.zeros(70, 3), classes=4)
lying = Fixed((torch.zeros(70, 3), torch.zeros(70, 2)), classes=4)


def broken():
    raise ZeroDivisionError("no\\nsuch thing")
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_nets.py").write_text(CODE)
    (tmp_path / "own_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return "own_nets"


def test_an_instance_a_class_and_its_weights(home: str, tmp_path: Path) -> None:
    extractor = load(f"{home}:instance")
    features, logits = extractor(IMAGES)
    instance = sys.modules[home].instance
    assert instance.training, "the user's object is left alone"
    with torch.inference_mode():
        expected = instance.linear(torch.from_numpy(IMAGES).float().mean((2, 3)) / 255)
    assert features == pytest.approx(expected.numpy(), rel=1e-6)
    assert logits is None
    assert extractor.classes is None
    assert extractor.kind == "images"
    assert extractor.weights_sha256 is not None
    assert extractor.name == f"{home}:instance-{extractor.weights_sha256[:8]}"
    assert label_for("fid", extractor.name) == f"FID ({extractor.name})"
    assert extractor.preprocessing["code_sha256"] == hashlib.sha256(CODE.encode()).hexdigest()

    path = tmp_path / "state.pth"
    torch.save(instance.state_dict(), path)
    other = load(f"{home}:Encoder")
    assert other.weights_sha256 != extractor.weights_sha256
    loaded = load(f"{home}:Encoder", path)
    assert loaded.weights_sha256 == extractor.weights_sha256
    assert np.array_equal(loaded(IMAGES)[0], features)


def test_initial_weights_are_always_the_same_and_nothing_is_drawn(home: str) -> None:
    first = load(f"{home}:Encoder")
    torch.rand(3)
    state = torch.get_rng_state()
    assert load(f"{home}:Encoder").weights_sha256 == first.weights_sha256
    assert torch.equal(torch.get_rng_state(), state)


def test_a_judge_takes_it_with_its_logits(home: str) -> None:
    judge = Judge(IMAGES, features=f"{home}:Classifier", metrics=["fid", "is"], splits=2)
    scores = judge.score(255 - IMAGES)
    assert scores["fid"].value is not None
    assert scores["is"].value is not None
    assert judge.protocol["features"].startswith(f"{home}:Classifier-")
    assert judge.protocol["dim"] == 5
    with pytest.raises(UserError, match="it needs a classifier's logits"):
        Judge(IMAGES, features=f"{home}:Encoder", metrics=["is"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:thing", "cannot import 'no_such_module'.*PYTHONPATH"),
        ("own_broken:thing", "cannot import 'own_broken'.*division by zero"),
        ("own_nets:Encodr", "own_nets has no 'Encodr'"),
        ("own_nets:", "own_nets has no ''"),
        (":Encoder", "cannot import ''"),
        ("own_nets:number", "could not be built.*not callable"),
        ("own_nets:broken", "could not be built.*no"),
        ("own_nets:Fixed", "could not be built.*missing 1 required"),
        ("own_nets:torch.nn", "no 'torch.nn'"),
    ],
)
def test_what_is_no_network_is_named(home: str, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("integers", r"int64 \(70, 3\) for 70 images"),
        ("images", r"float32 \(70, 3, 8, 8\)"),
        ("too_few", r"float32 \(69, 3\)"),
        ("three", r"\(float32 \(70, 3\), float32 \(70, 3\), float32 \(70, 3\)\)"),
        ("unannounced", "announce classes=None"),
        ("announced", "announce classes=4"),
        ("lying", r"float32 \(70, 2\)\) and announce classes=4"),
    ],
)
def test_what_is_not_returned_as_agreed_is_named(
    home: str, name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.features.own.BATCH", 70)
    with pytest.raises(UserError, match=words):
        load(f"{home}:{name}")(IMAGES)


def test_a_network_that_fails_on_the_images_is_named(home: str) -> None:
    with pytest.raises(UserError, match=r"fail on uint8 images \(64, 1, 8, 8\).*mat1"):
        load(f"{home}:Encoder")(IMAGES[:, :1])


class Traced(nn.Module):
    def __init__(self, logits: bool) -> None:
        super().__init__()
        self.linear, self.logits = nn.Linear(3, 5), logits

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        features = self.linear(images.float().mean((2, 3)))
        return (features, features[:, :4]) if self.logits else features


@pytest.mark.parametrize(("logits", "suffix"), [(False, "pt"), (True, "ts")])
def test_a_torchscript_file(logits: bool, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    network = Traced(logits)
    path = tmp_path / f"own.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.from_numpy(IMAGES[:2])), path)
    check(str(path))
    extractor = load(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert extractor.weights_sha256 == digest
    assert extractor.name == f"own.{suffix}-{digest[:8]}"
    assert (extractor.classes is not None) == logits
    features, found = extractor(IMAGES)
    with torch.inference_mode():
        expected = network.linear(torch.from_numpy(IMAGES).float().mean((2, 3)))
    assert features == pytest.approx(expected.numpy(), rel=1e-5)
    assert (found is not None) == logits
    assert extractor.classes == (4 if logits else None)
    metrics = ["fid", "is"] if logits else ["fid"]
    scores = Judge(IMAGES, features=str(path), metrics=metrics, splits=2).score(255 - IMAGES)
    assert all(score.value is not None for score in scores.values())
    with pytest.raises(UserError, match="has its own weights"):
        load(str(path), path)


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.victim,)


def test_pickles_are_refused_and_not_run(home: str, tmp_path: Path) -> None:
    planted = Hostile(tmp_path / "touched")
    torch.save(planted, tmp_path / "zip.pt")
    torch.save(planted, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(planted))
    for path in tmp_path.glob("*.pt"):
        with pytest.raises(UserError, match=r"no TorchScript archive.*never loaded"):
            load(str(path))
        with pytest.raises(UserError, match="does not hold a state dict"):
            load(f"{home}:Encoder", path)
    assert not (tmp_path / "touched").exists()
    planted.__reduce__()[0](tmp_path / "touched")  # type: ignore[operator]
    assert (tmp_path / "touched").exists(), "else this test would prove nothing"


def test_missing_files_are_named(home: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the TorchScript file.*gone\.pt"):
        load(str(tmp_path / "gone.pt"))
    with pytest.raises(UserError, match=r"no weights at .*gone\.pth"):
        load(f"{home}:Encoder", tmp_path / "gone.pth")


def test_names_are_checked_without_loading_anything() -> None:
    check("not_imported:thing")
    check("digits")
    with pytest.raises(UserError, match="did you mean 'inception'"):
        check("incepton")
