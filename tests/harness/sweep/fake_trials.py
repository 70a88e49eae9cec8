"""Trials that train nothing: what each does is its dataset's name. Imported by the scheduler's children."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from harness.store import TrialFolder


def hold_on(claim, begun, end) -> None:
    """Hold a claim that was handed over until told to give it up."""
    begun.set()
    end.wait(60)
    claim.release()


def play(config, path: Path, *, tracking, progress, device, label, prune=None):
    folder = TrialFolder(path)
    folder.claim(config)
    sweep = path.parents[1]
    with (sweep / "begun.txt").open("a") as file:
        file.write(f"{config.gan.name} {config.seed}\n")
    attempt = (sweep / "begun.txt").read_text().splitlines().count(f"{config.gan.name} {config.seed}")
    folder.write_status("running", images=0)
    print("printed by", label)
    behaviour = config.data.name
    if behaviour == "raise":
        raise RuntimeError("no luck")
    if behaviour == "record":  # as run_trial does
        folder.write_status("failed", reason="loss became nan")
        raise RuntimeError("no luck")
    if behaviour == "diverge":
        folder.write_status("diverged", reason="loss became nan")
        raise RuntimeError("loss became nan")
    if behaviour == "prune":
        folder.write_status("pruned", reason="hopeless")
        raise RuntimeError("hopeless")
    if behaviour == "exit":
        os._exit(3)
    if behaviour == "kill":
        progress({"images": 100, "total": config.images})
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "killed twice" and attempt < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "slow but steady" and attempt < 8:  # killed more often than is borne without progress
        folder.write_status("running", images=100 * (attempt // 3))
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "asked to end" and attempt == 1:  # as run_trial does when it is sent a SIGTERM
        folder.write_status("interrupted")
        sys.exit(143)
    if behaviour == "server" and attempt == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    if behaviour == "short":  # there is something to be killed
        time.sleep(0.05)
    if behaviour == "of two drivers":  # each driver's trials are forked by a server of its own
        come(sweep / "drivers", os.getppid(), 2)
    if behaviour == "gpu":
        (sweep / f"gpu-{config.seed}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
        meet(sweep, config.seed)
    if behaviour == "quiet":
        return
    if behaviour == "flaky" and not (sweep / "lucky").exists():
        raise RuntimeError("no luck")
    while behaviour == "slow" and not (sweep / "fast").exists():
        progress({"images": 100, "total": config.images})
        time.sleep(0.05)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (sweep / "stubborn").touch()
        time.sleep(600)
    if behaviour == "meet":
        meet(sweep, config.seed)
    if behaviour == "facts":
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")
        facts = {name: os.environ.get(name) for name in names}
        facts |= {"group": tracking.group, "device": device, "label": label}
        (sweep / "facts.json").write_text(json.dumps(facts))
    with (sweep / "ended.txt").open("a") as file:
        file.write(f"{config.gan.name} {config.seed}\n")
    if behaviour == "searched":  # the lower the rate, the better
        fid = {"fid": {"value": config.gan.lr_generator}}
        folder.append_history({"kind": "scores", "images": config.images, "split": "selection", "scores": fid})
    progress({"images": config.images, "total": config.images, "scores": {"fid": 8.125, "kid": None}})
    scores = {"fid": {"value": 8.125}, "kid": {"value": 0.5}, "modes": {"value": None}}
    result = {"checkpoint": "last", "weights": "ema", "protocol": {"features": "digits"}, "scores": scores}
    folder.write_scores({"results": [{**result, "checkpoint": "best"}, result]})
    folder.write_status("done", images=config.images)


def meet(sweep: Path, seed: int) -> None:
    """Note how many trials are alive at once, after waiting for a second one to have come, and until it has counted."""
    alive = sweep / "alive"
    alive.mkdir(exist_ok=True)
    (alive / str(seed)).touch()
    come(sweep / "come", seed, 2)
    (sweep / "come" / str(seed)).write_text(str(len(list(alive.iterdir()))))
    come(sweep / "counted", seed, 2)
    time.sleep(0.1)
    (alive / str(seed)).unlink()


def play_together(members, *, tracking, progress, device):
    """The same for several at once."""
    sweep = members[0].path.parents[1]
    with (sweep / "groups.txt").open("a") as file:
        file.write(f"{[member.config.seed for member in members]}\n")
    attempt = len((sweep / "groups.txt").read_text().splitlines())
    for place, member in enumerate(members):
        if member.config.data.name == "second diverges" and place == 1:
            TrialFolder(member.path).write_status("diverged", reason="loss became nan")
            continue
        if member.config.data.name == "killed together" and attempt < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        play(
            member.config,
            member.path,
            tracking=tracking,
            progress=lambda facts, place=place: progress(place, facts),
            device=device,
            label=member.label,
        )


def come(place: Path, who: int, number: int) -> None:
    """Sign in, and wait until so many have."""
    place.mkdir(exist_ok=True)
    (place / str(who)).touch()
    give_up = time.monotonic() + 60
    while len(list(place.iterdir())) < number:
        if time.monotonic() > give_up:
            raise TimeoutError(f"nobody else came to {place}")
        time.sleep(0.01)
