"""What reports and workspaces ask a W&B server for, on top of `loopback`."""

from __future__ import annotations

import base64
import re
from typing import Any

from loopback import ENTITY, WandbServer, _Handler

Json = dict[str, Any]


class ViewServer:
    """The views that a server keeps, by id: reports are of the type "runs", workspaces of "project-view"."""

    def __init__(self, server: WandbServer) -> None:
        self.views: dict[str, Json] = {}
        self.asked: list[str] = []
        """Names of the operations, in order."""
        server.views = self  # type: ignore[attr-defined]
        server.RequestHandlerClass = _ViewHandler

    def of(self, kind: str) -> list[Json]:
        return [view for view in self.views.values() if view["type"] == kind]

    @property
    def reports(self) -> list[Json]:
        return self.of("runs")

    @property
    def workspaces(self) -> list[Json]:
        return self.of("project-view")


class _ViewHandler(_Handler):
    @property
    def _kept(self) -> ViewServer:
        return self.server.views  # type: ignore[attr-defined, no-any-return]

    def _graphql(self, query: str, variables: Json) -> Json:
        operation = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        answers = {
            "ProjectInternalId": self._project_id,
            "GetProjects": self._projects,
            "GetDefaultEntity": self._viewer,
            "SpecificReport": self._report,
            "View": self._workspace,
            "upsertView": self._save_view,
            "UpsertView2": self._save_view,
        }
        name = operation[1] if operation else ""
        self._kept.asked.append(name)
        if name in answers:
            return {"data": answers[name](variables)}
        return super()._graphql(query, variables)

    def _known_projects(self) -> list[str]:
        return list(dict.fromkeys(run.variables.get("project") for run in self.server.runs.values()))

    def _project_id(self, variables: Json) -> Json:
        if variables["projectName"] not in self._known_projects():
            return {"project": None}
        return {"project": _project(variables["projectName"])}

    def _projects(self, variables: Json) -> Json:
        nodes = [{"node": _project(name), "cursor": name} for name in self._known_projects()]
        return {"models": {"edges": nodes, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def _report(self, variables: Json) -> Json:
        return {"view": self._kept.views.get(variables["reportId"])}

    def _workspace(self, variables: Json) -> Json:
        found = [view for view in self._kept.workspaces if view["name"] == variables["viewName"]]
        return {"project": {"allViews": {"edges": [{"node": view} for view in found]}}}

    def _save_view(self, variables: Json) -> Json:
        views = self._kept.views
        key = variables.get("id") or base64.b64encode(f"View:{len(views) + 1}".encode()).decode()
        view = {
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:00Z",
            **views.get(key, {}),
            **{name: value for name, value in variables.items() if value is not None},
            "id": key,
            "project": _project(variables["projectName"]),
        }
        inserted = key not in views
        views[key] = view
        return {"upsertView": {"view": view, "inserted": inserted}}


def _project(name: str) -> Json:
    return {
        "id": f"project {name}",
        "internalId": f"internal {name}",
        "name": name,
        "entityName": ENTITY,
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "user": None,
    }
