"""What is asked of the W&B server directly: whether it takes us, and what it has.

Not through `wandb.Api`: its service (seen in 0.31) does not end while it still tries to reach a dead server, and the
process that started it waits for it at its exit, for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb

PROBE_SECONDS = 5
"""How long the server may take to say who we are."""

_VIEWER = "query Viewer { viewer { id } }"

_ROWS = """
query RowsReceived($entity: String, $project: String, $name: String!) {
  model(name: $project, entityName: $entity) { bucket(name: $name, missingOk: true) { historyLineCount } }
}
"""


def client_settings() -> wandb.Settings:
    """What W&B's client takes from the environment and its files.

    Not through the public `wandb.setup()`: it starts the client's service, and tells every process that this one then
    starts to use it. A sweep's trials would share it, and one of them could end it for all.
    """
    from wandb.sdk import wandb_setup

    return wandb_setup.singleton().settings


def logged_in() -> bool:
    """Whether there is a login, be it a good one or not."""
    import wandb

    settings = client_settings()
    if settings.api_key or settings.identity_token_file:
        return True
    try:
        return _api_key() is not None
    except wandb.errors.AuthenticationError:  # a malformed key is a login too: the probe says what is wrong with it
        return True


def probe() -> None:
    """Ask the server who we are; any exception means that it cannot be used now."""
    viewer = _ask(_VIEWER, PROBE_SECONDS)
    if viewer is not None and not viewer.get("viewer"):
        raise PermissionError("the server does not know this API key")


def rows_received(*, entity: str | None, project: str, run_id: str, seconds: float) -> int | None:
    """Rows of the run's history that the server has; None where it cannot be asked.

    Any exception means that it did not say so within `seconds`.
    """
    answer = _ask(_ROWS, seconds, entity=entity or None, project=project, name=run_id)
    if answer is None:
        return None
    bucket = (answer.get("model") or {}).get("bucket") or {}
    return int(bucket.get("historyLineCount") or 0)


def _ask(query: str, seconds: float, **variables: Any) -> dict[str, Any] | None:
    """One GraphQL request's data; None with a login that only W&B's client can use, whose key is not known here."""
    import requests

    settings = client_settings()
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy}
    with requests.Session() as session:  # which reads the environment's proxies and certificates
        session.verify = not settings.insecure_disable_ssl
        session.headers.update(settings.x_extra_http_headers or {})
        session.proxies.update({scheme: url for scheme, url in proxies.items() if url})
        response = session.post(
            f"{settings.base_url}/graphql",
            json={"query": query, "variables": variables},
            auth=("api", _api_key() or ""),
            timeout=seconds,
        )
    if settings.identity_token_file:
        return None
    response.raise_for_status()
    return response.json().get("data") or {}


def _api_key() -> str | None:
    from wandb.sdk.lib import wbauth  # not public, but it alone knows where `wandb login` writes

    settings = client_settings()
    return settings.api_key or wbauth.read_netrc_auth(host=settings.base_url)
