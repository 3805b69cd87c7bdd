"""One file from the network: resumed where it broke off, and named only when its checksum is right.

What has come so far lies under ``<root>/.download/``, where a later run finds it and goes on, if the
server can (HTTP ranges); only one process at a time downloads into a root. A line of the log every few
seconds says how much has come, how fast, and how long the rest will take.
"""

import fcntl
import hashlib
import http.client
import logging
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from nfd.data.raw import DataError, cause

log = logging.getLogger(__name__)

STALLED_AFTER_S = 60.0
SAID_EVERY_S = 10.0
ATTEMPTS = 3  # at one address, each going on where the last one ended
CHUNK_BYTES = 1 << 16
# Some servers refuse what does not look like a program with a name.
AGENT = {"User-Agent": "nfd (research data download)"}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set: its path under the root, its MD5 sum, where to get it, its size in bytes."""

    path: str
    md5: str
    urls: tuple[str, ...] = ()
    size: int | None = None


def missing(name: str, root: Path, files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Those of ``files`` that are not under ``root``; DataError if one is there but altered."""
    for file in files:
        path = root / file.path
        if os.path.exists(path) and _md5(path) != file.md5:
            raise DataError(
                f"{path} does not have the checksum of {name}'s file, so it was not read; "
                "delete it to have it downloaded again, or put an intact copy in its place"
            )
    return [file for file in files if not os.path.exists(root / file.path)]


def obtain(name: str, root: Path, files: Sequence[RemoteFile], download: bool) -> None:
    """Download those of ``files`` that are not yet under ``root``. DataError says how to do it by hand."""
    for file in missing(name, root, files):
        if not download:
            raise DataError(
                f"{name}: {root} does not hold all of it, and dataset.download is false; "
                f"{_by_hand(root, file)}"
            )
        with _workshop(name, root) as workshop:
            if (root / file.path).exists():
                continue  # another process has just brought it
            part = workshop / f"{Path(file.path).name}.part"
            problem = _download(file, part)
            if problem:
                raise DataError(f"{name}: {problem}; try again, or {_by_hand(root, file)}")
            _move(part, root / file.path)


def unpack(name: str, root: Path, archive: RemoteFile, wanted: Set[str]) -> None:
    """Take the ``wanted`` members out of a checked archive, and no other: none can land elsewhere."""
    with _workshop(name, root) as workshop, tarfile.open(root / archive.path) as members:
        for member in members:
            chosen = member.isfile() and member.name in wanted
            contents = members.extractfile(member) if chosen else None
            if contents is not None:
                with open(workshop / "member", "wb") as copy:
                    shutil.copyfileobj(contents, copy)
                _move(workshop / "member", root / member.name)


def _by_hand(root: Path, file: RemoteFile) -> str:
    """Half a sentence: what to fetch, and where to put it."""
    facts = [f"{file.size / 1e6:.1f} MB"] if file.size else []
    where = f" from {file.urls[0]} ({', '.join([*facts, f'MD5 {file.md5}'])})" if file.urls else ""
    return (
        f"put a copy{where} at {root / file.path}, or name a folder that holds one as dataset.root"
    )


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _download(file: RemoteFile, part: Path) -> str:
    """Download from the first address that works; returns what went wrong, empty if nothing."""
    problem = f"there is no address to download {file.path} from"
    for url in file.urls:
        problem = _fetch(url, part)
        if problem:
            continue
        if _md5(part) == file.md5:
            return ""
        problem = _what_came(url, part)
        part.unlink()
    return problem


def _what_came(url: str, part: Path) -> str:
    with open(part, "rb") as file:
        beginning = file.read(512).lstrip().lower()
    if beginning.startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"what came from {url} is a web page, not the file (does a login or a filter stand between?)"
    return f"what came from {url} has the wrong checksum (altered, or another version)"


def _fetch(url: str, part: Path) -> str:
    """Bring ``part`` to its full length; returns what went wrong, empty if nothing."""
    reason = ""
    for _ in range(ATTEMPTS):
        before = _length(part)
        try:
            if _receive(url, part, before):
                return ""
            reason = "cut short"
        except HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink()  # longer than the file: left by another version
                continue
            return f"the download of {url} failed ({error.code} {error.reason})"
        except (OSError, http.client.HTTPException) as error:
            reason = cause(error)
        if _length(part) == before:
            break  # another attempt at once would bring no more
    kept = f"; {_length(part):,} bytes are kept for the next try" if _length(part) else ""
    return f"the download of {url} failed ({reason}){kept}"


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _receive(url: str, part: Path, begin: int) -> bool:
    """Append to ``part`` what it lacks after ``begin`` bytes; whether the server sent all it announced."""
    headers = {**AGENT, "Range": f"bytes={begin}-"} if begin else AGENT
    with urlopen(Request(url, headers=headers), timeout=STALLED_AFTER_S) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            begin = 0  # the server sends all of it again
        announced = int(answer.headers.get("Content-Length") or 0)
        clock = _Clock(url.rsplit("/", 1)[-1], begin, begin + announced)
        done = begin
        with open(part, "ab" if begin else "wb") as file:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                clock.say(done)
    return not announced or done >= begin + announced


class _Clock:
    """Says now and then how far a download is."""

    def __init__(self, name: str, begin: int, total: int) -> None:
        self.name, self.begin, self.total = name, begin, total
        self.start = monotonic()
        self.next = self.start + SAID_EVERY_S
        resumed = f", resumed at {begin / 1e6:.1f} MB" if begin else ""
        log.info("downloading %s: %.1f MB%s", name, total / 1e6, resumed)

    def say(self, done: int) -> None:
        now = monotonic()
        if now < self.next:
            return
        self.next = now + SAID_EVERY_S
        rate = (done - self.begin) / (now - self.start)
        log.info("%s", progress(self.name, done, self.total, rate))


def progress(name: str, done: int, total: int, rate: float) -> str:
    """The line: bytes that have come and are to come, bytes per second, minutes left."""
    text = f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB at {rate / 1e3:.0f} kB/s"
    left = max(total - done, 0) / rate / 60
    return f"{text}, about {left:.0f} min left" if left >= 1 else f"{text}, less than a minute left"


@contextmanager
def _workshop(name: str, root: Path) -> Iterator[Path]:
    """The folder in which files are made, by one process at a time: they leave it whole and checked."""
    workshop = root / ".download"
    try:
        workshop.mkdir(parents=True, exist_ok=True)
        handle = os.open(workshop, os.O_RDONLY)
        try:
            # Released when the handle is closed or the process dies. Where a file system has no locks, two
            # processes at once may spoil each other's file, which its checksum shows.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield workshop
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(f"{name}: cannot write to {root}: {cause(error)}") from error


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
