"""Every mistake is one sentence and exit code 2; what was there before stays as it was."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import data, images, store
from harness.config import resolve
from harness.config_text import parse_assignments
from harness.store import TrialFolder

LOCAL = ("--wandb=disabled", "--device=cpu")
QUICK = ("images=64", "gan.batch_size=16", "gan.width=4", "evaluation.n_fake=32", "evaluation.metrics=[fid]")


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def spec(**parameters: object) -> str:
    body = "".join(f"  {name}: {value}\n" for name, value in parameters.items())
    return f"name: s\nmethod: grid\nparameters:\n{body}"


# --- the command line itself


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evaluate --k 0", ["'--k'", "greater than or equal to 1", "`ganbench evaluate --help`"]),
        ("evaluate --real=digits --fake=x --seeds 2", ["'--seeds'", "greater than or equal to 3"]),
        ("evaluate --real=digits", ["missing option '--fake'"]),
        ("evaluate --real=digits --fake", ["'--fake' requires an argument"]),
        ("evaluate --metric fid", ["no such option --metric: did you mean --metrics?"]),
        ("evaluate --bare=3 --real=a --fake=b", ["'--bare' does not take a value"]),
        ("train --images=many", ["'--images'", "valid integer"]),
        ("sample x --out=x --weights=best", ["'best'", "'ema', 'raw'"]),
        ("sample", ["missing argument"]),
        ("sync a b", ["unexpected extra argument", "(b)"]),
        ("list", ["missing argument", ": choose from gans, networks"]),
        ("list gasn", ["'gasn'", "'gans'"]),
        ("trian", ["no such command 'trian': did you mean 'train'?", "`ganbench --help`"]),
        ("sweep rnu", ["'rnu': did you mean 'run'?", "`ganbench sweep --help`"]),
        ("zzz", ["no such command 'zzz'"]),
        ("--verison", ["no such option --verison: did you mean --version?"]),
        ("-x", ["no such option -x"]),
    ],
)
def test_usage(ganbench, line, words):
    sentence = ganbench(*line.split()).mistake()
    assert [word for word in words if word not in sentence] == [], sentence
    assert "Usage:" not in sentence
    assert ". " not in sentence


@pytest.mark.parametrize("line", ["", "sweep"])
def test_a_command_without_its_command_is_answered_with_help(ganbench, line):
    ended = ganbench(*line.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: ")
    assert "Commands:" in ended.err


# --- names and numbers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gan=wgna"], ["variant", "'wgna'", "'wgan'"]),
        (["--gan=wgan", "--dataset=digit"], ["dataset", "'digit'", "'digits'"]),
        (["--gan=wgan", "--network=dcgna"], ["network", "'dcgna'", "'dcgan'"]),
        (["--gan=wgan", "evaluation.metrics=[fdi]"], ["metric", "'fdi'", "'fid'"]),
        (["--gan=wgan", "evaluation.features=digit"], ["'digit'", "'digits'"]),
        (["--gan=wgan", "gan.n_critics=5"], ["'gan.n_critics'", "'gan.n_critic'"]),
        (["--gan=wgan", "n_critic"], ["'n_critic' is no key=value"]),
        (["--gan=wgan", "--images=0"], ["images must be at least 1"]),
        (["--gan=wgan", "images=63", "gan.batch_size=64"], ["images=63", "64"]),
        (["--gan=wgan", "gan.lr_generator=fast"], ["gan.lr_generator must be a number", "fast"]),
        (["--gan=wgan", "data.size=9"], ["data.size=9"]),
        (["--gan=wgan", "gan.batch_size=1500"], ["gan.batch_size is 1500", "1197"]),
        (["--gan=wgan", "evaluation.weights=none.pt"], ["no file at none.pt"]),
        (["--gan=wgan", "evaluation.metrics=[modes]"], ["modes"]),
        (["--gan=wgan", "evaluation.n_fake=5"], ["'is'", "10 generated", "there are 5", "raise evaluation.n_fake"]),
        (["--gan=wgan", "evaluation.n_fake=4", "evaluation.k=4", "evaluation.metrics=[fid, recall]"], ["'recall'"]),
        (["--config=none.yaml"], ["no file none.yaml"]),
        ([], ["gan.name is missing"]),
    ],
)
def test_train(ganbench, tmp_path, arguments, words):
    given = {argument.partition("=")[0] for argument in arguments}
    arguments = arguments + ([] if "--dataset" in given else ["--dataset=digits"])
    sentence = ganbench("train", *arguments, *LOCAL).mistake()
    assert [word for word in words if word not in sentence] == [], sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--real=digits", "--fake=nothing"], ["'nothing'"]),
        (["--real=digit", "--fake=digits"], ["'digit'", "'digits'"]),
        (["--real=digits", "--fake=digits", "--metrics=fid,kdi"], ["'kdi'", "'kid'"]),
        (["--real=digits", "--fake=digits", "--features=digit"], ["'digit'", "'digits'"]),
        (["--real=digits", "--fake=digits", "--features=inception", "--weights=none.pth"], ["none.pth"]),
        (["--real=digits", "--fake=ring8"], ["(2,)", "(1, 8, 8)"]),
        (["--real=digits", "--fake=none.pt"], ["no checkpoint at none.pt"]),
    ],
)
def test_evaluate(ganbench, tmp_path, arguments, words):
    sentence = ganbench("evaluate", *arguments).mistake()
    assert [word for word in words if word not in sentence] == [], sentence
    assert list(tmp_path.iterdir()) == []


def test_commands_on_folders_that_are_none(ganbench, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no checkpoint at" in ganbench("sample", "empty", "--out=x.png").mistake()
    assert "no checkpoint at none" in ganbench("sample", "none", "--out=x.png").mistake()
    assert "holds no sweep" in ganbench("sweep", "status", "empty").mistake()
    assert "holds neither a sweep" in ganbench("report", "empty").mistake()
    assert "no folder at none" in ganbench("report", "none").mistake()
    assert "holds nothing" in ganbench("train", "--gan=wgan", "--dataset=./empty", *LOCAL).mistake()
    assert content(tmp_path) == {}
    assert [f.name for f in tmp_path.iterdir()] == ["empty"]


# --- one's own images


def fault(kind: str, path: Path) -> None:
    rng = np.random.default_rng(0)
    if kind == "broken":
        path.write_bytes(path.read_bytes()[:60])
    elif kind == "alpha":
        Image.fromarray(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8), "RGBA").save(path)
    elif kind == "16-bit":
        Image.fromarray(rng.integers(0, 65536, (8, 8), dtype=np.uint16)).save(path)
    elif kind == "odd size":
        Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(path)
    else:
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)


@pytest.mark.parametrize("kind", ["broken", "grey", "alpha", "16-bit", "odd size"])
@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_one_bad_image_among_good_ones_is_named(ganbench, tmp_path, kind, command):
    folder = tmp_path / "photos"
    for index in range(30):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        images.save_picture(pixels, folder / f"{index}.png")
    fault(kind, folder / "17.png")
    before = content(tmp_path)
    arguments = {
        "train": ["--gan=vanilla", "--dataset=photos", *LOCAL, *QUICK],
        "evaluate": ["--real=polygons", "--fake=photos"],
    }[command]
    assert "17.png" in ganbench(command, *arguments).mistake()
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((40, 8, 8), np.float32), ["float32, not uint8", "scale them"]),
        (np.array([{"a": 1}] * 40, dtype=object), ["Python objects"]),
        (np.zeros((5, 8, 8), np.uint8), ["5 images", "at least 20"]),
    ],
)
def test_npz_of_something_else(ganbench, tmp_path, array, words):
    np.savez(tmp_path / "a.npz", images=array)
    for arguments in (
        ["train", "--gan=vanilla", "--dataset=a.npz", *LOCAL, *QUICK],
        ["evaluate", "--real=digits", "--fake=a.npz"],
    ):
        sentence = ganbench(*arguments).mistake()
        assert [word for word in words if word not in sentence] == [], sentence
    assert [f.name for f in tmp_path.iterdir()] == ["a.npz"]


def test_fakes_of_another_size(ganbench, tmp_path):
    np.savez(tmp_path / "a.npz", images=data.load("digits", size=16).train[:30])
    assert "give --size" in ganbench("evaluate", "--real=digits", "--fake=a.npz").mistake()


# --- sweeps


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (spec(gan="{values: []}"), ["no trials"]),
        ("name: s\nmethod: grid\n", ["parameters is missing"]),
        (spec(gan="{value: wgan}", gna="{value: 1}"), ["'gna'"]),
        (spec(gan="{valeus: [wgan]}"), ["'valeus'", "'values'"]),
        (spec(gan="{value: wgan}", dataset="{value: digit}"), ["'digit'", "'digits'"]),
        (spec(gan="{values: [wgan, wgna]}", dataset="{value: digits}"), ["'wgna'", "'wgan'"]),
        (spec(gan="{value: wgan}", dataset="{value: digits}").replace("grid", "bays"), ["'bays'", "'bayes'"]),
        (spec(gan="{value: wgan}", dataset="{value: digits}").replace("grid", "bayes"), ["metric: {name: best/fid"]),
        ("gan: [", ["malformed YAML"]),
    ],
)
def test_specifications(ganbench, tmp_path, text, words):
    (tmp_path / "spec.yaml").write_text(text)
    for command in (["run", "spec.yaml", *LOCAL], ["run", "spec.yaml", "--dry-run"]):
        sentence = ganbench("sweep", *command).mistake()
        assert [word for word in words if word not in sentence] == [], sentence
    assert [f.name for f in tmp_path.iterdir()] == ["spec.yaml"]


def test_ten_thousand_trials_without_anybody_to_ask(ganbench, tmp_path, monkeypatch):
    (tmp_path / "spec.yaml").write_text(
        spec(gan="{values: [wgan, lsgan]}", dataset="{value: digits}", seed=f"{{values: {list(range(5000))}}}")
    )
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        sentence = ganbench("sweep", "run", "spec.yaml", *LOCAL).mistake()
    assert "10,000 trials" in sentence
    assert "--yes" in sentence
    assert [f.name for f in tmp_path.iterdir()] == ["spec.yaml"]


def photos(folder: Path) -> None:
    for index in range(60):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        images.save_picture(pixels, folder / f"{index}.png")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"dataset": "{values: [digits, broken]}"}, ["17.png", "broken"]),
        ({"dataset": "{value: digits}", "data.size": "{values: [8, 9]}"}, ["data.size=9"]),
        ({"dataset": "{value: photos}", "data.size": "{value: 30}"}, ["dcgan", "30×30", "data.size=28", "data.pad=32"]),
        ({"dataset": "{value: ring8}", "gan.network": "{values: [mlp, resnet]}"}, ["resnet draws images, not points"]),
        ({"dataset": "{value: digits}", "evaluation.n_fake": "{values: [100, 3]}"}, ["there are 3", "n_fake"]),
        ({"dataset": "{value: photos}", "evaluation.k": "{value: 6}"}, ["7 real", "there are 6", "selection"]),
        (
            {"dataset": "{value: digits}", "evaluation.metrics": "{value: [fid_inf]}", "data.n": "{value: 20}"},
            ["'fid_inf'", "there are 20", "floor"],
        ),
    ],
)
def test_a_sweep_on_data_that_cannot_work(ganbench, tmp_path, parameters, words):
    photos(tmp_path / "photos")
    shutil.copytree(tmp_path / "photos", tmp_path / "broken")
    fault("broken", tmp_path / "broken" / "17.png")
    (tmp_path / "spec.yaml").write_text(spec(gan="{values: [wgan, lsgan]}", seed="{values: [0, 1]}", **parameters))
    before = content(tmp_path)
    sentence = ganbench("sweep", "run", "spec.yaml", *LOCAL).mistake()
    assert [word for word in words if word not in sentence] == [], sentence
    assert content(tmp_path) == before


def test_a_sweep_reads_each_data_set_once_and_no_torch(tmp_path):
    photos(tmp_path / "photos")
    grid = {"gan": "{values: [wgan, lsgan]}", "seed": f"{{values: {list(range(50))}}}", "gan.width": "{values: [4, 8]}"}
    (tmp_path / "spec.yaml").write_text(spec(dataset="{values: [photos, ring8]}", **grid))
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from harness import data, precheck\nfrom harness.sweep.spec import read_spec\n"
        "load, seen = data.load, []\n"
        "data.load = lambda name, **options: seen.append(name) or load(name, **options)\n"
        "precheck.check_sweep(read_spec(Path('spec.yaml')).trials)\n"
        "print(sorted(seen), 'torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout == "['photos', 'ring8'] False\n", ended.stderr


def test_a_finished_sweep_needs_its_data_no_more(ganbench, tmp_path, monkeypatch):
    from harness import precheck
    from harness.sweep import scheduler

    (tmp_path / "spec.yaml").write_text(
        spec(gan="{value: vanilla}", seed="{values: [0, 1]}", dataset="{value: digits}")
    )
    interrupted = scheduler.SweepOutcome((), (), {}, interrupted=True)
    monkeypatch.setattr(scheduler, "run_sweep", lambda *_, **__: interrupted)
    checked = []
    monkeypatch.setattr(precheck, "check_sweep", lambda trials: checked.append([trial.seed for trial in trials]))
    command = ("sweep", "run", "spec.yaml", "--out=s", *LOCAL)
    assert ganbench(*command).code == 130
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    TrialFolder(tmp_path / "s" / "trials" / manifest["trials"][0]["id"]).write_status("done")
    assert ganbench(*command).code == 130
    assert checked == [[0, 1], [1]]


def test_a_sweep_that_is_none(ganbench, tmp_path):
    assert "quickstart" in ganbench("sweep", "run", "quickstrat", "--dry-run").mistake()
    assert "no file none.yaml" in ganbench("sweep", "export", "none.yaml").mistake()
    assert "is a folder" in ganbench("sweep", "run", tmp_path, "--dry-run").mistake()


# --- places that are taken


def test_the_folder_of_another_trial_or_sweep(ganbench, trained, tmp_path):
    from harness.sweep.folder import prepare
    from harness.sweep.spec import read_spec

    shutil.copytree(trained, tmp_path / "trial")
    (tmp_path / "one.yaml").write_text(spec(gan="{value: wgan}", dataset="{value: digits}"))
    (tmp_path / "two.yaml").write_text(spec(gan="{value: lsgan}", dataset="{value: digits}"))
    prepare(tmp_path / "sweep", read_spec(tmp_path / "one.yaml"))
    (tmp_path / "file").write_text("mine")
    before = content(tmp_path)
    new = ("train", "--gan=lsgan", "--dataset=digits", *LOCAL, *QUICK)
    assert "holds another trial (vanilla on digits" in ganbench(*new, "--out=trial").mistake()
    assert "is no trial's folder" in ganbench(*new, "--out=sweep").mistake()
    assert "is no trial's folder" in ganbench(*new, "--out=file").mistake()
    assert "there is a file, not a folder" in ganbench(*new, "--out=file/run").mistake()
    assert "holds another sweep" in ganbench("sweep", "run", "two.yaml", "--out=sweep", *LOCAL).mistake()
    assert "holds no sweep" in ganbench("sweep", "run", "two.yaml", "--out=trial", *LOCAL).mistake()
    assert "holds no sweep" in ganbench("sweep", "run", "two.yaml", "--out=file", *LOCAL).mistake()
    assert "there is a file, not a folder" in ganbench("report", "trial", "--out=file").mistake()
    assert "is not an empty folder" in ganbench("sample", "trial", "--out=file").mistake()
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_damaged_checkpoint(ganbench, trained, tmp_path, name):
    shutil.copytree(trained, tmp_path / "trial")
    path = tmp_path / "trial" / "checkpoints" / f"{name}.pt"
    path.write_bytes(path.read_bytes()[:1000])
    before = content(tmp_path)
    checkpoint = path.relative_to(tmp_path)
    assert f"{name}.pt is no checkpoint" in ganbench("sample", checkpoint, "--out=x.png").mistake()
    assert f"{name}.pt is no checkpoint" in ganbench("evaluate", "--real=digits", "--fake", checkpoint).mistake()
    assert content(tmp_path) == before


def test_a_resume_from_a_damaged_checkpoint(ganbench, trained, tmp_path):
    folder = TrialFolder(tmp_path / "trial")
    shutil.copytree(trained, folder.path)
    folder.scores_file.unlink()
    folder.write_status("running")
    folder.checkpoint_file("last").write_bytes(b"noise")
    resume = ("train", "--config=trial/config.yaml", "--out=trial", *LOCAL)
    ended = ganbench(*resume)  # the one before it is as good
    assert ended.code == 0
    assert "last.pt is no checkpoint" in ended.err
    assert "goes on from the one before it" in ended.err
    assert folder.scores_file.read_bytes() == (trained / "scores.json").read_bytes()
    folder.scores_file.unlink()
    folder.write_status("running")
    for name in ("last", "previous"):
        folder.checkpoint_file(name).write_bytes(b"noise")
    ended = ganbench(*resume)
    assert ended.code == 0
    assert "last.pt is no checkpoint" in ended.err
    assert "previous.pt is no checkpoint" in ended.err
    assert "goes on from the start" in ended.err
    assert folder.scores_file.read_bytes() == (trained / "scores.json").read_bytes()


# --- disks


@pytest.fixture(scope="module")
def undisturbed(train, tmp_path_factory) -> bytes:
    """The scores of a trial whose disk does not fail."""
    folder = tmp_path_factory.mktemp("undisturbed") / "trial"
    assignments = {"gan": "vanilla", "dataset": "digits", **parse_assignments(QUICK)}
    train(resolve(assignments), folder)
    return (folder / "scores.json").read_bytes()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("good_writes", [0, 2, 7])
def test_a_disk_that_fails_after_some_writes(ganbench, undisturbed, tmp_path, monkeypatch, code, good_writes):
    """Wherever it happens, nothing is torn, and the same command then ends as if nothing had been."""
    from ganbench import files

    command = ("train", "--gan=vanilla", "--dataset=digits", "--out=t", *LOCAL, *QUICK)
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > good_writes:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        ended = ganbench(*command)
    assert ended.code == 2
    assert ended.err.startswith("ganbench: ")
    assert ended.err.count("\n") == 1
    assert "what was written before is intact" in ended.err
    assert not [f for f in (tmp_path / "t").rglob(".*") if f.is_file()]  # no half files are left about
    assert not (tmp_path / "t" / "scores.json").exists()
    assert ganbench(*command).code == 0
    assert (tmp_path / "t" / "scores.json").read_bytes() == undisturbed


@contextmanager
def tmpfs(place: Path, options: str):
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    ended = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
    if ended.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {ended.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run([shutil.which("umount") or "umount", place], check=True)


def test_a_disk_that_is_really_full(ganbench, tmp_path):
    command = ("train", "--gan=vanilla", "--dataset=digits", "--out=disk/t", *LOCAL, *QUICK)
    with tmpfs(tmp_path / "disk", "size=128k") as mount:
        ended = ganbench(*command)
        assert "the disk is full" in ended.mistake()
        folder = TrialFolder(tmp_path / "disk" / "t")
        assert folder.config().gan.name == "vanilla"
        for row in folder.history():
            assert row["images"] >= 0
        for file in (folder.path / "checkpoints").glob("*.pt"):
            assert store.load_checkpoint(file)["shape"] == [1, 8, 8]
        subprocess.run([mount, "-o", "remount,size=8m", tmp_path / "disk"], check=True)
        assert ganbench(*command).code == 0
        assert folder.status()["state"] == "done"


def test_a_disk_that_is_really_read_only(ganbench, tmp_path):
    with tmpfs(tmp_path / "disk", "ro"):
        for arguments in (
            ["train", "--gan=vanilla", "--dataset=digits", "--out=disk/t", *LOCAL, *QUICK],
            ["sweep", "run", "quickstart", "--out=disk/s", *LOCAL],
        ):
            assert "the disk is read-only" in ganbench(*arguments).mistake()


def test_a_report_and_samples_on_a_full_disk(ganbench, trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "trial")
    before = content(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "the disk is full" in ganbench("sample", "trial", "--out=x.png").mistake()
    assert "the disk is full" in ganbench("report", "trial").mistake()
    assert content(tmp_path) == before
