"""Speed of our Inception forward beside torch-fidelity's own, and how far features and scores move for it.

    python tests/benchmarks/inception.py [--images N] [--threads N]

Both get the same images and the same file of weights in the true format. The weights are random, but calibrated: every
BatchNorm is given the mean and variance that its input really has, so that no layer's activations vanish or explode,
and the logits are scaled so that the Inception Score is not 1. Half of the images are taken as real, half as fake.

Chunks of 64 images, torch-fidelity's default batch, alternate between the two in one process; each takes a chunk in
batches of its own size. Rates are per CPU second of all threads, which other processes disturb less than the clock.
`ratio` is ours over theirs, paired within each chunk, and the median is reported. `same_batch` is torch-fidelity
given our smaller batches, and the ratio to that. `from_float64` is how far each path is from the same network
computed in float64, on the first few images. The exit status is 1 when a score moves by 1e-4 of its value or more.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from metrics import frechet_distance, inception_score, kernel_distance, neighbours
from metrics.features.folded import BATCH
from metrics.features.inception import Inception

CHUNK = 64
TARGET = 1.8
TOLERANCE = 1e-4
LAYERS = ["2048", "logits_unbiased"]

Extractor = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Unloaded(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's network with its initial weights: what its constructor wants to load is left out."""

    def load_state_dict(self, *_: object, **__: object) -> None:
        """Nothing."""


def images(n: int, seed: int, *, roughness: float) -> np.ndarray:
    """RGB images uint8 (n, 3, 32, 32): smooth random fields, with noise of the share `roughness`."""
    random = torch.Generator().manual_seed(seed)
    smooth = interpolate(torch.randn(n, 3, 4, 4, generator=random), size=(32, 32), mode="bicubic")
    noise = torch.randn(n, 3, 32, 32, generator=random)
    return ((smooth + roughness * noise) * 50 + 128).round().clamp(0, 255).to(torch.uint8).numpy()


def calibrated(path: Path, seed: int = 0) -> Path:
    """Write a state dict in the true format with random weights under which every layer's activations are sane."""
    with tempfile.TemporaryFile() as nothing, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.save({}, nothing)
        nothing.seek(0)
        network = Unloaded("inception", LAYERS, feature_extractor_weights_path=nothing)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    random = torch.Generator().manual_seed(seed)
    for norm in norms:
        norm.momentum = 1.0  # the running statistics become the batch's own
        norm.weight.data.uniform_(0.5, 1.5, generator=random)
        norm.bias.data.normal_(0, 0.3, generator=random)
    batch = np.concatenate([images(8, seed + 1, roughness=0.1), images(8, seed + 2, roughness=0.6)])
    with torch.no_grad():
        for norm in norms:
            norm.train()
        _, logits = network(torch.from_numpy(batch))
        network.fc.weight.mul_(2 / logits.std(0).mean())
    torch.save(network.state_dict(), path)
    return path


def peer(path: Path, dtype: str | None = None) -> FeatureExtractorInceptionV3:
    """torch-fidelity's own extractor."""
    network = FeatureExtractorInceptionV3("inception", LAYERS, feature_extractor_weights_path=path)
    if dtype == "float64":  # its own option of that name gives float32
        network.feature_extractor_internal_dtype = torch.float64
        network.double()
    return network


def forward(network: nn.Module, size: int = CHUNK) -> Extractor:
    """As torch-fidelity calls it, in batches of `size`."""

    def call(chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            parts = [network(torch.from_numpy(chunk[start : start + size])) for start in range(0, len(chunk), size)]
        features, logits = (torch.cat(layer).numpy() for layer in zip(*parts, strict=True))
        return features, logits

    return call


def deviation(values: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Largest absolute difference over the largest value, and root mean squares likewise."""
    difference = values.astype(np.float64) - reference
    return {
        "largest": float(np.abs(difference).max() / np.abs(reference).max()),
        "root_mean_square": float(
            np.sqrt(np.square(difference).mean() / np.square(reference.astype(np.float64)).mean())
        ),
    }


def scores(features: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """The first half of the images as real, the second as fake."""
    half = len(features) // 2
    real, fake = features[:half], features[half:]
    near = neighbours(real=real, fake=fake)
    return {
        "fid": frechet_distance(real=real, fake=fake),
        "kid": kernel_distance(real=real, fake=fake, subsets=20, subset_size=half // 2).value,
        "is": inception_score(logits[half:], splits=2).value,
        "precision": near.precision,
        "recall": near.recall,
        "density": near.density,
        "coverage": near.coverage,
    }


def movement(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, float]:
    """Relative change of each score."""
    return {name: abs(ours[name] - value) / abs(value) if value else abs(ours[name]) for name, value in theirs.items()}


def samples(n: int) -> np.ndarray:
    """`n` images whose two halves differ as a generator's do from real ones: some overlap, some do not."""
    half = n // 2
    return np.concatenate([images(half, 10, roughness=0.2), images(n - half, 11, roughness=0.25)])


def compare(path: Path, n: int) -> dict[str, Any]:
    """Both paths over `n` images, in alternating chunks, after one chunk that is not counted."""
    theirs = peer(path)
    extractors: dict[str, Extractor] = {
        "ours": Inception(path),  # type: ignore[dict-item]
        "theirs": forward(theirs),
        "same_batch": forward(theirs, BATCH),
    }
    everything = samples(n)
    for extract in extractors.values():
        extract(everything[:2])
    seconds: dict[str, list[float]] = {name: [] for name in extractors}
    outputs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in extractors}
    for number, start in enumerate(range(0, n, CHUNK)):
        chunk = everything[start : start + CHUNK]
        for name in list(extractors)[:: 1 if number % 2 else -1]:
            begun = time.process_time()
            outputs[name].append(extractors[name](chunk))
            seconds[name].append((time.process_time() - begun) / len(chunk))
        print(
            f"{start + len(chunk)} of {n} images: {seconds['theirs'][-1] / seconds['ours'][-1]:.2f}×", file=sys.stderr
        )
    joined = {name: [np.concatenate(parts) for parts in zip(*chunks, strict=True)] for name, chunks in outputs.items()}
    exact = forward(peer(path, "float64"))(everything[:8])[0]
    judged = {name: scores(*joined[name]) for name in ("ours", "theirs")}
    ratios = [other / ours for ours, other in zip(seconds["ours"], seconds["theirs"], strict=True)]
    same_batch = [other / ours for ours, other in zip(seconds["ours"], seconds["same_batch"], strict=True)]
    return {
        "images": n,
        "images_per_cpu_second": {name: 1 / statistics.median(times) for name, times in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "target": TARGET,
        "same_batch": {"batch": BATCH, "ratio": statistics.median(same_batch)},
        "deviation": {
            layer: deviation(joined["ours"][index], joined["theirs"][index]) for index, layer in enumerate(LAYERS)
        },
        "from_float64": {name: deviation(parts[0][:8], exact) for name, parts in joined.items() if name in judged},
        "scores": judged["theirs"],
        "movement": movement(judged["ours"], judged["theirs"]),
        "tolerance": TOLERANCE,
    }


def main() -> int:
    """Print JSON; 1 when a score moves too far, else 0."""
    parser = argparse.ArgumentParser(description="Inception's forward beside torch-fidelity's own, as JSON.")
    parser.add_argument("--images", type=int, default=256, help="half real, half fake (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    options = parser.parse_args()
    if options.images < CHUNK or options.threads < 1:
        parser.error(f"--images is at least {CHUNK} and --threads at least 1")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        report = {
            "threads": options.threads,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "torch-fidelity", "numpy")},
            },
            **compare(calibrated(Path(folder) / "inception.pth"), options.images),
        }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0 if max(report["movement"].values()) < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
