"""The faster path through Inception beside torch-fidelity's own: this is what lets it be the default."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from metrics.features.folded import resize_like_tensorflow1
from metrics.features.inception import Inception


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """Its images and calibrated random weights are what we judge by here as well."""
    file = Path(__file__).parents[1] / "benchmarks" / "inception.py"
    spec = importlib.util.spec_from_file_location("benchmark_inception", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def small_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seventh of the work: the same layers on images resized to 115 and not 299 pixels."""
    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 115)


@pytest.mark.usefixtures("on_cpu", "small_side")
def test_features_deviate_by_rounding_only(benchmark: ModuleType, tmp_path: Path) -> None:
    path = benchmark.calibrated(tmp_path / "inception.pth")
    images = benchmark.samples(20)
    folded, reference = Inception(path), Inception(path, reference=True)
    theirs = benchmark.forward(benchmark.peer(path))(images)
    for ours, expected in zip(reference(images), theirs, strict=True):
        assert np.array_equal(ours, expected), "the reference path is torch-fidelity's to the bit"
    exact = benchmark.forward(benchmark.peer(path, "float64"))(images)
    for ours, expected, truth in zip(folded(images), theirs, exact, strict=True):
        assert not np.array_equal(ours, expected)
        assert benchmark.deviation(ours, expected)["largest"] < 1e-4
        # no further from the truth than torch-fidelity is, but for luck
        assert (
            benchmark.deviation(ours, truth)["root_mean_square"]
            < 2 * benchmark.deviation(expected, truth)["root_mean_square"]
        )


@pytest.mark.slow
@pytest.mark.usefixtures("on_cpu", "small_side")
def test_every_score_moves_by_less_than_1e_4(benchmark: ModuleType, tmp_path: Path) -> None:
    path = benchmark.calibrated(tmp_path / "inception.pth")
    images = benchmark.samples(400)
    folded = benchmark.scores(*Inception(path)(images))
    reference = benchmark.scores(*Inception(path, reference=True)(images))
    assert reference["fid"] > 1
    assert reference["is"] > 1.5
    assert 0.05 < reference["precision"] < 0.95
    assert 0.05 < reference["recall"] < 0.95
    movement = benchmark.movement(folded, reference)
    assert set(movement) >= {"fid", "kid", "is", "precision", "recall"}
    assert max(movement.values()) < benchmark.TOLERANCE, movement


@pytest.mark.parametrize("shape", [(32, 32), (48, 31), (299, 299), (512, 400), (1, 1)])
def test_the_resize_is_torch_fidelitys_to_the_bit(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, *shape), generator=random).float()
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, size=(299, 299), align_corners=False)
    assert torch.equal(resize_like_tensorflow1(images, 299), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_takes_the_reference_path(benchmark: ModuleType, tmp_path: Path) -> None:
    path = benchmark.calibrated(tmp_path / "inception.pth")
    assert Inception(path).preprocessing == Inception(path, reference=True).preprocessing
