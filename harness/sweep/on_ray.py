"""Trials as tasks of a Ray cluster, for the scheduler that otherwise starts processes of its own machine.

The queue, the claims and the restarts stay the scheduler's. Ray is asked not to retry: a task that was lost with its
worker or node is started again by the scheduler, since what the trial's files have come to by then must go with it.
On a file system that the nodes share, trials write into the sweep's folder; elsewhere the tasks send what has changed
at each scoring, and the executor writes it there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ganbench import __version__
from ganbench.errors import UserError
from harness.sweep.claims import Claim, Claims
from harness.sweep.executor import GRACE, Ended, Report
from harness.sweep.local import usable_cpus
from harness.sweep.parcel import Packer, Parcel, unpack
from harness.sweep.ray_node import Begun, Bell, Task, watch_over
from harness.sweep.worker import Job

OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory for a Ray that is started here: only checkpoints ever pass through it."""

COUNT_EVERY = 5.0
"""Seconds between two looks at what the cluster has: nodes join and leave."""

MOST_WAITING = 100_000
"""Tasks that the bell lets wait at once: as many as there are running trials."""


@dataclass
class _Flight:
    """A trial on the cluster."""

    key: str
    claim: Claim | Claims
    ticket: str
    begun: bool = False


class RayExecutor:
    """Runs trials on a Ray cluster, or on a Ray that is started here and ends with it.

    Args:
        sweep: the sweep's folder.
        jobs: trials at a time; the default is one per GPU, or per processor where there is none or none is wanted.
        address: "auto" or "host:port" of a cluster that this machine belongs to; None starts Ray here.
        preload: modules that the trials' fork servers import, once per core.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: Ray is not installed; as a context: no cluster at the address.
    """

    def __init__(
        self, *, sweep: Path, jobs: int | None, address: str | None, preload: Sequence[str], device: str = "auto"
    ) -> None:
        _set_up_environment(here=address is None)
        try:
            import ray
        except ImportError:
            raise UserError("--executor ray needs Ray: run pip install 'ganbench[ray]'") from None
        self.ray: Any = ray
        self.sweep = sweep.resolve()
        self.jobs = jobs
        self.address = address
        self.preload = preload
        self.device = device
        self._flights: dict[Any, _Flight] = {}
        self._counted = (float("-inf"), 0, 0)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            log = self.sweep / "logs" / "ray.log"
            log.parent.mkdir(exist_ok=True)
            # what Ray has to say of lost workers and the like would stand among the results on stdout
            stack.enter_context(redirect_stdout(stack.enter_context(log.open("a"))))
            if self.address is None:
                temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the path of a socket has 107 characters
                stack.callback(shutil.rmtree, temporary, ignore_errors=True)
                stack.callback(self.ray.shutdown)
                self._start_here(temporary)
            else:
                stack.callback(self.ray.shutdown)
                self._join(self.address)
            self._mark = self.sweep / f".shared-{secrets.token_hex(8)}"
            self._token = secrets.token_hex(16)
            stack.callback(self._mark.unlink, missing_ok=True)
            self._mark.write_text(self._token)
            here = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                self.ray.get_runtime_context().get_node_id(), soft=True
            )
            options = {"num_cpus": 0, "max_concurrency": MOST_WAITING, "scheduling_strategy": here}
            self._bell = self.ray.remote(Bell).options(**options).remote()
            self._task = self.ray.remote(watch_over)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self.stop(lambda: True)

    def _start_here(self, temporary: str) -> None:
        jobs = self.jobs or usable_cpus()
        self.ray.init(
            address="local",
            num_cpus=jobs * self.threads,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=OBJECT_STORE,
            _temp_dir=temporary,
        )

    def _join(self, address: str) -> None:
        where = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
        remedy = "give --address host:port as `ray start` printed it, on a machine of the cluster, or leave it out"
        if "://" in where:
            raise UserError(f"--address {where}: Ray's client cannot run a sweep; {remedy}")
        if where != "auto":
            host, _, port = where.rpartition(":")
            try:  # Ray itself tries for two minutes, and then ends the process
                socket.create_connection((host, int(port)), timeout=5).close()
            except (OSError, ValueError, OverflowError):
                raise UserError(f"no Ray cluster answers at {where}: {remedy}") from None
        try:
            self.ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UserError(f"no Ray cluster could be joined at {where} ({reason}): {remedy}") from None

    # --- what there is

    @property
    def threads(self) -> int:
        """CPU threads of a trial: on a Ray of this machine as without Ray, on a cluster one."""
        return max(1, usable_cpus() // self.jobs) if self.jobs and self.address is None else 1

    @property
    def slots(self) -> int:
        """Trials at a time."""
        cpus, gpus = self._resources()
        return self.jobs or (0 if self.device == "cpu" else gpus) or max(1, cpus // self.threads)

    def _resources(self) -> tuple[int, int]:
        """The cluster's processors and GPUs."""
        counted, cpus, gpus = self._counted
        if time.monotonic() > counted + COUNT_EVERY:
            found = self.ray.cluster_resources()
            cpus, gpus = int(found.get("CPU", 0)), int(found.get("GPU", 0))
            self._counted = time.monotonic(), cpus, gpus
        return cpus, gpus

    def _share(self) -> float:
        """Of a GPU for each trial: a whole one, or as little as lets `slots` trials run at once."""
        gpus = self._resources()[1]
        if self.device == "cpu" or gpus == 0:
            return 0
        return 1 / -(-max(self.slots, gpus) // gpus)

    # --- the executor

    def start(self, key: str, job: Job, claim: Claim | Claims) -> None:
        """Hand a trial to Ray; its claim is kept here."""
        folder, log = job.folder.resolve(), job.log.resolve()
        held = Packer(self.sweep, key).pack()
        devices = job.config.trainer.devices
        task = Task(
            job=replace(job, sweep=self.sweep, folder=folder, log=log, threads=self.threads),
            preload=self.preload,
            mark=self._mark,
            token=self._token,
            host=socket.gethostname(),
            version=__version__,
            directory=Path.cwd(),
            environment=_forwarded(os.environ),
            ticket=f"{key}-{secrets.token_hex(4)}",
        )
        try:
            stream = self._task.options(
                name=job.label,
                num_returns="streaming",
                max_retries=0,
                num_cpus=self.threads * devices,
                num_gpus=self._share() if devices == 1 or not self._share() else devices,
            ).remote(task, self._bell, [self.ray.put(held)] if held else [])
        except BaseException as error:
            claim.release()
            if isinstance(error, self.ray.exceptions.RayError):
                raise OSError(str(error)) from error
            raise
        claim.keep_alive()
        self._flights[stream] = _Flight(key, claim, task.ticket)

    def attend(self, timeout: float) -> Sequence[Report | Ended]:
        """Reports and ends; files that were sent are written."""
        streams = list(self._flights)
        if not streams:
            time.sleep(timeout)
            return []
        self.ray.wait(streams, num_returns=1, timeout=timeout, fetch_local=False)
        ready, _ = self.ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        return [news for stream in ready if (news := self._read(stream)) is not None]

    def _read(self, stream: Any) -> Report | Ended | None:
        flight = self._flights[stream]
        exceptions = self.ray.exceptions
        message: Begun | Report | Parcel | Ended
        try:
            message = self.ray.get(next(stream))
        except StopIteration:
            message = Ended(flight.key, crash="its task ended without a word")
        except exceptions.TaskCancelledError:
            message = Ended(flight.key, crash="its task was cancelled")
        except exceptions.RayTaskError as error:
            message = Ended(flight.key, error=_said(error.cause))
        except exceptions.RayError as error:  # its worker or its node is gone, or the node's memory was short
            message = Ended(flight.key, crash=f"lost by Ray ({type(error).__name__})")
        flight.begun = True
        if isinstance(message, Parcel):
            unpack(message, self.sweep, flight.key)
            return None
        if isinstance(message, Begun):
            return None
        if isinstance(message, Ended):
            self._forget(stream)
        return message

    def _forget(self, stream: Any) -> None:
        flight = self._flights.pop(stream)
        self._bell.ring.remote([flight.ticket])  # nobody waits for it any more
        flight.claim.release()

    def end(self, key: str) -> None:
        """Ask the trial's watcher to end it, and to kill it after `GRACE`."""
        self._bell.ring.remote([flight.ticket for flight in self._flights.values() if flight.key == key])

    def stop(self, hurry: Callable[[], bool]) -> None:
        """End every trial, and wait for what it sends at its end."""
        if not self._flights:
            return
        for stream in [stream for stream, flight in self._flights.items() if not flight.begun]:
            self._cancel(stream)
        self._bell.ring.remote([flight.ticket for flight in self._flights.values()])
        deadline = time.monotonic() + GRACE + 3  # for the last files to arrive
        while self._flights and time.monotonic() < deadline and not hurry():
            self.attend(0.1)
        for stream in list(self._flights):
            self._cancel(stream)
        deadline = time.monotonic() + 2
        while self._flights and time.monotonic() < deadline:
            self.attend(0.1)
        for stream in list(self._flights):
            self._forget(stream)

    def _cancel(self, stream: Any) -> None:
        self.ray.cancel(stream, force=True)  # the trial's process goes with its watcher's


def _set_up_environment(*, here: bool) -> None:
    """Ray reads these as it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no change to tasks that are given no GPU
    if here and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        # it listens on every interface, and runs what it is sent: let it ask who sends
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _forwarded(environment: Mapping[str, str]) -> dict[str, str]:
    """W&B's variables, except for places on this machine; as an argument, since Ray shows `runtime_env` to all."""
    return {
        name: value for name, value in environment.items() if name.startswith("WANDB_") and not name.endswith("_DIR")
    }
