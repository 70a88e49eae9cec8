from __future__ import annotations

import pytest

from harness.sweep.folder import log_file, trial_folder
from harness.sweep.parcel import Packer, Parcel, remove, unpack

KEY = "0123456789ab"


def write(sweep, name: str, text: str) -> None:
    path = sweep / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def contents(sweep) -> dict[str, str]:
    return {path.relative_to(sweep).as_posix(): path.read_text() for path in sweep.rglob("*") if path.is_file()}


def test_only_what_has_changed_is_packed_and_the_other_side_ends_up_the_same(tmp_path):
    node, home = tmp_path / "node", tmp_path / "home"
    write(home, "trials/ba9876543210/status.json", "another's")
    packer = Packer(node, KEY)
    assert not packer.pack()
    names = ("config.yaml", "status.json", "scores.json", "history.jsonl", "checkpoints/last.pt", "checkpoints/old.pt")
    for name in names:
        write(node, f"trials/{KEY}/{name}", f"first {name}")
    write(node, f"logs/{KEY}.log", "a line\n")
    write(node, "trials/ba9876543210/status.json", "not asked for")
    write(node, f"trials/{KEY}/checkpoints/.last.pt.x7", "half written")
    (node / f"trials/{KEY}/latest").symlink_to("/etc/passwd")
    first = packer.pack()
    assert len(first.files) == len(names) + 1
    unpack(first, home, KEY)
    write(node, f"trials/{KEY}/status.json", "second status")
    (node / f"trials/{KEY}/checkpoints/old.pt").unlink()
    second = packer.pack()
    assert second == Parcel(
        {f"trials/{KEY}/status.json": b"second status"}, frozenset({f"trials/{KEY}/checkpoints/old.pt"})
    )
    unpack(second, home, KEY)
    assert not packer.pack()
    assert contents(home) == {
        "trials/ba9876543210/status.json": "another's",
        f"trials/{KEY}/config.yaml": "first config.yaml",
        f"trials/{KEY}/status.json": "second status",
        f"trials/{KEY}/scores.json": "first scores.json",
        f"trials/{KEY}/history.jsonl": "first history.jsonl",
        f"trials/{KEY}/checkpoints/last.pt": "first checkpoints/last.pt",
        f"logs/{KEY}.log": "a line\n",
    }


def test_what_tells_of_others_is_read_first_and_written_last(tmp_path, monkeypatch):
    for name in ("history.jsonl", "checkpoints/last.pt", "scores.json", "status.json"):
        write(tmp_path, f"trials/{KEY}/{name}", "x")
    parcel = Packer(tmp_path, KEY).pack()
    order = [name.removeprefix(f"trials/{KEY}/") for name in parcel.files]
    assert order == ["status.json", "scores.json", "checkpoints/last.pt", "history.jsonl"]
    written = []
    monkeypatch.setattr("harness.sweep.parcel.write_atomic", lambda path, write: written.append(path.name))
    unpack(parcel, tmp_path, KEY)
    assert written == ["history.jsonl", "last.pt", "scores.json", "status.json"]


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "manifest.json",
        "trials/ba9876543210/status.json",
        f"trials/{KEY}/../ba9876543210/status.json",
        f"trials/{KEY}x/status.json",
        "logs/ba9876543210.log",
        f"logs/{KEY}.log/x",
        f"trials/{KEY}/out/status.json",
        "",
    ],
)
def test_no_path_leads_out_of_the_trials_own_places(tmp_path, name):
    sweep = tmp_path / "s"
    write(sweep, f"trials/{KEY}/config.yaml", "x")
    (sweep / f"trials/{KEY}/out").symlink_to(tmp_path)
    before = contents(tmp_path)
    for parcel in (Parcel({f"trials/{KEY}/fine": b"", name: b"y"}), Parcel(gone=frozenset({name}))):
        with pytest.raises(ValueError, match=f"is no file of trial {KEY}"):
            unpack(parcel, sweep, KEY)
    assert contents(tmp_path) == before


def test_a_trials_files_are_removed_and_no_others(tmp_path):
    for key in (KEY, "ba9876543210"):
        write(tmp_path, f"trials/{key}/status.json", "x")
        write(tmp_path, f"logs/{key}.log", "x")
    remove(tmp_path, KEY)
    assert not trial_folder(tmp_path, KEY).path.exists()
    assert not log_file(tmp_path, KEY).exists()
    assert len(contents(tmp_path)) == 2
    remove(tmp_path, KEY)
