"""What files hold: as a zip archive's directory says it, and read once."""

import os
import time
import zipfile
from pathlib import Path

import pytest

from harness.cache import entries, prune
from harness.data import content
from harness.data.content import content_of
from harness.places import cache_folder


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three files that nobody has touched for an hour."""
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "d"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(name.encode() * 3000)
    clock = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() + 3600 * 10**9)
    return [folder / name for name in "abc"]


@pytest.fixture
def read(monkeypatch):
    """The names of the files that were read."""
    names = []
    whole = content._read
    monkeypatch.setattr(content, "_read", lambda file: names.append(Path(file).name) or whole(file))
    return names


def test_it_is_what_a_zip_says(files, tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
        said = [(member.file_size, member.CRC) for member in archive.infolist()]
    assert content_of(files, tmp_path / "d") == said


def test_only_what_has_changed_is_read_again(files, read, tmp_path):
    first = content_of(files, tmp_path / "d")
    assert sorted(read) == ["a", "b", "c"]
    assert content_of(files[::-1], tmp_path / "d") == first[::-1]
    assert len(read) == 3
    files[1].write_bytes(b"x" * 3000)  # of the same length
    changed = content_of(files, tmp_path / "d")
    assert read[3:] == ["b"]
    assert (changed[0], changed[2]) == (first[0], first[2])
    assert changed[1] != first[1]


def test_sets_below_one_root_are_remembered_side_by_side(files, read, tmp_path):
    for _ in range(2):
        content_of(files[:1], tmp_path / "d")
        content_of(files[1:], tmp_path / "d")
    assert sorted(read) == ["a", "b", "c"]


def test_a_file_that_changed_just_now_is_not_believed_the_next_time(files, read, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "_read", lambda file: read.append(Path(file).name) or (1, 2))
    for _ in range(2):
        content_of(files, tmp_path / "d")
    assert sorted(read) == ["a", "a", "b", "b", "c", "c"]


def test_nonsense_in_the_memory_is_forgotten_and_a_cache_that_is_none_costs_time_only(
    files, read, tmp_path, monkeypatch
):
    first = content_of(files, tmp_path / "d")
    for path in (cache_folder() / "contents").iterdir():
        path.write_text('{"a": 3}')
    assert content_of(files, tmp_path / "d") == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "file"))
    assert content_of(files, tmp_path / "d") == first
    assert len(read) == 9


def test_a_file_that_is_gone_has_no_content_until_it_is_back(files, read, tmp_path):
    right = content_of(files, tmp_path / "d")
    files[0].rename(tmp_path / "away")
    assert content_of(files, tmp_path / "d") == [(-1, 0), *right[1:]]
    (tmp_path / "away").rename(files[0])
    assert content_of(files, tmp_path / "d") == right


def test_the_cache_lists_and_prunes_it(files, tmp_path):
    content_of(files, tmp_path / "d")
    (entry,) = entries(cache_folder())
    assert (entry.content, entry.usable) == ("checksums of an image folder's files", True)
    os.utime(entry.path, (0, 0))
    assert [removed.path for removed in prune(cache_folder(), unused_days=1)] == [entry.path]
    assert not entries(cache_folder())
