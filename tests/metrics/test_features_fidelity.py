"""CLIP and DINOv2 through torch-fidelity, on small networks in the published files' formats."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP, ModifiedResNet, VisionTransformer
from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

from ganbench.errors import UserError
from metrics import Judge
from metrics.features import FEATURES, load
from metrics.features import weights as files

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 1, 12, 12), dtype=np.uint8)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path / "hub"


class Archive(nn.Module):
    """OpenAI's archives hold the text tower, too, and three numbers as buffers."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual.half()
        self.transformer, self.ln_final = nn.Linear(2, 2), nn.LayerNorm(2)
        self.token_embedding = nn.Embedding(3, 2)
        self.positional_embedding = nn.Parameter(torch.zeros(4, 2))
        self.text_projection = nn.Parameter(torch.zeros(2, 6))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.logit_scale


def archive(path: Path, model: str) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        visual = ModifiedResNet((1, 1, 1, 1), 6, 32, 32, 64) if "rn" in model else VisionTransformer(16, 8, 64, 1, 1, 6)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Archive(visual), torch.zeros(1)), path)
    return path


@pytest.mark.parametrize(("model", "side"), [("clip-vit-b-32", 16), ("clip-rn50", 32)])
def test_clip_is_torch_fidelitys(model: str, side: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "clip.pt", model)
    state = torch.get_rng_state()
    extractor = load(model, path)
    features, logits = extractor(IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        reference = FeatureExtractorCLIP(model, ["clip"], feature_extractor_weights_path=str(path)).eval()
        expected = reference(torch.from_numpy(IMAGES.repeat(3, axis=1)))[0]
    assert features.dtype == np.float32
    assert np.ptp(features) > 0
    assert np.array_equal(features, expected.numpy())
    assert logits is None
    assert extractor.dim == 6
    assert extractor.preprocessing["size"] == side
    assert extractor.weights_sha256 is not None
    assert extractor.name == f"{model}-{extractor.weights_sha256[:8]}"
    judge = Judge(IMAGES, features=model, weights=path, metrics=["kid"])
    assert judge.score(255 - IMAGES)["kid"].value is not None


def test_published_archives_carry_the_plain_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(home / "checkpoints" / files.published("clip-vit-b-32").file, "clip-vit-b-32")
    with pytest.raises(UserError, match="damaged or another"):
        load("clip-vit-b-32")
    _, digest = files.read("clip-vit-b-32", path)
    entry = files.published("clip-vit-b-32")
    monkeypatch.setitem(files.PUBLISHED, "clip-vit-b-32", files.Published(entry.file, entry.url, digest))
    assert load("clip-vit-b-32").name == "clip-vit-b-32"


@pytest.mark.parametrize("content", ["another archive", "a state dict", "nothing"])
def test_what_is_no_clip_archive_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    if content == "another archive":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1)), path)
    elif content == "a state dict":
        torch.save(nn.Linear(1, 1).state_dict(), path)
    else:
        path.touch()
    with pytest.raises(UserError, match=r"clip\.pt' does not hold OpenAI's TorchScript archive of clip-rn50"):
        load("clip-rn50", path)


HUBCONF = """
import os
from torch import nn

dependencies = ["torch"]


def dinov2_vits14(*, pretrained=True):
    assert not pretrained, "would download"
    assert os.environ["XFORMERS_DISABLED"] == "1"
    network = nn.Sequential(nn.Conv2d(3, 4, 14, stride=14), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout())
    network.embed_dim = 4
    return network
"""


@pytest.fixture
def code(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = home / "facebookresearch_dinov2_main"
    folder.mkdir(parents=True)
    (folder / "hubconf.py").write_text(HUBCONF)
    return folder


def test_dinov2_is_torch_fidelitys_around_the_local_code(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 14, stride=14), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout())
    path = tmp_path / "dinov2.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.delenv("XFORMERS_DISABLED", raising=False)
    state, modules = torch.get_rng_state(), set(sys.modules)
    extractor = load("dinov2-vit-s-14", path)
    features, logits = extractor(IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert "XFORMERS_DISABLED" not in os.environ
    assert "hubconf" not in set(sys.modules) - modules

    monkeypatch.setattr(torch.hub, "load", lambda *_: network)
    monkeypatch.setenv("XFORMERS_DISABLED", "1")  # torch-fidelity's constructor sets it for good
    with torch.inference_mode():
        reference = FeatureExtractorDinoV2("dinov2-vit-s-14", ["dinov2"])
        expected = reference(torch.from_numpy(IMAGES.repeat(3, axis=1)))[0]
    assert np.array_equal(features, expected.numpy())
    assert logits is None
    assert extractor.dim == 4
    assert extractor.name.startswith("dinov2-vit-s-14-")


def test_dinov2s_code_is_part_of_the_protocol(code: Path, tmp_path: Path) -> None:
    path = tmp_path / "dinov2.pth"
    torch.save(nn.Conv2d(3, 4, 14).state_dict(prefix="0."), path)
    before = load("dinov2-vit-s-14", path).preprocessing["code_sha256"]
    assert load("dinov2-vit-s-14", path).preprocessing["code_sha256"] == before
    (code / "helper.py").write_text("1\n")
    assert load("dinov2-vit-s-14", path).preprocessing["code_sha256"] != before


def test_missing_parts_of_dinov2_are_named(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(UserError, match=f"no DINOv2 code at '{home}.*github.com/facebookresearch/dinov2"):
        load("dinov2-vit-s-14")
    code = request.getfixturevalue("code")
    known = files.published("dinov2-vit-s-14")
    with pytest.raises(UserError, match=f"{home}.*{known.file}.*{known.sha256}"):
        load("dinov2-vit-s-14")
    other = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), other)
    with pytest.raises(UserError, match="does not hold the weights of dinov2-vit-s-14"):
        load("dinov2-vit-s-14", other)
    with pytest.raises(UserError, match="does not build dinov2-vit-b-14"):
        load("dinov2-vit-b-14", other)
    (code / "hubconf.py").write_text("def dinov2_vits14(pretrained): return 3\n")
    with pytest.raises(UserError, match="gives no network"):
        load("dinov2-vit-s-14", other)


def test_every_registered_network_is_importable() -> None:
    for name in FEATURES.names():
        assert callable(FEATURES.load(name))
