from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ganbench.errors import UserError
from harness.config import resolve, trial_id
from harness.store import TrialFolder
from harness.sweep import claims
from harness.sweep.folder import extend, load_manifest, locked, prepare, requeue, trial_folder
from harness.sweep.overview import status
from harness.sweep.spec import SweepSpec, read_spec


def spec(*trials: dict, name: str = "s", text: str = "some: text\n", pruning: object = None) -> SweepSpec:
    """What `prepare` takes of a specification."""
    configs = [resolve({"gan": "wgan", "dataset": "digits", **trial}) for trial in trials]
    return SweepSpec(name=name, source_text=text, grid=configs, pruning=pruning)


def test_the_manifest_holds_every_resolved_trial_in_order(tmp_path):
    folder = tmp_path / "runs" / "s"
    wanted = spec({"seed": 2}, {"seed": 0}, {"gan": "lsgan"})
    written = prepare(folder, wanted)
    assert load_manifest(folder) == written
    assert list(written.trials.values()) == wanted.trials
    assert list(written.trials) == [trial_id(config) for config in wanted.trials]
    assert (folder / "sweep.yaml").read_text() == "some: text\n"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "manifest.json", "sweep.yaml"]


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
    stopped.write_status("interrupted")
    rows = status(tmp_path)
    assert [row.state for row in rows] == [
        *("pending", "running", "interrupted", "done", "failed", "interrupted", "pending"),
    ]
    assert [row.images for row in rows] == [0, 64, 128, 20_000, 0, 0, 0]
    assert rows[1].seconds == 1.5
    assert rows[4].reason == "loss became nan"
    assert {row.total_images for row in rows} == {20_000}
    assert rows[0].label == "wgan n_critic=5 seed 0"
    assert rows[6].label == "wgan n_critic=1 seed 0"
    assert TrialFolder(pending.path).status() == {}


def test_a_process_on_another_machine_is_left_alone(tmp_path):
    (key,) = prepare(tmp_path, spec({})).trials
    trial = trial_folder(tmp_path, key)
    trial.write_status("running")
    facts = {**trial.status(), "host": f"not-{socket.gethostname()}", "pid": dead_pid()}
    trial.status_file.write_text(json.dumps(facts))
    assert status(tmp_path)[0].state == "running"


def test_pruning_that_was_changed_is_another_sweep(tmp_path):
    few, many = (SimpleNamespace(as_json=lambda n=n: {"min_iter": n}) for n in (3, 9))
    assert prepare(tmp_path, spec({}, pruning=few)).pruning == {"min_iter": 3}
    assert load_manifest(tmp_path).pruning == {"min_iter": 3}
    with pytest.raises(UserError, match=r"\(early_terminate\.min_iter: there 3, here 9\)"):
        prepare(tmp_path, spec({}, pruning=many))
    with pytest.raises(UserError, match=r"\(early_terminate: there \{\"min_iter\": 3\}, here nothing\)"):
        prepare(tmp_path, spec({}))


def test_of_a_search_that_was_changed_only_the_difference_is_said(tmp_path):
    def study(**changes: str) -> Path:
        given = {"max": "0.01", "beta1": "gan.beta1: {min: 0.0, max: 0.9}", "configurations": "2", **changes}
        path = tmp_path / "study.yaml"
        path.write_text(
            "method: bayes\nmetric: {name: best/fid}\nparameters:\n  gan: {values: [vanilla, wgan]}\n"
            "  dataset: {value: digits}\n  gan.lr_generator: {distribution: log_uniform_values, min: 1e-4, max: "
            f"{given['max']}}}\n  {given['beta1']}\nbenchmark: {{configurations: {given['configurations']}}}\n"
        )
        return path

    def refused(**changes: str) -> str:
        with pytest.raises(UserError) as caught:
            prepare(tmp_path / "s", read_spec(study(**changes)))
        return str(caught.value)

    prepare(tmp_path / "s", read_spec(study()))
    assert "s holds another sweep (parameters.gan.lr_generator.max: there 0.01, here 0.02):" in refused(max="0.02")
    added = refused(beta1="gan.beta1: {values: [0.0, 0.5]}")
    assert "parameters.gan.beta1.max: there 0.9, here nothing" in added
    renamed = refused(beta1="gan.clip: {min: 0.1, max: 0.9}")
    assert 'parameters.gan.beta1: there {"distribution": "uniform", "min": 0.0, "max": 0.9}, here nothing; ' in renamed
    many = refused(max="0.02", beta1="gan.clip: {min: 0.1, max: 0.9}", configurations="1")
    assert (many.count(": there "), "; and 1 more)" in many) == (3, True)
    prepare(tmp_path / "s", read_spec(study(configurations="3")))  # only adds
    assert "configurations: there 3, here 2" in refused()


def test_a_config_is_taken_as_resolved_only_where_its_id_proves_it(tmp_path):
    (key,) = prepare(tmp_path, spec({"gan": "wgan-gp"})).trials
    raw = json.loads((tmp_path / "manifest.json").read_text())
    del raw["trials"][0]["config"]["gan"]["n_critic"]  # as if an older version had not known the option
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    assert load_manifest(tmp_path).trials[key] == resolve({"gan": "wgan-gp", "dataset": "digits"})


# --- more than one process


def test_a_trial_is_added_to_what_is_in_the_file_by_then(tmp_path):
    prepare(tmp_path, spec({}))
    seen = []

    def propose(manifest):
        seen.append([config.seed for config in manifest.trials.values()])
        return resolve({"gan": "wgan", "dataset": "digits", "seed": len(manifest.trials)})

    assert len(extend(tmp_path, propose).trials) == 2
    longer = extend(tmp_path, propose)
    assert seen == [[0], [0, 1]]
    assert longer == load_manifest(tmp_path)
    assert extend(tmp_path, lambda _: None) == longer
    assert extend(tmp_path, lambda manifest: next(iter(manifest.trials.values()))) == longer


EXTEND = """
import sys
from pathlib import Path
from harness.config import resolve
from harness.sweep.folder import extend

propose = lambda manifest: resolve({"gan": "wgan", "dataset": "digits", "seed": len(manifest.trials)})
for _ in range(20):
    extend(Path(sys.argv[1]), propose)
"""


def test_no_trial_is_lost_between_two_that_add(tmp_path):
    prepare(tmp_path, spec({}))
    both = [subprocess.Popen([sys.executable, "-c", EXTEND, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert sorted(config.seed for config in load_manifest(tmp_path).trials.values()) == list(range(41))


def test_the_lock_is_waited_for(tmp_path):
    prepare(tmp_path, spec({}))
    order = []

    def second():
        extend(tmp_path, lambda _: order.append("second"))

    thread = threading.Thread(target=second)
    with locked(tmp_path):
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


# --- retry


def test_retry_makes_the_failed_pending_and_counts(tmp_path):
    keys = list(prepare(tmp_path, spec(*({"seed": seed} for seed in range(5)))).trials)
    failed, diverged, done, pruned, pending = (trial_folder(tmp_path, key) for key in keys)
    failed.write_status("failed", reason="no luck", images=640)
    diverged.write_status("diverged", reason="loss became nan")
    done.write_status("done")
    pruned.write_status("pruned", reason="hopeless")
    assert requeue(tmp_path) == keys[:1]
    assert [row.state for row in status(tmp_path)] == ["pending", "diverged", "done", "pruned", "pending"]
    assert failed.status()["attempts"] == 2
    assert failed.status()["images"] == 640
    assert "reason" not in failed.status()
    assert requeue(tmp_path) == []
    failed.write_status("failed", reason="no luck again")
    assert requeue(tmp_path, diverged=True) == keys[:2]
    assert (failed.status()["attempts"], diverged.status()["attempts"]) == (3, 2)
    assert pending.status() == {}
    assert list((tmp_path / "claims").iterdir()) == []


def test_retry_leaves_alone_what_a_process_is_at(tmp_path):
    (key,) = prepare(tmp_path, spec({})).trials
    trial_folder(tmp_path, key).write_status("failed", reason="no luck")
    with claims.take(tmp_path, key):
        assert requeue(tmp_path) == []
    assert requeue(tmp_path) == [key]
