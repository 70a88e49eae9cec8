"""What files hold, in short: size and CRC-32 of each, remembered as long as nobody touches them.

Sizes and times are no content, but they tell that a file is the one that was read before; git's index rests on the
same. A file that was changed just before it was read is read again the next time, as its time could not tell.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ganbench.files import write_text
from harness.places import Entry, cache_folder

FOLDER = "contents"
SETTLED_NS = 2 * 10**9
"""A change in the same tick of a file system's clock leaves no trace; none ticks slower than this."""
BLOCK = 2**20

Content = tuple[int, int]
"""Size in bytes and CRC-32: what a zip archive's directory says of a member."""
UNREADABLE: Content = (-1, 0)


def content_of(files: Sequence[str | Path], root: Path) -> list[Content]:
    """The content of each of the files; (−1, 0) of one that cannot be read.

    The second call reads none of them: what the first found is kept in the cache folder under `root`.
    """
    memo = cache_folder() / FOLDER / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]}.json"
    known: dict[str, tuple[list[int], Content]] = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        known = {name: (marks, (size, crc)) for name, (marks, size, crc) in json.loads(memo.read_text()).items()}
    now = time.time_ns()
    marks = {os.fspath(file): _marks(file) for file in files}
    unread = [name for name, seen in marks.items() if name not in known or known[name][0] != seen]
    if unread:
        with ThreadPoolExecutor(min(len(unread), os.cpu_count() or 1)) as pool:
            known |= {name: (marks[name], found) for name, found in zip(unread, pool.map(_read, unread), strict=True)}
        settled = {
            name: [seen, *content]
            for name, (seen, content) in known.items()
            if content != UNREADABLE and max(seen[1:3]) + SETTLED_NS < now
        }
        with suppress(OSError):  # it costs time only
            write_text(memo, json.dumps(settled))
    else:
        with suppress(OSError):
            os.utime(memo)  # `cache prune --older-than` goes by the last use
    return [known[os.fspath(file)][1] for file in files]


def size_of(file: str | Path) -> int:
    """In bytes; 0 of one that cannot be read."""
    return max(0, _marks(file)[0])


def _marks(file: str | Path) -> list[int]:
    try:
        status = os.stat(file)  # noqa: PTH116 (there may be a million, and a Path is slower to make)
    except OSError:
        return [-1, 0, 0, 0]
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read(file: str) -> Content:
    size = crc = 0
    try:
        with open(file, "rb") as stream:  # noqa: PTH123
            while block := stream.read(BLOCK):
                size, crc = size + len(block), zlib.crc32(block, crc)
    except OSError:
        return UNREADABLE
    return size, crc


def entries(folder: Path) -> list[Entry]:
    """What is remembered, for the list of the cache."""
    found = []
    for path in (folder / FOLDER).glob("*.json"):
        with suppress(OSError):
            status = path.stat()
            unused = max(0.0, time.time() - status.st_mtime)
            found.append(Entry(path, "checksums of an image folder's files", status.st_size, unused, usable=True))
    return found
