"""Our scores beside the peers': do they agree, how long do they take, and how much memory?

    python tests/benchmarks/evaluation.py [--n N] [--d D] [--quick] [--threads N] [--only PART ...]

Features are synthetic and like a network's: non-negative, with a decaying spectrum, the fake side a little off. Peers
are torch-fidelity's functions on the same features, and `prdc`, which is needed here alone (it says so where it is
missing). Calls alternate in one process; `seconds` is the least of the rounds and `ratio` theirs over ours. Memory is
the growth of the peak resident set (VmHWM) in a process of its own that holds the features already. `digits` times
every score of 10,000 against 10,000 polygons by the whole judge, its features from the embedded network: with nothing
stored, then with the real side stored.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from harness import data
from harness.scoring.feature_store import FeatureStore, StoredExtractor
from metrics import (
    FrechetReference,
    Judge,
    frechet_audit,
    frechet_distance,
    inception_score,
    kernel_distance,
    neighbours,
)
from metrics import features as networks
from metrics.manifolds import RealManifold

SEED = 2020
"""torch-fidelity's own, so that its subsets and its shuffle are ours to follow."""
K = 3
SMALL = 1000

Json = dict[str, Any]


def features(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and fake features float32 (n, d)."""
    basis = np.random.default_rng(seed).normal(size=(d, d)).astype(np.float32)
    basis *= (np.arange(1, d + 1, dtype=np.float32) ** -0.7)[:, None] / np.sqrt(d)
    rng = np.random.default_rng(seed + 1)
    real, fake = (rng.normal(size=(n, d)).astype(np.float32) @ basis for _ in range(2))
    return np.maximum(real + 0.05, 0), np.maximum(1.05 * fake + 0.06, 0)


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Least seconds and last result of each call, taken in turns."""
    seconds: dict[str, float] = {}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            results[name] = call()
            seconds[name] = min(seconds.get(name, np.inf), time.perf_counter() - start)
    return seconds, results


def relative(ours: float, theirs: float) -> float:
    """|ours − theirs| of theirs."""
    return abs(ours - theirs) / max(abs(theirs), 1e-300)


def theirs_fid(real: np.ndarray, fake: np.ndarray) -> float:
    """torch-fidelity's, with the reference's statistics computed beforehand as its own cache has them."""
    return fid_of(fid_features_to_statistics(torch.from_numpy(real)), fake)


def fid_of(reference: Json, fake: np.ndarray) -> float:
    """torch-fidelity's distance to stored statistics."""
    statistics = fid_features_to_statistics(torch.from_numpy(fake))
    value: float = fid_statistics_to_metric(statistics, reference, False)["frechet_inception_distance"]
    return value


def fid_float64(real: np.ndarray, fake: np.ndarray) -> float:
    """torch-fidelity's from float64 features, whose mean it then takes in float64."""
    return theirs_fid(real.astype(np.float64), fake.astype(np.float64))


def agreement(real: np.ndarray, fake: np.ndarray) -> Json:
    """Relative differences from torch-fidelity on equal features."""
    n = len(real)
    a, b = torch.from_numpy(fake), torch.from_numpy(real)
    size = min(1000, n // 2)
    options = {"kid_subsets": 20, "kid_subset_size": size, "rng_seed": SEED, "verbose": False}
    kid = kernel_distance(real=real, fake=fake, subsets=20, subset_size=size, seed=SEED).value
    kid32, kid64 = (
        kid_features_to_metric(x, y, **options)["kernel_inception_distance_mean"]
        for x, y in ((a, b), (a.double(), b.double()))
    )
    logits = 8 * np.random.default_rng(SEED).normal(size=(n, 100)).astype(np.float32)
    isc = isc_features_to_metric(torch.from_numpy(logits), 10, True, SEED)["inception_score_mean"]
    prc = prc_features_to_metric(a, b, prc_neighborhood=K, verbose=False, save_cpu_ram=True, prc_batch_size=2000)
    found = neighbours(real=real, fake=fake, k=K)
    ours, audit, theirs = (
        frechet_distance(real=real, fake=fake),
        frechet_audit(real=real, fake=fake),
        theirs_fid(real, fake),
    )
    return {
        "fid": {
            "ours": ours,
            "to_torch_fidelity": relative(ours, theirs),
            "to_torch_fidelity_in_float64": relative(ours, fid_float64(real, fake)),
            "to_audit": relative(ours, audit),
            "torch_fidelity_to_audit": relative(theirs, audit),
        },
        "kid": {"to_torch_fidelity": relative(kid, kid32), "to_torch_fidelity_in_float64": relative(kid, kid64)},
        "is": relative(inception_score(logits, splits=10, seed=SEED).value, isc),
        "precision": relative(found.precision, prc["precision"]),
        "recall": relative(found.recall, prc["recall"]),
    }


def fid_speed(real: np.ndarray, fake: np.ndarray, rounds: int) -> Json:
    """A distance to a stored reference, and how far each is from the audit."""
    ours_reference = FrechetReference.of(real)
    their_reference = fid_features_to_statistics(torch.from_numpy(real))
    seconds, values = interleaved(
        {"ours": lambda: ours_reference.distance(fake), "torch_fidelity": lambda: fid_of(their_reference, fake)}, rounds
    )
    audit = frechet_audit(real=real, fake=fake)
    off = {name: abs(value - audit) for name, value in values.items()}
    return {
        "n": len(real),
        "seconds": seconds,
        "ratio": seconds["torch_fidelity"] / seconds["ours"],
        "audit": audit,
        "off_the_audit": off,
        "times_closer": off["torch_fidelity"] / max(off["ours"], 1e-15),
    }


def neighbour_calls(real: np.ndarray, fake: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Ours, and the peers' that are installed."""
    a, b = torch.from_numpy(fake), torch.from_numpy(real)
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: neighbours(real=real, fake=fake, k=K),
        "torch_fidelity": lambda: prc_features_to_metric(a, b, prc_neighborhood=K, verbose=False),
    }
    if find_spec("prdc"):
        calls["prdc"] = lambda: prdc(real, fake)
    return calls


def neighbours_speed(real: np.ndarray, fake: np.ndarray) -> Json:
    """One pass for four scores beside torch-fidelity's two and prdc's four: time once each, and memory."""
    calls = neighbour_calls(real, fake)
    manifold = RealManifold.of(real, k=K)
    seconds, values = interleaved({**calls, "ours_stored": lambda: manifold.compare(fake)}, 1)
    result: Json = {
        "seconds": seconds,
        "ratio": {name: seconds[name] / seconds["ours"] for name in seconds},
        "extra_mb": {name: extra_memory(name, *real.shape) for name in calls},
        "ours": {name: getattr(values["ours"], name) for name in ("precision", "recall", "density", "coverage")},
    }
    if "prdc" in values:
        result["prdc"] = {name: float(value) for name, value in values["prdc"].items()}
    else:
        result["prdc"] = "not installed: pip install prdc"
    return result


def prdc(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """prdc's four scores, without the line that it prints."""
    from prdc import compute_prdc  # type: ignore[import-untyped]

    with contextlib.redirect_stdout(io.StringIO()):
        scores: dict[str, float] = compute_prdc(real_features=real, fake_features=fake, nearest_k=K)
    return scores


def extra_memory(name: str, n: int, d: int) -> float | str:
    """MiB by which the peak resident set grows when a fresh process, which holds the features, makes the call.

    Not a fork: OpenMP's threads would be missing in it, and the child wait for them for ever.
    """
    if sys.platform != "linux":
        return "measured on Linux only"
    command = [
        sys.executable,
        __file__,
        "--memory",
        name,
        f"--n={n}",
        f"--d={d}",
        f"--threads={torch.get_num_threads()}",
    ]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(child.stdout) if child.returncode == 0 else f"failed: {child.stderr.strip()[-200:]}"


def grown(call: Callable[[], Any]) -> float:
    """MiB by which the call raises this process's peak resident set over what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = status("VmRSS")
    call()
    return round((status("VmHWM") - before) / 1024, 1)


def status(name: str) -> int:
    """KiB, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def digits(n: int) -> Json:
    """Every score of n against n images by the judge, its features from the embedded network."""
    images = data.load("polygons", n=2 * n).train
    real, fake = images[:n], images[n:]
    names = ("fid", "kid", "precision", "recall", "f1", "density", "coverage", "prd_f8", "prd_f1_8", "is")
    result: Json = {"n": n, "metrics": names}
    with tempfile.TemporaryDirectory() as folder:
        for run in ("nothing_stored", "real_side_stored"):
            start = time.perf_counter()
            extractor = StoredExtractor(networks.load("digits"), FeatureStore(Path(folder)))
            judge = Judge(real, features=extractor, metrics=names, store=extractor)
            with extractor.generated(keep=False):
                scores = judge.score(fake)
            result[f"{run}_seconds"] = time.perf_counter() - start
            result["scores"] = {name: score.value for name, score in scores.items()}
    return result


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--quick", action="store_true", help="n=1500, d=256")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parts = ("agreement", "fid", "fid_small", "neighbours", "digits")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--memory", metavar="CALL", help="only print the MiB that one call of `neighbours` takes")
    asked = parser.parse_args()
    n, d = (1500, 256) if asked.quick else (asked.n, asked.d)
    torch.set_num_threads(asked.threads)
    real, fake = features(n, d, seed=0)
    if asked.memory:
        print(grown(neighbour_calls(real, fake)[asked.memory]))
        return 0
    small = min(SMALL, n)
    work: dict[str, Callable[[], Json]] = {
        "agreement": lambda: agreement(real, fake),
        "fid": lambda: fid_speed(real, fake, 1 if n * d > 1e7 else 3),
        "fid_small": lambda: fid_speed(real[:small], fake[:small], 1 if d > 1000 else 3),
        "neighbours": lambda: neighbours_speed(real, fake),
        "digits": lambda: digits(min(n, 10_000)),
    }
    result: Json = {
        "n": n,
        "d": d,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "torch-fidelity", "numpy", "scipy")},
    }
    for part in asked.only:
        result[part] = work[part]()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
