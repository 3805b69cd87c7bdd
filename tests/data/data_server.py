"""A web server on this machine that stands in for the addresses torchvision downloads from.

It serves small archives in the format of the original ones, and can be told to break a connection.
"""

import hashlib
import io
import pickle
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class DataServer(ThreadingHTTPServer):
    """Serves ``files`` (name -> contents), from the byte that is asked for unless ``ranges`` is false.

    Of those in ``broken`` it sends half, then hangs up; of those in ``stalled`` half, then nothing.
    ``rate`` is the most bytes it sends in a second.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.broken: set[str] = set()
        self.stalled: set[str] = set()
        self.rate: int | None = None
        self.ranges = True
        self.begun_at: list[int] = []  # first byte of each answer
        self.stopped = threading.Event()
        # Names of the files asked for.
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: DataServer

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.requests.append(name)
        contents = self.server.files.get(name)
        if contents is None:
            self.send_error(404)
            return
        begin = self._begin()
        if begin > len(contents):
            self.send_error(416)
            return
        contents = contents[begin:]
        self.server.begun_at.append(begin)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(contents)))
        self.end_headers()
        unfinished = name in self.server.broken | self.server.stalled
        self._send(contents[: len(contents) // 2] if unfinished else contents)
        if name in self.server.stalled:
            self.server.stopped.wait()

    def _begin(self) -> int:
        asked = self.headers.get("Range", "bytes=0-") if self.server.ranges else "bytes=0-"
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, contents: bytes) -> None:
        piece = len(contents) if self.server.rate is None else max(1, self.server.rate // 20)
        for start in range(0, len(contents), piece or 1):
            self.wfile.write(contents[start : start + piece])
            if self.server.rate is not None:
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[DataServer]:
    """A running server; it is stopped at the end of the block."""
    server = DataServer(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def md5(contents: bytes) -> str:
    return hashlib.md5(contents, usedforsecurity=False).hexdigest()


CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def cifar10_files(images_per_batch: int = 20, seed: int = 0) -> dict[str, bytes]:
    """The members of a small cifar-10-python archive: 5 training batches, a test batch, the names."""
    rng = np.random.default_rng(seed)
    files = {}
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        batch = {
            "data": rng.integers(0, 256, (images_per_batch, 3072), dtype=np.uint8),
            "labels": [int(k) % 10 for k in rng.permutation(images_per_batch)],
        }
        files[name] = pickle.dumps(batch, protocol=2)
    files["batches.meta"] = pickle.dumps({"label_names": list(CIFAR10_CLASSES)}, protocol=2)
    return files


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    """A .tar.gz with ``members`` (path -> contents), paths taken as they are."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, contents in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return packed.getvalue()
