"""Features of samples and what is computed from real ones, kept on disk between processes under their content.

An entry's name is the sha256 of everything that it depends on: the samples' bytes, the feature network with its
weights, layer and preprocessing, the code that computes it, the versions of the libraries below, the device and the
number of threads. So nothing stale is ever found, and a score has the same bits with and without the store. Each
entry carries a checksum of its arrays; one that is damaged counts as missing and is computed again. Writers replace
files in one step, so any number of processes may share a folder.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy

from ganbench.files import write_atomic
from harness.places import LEFTOVER_SECONDS, Entry, cache_folder
from metrics.arrays import fingerprint
from metrics.features import Extractor

Arrays = Mapping[str, np.ndarray]
Advance = Callable[[int, int], None]
"""Called with (samples done, of all) of one set of samples."""

SUFFIX = ".safetensors"
CHUNK = 1024
"""Samples of an entry: what an interruption costs at most."""
STEP = 64
"""Samples handed to the network at a time; a divisor of CHUNK, and a multiple of the networks' own batches."""
WORTH_SECONDS = 0.2
"""What took less to compute is not kept: the embedded network is faster than the disk."""
READ_BYTES_PER_SECOND = 2e8
"""Slow, so that an entry is only kept where reading it surely saves time."""


class FeatureStore:
    """Arrays by key; a key is JSON-able.

    A folder that cannot be read or written costs time and never a result.

    Args:
        folder: None for `cache_folder()`; made by the first entry.

    Attributes:
        notes: one sentence for each thing that a person may want to put right.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()
        self.notes: list[str] = []

    def path(self, key: Mapping[str, object]) -> Path:
        """The entry's file, whether it is there or not."""
        return self.folder / (hashlib.sha256(_canonical(key).encode()).hexdigest() + SUFFIX)

    def get(self, key: Mapping[str, object]) -> Arrays | None:
        """The arrays kept under `key`; None where there are none or they are damaged."""
        path = self.path(key)
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                facts = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except FileNotFoundError:
            return None
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
            facts, arrays = {}, {}
        if facts.get("key") != _canonical(key) or facts.get("sha256") != _checksum(arrays):
            self._note(f"the stored {path} is damaged and is computed again")
            return None
        with suppress(OSError):
            os.utime(path)  # `prune --older-than` goes by the last use
        return arrays

    def put(self, key: Mapping[str, object], arrays: Arrays) -> None:
        """Keep `arrays`; where the disk refuses them, a note says so."""
        facts = {"key": _canonical(key), "sha256": _checksum(arrays)}
        content = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()}, facts)
        try:
            write_atomic(self.path(key), lambda file: file.write(content))
        except OSError as error:
            self._note(f"features are not kept in {self.folder} ({error.strerror}): set GANBENCH_CACHE elsewhere")

    def keep(self, key: Mapping[str, object], compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` returns, kept under `key` if that took longer than reading it will."""
        start = time.perf_counter()
        # one layout, so that products of stored and of fresh arrays have the same bits; 0-d arrays stay 0-d
        arrays = {name: np.asarray(array, order="C") for name, array in compute().items()}
        seconds = time.perf_counter() - start
        if seconds > WORTH_SECONDS + sum(array.nbytes for array in arrays.values()) / READ_BYTES_PER_SECOND:
            self.put(key, arrays)
        return arrays

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


class StoredExtractor:
    """A feature network whose results are kept in parts of `CHUNK` samples, so that an interrupted run continues.

    It stands in for the network wherever an extractor is asked for, and is the judge's `metrics.comparison.Store`.

    Args:
        extractor: the network.
        store: where its results are kept.
        advance: hears how far a set of samples is; not of what needed no computing.
    """

    def __init__(self, extractor: Extractor, store: FeatureStore, advance: Advance = lambda *_: None) -> None:
        self._extractor = extractor
        self._store = store
        self._advance = advance
        self._keeping: Literal["always", "for now", "never"] = "always"
        self._for_now: set[Path] = set()
        self._probes: dict[tuple[int, ...], str] = {}
        self.name = extractor.name
        self.kind = extractor.kind
        self.weights_sha256 = extractor.weights_sha256
        self.layer = extractor.layer
        self.dim = extractor.dim
        self.classes = extractor.classes
        self.preprocessing = extractor.preprocessing

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, dim) and logits float32 (n, classes) or None, computed or remembered."""
        if self.kind == "points" or len(samples) == 0:
            return self._extractor(samples)
        parts = [self._part(samples, start) for start in range(0, len(samples), CHUNK)]
        features = np.concatenate([part["features"] for part in parts])
        logits = np.concatenate([part["logits"] for part in parts]) if "logits" in parts[0] else None
        return features, logits

    def fetch(self, key: Mapping[str, object], compute: Callable[[], Arrays], /) -> Arrays:
        """As `metrics.comparison.Store` has it: what the judge derives from the features of real samples.

        The features themselves are kept already, in parts.
        """
        if key["what"] == "features":
            return compute()
        full = {**key, "made_by": {**_made_by("metrics"), "probes": sorted(self._probes.values())}}
        stored = self._store.get(full)
        return self._store.keep(full, compute) if stored is None else stored

    @contextmanager
    def generated(self, *, keep: bool) -> Iterator[None]:
        """Within it features are kept until `forget`, or not at all: generated samples are seldom seen again."""
        before, self._keeping = self._keeping, "for now" if keep else "never"
        try:
            yield
        finally:
            self._keeping = before

    def forget(self) -> None:
        """Remove what was kept for now: the scores that it was kept for are safe."""
        for path in self._for_now:
            path.unlink(missing_ok=True)
        self._for_now.clear()

    def _part(self, samples: np.ndarray, start: int) -> Arrays:
        chunk = samples[start : start + CHUNK]

        def extract() -> Arrays:
            found = []
            for first in range(0, len(chunk), STEP):
                found.append(self._extractor(chunk[first : first + STEP]))
                self._advance(start + min(first + STEP, len(chunk)), len(samples))
            features = np.concatenate([features for features, _ in found])
            logits = [logits for _, logits in found if logits is not None]
            return {"features": features} | ({"logits": np.concatenate(logits)} if logits else {})

        if self._keeping == "never":
            return extract()
        key = self._key(chunk)
        if self._keeping == "for now":
            self._for_now.add(self._store.path(key))
        stored = self._store.get(key)
        if stored is not None and self._fits(stored, len(chunk)):
            return stored
        return self._store.keep(key, extract)

    def _fits(self, arrays: Arrays, n: int) -> bool:
        """Whether stored arrays have the shapes of `n` samples' features and logits."""
        if set(arrays) != {"features"} | ({"logits"} if self.classes is not None else set()):
            return False
        width = self.dim or arrays["features"].shape[-1]
        return arrays["features"].shape == (n, width) and all(len(array) == n for array in arrays.values())

    def _key(self, chunk: np.ndarray) -> dict[str, object]:
        return {
            "what": "features",
            "samples_sha256": fingerprint(chunk),
            "features": self.name,
            "weights_sha256": self.weights_sha256,
            "layer": self.layer,
            "preprocessing": dict(self.preprocessing),
            "made_by": {**_made_by("metrics/features"), "probes": self._probed(chunk.shape[1:])},
        }

    def _probed(self, shape: tuple[int, ...]) -> list[str]:
        """For networks that are not ours: what they answer to a fixed question, since their code may call any other."""
        if type(self._extractor).__module__.startswith("metrics.features.") and ":" not in self.name:
            return []
        if shape not in self._probes:
            noise = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
            self._probes[shape] = fingerprint(self._extractor(noise)[0])
        return [self._probes[shape]]


# --- what is there


def entries(folder: Path) -> list[Entry]:
    """The files of features, last used first; half-written ones of killed processes too."""
    now = time.time()
    found = []
    for path in [*folder.glob(f"*{SUFFIX}"), *folder.glob(f".*{SUFFIX}.*")]:
        with suppress(FileNotFoundError):  # another process may prune as well
            facts = path.stat()
            age = max(0.0, now - facts.st_mtime)
            if path.name.startswith("."):
                content, usable = "half written", age < LEFTOVER_SECONDS
            else:
                content, usable = _describe(path)
            found.append(Entry(path, content, facts.st_size, age, usable))
    return sorted(found, key=lambda entry: (entry.seconds_unused, entry.path))


def _describe(path: Path) -> tuple[str, bool]:
    """What the header says, and whether the code and libraries that made it are those of this process."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            key = json.loads(file.metadata()["key"])
            largest = max((tuple(file.get_slice(name).get_shape()) for name in file.keys()), key=np.prod)  # noqa: SIM118
        made_by = key["made_by"]
        part = "metrics/features" if key["what"] == "features" else "metrics"
        shape = " × ".join(map(str, largest))
        return f"{key['what']} of {key['features']}, {shape}", made_by["code"] == _code(part) and all(
            made_by[name] == found for name, found in _versions().items()
        )
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
        return "damaged", False


# --- keys


def _canonical(key: Mapping[str, object]) -> str:
    return json.dumps(key, sort_keys=True)


def _checksum(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {fingerprint(arrays[name])}\n".encode())
    return digest.hexdigest()


def _made_by(part: str) -> dict[str, Any]:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {"code": _code(part), **_versions(), "device": device, "threads": torch.get_num_threads()}


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "torch-fidelity", "numpy", "scipy")}


@cache
def _code(part: str) -> str:
    """Digest of our own modules in the folder `metrics` or `metrics/features`, and below."""
    home = Path(inspect.getfile(fingerprint)).parents[1]
    digest = hashlib.sha256()
    for file in sorted((home / part).rglob("*.py")):
        digest.update(file.relative_to(home).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
