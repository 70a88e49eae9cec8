"""The processes (ranks) that train one trial together: rank 0 has the files, W&B and the scores, the others only play.

Lightning's own launchers do not fit. One runs the command line again, which in a sweep's worker is the sweep's; the
others train in child processes alone, away from the files and signals that rank 0 looks after.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy

from harness.config import TrialConfig
from harness.trial.endings import StoppedError

STEP_TIMEOUT = timedelta(minutes=10)
"""How long a step may wait for another rank, which is at the same step or gone."""

PATIENCE = timedelta(days=30)
"""How long the others wait for rank 0 while it scores: as long as it lives, since its end closes the connection."""

GRACE = 5.0
"""Seconds in which a rank may end by itself, or say why it did."""


class Ranks(DDPStrategy):
    """Lightning's DDP without its launcher and its reducer: the game averages its gradients itself (gans/shards.py)."""

    def __init__(self) -> None:
        super().__init__(timeout=STEP_TIMEOUT)
        self.store: Any = None
        """Where the ranks find each other; None: as the environment says (torchrun, SLURM, MASTER_ADDR)."""
        self._patient: Any = None

    def _configure_launcher(self) -> None:
        self._launcher = None

    def configure_ddp(self) -> None:
        """No wrapper around the module."""

    def setup_distributed(self) -> None:
        """Join the others; once, whoever asks first."""
        if dist.is_initialized():
            return
        if self.store is None:
            super().setup_distributed()
        else:
            self.set_world_ranks()
            dist.init_process_group(
                self._get_process_group_backend(),
                store=self.store,
                rank=self.global_rank,
                world_size=self.world_size,
                timeout=STEP_TIMEOUT,
            )
        # gloo on any device: a GPU that waits in NCCL spins, and NCCL's watchdog ends what waits for long
        self._patient = dist.new_group(backend="gloo", timeout=PATIENCE)

    @property
    def awaited(self) -> bool:
        """Whether ranks that this process does not start wait for it, even where nothing is left to be trained."""
        assert self.cluster_environment is not None
        return self.num_nodes > 1 or self.cluster_environment.creates_processes_externally

    def share(self, value: Any) -> Any:
        """Rank 0's value, on all ranks, as soon as it has one."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._patient, device=torch.device("cpu"))
        return box[0]

    def meet(self) -> None:
        """Wait for all ranks, however long one of them takes."""
        dist.barrier(group=self._patient)


class RankError(RuntimeError):
    """Another process of the trial failed."""


Join = Callable[[Ranks], None]
"""What a rank calls when it is ready to play."""

Follow = Callable[[TrialConfig, str, Join], object]
"""How a rank other than 0 plays a trial on a device ("auto", "cpu" or "cuda")."""


@dataclass(frozen=True)
class _Follower:
    rank: int
    process: SpawnProcess
    line: Connection
    """Its errors come in; its closing is how a follower hears of our end."""

    def await_ready(self) -> None:
        """Raise `RankError` for one that ends before it is ready."""
        try:
            said = self.line.recv()
        except (EOFError, OSError):
            said = None
        if said != "ready":
            raise RankError(f"process {self.rank} of the trial " + (f"failed: {said}" if said else self._end()))

    def failure(self) -> str | None:
        """Why it failed, if it did."""
        self.process.join(GRACE)
        with suppress(EOFError, OSError):
            if self.line.poll():
                return f"process {self.rank} of the trial failed: {self.line.recv()}"
        return f"process {self.rank} of the trial {self._end()}" if self.process.exitcode else None

    def _end(self) -> str:
        self.process.join(GRACE)
        code = self.process.exitcode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"

    def end(self, grace: float) -> None:
        self.process.join(grace)
        self.line.close()
        self.process.kill()
        self.process.join()


@contextmanager
def gathered(strategy: Ranks, follow: Follow, config: TrialConfig, device: str) -> Iterator[None]:
    """Start the other ranks of this machine, unless somebody else has, and join all; they are gone on leaving.

    The threads that torch may use on a CPU are divided among the ranks of this machine.

    Raises:
        RankError: another rank failed; the message has its reason.
    """
    environment = strategy.cluster_environment
    assert environment is not None
    followers: list[_Follower] = []
    threads = torch.get_num_threads()
    share = threads if strategy.root_device.type != "cpu" else max(1, threads // strategy.num_processes)
    left = 0.0
    try:
        if not environment.creates_processes_externally:
            port = _host(strategy) if strategy.num_nodes == 1 else None
            for rank in range(1, strategy.num_processes):
                # each is in the list, to be ended, when the next cannot be started
                followers.append(_start(rank, port, share, follow, config, device))  # noqa: PERF401
            for follower in followers:
                follower.await_ready()
        torch.set_num_threads(share)
        strategy.setup_environment()
        yield
        left = GRACE
    except RuntimeError as error:
        # a connection that broke is not the reason
        reasons = [] if isinstance(error, StoppedError | RankError) else [one.failure() for one in followers]
        if reason := next(filter(None, reasons), None):
            raise RankError(reason) from error
        raise
    finally:
        torch.set_num_threads(threads)
        for follower in followers:
            follower.end(left)
        leave()


def leave() -> None:
    """Leave the group, which breaks the others' connections if they are not gone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _host(strategy: Ranks) -> int:
    """A store of our own on a port that is bound at once: one that is only found to be free may be taken."""
    strategy.store = store = dist.TCPStore(  # type: ignore[attr-defined]  # exported, not declared so
        "127.0.0.1", 0, strategy.world_size, is_master=True, wait_for_workers=False, timeout=STEP_TIMEOUT
    )
    return int(store.port)


def _start(rank: int, port: int | None, threads: int, follow: Follow, config: TrialConfig, device: str) -> _Follower:
    # not forked: the child would hold the claims, the GPU and the threads of this process
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_run, args=(rank, port, threads, follow, config, device, theirs), name=f"rank {rank}"
    )
    process.start()
    theirs.close()
    return _Follower(rank, process, ours)


def _run(
    rank: int, port: int | None, threads: int, follow: Follow, config: TrialConfig, device: str, line: Connection
) -> None:
    """A follower's process: it ends with rank 0, whatever happens to that."""
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    ignore_signals()

    def join(strategy: Ranks) -> None:
        line.send("ready")
        if port is not None:
            strategy.store = dist.TCPStore(  # type: ignore[attr-defined]
                "127.0.0.1", port, strategy.world_size, timeout=STEP_TIMEOUT
            )
        strategy.setup_environment()

    try:
        os.environ["LOCAL_RANK"] = str(rank)
        torch.set_num_threads(threads)
        try:
            follow(config, device, join)
        finally:
            leave()
    except BaseException as error:
        traceback.print_exc()
        with suppress(OSError):
            line.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _end_with(line: Connection) -> None:
    """Nothing is ever sent this way: what can be read is the end of rank 0."""
    with suppress(OSError):
        line.poll(None)
    os._exit(1)


def ignore_signals() -> None:
    """Rank 0 alone answers Ctrl-C and SIGTERM, with a checkpoint for which the others must still be there."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
