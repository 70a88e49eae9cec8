import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ganbench.errors import UserError
from metrics import features
from metrics.features import weights as files

CONTENT = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unannounced":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"/truncated": CONTENT[:-999], "/wrong": CONTENT[::-1]}.get(self.path, CONTENT))

    def log_message(self, *args: object) -> None:
        return None


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "hub" / "checkpoints"


def publish(monkeypatch: pytest.MonkeyPatch, url: str) -> files.Published:
    entry = files.Published("weights.pth", url, DIGEST)
    monkeypatch.setitem(files.PUBLISHED, "inception", entry)
    return entry


@pytest.mark.parametrize("answer", ["file", "unannounced"])
def test_a_download_lands_in_the_usual_place_with_its_progress_on_stderr(
    address: str,
    answer: str,
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(monkeypatch, f"{address}/{answer}")
    path = files.download("inception")
    assert path == checkpoints / "weights.pth" == files.usual_place("inception")
    assert path.read_bytes() == CONTENT
    assert list(checkpoints.iterdir()) == [path]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "weights.pth" in printed.err
    assert files.read("inception") == (CONTENT, DIGEST)
    publish(monkeypatch, f"{address}/missing")
    assert files.download("inception") == path, "a file that is there already is not fetched again"


def test_a_download_goes_where_it_is_told(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    publish(monkeypatch, f"{address}/file")
    assert files.download("inception", to=tmp_path) == tmp_path / "weights.pth"
    assert files.download("inception", to=tmp_path / "new" / "own.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("wrong", f"sha256 {hashlib.sha256(CONTENT[::-1]).hexdigest()}"),
        ("truncated", f"{len(CONTENT) - 999} of {len(CONTENT)} bytes"),
        ("missing", "404"),
    ],
)
def test_a_bad_answer_leaves_nothing_behind(
    address: str, answer: str, reason: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = publish(monkeypatch, f"{address}/{answer}")
    with pytest.raises(UserError, match=f"{entry.url}.*{reason}.*weights.pth.*{DIGEST}.*{checkpoints}"):
        files.download("inception")
    assert list(checkpoints.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/file", "http://host.invalid/file"])
def test_no_network_is_one_sentence(url: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as bound:  # bound and not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        publish(monkeypatch, url.format(port=bound.getsockname()[1]))
        with pytest.raises(UserError, match=f"cannot download.*weights.pth.*{DIGEST}.*{checkpoints}") as caught:
            files.download("inception")
    assert "\n" not in str(caught.value)


def test_another_file_in_the_way_is_kept_and_named(
    address: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, f"{address}/file")
    checkpoints.mkdir(parents=True)
    path = checkpoints / "weights.pth"
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=f"{hashlib.sha256(b'mine').hexdigest()}.*{DIGEST}.*damaged or another"):
        files.download("inception")
    assert path.read_bytes() == b"mine"
    with pytest.raises(UserError, match="damaged or another"):
        files.read("inception")
    assert files.read("inception", path)[0] == b"mine", "named by its path, any file will do"


def test_no_place_to_write_is_one_sentence(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    publish(monkeypatch, f"{address}/file")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        files.download("inception", to=tmp_path / "file" / "weights.pth")


def test_loading_downloads_only_when_asked(address: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, f"{address}/file")
    with pytest.raises(UserError, match="nothing is downloaded unasked"):
        features.load("inception")
    assert not checkpoints.exists()
    with pytest.raises(UserError, match="does not hold"):  # the downloaded bytes are no state dict
        features.load("inception", download=True)
    assert (checkpoints / "weights.pth").read_bytes() == CONTENT
    assert features.load("digits", download=True).name == "digits"
    with pytest.raises(UserError, match="unknown feature network with published weights 'digits'"):
        files.download("digits")


def test_the_table_is_sound() -> None:
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS
    from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA as DINOV2
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert files.published("inception").url == URL_INCEPTION_V3
    for name, metadata in MODEL_METADATA.items():
        expected = files.Published(f"{name}-{metadata['hash']}.pt", MODEL_URLS[name], metadata["hash"])
        assert files.published(name) == expected
    for name, model in DINOV2.items():
        assert files.published(name).file == f"{model}_pretrain.pth"
    assert {"inception", "inception-reference", *MODEL_METADATA, *DINOV2} == set(files.PUBLISHED)
    assert set(files.PUBLISHED) < set(features.FEATURES.names())
    for entry in files.PUBLISHED.values():
        assert entry.url.startswith("https://")
        assert len(bytes.fromhex(entry.sha256)) == 32
    assert files.published("inception") == files.published("inception-reference")
