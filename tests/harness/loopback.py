"""A W&B server on the loopback interface: what a run, its resume, its sync, and a grid with its agents ask for."""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import yaml

ENTITY = "tester"
API_KEY = "a" * 40

Json = dict[str, Any]


@dataclass
class ServedRun:
    """What the server was told about one run."""

    variables: Json = field(default_factory=dict)
    """Everything the client set on the run itself: groupName, jobType, tags, config (as JSON text) …"""
    files: dict[str, dict[int, str]] = field(default_factory=dict)
    """Lines by number of each streamed file."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    preempting: bool = False

    def lines(self, name: str) -> list[str]:
        return [line for _, line in sorted(self.files.get(name, {}).items())]

    @property
    def rows(self) -> list[Json]:
        return [json.loads(line) for line in self.lines("wandb-history.jsonl")]

    @property
    def values(self) -> list[Json]:
        """The rows without what no two runs share, the clock's readings, and without the pictures, which are files."""
        volatile = {"_timestamp", "_runtime", "_wandb", "spent/seconds", "samples"}
        return [{name: value for name, value in row.items() if name not in volatile} for row in self.rows]

    @property
    def summary(self) -> Json:
        summary: Json = json.loads((self.lines("wandb-summary.json") or ["{}"])[-1])
        return summary

    @property
    def config(self) -> Json:
        config = json.loads(self.variables.get("config") or "{}")
        return {name: entry["value"] for name, entry in config.items() if name != "_wandb"}


@dataclass
class ServedSweep:
    """A grid whose points are handed to agents one after the other, as new runs."""

    project: str
    config: str
    """The YAML that the client sent."""
    points: deque[Json]
    """What no agent has been given yet."""
    handed_out: list[str] = field(default_factory=list)
    """The runs' ids."""
    agents: int = 0
    to_stop: set[str] = field(default_factory=set)
    """Runs that their agent is told to stop, as often as it says that they go on."""


Behaviour = Literal["works", "refuses", "hangs", "dead"]


class WandbServer(ThreadingHTTPServer):
    """A server that can be told to misbehave, while runs go on."""

    daemon_threads = True
    request_queue_size = 128  # the client uploads a run's files all at once

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.RLock()
        self.state: tuple[Behaviour, threading.Event] = ("works", threading.Event())
        """The behaviour and what is set at its end: in one, since a request must not wait for the end of another."""
        self.runs: dict[str, ServedRun] = {}
        self.alerts: list[Json] = []
        self.sweeps: dict[str, ServedSweep] = {}
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def behaviour(self) -> Behaviour:
        """`refuses` says no to histories, `hangs` takes every request and never answers, `dead` hangs up on everyone.

        A request that hangs does so until the behaviour is set again; then its connection is closed.
        """
        return self.state[0]

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        _, ended = self.state
        self.state = (behaviour, threading.Event())
        ended.set()

    def __enter__(self) -> WandbServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.behaviour = "dead"
        self.shutdown()
        self._thread.join()
        self.server_close()

    def run(self, name: str) -> ServedRun:
        return self.runs.setdefault(name, ServedRun())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    # --- HTTP

    def handle_one_request(self) -> None:
        if self.server.behaviour == "dead":
            self.close_connection = True
        else:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # the client's service has ended
                super().handle_one_request()

    def _is_dead(self) -> bool:
        """Whether the server died after this connection was opened, or while its request hung."""
        behaviour, ended = self.server.state
        if behaviour == "hangs":
            ended.wait()
        if behaviour in ("hangs", "dead"):
            self.close_connection = True
            return True
        return False

    def do_POST(self) -> None:
        body = json.loads(self._body())
        if self._is_dead():
            return
        with self.server.lock:
            if self.path == "/graphql" and not self._known():
                self._reply(401, {"errors": [{"message": "user is not logged in"}]})
            elif self.path == "/graphql":
                self._reply(200, self._graphql(body["query"], body.get("variables") or {}))
            elif stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
                if self.server.behaviour == "refuses":
                    self._reply(404, {"error": "refused"})
                else:
                    self._reply(200, self._file_stream(self.server.run(stream[1]), body))
            else:
                self._reply(404, {"error": "not found"})

    def do_PUT(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        body = self._body()
        if self._is_dead():
            return
        with self.server.lock:
            self.server.run(run).uploads[name] = body
        self._reply(200, {})

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("the client was killed as it spoke")
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _known(self) -> bool:
        return self.headers.get("Authorization") == "Basic " + base64.b64encode(f"api:{API_KEY}".encode()).decode()

    def _reply(self, code: int, content: Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # --- what W&B asks

    def _file_stream(self, run: ServedRun, body: Json) -> Json:
        run.exit_code = body.get("exitcode", run.exit_code)
        run.preempting = body.get("preempting", run.preempting)
        for name, chunk in (body.get("files") or {}).items():
            run.files.setdefault(name, {}).update(enumerate(chunk["content"], start=chunk["offset"]))
        return {}

    def _graphql(self, query: str, variables: Json) -> Json:
        operation = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        answers = {
            "Viewer": self._viewer,
            "GetViewer": self._viewer,
            "RunResumeStatus": self._resume_status,
            "RowsReceived": self._resume_status,
            "UpsertBucket": self._upsert_run,
            "CreateRunFiles": self._create_files,
            "NotifyScriptableRunAlert": self._alert,
            "UpsertSweep": self._create_sweep,
            "SweepWithRuns": self._sweep,
            "CreateAgent": self._create_agent,
            "Heartbeat": self._heartbeat,
        }
        answer = answers.get(operation[1]) if operation else None
        if answer is None:  # the client lives without the other operations
            return {"data": None, "errors": [{"message": "unknown operation"}]}
        return {"data": answer(variables)}

    def _viewer(self, _: Json) -> Json:
        nobody: Json = {"edges": []}
        viewer = {
            "id": _global_id("User", "1"),
            "entity": ENTITY,
            "username": ENTITY,
            "name": "Tester",
            "email": "tester@example.invalid",
            "admin": False,
            "deletedAt": None,
            "flags": "{}",
            "apiKeys": nobody,
            "teams": nobody,
        }
        return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0.0"}, "features": []}}

    def _resume_status(self, variables: Json) -> Json:
        run = self.server.runs.get(variables["name"])
        bucket = run and {
            **_bucket(variables["name"], run),
            "summaryMetrics": json.dumps(run.summary),
            "logLineCount": len(run.lines("output.log")),
            "eventsLineCount": len(run.lines("wandb-events.jsonl")),
            "historyTail": json.dumps(run.lines("wandb-history.jsonl")[-1:]),
            "eventsTail": json.dumps(run.lines("wandb-events.jsonl")[-1:]),
            "tags": run.variables.get("tags") or [],
            "notes": None,
            "wandbConfig": '{"t": 1}',  # its "t" is how the client knows that the run has begun
        }
        return {"model": {**_project(variables["project"]), "bucket": bucket}}

    def _upsert_run(self, variables: Json) -> Json:
        name = variables.get("name") or base64.b64decode(variables["id"]).decode().split(":")[2]
        inserted = name not in self.server.runs
        run = self.server.run(name)
        run.variables.update({key: value for key, value in variables.items() if value is not None})
        bucket = {**_bucket(name, run), "description": None, "sweepName": run.variables.get("sweep")}
        return {"upsertBucket": {"inserted": inserted, "bucket": bucket}}

    def _create_files(self, variables: Json) -> Json:
        run = variables["run"]
        files = [{"name": name, "uploadUrl": f"{self.server.url}/upload/{run}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": _global_id("Run", run), "uploadHeaders": [], "files": files}}

    def _alert(self, variables: Json) -> Json:
        self.server.alerts.append(variables)
        return {"notifyScriptableRunAlert": {"success": True}}

    # --- sweeps and their agents

    def _create_sweep(self, variables: Json) -> Json:
        config = yaml.safe_load(variables["config"])
        axes = {name: given.get("values", [given.get("value")]) for name, given in config["parameters"].items()}
        points = deque(dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values()))
        name = f"sweep{len(self.server.sweeps)}"
        self.server.sweeps[name] = ServedSweep(variables["projectName"], variables["config"], points)
        sweep = {"name": name, "project": _project(variables["projectName"])}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def _sweep(self, variables: Json) -> Json:
        name = variables["sweep"]
        unset = ("description", "heartbeatAt", "updatedAt", "bestLoss", "controller", "scheduler")
        facts = {"method": "grid", "state": "RUNNING", "config": self.server.sweeps[name].config}
        times = {"createdAt": "2026-01-01T00:00:00Z", "earlyStopJobRunning": False}
        sweep = {"id": name, "name": name, **dict.fromkeys(unset), **facts, **times, "runs": {"edges": []}}
        return {"project": {"sweep": sweep}}

    def _create_agent(self, variables: Json) -> Json:
        sweep = self.server.sweeps[variables["sweep"]]
        sweep.agents += 1
        return {"createAgent": {"agent": {"id": f"{variables['sweep']}:{sweep.agents}"}}}

    def _heartbeat(self, variables: Json) -> Json:
        """One run at a time for each agent."""
        sweep = self.server.sweeps[variables["id"].partition(":")[0]]
        running = json.loads(variables["runState"])
        commands: list[Json] = [{"type": "stop", "run_id": run} for run in running if run in sweep.to_stop]
        if not running and sweep.points:
            run = f"{variables['id'].replace(':', '-')}-{len(sweep.handed_out)}"
            sweep.handed_out.append(run)
            point = {name: {"value": value} for name, value in sweep.points.popleft().items()}
            program = yaml.safe_load(sweep.config)["program"]
            commands.append({"type": "run", "run_id": run, "program": program, "args": point})
        elif not running:
            commands.append({"type": "exit"})
        return {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": json.dumps(commands)}}


def _bucket(name: str, run: ServedRun) -> Json:
    return {
        "id": _global_id("Run", name),
        "name": name,
        "displayName": run.variables.get("displayName") or name,
        "config": run.variables.get("config") or "{}",
        "historyLineCount": len(run.lines("wandb-history.jsonl")),
        "project": _project(run.variables.get("project")),
    }


def _project(name: str | None) -> Json:
    return {"id": _global_id("Project", name or ""), "name": name, "entity": {"id": "1", "name": ENTITY}}


def _global_id(kind: str, name: str) -> str:
    return base64.b64encode(f"v1:{kind}:{name}".encode()).decode()
