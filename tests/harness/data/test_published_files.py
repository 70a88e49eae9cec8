"""Where published sets are looked for, what is said when they are not there, and how they are fetched."""

import functools
import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from ganbench.errors import UserError
from harness.data import load
from harness.data.published import PUBLISHED, ensure, find, present
from harness.places import data_folder, use_data_folder


@pytest.fixture
def offline(monkeypatch):
    """Every address is asked for through a proxy that is not there."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of its first use


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder that is served on the loopback interface, and its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


# --- where


def test_the_data_folder_is_the_one_given_else_below_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANBENCH_DATA", raising=False)
    assert data_folder() == tmp_path / "cache" / "data"
    use_data_folder(None)
    assert data_folder() == tmp_path / "cache" / "data"
    monkeypatch.setenv("GANBENCH_DATA", "~/sets")
    assert data_folder() == Path.home() / "sets"
    monkeypatch.chdir(tmp_path)
    use_data_folder(Path("here"))
    assert data_folder() == tmp_path / "here"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_set_that_is_not_there_is_told_with_the_file_the_folder_and_the_remedy(data_folder, name):
    with pytest.raises(UserError) as caught:
        load(name)
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} is not on this machine, as there is no {data_folder}/")
    assert "--data-dir" in sentence
    assert ("add --download to fetch " in sentence) == (not name.startswith("lsun"))
    assert "\n" not in sentence


def test_the_first_missing_file_of_several_is_named(write_set, data_folder):
    write_set("cifar10")
    (data_folder / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(UserError, match=r"there is no .*/data_batch_4: add --download to fetch 170 MB"):
        ensure("cifar10", "digits", "some/path.zip", download=False)


def test_looking_for_files_imports_nothing_heavy(data_folder):
    script = (
        "import sys\nfrom harness.data.published import ensure\n"
        "try: ensure('svhn', download=False)\nexcept ValueError: pass\n"
        "assert not {'numpy', 'torch', 'torchvision', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# --- fetching


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn"])
def test_a_set_that_cannot_be_fetched_is_told_in_one_sentence(data_folder, offline, capfd, name):
    with pytest.raises(UserError) as caught:
        ensure(name, download=True)
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} could not be fetched (")
    assert "refused" in sentence
    assert f"try again later, or fetch it from {PUBLISHED[name].source} and put " in sentence
    assert "\n" not in sentence
    assert capfd.readouterr() == ("", "")


def test_lsun_is_not_fetched(data_folder):
    with pytest.raises(UserError, match=r"lsun-tower cannot be fetched .*: fetch it from www\.yf\.io/p/lsun"):
        ensure("lsun-tower", download=True)


def test_what_is_there_is_not_fetched_again(write_set, offline):
    write_set("cifar100")
    ensure("cifar100", "digits", download=True)
    assert len(find("cifar100")) == 2


def test_a_fetched_set_has_torchvisions_checksums(write_set, data_folder, served, monkeypatch, capfd):
    from torchvision.datasets import SVHN

    held = write_set("svhn")
    folder, address = served
    split_list = {}
    for path in data_folder.iterdir():
        path.rename(folder / path.name)
        digest = hashlib.md5((folder / path.name).read_bytes(), usedforsecurity=False).hexdigest()
        split_list[path.name.partition("_")[0]] = [f"{address}/{path.name}", path.name, digest]
    monkeypatch.setattr(SVHN, "split_list", split_list)
    ensure("svhn", download=True)
    assert capfd.readouterr().out == ""
    assert len(load("svhn").test) == len(held["test"])

    (data_folder / "test_32x32.mat").unlink()
    split_list["test"][2] = "0" * 32
    with pytest.raises(UserError, match=r"svhn could not be fetched \(File not found or corrupted"):
        ensure("svhn", download=True)


# --- what a user sees


def test_training_on_a_set_that_is_not_there(ganbench):
    sentence = ganbench("train", "--gan", "wgan", "--dataset", "cifar10").mistake()
    assert sentence.startswith("cifar10 is not on this machine, as there is no ")
    assert sentence.endswith("or give the folder that torchvision calls its root with --data-dir (or GANBENCH_DATA)")


def test_fetching_without_a_connection(ganbench, offline):
    for command in (
        ("train", "--gan", "wgan", "--dataset", "kmnist"),
        ("evaluate", "--real", "kmnist", "--fake", "samples"),
    ):
        assert ganbench(*command, "--download").mistake().startswith("kmnist could not be fetched (")


def test_a_misspelt_set_is_told_before_anything_is_fetched(ganbench, offline):
    command = ("train", "--gan", "wgan", "--download")
    assert ganbench(*command, "--dataset", "cifar-10").mistake().startswith("unknown dataset 'cifar-10': did you mean")
    assert "unknown metric" in ganbench(*command, "--dataset", "cifar10", "evaluation.metrics=[fdi]").mistake()


def test_a_sweep_is_refused_before_its_first_trial_but_can_be_listed(ganbench, tmp_path):
    (tmp_path / "s.yaml").write_text(
        "name: s\nmethod: grid\nparameters:\n  gan: {value: wgan}\n  dataset: {values: [digits, svhn]}\n"
    )
    assert "2000" in ganbench("sweep", "run", "s.yaml", "images=2000", "--dry-run").out.replace(",", "")
    sentence = ganbench("sweep", "run", "s.yaml", "images=2000").mistake()
    assert sentence.startswith("svhn is not on this machine, as there is no ")
    assert not (tmp_path / "runs").exists()


def test_the_folder_is_no_part_of_a_trial(ganbench, write_set, data_folder, tiny_options, tmp_path):
    write_set("mnist", train=60, test=40)
    moved = data_folder.rename(tmp_path / "elsewhere")
    command = ("train", "--gan", "vanilla", "--dataset", "mnist", "--wandb", "disabled", "data.size=16")
    small = (*tiny_options, "evaluation.metrics=[fid]")
    done = ganbench(*command, *small, "--data-dir", moved)
    assert done.code == 0, done.err
    moved.rename(data_folder)
    again = ganbench(*command, *small, "--data-dir", data_folder)
    assert (again.code, again.out) == (0, done.out)


@pytest.mark.slow
def test_a_sweeps_trials_look_into_the_folder_given(ganbench, write_set, data_folder, tiny_options, tmp_path):
    write_set("cifar10", train=60, test=40)
    data_folder.rename(tmp_path / "elsewhere")
    (tmp_path / "s.yaml").write_text(
        "name: s\nmethod: grid\nparameters:\n"
        "  gan: {value: vanilla}\n  dataset: {value: cifar10}\n  seed: {values: [0, 1]}\n"
    )
    options = (*tiny_options, "data.size=16", "evaluation.metrics=[fid]", "--wandb", "disabled")
    done = ganbench("sweep", "run", "s.yaml", *options, "--data-dir", "elsewhere")
    assert done.code == 0, done.err
    statuses = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "s" / "trials").glob("*/status.json")]
    assert [status["state"] for status in statuses] == ["done", "done"]


def test_the_sets_that_are_there_are_known(write_set, data_folder):
    assert present() == []
    write_set("kmnist", packed=True)
    write_set("svhn")
    assert present() == ["kmnist", "svhn"]


def test_listing_names_every_set(ganbench):
    lines = ganbench("list", "datasets").out.splitlines()
    assert set(PUBLISHED) <= {line.split()[0] for line in lines}
    assert any(line.startswith("cifar10 ") and "32×32" in line for line in lines)


def test_the_page_on_datasets_has_a_row_for_each():
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text().partition("\n## ")[0]
    rows = {name for line in page.splitlines() if line.startswith("| `") for name in re.findall("`(.+?)`", line)[:1]}
    assert {name for name in PUBLISHED if not name.startswith("lsun-")} == rows - {"lsun-bedroom"}
    for name, published in PUBLISHED.items():
        amount = f"{published.megabytes} MB" if published.megabytes < 1000 else f"{published.megabytes / 1000:.1f} GB"
        assert name.startswith("lsun-") or any(f"`{name}`" in line and amount in line for line in page.splitlines())
