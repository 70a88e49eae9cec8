from __future__ import annotations

import json
import os
import socket

import pytest

from ganbench.errors import UserError
from harness.config import resolve, trial_id
from harness.store import TrialFolder
from harness.sweep.folder import load_manifest, locked, prepare, status, trial_folder
from harness.sweep.spec import SweepSpec


def spec(*trials: dict, name: str = "s", text: str = "some: text\n") -> SweepSpec:
    configs = [resolve({"gan": "wgan", "dataset": "digits", **trial}) for trial in trials]
    return SweepSpec(name, "", text, {}, None, configs)


def test_the_manifest_holds_every_resolved_trial_in_order(tmp_path):
    folder = tmp_path / "runs" / "s"
    wanted = spec({"seed": 2}, {"seed": 0}, {"gan": "lsgan"})
    written = prepare(folder, wanted)
    assert load_manifest(folder) == written
    assert list(written.trials.values()) == wanted.trials
    assert list(written.trials) == [trial_id(config) for config in wanted.trials]
    assert (folder / "sweep.yaml").read_text() == "some: text\n"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "sweep.yaml"]


def test_the_same_sweep_again_changes_nothing(tmp_path):
    prepare(tmp_path, spec({}, {"seed": 1}))
    before = (tmp_path / "manifest.json").read_bytes()
    prepare(tmp_path, spec({}, {"seed": 1}))
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_new_trials_are_added_at_the_end(tmp_path):
    first = prepare(tmp_path, spec({"seed": 3}, {"seed": 4}))
    longer = prepare(tmp_path, spec({"seed": 1}, {"seed": 3}, {"seed": 4}, text="more\n"))
    assert [config.seed for config in longer.trials.values()] == [3, 4, 1]
    assert list(longer.trials)[:2] == list(first.trials)
    assert load_manifest(tmp_path) == longer
    assert (tmp_path / "sweep.yaml").read_text() == "more\n"


def test_another_sweep_is_refused_with_the_difference_and_nothing_is_written(tmp_path):
    prepare(tmp_path, spec({"images": 1000}, {"images": 1000, "seed": 1}, {"seed": 2}))
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(UserError) as caught:
        prepare(tmp_path, spec({"images": 2000}, {"seed": 2}, text="other\n"))
    assert "2 trials are only there, 1 only in this specification" in str(caught.value)
    assert "images: there 1000, here 2000" in str(caught.value)
    assert "gan.name" not in str(caught.value)
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert (tmp_path / "sweep.yaml").read_text() == "some: text\n"


def test_a_part_of_the_sweep_is_another_sweep(tmp_path):
    prepare(tmp_path, spec({}, {"seed": 1}))
    with pytest.raises(UserError, match="1 trials are only there, 0 only in this"):
        prepare(tmp_path, spec({}))


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds no sweep: give another folder"):
        prepare(tmp_path, spec({}))
    with pytest.raises(UserError, match="holds no sweep"):
        prepare(tmp_path / "thesis.tex", spec({}))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_taken(tmp_path):
    assert len(prepare(tmp_path, spec({})).trials) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"name": "x", "spec_sha256": "", "trials": [{"id": "0123456789ab"}]}', "is damaged"),
        (
            '{"name": "x", "spec_sha256": "", "trials": [{"id": "0123456789ab", "config": {"gann": 1}}]}',
            "unknown option",
        ),
    ],
)
def test_a_damaged_manifest(tmp_path, content, message):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_manifest(tmp_path)


def test_ids_lead_nowhere_else(tmp_path):
    prepare(tmp_path, spec({}))
    raw = json.loads((tmp_path / "manifest.json").read_text())
    raw["trials"][0]["id"] = "../../../x"
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match="is no trial's id"):
        load_manifest(tmp_path)


def test_no_manifest(tmp_path):
    with pytest.raises(UserError, match="holds no sweep"):
        status(tmp_path / "none")


def dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_status_tells_the_states_apart(tmp_path):
    manifest = prepare(tmp_path, spec(*({"seed": seed} for seed in range(6)), {"gan.n_critic": 1}))
    pending, running, gone, done, failed, stopped, _ = (trial_folder(tmp_path, key) for key in manifest.trials)
    running.write_status("running", images=64, seconds=1.5)
    gone.write_status("running", images=128)
    text = json.loads(gone.status_file.read_text())
    gone.status_file.write_text(json.dumps({**text, "pid": dead_pid()}))
    done.write_status("done", images=20_000)
    failed.write_status("failed", reason="loss became nan")
    stopped.write_status("failed", reason="interrupted")
    rows = status(tmp_path)
    assert [row.state for row in rows] == [
        *("pending", "running", "interrupted", "done", "failed", "interrupted", "pending"),
    ]
    assert [row.images for row in rows] == [0, 64, 128, 20_000, 0, 0, 0]
    assert rows[1].seconds == 1.5
    assert rows[4].reason == "loss became nan"
    assert {row.total_images for row in rows} == {20_000}
    assert rows[0].label == "wgan gan.n_critic=5 seed 0"
    assert rows[6].label == "wgan gan.n_critic=1 seed 0"
    assert TrialFolder(pending.path).status() == {}


def test_a_process_on_another_machine_is_left_alone(tmp_path):
    (key,) = prepare(tmp_path, spec({})).trials
    trial = trial_folder(tmp_path, key)
    trial.write_status("running")
    facts = {**trial.status(), "host": f"not-{socket.gethostname()}", "pid": dead_pid()}
    trial.status_file.write_text(json.dumps(facts))
    assert status(tmp_path)[0].state == "running"


def test_one_process_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="another process is running the sweep"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
