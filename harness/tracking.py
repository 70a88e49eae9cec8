"""One Weights & Biases run for one trial. The trial's own files are the truth; W&B mirrors them.

W&B never stops a training: whatever it raises becomes one sentence on stderr, and the data stay in the trial's
folder, to be pushed by `ganbench sync`.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import wandb
    from numpy.typing import NDArray

    from harness.config import TrackingConfig

Mode = Literal["online", "offline", "disabled"]

PROBE_SECONDS = 5
"""How long `auto` waits for the server to answer before it goes offline."""

INIT_SECONDS = 30.0
"""How long a run waits for the server to accept it before it goes offline."""

FINISH_SECONDS = 60.0
"""How long a finished run may go on uploading; W&B's own default is for ever."""

UNSENT = "unsent"
"""A file of this name in an online run's folder says that its upload was given up; `sync` looks for it."""

PRIVATE: dict[str, Any] = {
    "host": "anon",
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "x_disable_machine_info": True,  # host, arguments, paths, processor, memory
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""W&B settings that together keep the machine, the command line, git and the installed packages to ourselves."""


def resolve_mode(tracking: TrackingConfig) -> Mode:
    """What `tracking.mode` means here and now.

    `auto` is online when there is a login and the server accepts it within `PROBE_SECONDS`, else offline; an own
    choice made through `WANDB_MODE` or `wandb offline` is respected. Raises `UserError` when `online` is asked for
    without a login.
    """
    if tracking.mode in ("offline", "disabled"):
        return tracking.mode
    import wandb

    if tracking.mode == "online":
        if not _logged_in():
            raise UserError(
                "tracking.mode is online but there is no W&B login: run `wandb login`, set WANDB_API_KEY, "
                "or choose auto or offline"
            )
        return "online"
    chosen = wandb.setup().settings.mode
    if chosen == "disabled":
        return "disabled"
    if chosen in ("offline", "dryrun") or not _logged_in():
        return "offline"
    try:
        _probe()
    except Exception as error:
        _warn("the W&B server cannot be reached or refuses the login, so this goes offline", error)
        return "offline"
    return "online"


def _logged_in() -> bool:
    import wandb

    settings = wandb.setup().settings
    if settings.api_key or settings.identity_token_file:
        return True
    try:
        return _api_key() is not None
    except wandb.errors.AuthenticationError:  # a malformed key is a login too: the probe says what is wrong with it
        return True


def _api_key() -> str | None:
    import wandb
    from wandb.sdk.lib import wbauth  # not public, but it alone knows where `wandb login` writes

    settings = wandb.setup().settings
    return settings.api_key or wbauth.read_netrc_auth(host=settings.base_url)


def _probe() -> None:
    """Ask the server who we are; any exception means that it cannot be used now.

    Not through `wandb.Api`: its service (seen in 0.31) does not end while it still tries to reach a dead server, and
    the process that started it waits for it at its exit, for ever.
    """
    import requests
    import wandb

    settings = wandb.setup().settings
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy}
    with requests.Session() as session:  # which reads the environment's proxies and certificates
        session.verify = not settings.insecure_disable_ssl
        session.headers.update(settings.x_extra_http_headers or {})
        session.proxies.update({scheme: url for scheme, url in proxies.items() if url})
        response = session.post(
            f"{settings.base_url}/graphql",
            json={"query": "query Viewer { viewer { id } }"},
            auth=("api", _api_key() or ""),
            timeout=PROBE_SECONDS,
        )
    if settings.identity_token_file:  # exchanged by the client for a key that is not known here
        return
    response.raise_for_status()
    if not (response.json().get("data") or {}).get("viewer"):
        raise PermissionError("the server does not know this API key")


class Tracker:
    """The W&B run of one trial; every method does nothing when tracking is disabled."""

    def __init__(self, run: wandb.Run | None, mode: Mode) -> None:
        self._run = run
        self._mode = mode
        self._folder = Path(run.sync_dir) if run else None
        self._url = run.url if run and mode == "online" else None
        self._warned = False
        self._unsent = False

    @classmethod
    def start(
        cls,
        tracking: TrackingConfig,
        *,
        folder: Path,
        run_id: str,
        name: str,
        config: Mapping[str, Any],
        tags: Sequence[str],
        job_type: str = "train",
    ) -> Tracker:
        """Open the run, or continue the one called `run_id`.

        Args:
            tracking: Mode, project, entity, group and privacy.
            folder: The trial's folder; W&B writes to its `wandb/`.
            run_id: The same for the same trial, so that an interrupted one continues. A W&B agent's own id wins.
            name: What people read in the list of runs.
            config: The resolved config, nested.
            tags: For filtering, such as the variant and the dataset.
            job_type: What kind of work this is, e.g. "train".

        Raises:
            UserError: as `resolve_mode`.
        """
        mode = resolve_mode(tracking)
        if mode == "disabled":
            return cls(None, "disabled")
        import wandb

        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        # an agent sets these four, and W&B warns about each that is given again
        owned: dict[str, Any] = (
            {}
            if os.environ.get("WANDB_SWEEP_ID")
            else {"project": tracking.project, "entity": tracking.entity, "id": run_id, "resume": "allow"}
        )
        attempts: tuple[Mode, ...] = ("online", "offline") if mode == "online" else ("offline",)
        for attempt in attempts:
            try:
                run = wandb.init(
                    dir=folder,
                    name=name,
                    group=tracking.group,
                    job_type=job_type,
                    tags=list(tags),
                    config=dict(config),
                    mode=attempt,
                    settings=_settings(private=tracking.private),
                    **owned,
                )
                run.define_metric("images")
                run.define_metric("*", step_metric="images", step_sync=True)
                return cls(run, attempt)
            except Exception as error:
                _warn(f"no {attempt} W&B run could be opened for {folder}", error)
                wandb.teardown()  # else this process goes on holding the run's id
        return cls(None, "disabled")

    @property
    def mode(self) -> Mode:
        """Where the run goes; "disabled" also when W&B could not be started."""
        return self._mode

    @property
    def url(self) -> str | None:
        """The run's page, for an online run."""
        return self._url

    @property
    def sync_command(self) -> str | None:
        """What pushes this run's data, when they have not gone to the server by themselves."""
        if self._mode == "offline" or self._unsent:
            option = ["--include-online"] if self._unsent else []
            return shlex.join(["wandb", "sync", *option, str(self._folder)])
        return None

    def log(self, row: Mapping[str, float], *, images: int) -> None:
        """One row of the history, e.g. `{"loss/discriminator": 0.7}`, after `images` real images were shown."""
        self._try(lambda run: run.log({**row, "images": images}))

    def log_image(self, key: str, image: NDArray[np.uint8], *, images: int) -> None:
        """One picture, uint8 of shape (H, W, C); `ValueError` for others, which W&B would turn black in silence."""
        if image.dtype != "uint8" or image.ndim != 3:
            raise ValueError(f"{key}: expected a uint8 picture (H, W, C), got {image.dtype} {image.shape}")
        import wandb

        self._try(lambda run: run.log({key: wandb.Image(image, file_type="png"), "images": images}))

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Set what the table of runs shows, with flat names such as "best/fid".

        The best value is the caller's to keep: W&B's own running minimum starts anew with every resume.
        """
        self._try(lambda run: run.summary.update(dict(values)))

    def alert(self, title: str, text: str) -> None:
        """Mail or message the run's owner; an offline run does it when it is synced."""
        self._try(lambda run: run.alert(title=title, text=text, level="ERROR"))

    def finish(self, *, exit_code: int) -> None:
        """End the run, waiting at most `FINISH_SECONDS` for its upload; later calls of any method do nothing."""
        self._try(lambda run: run.finish(exit_code=exit_code))
        self._run = None

    def _try(self, action: Callable[[wandb.Run], object]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except TimeoutError as error:
            self._give_up(error)
        except Exception as error:
            if not self._warned:
                self._warned = True
                _warn("W&B failed, the training goes on", error)

    def _give_up(self, error: TimeoutError) -> None:
        if self._mode == "online" and self._folder:
            self._unsent = True
            (self._folder / UNSENT).touch()
            _warn(f"W&B did not take everything; push it later with `{self.sync_command}`", error)


def _settings(*, private: bool) -> wandb.Settings:
    """Fresh settings: `wandb.init` writes the run's id and name into those it is given."""
    import wandb

    known = wandb.Settings.model_fields
    if private and (missing := sorted(PRIVATE.keys() - known.keys())):
        raise RuntimeError(f"this version of wandb cannot be private, it lacks {', '.join(missing)}")
    wanted: dict[str, Any] = {
        "silent": True,
        "console": "off",  # progress bars are no result, and stdout is for results
        "symlink": False,  # trials that run at the same time would race for `latest-run`
        "reinit": "create_new",  # the default hands back the previous run
        "init_timeout": INIT_SECONDS,
        "finish_timeout": FINISH_SECONDS,
        "finish_timeout_raises": True,
        "x_transaction_log_flush_interval": 1.0,  # seconds of history that a killed trial loses
        **(PRIVATE if private else {}),
    }
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


def _warn(sentence: str, error: Exception) -> None:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    print(f"ganbench: {sentence} ({reason})", file=sys.stderr)
