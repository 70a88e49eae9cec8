"""A W&B server on the loopback interface: as much GraphQL and file stream as a run, its resume and a sync need."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

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

    def lines(self, name: str) -> list[str]:
        return [line for _, line in sorted(self.files.get(name, {}).items())]

    @property
    def rows(self) -> list[Json]:
        return [json.loads(line) for line in self.lines("wandb-history.jsonl")]

    @property
    def summary(self) -> Json:
        summary: Json = json.loads((self.lines("wandb-summary.json") or ["{}"])[-1])
        return summary

    @property
    def config(self) -> Json:
        config = json.loads(self.variables.get("config") or "{}")
        return {name: entry["value"] for name, entry in config.items() if name != "_wandb"}


class WandbServer(ThreadingHTTPServer):
    """`behaviour` may change while runs go on: "refuses" says no to histories, "dead" hangs up on everyone."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.RLock()
        self.behaviour: Literal["works", "refuses", "dead"] = "works"
        self.runs: dict[str, ServedRun] = {}
        self.alerts: list[Json] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> WandbServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
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
            with contextlib.suppress(ConnectionResetError):  # the client's service has ended
                super().handle_one_request()

    def do_POST(self) -> None:
        body = json.loads(self._body())
        with self.server.lock:
            if self.server.behaviour == "dead":  # it died after this connection was opened
                self.close_connection = True
            elif self.path == "/graphql" and not self._known():
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
        with self.server.lock:
            self.server.run(run).uploads[name] = body
        self._reply(200, {})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
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
        for name, chunk in (body.get("files") or {}).items():
            run.files.setdefault(name, {}).update(enumerate(chunk["content"], start=chunk["offset"]))
        return {}

    def _graphql(self, query: str, variables: Json) -> Json:
        operation = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        answers = {
            "Viewer": self._viewer,
            "GetViewer": self._viewer,
            "RunResumeStatus": self._resume_status,
            "UpsertBucket": self._upsert_run,
            "CreateRunFiles": self._create_files,
            "NotifyScriptableRunAlert": self._alert,
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
        bucket = {**_bucket(name, run), "description": None, "sweepName": None}
        return {"upsertBucket": {"inserted": inserted, "bucket": bucket}}

    def _create_files(self, variables: Json) -> Json:
        run = variables["run"]
        files = [{"name": name, "uploadUrl": f"{self.server.url}/upload/{run}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": _global_id("Run", run), "uploadHeaders": [], "files": files}}

    def _alert(self, variables: Json) -> Json:
        self.server.alerts.append(variables)
        return {"notifyScriptableRunAlert": {"success": True}}


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
