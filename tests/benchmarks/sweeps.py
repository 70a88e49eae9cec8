"""Throughput of a sweep's warm workers, and what a queue of 10,000 trials costs.

    python tests/benchmarks/sweeps.py [--quick] [--tracking MODE] [--trials N] [--rounds N] [--only PART]

**Throughput**: the same short trials (40,000 points of a ring of Gaussians, two looks, the scores that need no
neighbours) in three ways, in turns within each round:

- `two_workers`: a sweep of two workers with one thread each, as `ganbench sweep run --jobs 2` has them on two cores;
- `one_worker`: the same sweep by one worker with one thread; other cores are left to the scheduler and W&B's service;
- `fresh`: `ganbench train` once per trial, which is what a W&B agent starts. Some `--fresh` trials only, and the time
  is per trial: every process does the same. `fresh_two` runs them two at a time, as two agents on two cores would.

Sweeps are timed from the start of their driver's process to its end: the imports of its fork server, paid once, count.
The comparison that `sweep run` writes at the end does not. All three write the same `scores.json` to the byte, else the
exit status is 1. Rates are trials per second of the clock; ratios are taken within a round, and their median is
reported.

**Queue**: `ganbench sweep run`, `sweep status` and `sweep run` again, each a process of its own, on a sweep of 10,000
trials. Starts are timed from the command to the first claim: then the queue stands, and the first trial is handed to
the fork server, which imports torch at the same time, as it does for a sweep of one trial (`first_process_s`). Trials
that are done are copies of one that was trained. Memory is the command's own peak, without the fork server.

Nothing else should run: `load` is the machine's load average when each part began.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from ganbench.files import write_json, write_text
from harness.config import TrackingConfig, TrialConfig, trial_id
from harness.sweep.folder import prepare, trial_folder
from harness.sweep.spec import read_spec

GANBENCH = (sys.executable, "-c", "from harness.cli import main; main()")

SPEEDUP = 1.7
"""Of two workers over one, on two cores."""

OVER_FRESH = 4.0
"""Of two workers over one fresh process per trial."""

SECONDS = 3.0
MEGABYTES = 500.0
"""What a queue of 10,000 trials may cost to start, to show and to take up again."""

LOOKS = 2
METRICS = ["modes", "high_quality", "mode_kl", "fid"]
VARIANTS = ("vanilla", "nonsaturating", "lsgan", "wgan", "wgan-gp")
SEEDS = 4
QUEUE_STEP = SEEDS * len(VARIANTS)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def short_trials(folder: Path, trials: int, images: int) -> Path:
    """A specification of so many short trials: three cheap variants, and seeds."""
    seeds = -(-trials // 3)
    path = folder / "short.yaml"
    write_text(
        path,
        yaml.safe_dump(
            {
                "method": "grid",
                "run_cap": trials,
                "parameters": {
                    "seed": {"values": list(range(seeds))},
                    "gan": {"values": list(VARIANTS[:3])},
                    **_short(images),
                },
            }
        ),
    )
    return path


def _short(images: int) -> dict[str, Any]:
    """The parameters that every trial here shares."""
    shared = {
        "dataset": "ring8",
        "images": images,
        "evaluation.every": images // LOOKS,
        "evaluation.metrics": METRICS,
    }
    return {name: {"value": value} for name, value in shared.items()}


# --- throughput


def drive(folder: Path, workers: int, tracking: str) -> int:
    """What a driver's process does: `sweep run` on a prepared folder, without the comparison at its end."""
    from harness.sweep import scheduler

    with patch.object(scheduler, "usable_cpus", lambda: workers):  # one thread each, on any machine
        outcome = scheduler.run_sweep(
            folder, tracking=TrackingConfig.model_validate({"mode": tracking}), jobs=workers, device="cpu"
        )
    return outcome.exit_code


@dataclass(frozen=True)
class Throughput:
    """The three ways to run the same trials."""

    work: Path
    trials: Sequence[TrialConfig]
    spec: Path
    fresh: int
    """Trials that are run in processes of their own."""
    tracking: str

    def sweep(self, folder: Path, workers: int) -> float:
        """Seconds per trial of a sweep in a new folder."""
        prepare(folder, read_spec(self.spec))
        command = [sys.executable, __file__, "--drive", str(folder), str(workers), "--tracking", self.tracking]
        begun = time.perf_counter()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return (time.perf_counter() - begun) / len(self.trials)

    def agents(self, folder: Path, at_a_time: int) -> float:
        """Seconds per trial of a fresh process for each."""
        chosen = self.trials[: self.fresh]
        begun = time.perf_counter()
        with ThreadPoolExecutor(at_a_time) as pool:
            for one in [pool.submit(self._train, folder, trial) for trial in chosen]:
                one.result()
        return (time.perf_counter() - begun) / len(chosen)

    def _train(self, folder: Path, trial: TrialConfig) -> None:
        scoring = trial.evaluation
        options = [f"evaluation.every={scoring.every}", f"evaluation.metrics={json.dumps(scoring.metrics)}"]
        asked = ["--gan", trial.gan.name, "--dataset", trial.data.name, "--images", trial.images, "--seed", trial.seed]
        where = ["--out", trial_folder(folder, trial_id(trial)).path, "--wandb", self.tracking, "--device", "cpu"]
        subprocess.run(
            [*GANBENCH, "train", *map(str, [*asked, *where]), *options],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def round(self, number: int) -> dict[str, Any]:
        """Each way once; seconds per trial."""
        base = self.work / f"round{number}"
        ways: dict[str, Callable[[Path], float]] = {
            "two_workers": lambda folder: self.sweep(folder, 2),
            "fresh": lambda folder: self.agents(folder, 1),
            "one_worker": lambda folder: self.sweep(folder, 1),
            "fresh_two": lambda folder: self.agents(folder, 2),
        }
        order = list(ways) if number % 2 == 0 else list(ways)[::-1]
        seconds = {}
        for name in order:
            seconds[name] = ways[name](base / name)
            _say(f"round {number + 1}: {name} {seconds[name]:.2f} s a trial")
        return {"seconds": seconds, "identical": self._identical(base)}

    def _identical(self, base: Path) -> bool:
        def scores(way: str, key: str) -> bytes:
            return trial_folder(base / way, key).scores_file.read_bytes()

        keys = [trial_id(trial) for trial in self.trials]
        ways = {"one_worker": keys, "fresh": keys[: self.fresh], "fresh_two": keys[: self.fresh]}
        return all(scores("two_workers", key) == scores(way, key) for way, some in ways.items() for key in some)


def throughput(work: Path, *, trials: int, fresh: int, images: int, rounds: int, tracking: str) -> dict[str, Any]:
    """A JSON-able row."""
    load = os.getloadavg()
    spec = short_trials(work, trials, images)
    bench = Throughput(work, read_spec(spec).trials, spec, min(fresh, trials), tracking)
    results = [bench.round(number) for number in range(rounds)]

    def median(name: str) -> float:
        return statistics.median(result["seconds"][name] for result in results)

    def ratio(slow: str) -> float:
        return statistics.median(result["seconds"][slow] / result["seconds"]["two_workers"] for result in results)

    return {
        "load": load,
        "tracking": tracking,
        "trials": trials,
        "fresh_trials": bench.fresh,
        "images": images,
        "rounds": rounds,
        "seconds_per_trial": {name: median(name) for name in results[0]["seconds"]},
        "speedup": ratio("one_worker"),
        "speedup_target": SPEEDUP,
        "over_fresh": ratio("fresh"),
        "over_fresh_two_at_a_time": ratio("fresh_two"),
        "over_fresh_target": OVER_FRESH,
        "identical": all(result["identical"] for result in results),
    }


# --- the queue


def long_queue(folder: Path, trials: int) -> Path:
    """A random search's specification: the variants with the same draws, `SEEDS` seeds each."""
    rates = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}
    content = {
        "name": "queue",
        "method": "random",
        "parameters": {
            "gan": {"values": list(VARIANTS)},
            "gan.lr_generator": rates,
            "gan.lr_discriminator": rates,
            "gan.beta1": {"min": 0.0, "max": 0.99},
            **_short(1_000),
        },
        "benchmark": {"configurations": trials // QUEUE_STEP, "seeds": SEEDS, "selection": {"metric": "fid"}},
    }
    path = folder / "queue.yaml"
    write_text(path, yaml.safe_dump(content))
    return path


@dataclass
class Cost:
    """Of one command until what was waited for, and its peak resident memory until it had ended."""

    seconds: float
    cpu_seconds: float
    """What remains of them where nothing else runs and the disk is fast."""
    megabytes: float

    def as_json(self) -> dict[str, Any]:
        """With whether both are within the limits."""
        good = self.seconds < SECONDS and self.megabytes < MEGABYTES
        return {**asdict(self), "within_target": good}


class Command:
    """`ganbench` with some arguments, in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [*GANBENCH, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait_for(self, happened: Callable[[], bool]) -> tuple[float, float]:
        """Seconds since the command was given until this is so, by the clock and by its processor."""
        while not happened():
            if self.process.poll() is not None:
                raise RuntimeError(f"the command ended with exit code {self.process.returncode} before")
            time.sleep(0.005)
        seconds = time.perf_counter() - self.begun
        used = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return seconds, sum(map(int, used)) / os.sysconf("SC_CLK_TCK")

    def end(self) -> Cost:
        """What it has cost in all, after waiting for its end."""
        _, status, usage = os.wait4(self.process.pid, 0)
        seconds = time.perf_counter() - self.begun
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    def until(self, happened: Callable[[], bool]) -> Cost:
        """What it has cost until this is so; it is ended by Ctrl-C then."""
        used = self.wait_for(happened)
        return self.stop(used)

    def stop(self, used: tuple[float, float]) -> Cost:
        """The same, where it was waited for before."""
        self.process.send_signal(signal.SIGINT)
        return Cost(*used, self.end().megabytes)


def queue(work: Path, *, trials: int, tracking: str) -> dict[str, Any]:
    """A JSON-able row."""
    load = os.getloadavg()
    spec, folder = long_queue(work, trials), work / "queue"
    keys = [trial_id(trial) for trial in read_spec(spec).trials]
    run = ("sweep", "run", spec, "--out", folder, "--yes", "--wandb", tracking, "--device", "cpu")

    def claimed(key: str) -> Callable[[], bool]:
        return (folder / "claims" / key).exists

    def show() -> Cost:
        return Command("sweep", "status", folder).end()

    start = Command(*run)
    used = start.wait_for(claimed(keys[0]))
    first_process, _ = start.wait_for((folder / "logs" / f"{keys[0]}.log").exists)
    start.wait_for(trial_folder(folder, keys[0]).scores_file.exists)
    start.wait_for(lambda: trial_folder(folder, keys[0]).status().get("state") == "done")
    rows = {"start": start.stop(used), "status_begun": show()}
    _say(f"start {used[0]:.2f} s, first process after {first_process:.2f} s")

    half = trials // 2
    _finish(folder, keys[0], keys[1:half])
    rows["status_half_done"] = show()
    rows["resume_half_done"] = Command(*run).until(claimed(keys[half]))
    _finish(folder, keys[0], keys[half:-1])
    rows["status_one_left"] = show()
    rows["resume_one_left"] = Command(*run).until(claimed(keys[-1]))
    return {
        "load": load,
        "tracking": tracking,
        "trials": trials,
        "seconds_target": SECONDS,
        "megabytes_target": MEGABYTES,
        "first_process_s": first_process,
        **{name: cost.as_json() for name, cost in rows.items()},
    }


def _finish(folder: Path, model: str, keys: Sequence[str]) -> None:
    """Make trials look as if they had been trained."""
    source = trial_folder(folder, model)
    status, scores = source.status(), source.scores()
    assert scores
    for key in keys:
        target = trial_folder(folder, key)
        write_json(target.scores_file, {**scores, "trial": key})
        write_json(target.status_file, status)


# --- the command


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _environment() -> Iterator[None]:
    """Commands have one thread each and import what this process does."""
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    with patch.dict(os.environ, {**ONE_THREAD, "PYTHONPATH": paths}):
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print JSON; 1 when the three ways differ in a score, else 0."""
    parser = argparse.ArgumentParser(description="Throughput of sweeps and the cost of long queues, as JSON.")
    parser.add_argument("--quick", action="store_true", help="a few small trials, once: whether it works at all")
    parser.add_argument("--only", choices=("throughput", "queue"), help="one part; both are the default")
    parser.add_argument("--trials", type=int, help="short trials of a sweep (default: 60)")
    parser.add_argument("--fresh", type=int, help="trials in fresh processes (default: 6)")
    parser.add_argument("--images", type=int, help="budget of a short trial (default: 40,000)")
    parser.add_argument("--queue", type=int, help="trials of the long queue (default: 10,000)")
    parser.add_argument("--rounds", type=int, default=1, help="of the throughput (default: %(default)s)")
    parser.add_argument("--tracking", choices=("offline", "disabled"), default="offline", help="W&B's mode")
    parser.add_argument("--drive", nargs=2, metavar=("FOLDER", "WORKERS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive:
        return drive(Path(options.drive[0]), int(options.drive[1]), options.tracking)
    sizes = (2, 1, 2_000, 100) if options.quick else (60, 6, 40_000, 10_000)
    given = (options.trials, options.fresh, options.images, options.queue)
    trials, fresh, images, queued = (size if one is None else one for one, size in zip(given, sizes, strict=True))
    if min(trials, fresh, options.rounds, queued) < 1 or queued % QUEUE_STEP or images < 1_000:
        parser.error(
            f"trials, fresh and rounds are at least 1, images at least 1,000, queue is a multiple of {QUEUE_STEP}"
        )
    report: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "pytorch-lightning", "wandb")},
        },
    }
    with tempfile.TemporaryDirectory(prefix="sweeps-", ignore_cleanup_errors=True) as work, _environment():
        if options.only != "queue":
            report["throughput"] = throughput(
                Path(work), trials=trials, fresh=fresh, images=images, rounds=options.rounds, tracking=options.tracking
            )
        if options.only != "throughput":
            report["queue"] = queue(Path(work), trials=queued, tracking=options.tracking)
    print(json.dumps(report, indent=2))
    return 0 if report.get("throughput", {}).get("identical", True) else 1


if __name__ == "__main__":
    sys.exit(main())
