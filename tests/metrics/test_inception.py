import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as reference

from ganbench.errors import UserError
from metrics import Judge, label_for
from metrics.features import load
from metrics.features import weights as files
from metrics.features.inception import PATHS, Inception


class Rebuilt(reference.FeatureExtractorInceptionV3):
    """torch-fidelity's network with random weights: what its constructor wants to load is left out."""

    def load_state_dict(self, state_dict, *args, **kwargs):
        return None


def empty_state() -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save({}, buffer)
    buffer.seek(0)
    return buffer


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Rebuilt("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=empty_state())


@pytest.fixture(scope="module")
def weights(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home") / "hub" / "checkpoints" / files.published("inception").file
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def extractor(weights: Path) -> Inception:
    return Inception(weights)


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 1, 12, 12), dtype=np.uint8)


def test_features_are_those_of_torch_fidelity(extractor: Inception, network: torch.nn.Module) -> None:
    features, logits = extractor(IMAGES)
    assert logits is not None
    with torch.inference_mode():
        expected_features, expected_logits = network(torch.from_numpy(IMAGES.repeat(3, axis=1)))
    assert features.shape == (4, 2048)
    assert logits.shape == (4, 1008)
    assert features == pytest.approx(expected_features.numpy(), rel=1e-4, abs=1e-5)
    assert logits == pytest.approx(expected_logits.numpy(), rel=1e-4, abs=1e-5)
    assert extractor(IMAGES.repeat(3, axis=1))[0] == pytest.approx(features, rel=1e-5)


def test_other_weights_never_carry_the_plain_name(extractor: Inception, weights: Path) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert extractor.weights_sha256 == digest
    assert extractor.name == f"inception-{digest[:8]}"
    assert label_for("fid", extractor.name) == f"FID (inception-{digest[:8]})"
    assert label_for("fid", "inception") == "FID"


@pytest.fixture
def published(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random weights as if they were the published ones, in torch.hub's folder."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setenv("TORCH_HOME", str(weights.parents[2]))
    monkeypatch.setitem(files.PUBLISHED, "inception", replace(files.published("inception"), sha256=digest))
    return weights


@pytest.mark.parametrize(("name", "path"), [("inception", "folded"), ("inception-reference", "reference")])
def test_weights_are_found_in_torch_hubs_folder(
    published: Path, name: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    state = torch.get_rng_state()
    judge = Judge(IMAGES, features=name, metrics=["fid", "is"], splits=2)
    scores = judge.score(255 - IMAGES[:3])
    assert torch.equal(torch.get_rng_state(), state)
    assert judge.protocol["features"] == "inception", "either path gives the score that FID means"
    assert judge.protocol["preprocessing"]["path"] == PATHS[path]
    assert judge.protocol["dim"] == 2048
    assert scores["fid"].value is not None
    assert scores["fid"].value > 0
    assert scores["is"].value is not None
    assert scores["is"].value >= 1 - 1e-9


def test_an_unpublished_file_in_the_usual_place_is_refused(published: Path) -> None:
    content = published.read_bytes()
    try:
        published.write_bytes(content[:-1])
        with pytest.raises(UserError, match=f"{published.name}.*damaged"):
            load("inception")
    finally:
        published.write_bytes(content)


def test_a_missing_file_is_named_and_nothing_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    known = files.published("inception")
    with pytest.raises(UserError, match=f"{tmp_path}.*{known.file}.*{known.sha256}.*{known.url}"):
        load("inception")


def test_weights_in_torchs_older_format_are_read(
    network: torch.nn.Module, extractor: Inception, tmp_path: Path
) -> None:
    path = tmp_path / "older.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    older = load("inception", path)
    assert older.weights_sha256 != extractor.weights_sha256
    assert np.array_equal(older(IMAGES[:1])[0], extractor(IMAGES[:1])[0])


@pytest.mark.parametrize("content", [b"", b"not a state dict"])
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match="does not hold"):
        load("inception", path)


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(UserError, match="does not hold"):
        load("inception", path)


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "hostile.pth"
    torch.save({"weights": Hostile(tmp_path / "touched")}, path)
    for name in ("inception", "inception-reference", "clip-vit-b-32"):
        with pytest.raises(UserError, match="does not hold"):
            load(name, path)
    assert not (tmp_path / "touched").exists()
