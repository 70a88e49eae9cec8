"""The published weights' files: where each one is kept, what its sha256 is, and how to fetch it.

Files are kept where torch.hub, and so torch-fidelity, keeps them: `$TORCH_HOME/hub/checkpoints`. Nothing is fetched
unless `download` is called. What is read is never unpickled here; each network says how it reads its own format.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ganbench.errors import UserError, unknown_name
from ganbench.files import write_atomic

TIMEOUT = 30.0
"""Seconds without an answer before a download is given up."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class Published:
    """One file of weights: its name in the checkpoint folder, where it is published, and its digest."""

    file: str
    url: str
    sha256: str


def _inception() -> Published:
    file = "weights-inception-2015-12-05-6726825d.pth"
    return Published(
        file,
        f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{file}",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    )


def _clip(name: str, model: str, sha256: str) -> Published:
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{model}.pt"
    return Published(f"{name}-{sha256}.pt", url, sha256)  # torch-fidelity's name for it


def _dinov2(model: str, sha256: str) -> Published:
    file = f"{model}_pretrain.pth"
    return Published(file, f"https://dl.fbaipublicfiles.com/dinov2/{model}/{file}", sha256)


_CLIP = {
    "clip-rn50": ("RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
    "clip-rn101": ("RN101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
    "clip-rn50x4": ("RN50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
    "clip-rn50x16": ("RN50x16", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
    "clip-rn50x64": ("RN50x64", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
    "clip-vit-b-32": ("ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "clip-vit-b-16": ("ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    "clip-vit-l-14": ("ViT-L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    "clip-vit-l-14-336px": ("ViT-L-14-336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"),
}
_DINOV2 = {
    "dinov2-vit-s-14": ("dinov2_vits14", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    "dinov2-vit-b-14": ("dinov2_vitb14", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    "dinov2-vit-l-14": ("dinov2_vitl14", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
    "dinov2-vit-g-14": ("dinov2_vitg14", "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3"),
}

PUBLISHED: dict[str, Published] = {
    "inception": _inception(),
    "inception-reference": _inception(),
    **{name: _clip(name, *entry) for name, entry in _CLIP.items()},
    **{name: _dinov2(*entry) for name, entry in _DINOV2.items()},
}
"""By feature network. The digests of CLIP's files are torch-fidelity's own; it has none for the others."""


def published(name: str) -> Published:
    """The file of the feature network `name`; raises `UserError` for a network that has none to fetch."""
    if name not in PUBLISHED:
        raise unknown_name("feature network with published weights", name, PUBLISHED)
    return PUBLISHED[name]


def usual_place(name: str) -> Path:
    """Where torch.hub would keep the weights of the feature network `name`; the file may not be there."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / published(name).file


def read(name: str, path: Path | None = None) -> tuple[bytes, str]:
    """Content and sha256 of the weights of the feature network `name`.

    Args:
        name: a key of `PUBLISHED`.
        path: any file, whose digest the caller puts into the scores' label; None for the usual place, where only
            the published file is accepted: anything else there is a damaged download.

    Raises:
        UserError: the file is missing, unreadable, or not the published one in its place.
    """
    expected, place = published(name), usual_place(name) if path is None else Path(path)
    if not place.is_file():
        raise UserError(
            f"no weights of {name!r} at {str(place)!r} and nothing is downloaded unasked: put {expected.file} "
            f"(sha256 {expected.sha256}) from {expected.url} there, or name its place with weights"
        )
    try:
        content = place.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the weights {str(place)!r} ({error.strerror}): make the file readable") from error
    digest = hashlib.sha256(content).hexdigest()
    if path is None and digest != expected.sha256:
        raise _another_file(place, digest, expected)
    return content, digest


def download(name: str, *, to: Path | None = None) -> Path:
    """Fetch the published weights of the feature network `name`, with a progress bar on stderr.

    The file appears under its name only when it is complete and has the published sha256. One that is there
    already is verified and kept.

    Args:
        name: a key of `PUBLISHED`.
        to: file or existing folder; None for the usual place, where the network is looked for.

    Returns:
        The file's path.

    Raises:
        UserError: no network, an answer other than the file, or no place to write it; nothing is left behind.
    """
    expected, path = published(name), usual_place(name) if to is None else Path(to)
    if path.is_dir():
        path /= expected.file
    if path.exists():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != expected.sha256:
            raise _another_file(path, digest, expected)
        return path
    try:
        write_atomic(path, lambda file: _fetch(expected, path, file))
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r} ({error.strerror}): give another place for the weights") from error
    return path


def _another_file(path: Path, digest: str, expected: Published) -> UserError:
    return UserError(
        f"{str(path)!r} has sha256 {digest} and not {expected.sha256} as {expected.file} has: it is damaged or another "
        f"file, so delete it and fetch {expected.url} again, or name other weights' place with weights"
    )


def _fetch(expected: Published, path: Path, file: BinaryIO) -> None:
    digest = hashlib.sha256()
    for chunk in _chunks(expected, path):
        digest.update(chunk)
        file.write(chunk)
    if digest.hexdigest() != expected.sha256:
        reason = f"what came has sha256 {digest.hexdigest()}"
        raise _failed(expected, path, reason)


def _chunks(expected: Published, path: Path) -> Iterator[bytes]:
    """The answer's body while a bar shows how much of it is here."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    received = 0
    try:
        with (
            urllib.request.urlopen(expected.url, timeout=TIMEOUT) as response,
            Progress(*columns, console=Console(stderr=True)) as progress,
        ):
            announced = response.headers.get("Content-Length")
            total = int(announced) if announced else None
            bar = progress.add_task(expected.file, total=total)
            while chunk := response.read(CHUNK):
                received += len(chunk)
                progress.update(bar, completed=received)
                yield chunk
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _failed(expected, path, str(error) or type(error).__name__) from error
    if total is not None and received != total:
        raise _failed(expected, path, f"the connection ended after {received} of {total} bytes")


def _failed(expected: Published, path: Path, reason: str) -> UserError:
    return UserError(
        f"cannot download {expected.url} ({reason}), nothing was kept: try again, or fetch {expected.file} "
        f"(sha256 {expected.sha256}) elsewhere and put it at {str(path)!r}"
    )
