"""Decoded images on disk: made once, by one process, whatever is killed in between, and never believed when damaged."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ganbench.errors import UserError
from harness.cache import entries, prune
from harness.data import decoding, pixel_store
from harness.data.dataset import fingerprint
from harness.data.decoding import PIECE, Fault
from harness.places import cache_folder

PARTS = {"train": 700, "selection": 100, "test": 200}
SHAPE = (3, 4, 6)
IMAGES = np.random.default_rng(0).integers(0, 256, (1000, *SHAPE), dtype=np.uint8)
KEY = {"of": "noise"}


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def counted():
    """A decoder of `IMAGES` that notes the rows it was asked for; `faults` may be given by row."""

    class Counted:
        def __init__(self):
            self.rows = []
            self.faults = {}
            self.images = IMAGES

        def __call__(self, row):
            self.rows.append(row)
            return self.faults.get(row, self.images[row])

    return Counted()


def build(decode, key=KEY, **options):
    return pixel_store.build(key, PARTS, decode, title="noise", **options)


def home():
    (found,) = (cache_folder() / "images").iterdir()
    return found


def allow(flaws, shape):
    pass


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_parts_are_the_decoded_rows_in_order_and_cannot_be_written_to(counted, keep, threads):
    pixels = build(counted, keep=keep, threads=threads)
    assert np.array_equal(np.concatenate(list(pixels.parts.values())), IMAGES)
    assert {part: len(array) for part, array in pixels.parts.items()} == PARTS
    assert pixels.fingerprint == (fingerprint(pixels.parts) if keep else None)
    assert not any(array.flags.writeable for array in pixels.parts.values())
    assert (cache_folder() / "images").exists() == keep


def test_what_is_stored_is_not_decoded_again_and_another_key_is_another_entry(counted):
    first = build(counted)
    assert sorted(set(counted.rows)) == list(range(1000))
    counted.rows.clear()
    again = build(counted)
    assert counted.rows == []
    assert again.fingerprint == first.fingerprint
    assert all(np.array_equal(again.parts[part], first.parts[part]) for part in PARTS)
    build(counted, {**KEY, "size": 8})
    assert counted.rows
    assert {path.name for path in home_files()} == {"facts.json", "lock", "pixels"}


def home_files():
    return (path for folder in (cache_folder() / "images").iterdir() for path in folder.iterdir())


def test_an_interrupted_decoding_is_continued(counted):
    def impatient(row):
        if row >= 3 * PIECE:
            raise KeyboardInterrupt
        return counted(row)

    with pytest.raises(KeyboardInterrupt):
        build(impatient, threads=1)
    done = set(counted.rows)
    counted.rows.clear()
    with (home() / "journal").open("ab") as journal:
        journal.write(b'{"rows": [768, 1000], "fla')  # what a machine that lost its power leaves
    pixels = build(counted)
    assert len(done) > PIECE
    assert not done.intersection(counted.rows)
    assert np.array_equal(np.concatenate(list(pixels.parts.values())), IMAGES)


@pytest.mark.parametrize("broken", [[], [3, 750]])
def test_an_interruption_at_the_very_end_harms_nothing(counted, monkeypatch, broken):
    def interrupted(*_):
        raise KeyboardInterrupt

    counted.faults = dict.fromkeys(broken, Fault("is broken", "mend it", broken=True))
    for name in ("fingerprint", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(pixel_store, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                build(counted, judge=allow)
    pixels = build(counted, judge=allow)
    assert np.array_equal(np.concatenate(list(pixels.parts.values())), np.delete(IMAGES, broken, axis=0))
    assert {path.name for path in home().iterdir()} == {"facts.json", "lock", "pixels"}


def test_a_journal_without_its_file_or_of_nonsense_is_begun_anew(counted):
    counted.faults[5] = Fault("is broken", "mend it", broken=True)
    with pytest.raises(UserError):
        build(counted)
    (home() / "journal").write_text('{"shape": [1, 2]}\n{"rows": 3}\n')
    counted.faults.clear()
    assert np.array_equal(build(counted).parts["train"], IMAGES[:700])


SCRIPT = """
    import os, pathlib, signal, time
    import numpy as np
    from harness.data import pixel_store
    pixel_store.SYNC_SECONDS = 0
    IMAGES = np.random.default_rng(0).integers(0, 256, (1000, 3, 4, 6), dtype=np.uint8)
    ready = pathlib.Path({log!r}).parent
    (ready / f"{{os.getpid()}}.ready").touch()
    while len(list(ready.glob("*.ready"))) < {together}:
        time.sleep(0.01)

    def decode(row):
        with open({log!r}, "a") as log:
            log.write(f"{{row}}\\n")
        if row == {kill_at}:
            time.sleep(0.3)  # what is decoded is on its way to the file
            os.kill(os.getpid(), signal.SIGKILL)
        if row % 100 == 0:
            time.sleep(0.1)
        return IMAGES[row]

    pixels = pixel_store.build({{"of": "noise"}}, {parts!r}, decode, title="noise", threads=1)
    print(pixels.fingerprint)
"""


def start(log, *, kill_at=None, together=1):
    script = textwrap.dedent(SCRIPT.format(log=str(log), kill_at=kill_at, together=together, parts=PARTS))
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


def test_a_killed_process_costs_only_what_it_had_not_written(tmp_path, counted):
    killed = start(tmp_path / "log", kill_at=900)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    pixels = build(counted)
    assert min(counted.rows) >= PIECE
    assert np.array_equal(np.concatenate(list(pixels.parts.values())), IMAGES)


def test_of_two_processes_at_once_one_decodes_and_the_other_waits(tmp_path):
    both = [start(tmp_path / "log", together=2) for _ in range(2)]
    (first, first_said), (second, second_said) = (process.communicate(timeout=60) for process in both)
    parts = {"train": IMAGES[:700], "selection": IMAGES[700:800], "test": IMAGES[800:]}
    assert first == second == fingerprint(parts) + "\n"
    rows = list(map(int, (tmp_path / "log").read_text().split()))
    assert sorted([*range(1000), 0]) == sorted(rows)  # row 0 is looked at for the shape, too
    assert "note: another process is decoding noise: waiting for it" in first_said + second_said


def test_a_touched_file_is_believed_and_a_damaged_one_is_made_again(counted):
    right = build(counted).fingerprint
    counted.rows.clear()
    os.utime(home() / "pixels")
    assert build(counted).fingerprint == right
    assert counted.rows == []
    for damage in ("changed", "cut off", "without facts"):
        content = (home() / "pixels").read_bytes()
        if damage == "without facts":
            (home() / "facts.json").write_text("{")
        else:
            other = b"x" + content[1:] if damage == "changed" else content[:-1]
            (home() / "pixels").write_bytes(other)
        pixels = build(counted)
        assert counted.rows, damage
        assert fingerprint(pixels.parts) == pixels.fingerprint == right
        counted.rows.clear()


def test_rows_at_fault_are_refused_or_left_out(counted):
    broken = Fault("is broken", "mend it", broken=True)
    counted.faults = {3: broken, 750: broken, 751: broken}
    with pytest.raises(UserError, match=r"^image 3 of noise is broken \(so it is with 2 more\): mend it$"):
        build(counted)
    counted.rows.clear()
    pixels = build(counted, judge=allow)
    assert counted.rows == []  # what the refused one has decoded is used
    assert [len(array) for array in pixels.parts.values()] == [699, 98, 200]
    assert np.array_equal(np.concatenate(list(pixels.parts.values())), np.delete(IMAGES, [3, 750, 751], axis=0))
    assert pixels.fingerprint == fingerprint(pixels.parts)
    places = {part: np.arange(count) for part, count in PARTS.items()}
    assert [len(kept) for kept in pixels.keep(places).values()] == [699, 98, 200]
    assert pixels.keep(places)["selection"][48:52].tolist() == [48, 49, 52, 53]
    with pytest.raises(UserError, match="image 3 of noise"):  # who does not allow it is still told
        build(counted)
    assert np.array_equal(build(counted, keep=False, judge=allow).parts["selection"], pixels.parts["selection"])


def test_images_of_another_shape_than_the_first_are_told(counted):
    counted.faults = {row: np.zeros((1, 4, 6), np.uint8) for row in (7, 9)}
    with pytest.raises(UserError, match=r"image 7 of noise has the shape \(1, 4, 6\) while others have \(3, 4, 6\)"):
        build(counted)


def test_nothing_but_faults(counted):
    counted.faults = dict.fromkeys(range(1000), Fault("is broken", "mend it", broken=True))
    with pytest.raises(UserError, match="none of the 1000 images of noise can be read"):
        build(counted, judge=allow)
    with pytest.raises(UserError, match=r"^image 0 of noise is broken \(so it is with 999 more\): mend it$"):
        build(counted)


@pytest.mark.parametrize("trouble", ["no folder", "full disk"])
def test_a_store_that_cannot_be_written_costs_time_only(counted, trouble, tmp_path, monkeypatch, capsys):
    if trouble == "no folder":
        (tmp_path / "cache").write_text("a file")
    else:
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: os.open("/dev/full/x", os.O_RDONLY))
    pixels = build(counted)
    assert np.array_equal(pixels.parts["train"], IMAGES[:700])
    said = capsys.readouterr().err
    assert said.startswith("note: noise is decoded anew each time, as ")
    assert said.endswith(": set GANBENCH_CACHE\n")
    monkeypatch.setattr(pixel_store, "IN_MEMORY_BYTES", 0)
    with pytest.raises(
        UserError, match=r"cannot take the 0\.0 GiB of noise .*: make room there, or set GANBENCH_CACHE"
    ):
        build(counted)


def test_a_terminal_shows_a_bar_where_there_is_much_to_do(counted, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    build(counted, keep=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(decoding, "PROGRESS_FROM", 999)
    assert np.array_equal(build(counted).parts["train"], IMAGES[:700])
    assert "reading noise" in capsys.readouterr().err


def test_mistakes_of_the_source_are_not_taken_for_the_stores(counted):
    def gone(row):
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        build(gone)


def test_the_cache_lists_and_prunes_entries(counted):
    build(counted)
    counted.faults[3] = Fault("is broken", "mend it", broken=True)
    with pytest.raises(UserError):
        build(counted, {"of": "half"})
    listed = {entry.content: entry for entry in entries(cache_folder())}
    assert set(listed) == {"images of noise, 1000 × 3 × 4 × 6", "half decoded"}
    assert listed["images of noise, 1000 × 3 × 4 × 6"].bytes >= IMAGES.nbytes
    assert prune(cache_folder()) == []
    for path in listed["half decoded"].path.iterdir():
        os.utime(path, (0, 0))
    assert [entry.content for entry in prune(cache_folder())] == ["half decoded"]
    mapped = build(counted).parts["train"]
    assert len(prune(cache_folder(), everything=True)) == 1
    assert np.array_equal(mapped, IMAGES[:700])  # who has it mapped keeps it
    assert not list((cache_folder() / "images").iterdir())
