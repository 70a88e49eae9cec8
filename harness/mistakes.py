"""A user's mistakes, each in one sentence: what, where, and what to do."""

from __future__ import annotations

import errno

import typer

_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOENT: "no such place",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EEXIST: "there is a file, not a folder,",
    errno.ENOTDIR: "there is a file, not a folder,",
    errno.EISDIR: "there is a folder, not a file,",
}


_TYPERS_WORDS = {
    "No such option: ": "No such option ",
    ". Did you mean": ": did you mean",
    ". Choose from:": ": choose from",
    "Value error, ": "",
    "Input should": "it should",
}


def usage_sentence(error: typer.TyperException) -> str:
    """What typer says of a mistake in the command line, in one sentence."""
    near = getattr(error, "possibilities", None)
    text = f"{error.message}: did you mean {' or '.join(near)}?" if near else error.format_message()
    for theirs, ours in _TYPERS_WORDS.items():
        text = text.replace(theirs, ours)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "ganbench"
    text = " ".join(text.split()).rstrip(".")
    return f"{text[:1].lower()}{text[1:]} (`{command} --help` shows what it takes)"


def disk_sentence(error: OSError) -> str | None:
    """What is wrong with the place that was to be written to; None for an error that no user makes."""
    reason = _DISK_ERRORS.get(error.errno or 0)
    if reason is None:
        return None
    where = error.filename or "the output folder"
    return f"{reason} at {where}: make room there or give another place with --out; what was written before is intact"
