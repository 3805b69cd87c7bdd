"""Downloads over bad lines, from a server on this machine: slow, cut, resumed, or a web page instead."""

import logging
import re
import threading

import numpy as np
import pytest
from data_checks import sentence
from data_server import md5, serving

from nfd.data import download
from nfd.data.download import RemoteFile, obtain, progress
from nfd.data.raw import DataError

CONTENTS = np.random.default_rng(0).bytes(60_000)


@pytest.fixture
def server(no_proxy):
    with serving({"set.bin": CONTENTS}) as running:
        yield running


def remote(server) -> RemoteFile:
    return RemoteFile("set.bin", md5(CONTENTS), (server.url + "set.bin",), len(CONTENTS))


def test_a_slow_server_is_waited_for_and_the_log_says_how_long(
    server, tmp_path, monkeypatch, caplog
):
    """60 kB at 40 kB/s: a second and a half, far longer than the silence that would be given up."""
    monkeypatch.setattr(download, "SAID_EVERY_S", 0.3)
    monkeypatch.setattr(download, "STALLED_AFTER_S", 0.5)
    monkeypatch.setattr(download, "CHUNK_BYTES", 4096)
    server.rate = 40_000
    with caplog.at_level(logging.INFO, logger="nfd"):
        obtain("set", tmp_path, [remote(server)], download=True)
    assert (tmp_path / "set.bin").read_bytes() == CONTENTS
    rates = [float(rate) for rate in re.findall(r"of 0\.1 MB at (\d+) kB/s", caplog.text)]
    assert len(rates) >= 3
    assert all(20 < rate < 60 for rate in rates)
    assert "less than a minute left" in caplog.text


@pytest.mark.parametrize(
    ("done", "rate", "text"),
    [
        (10e6, 40e3, "set: 10.0 of 170.5 MB at 40 kB/s, about 67 min left"),
        (170e6, 1e6, "set: 170.0 of 170.5 MB at 1000 kB/s, less than a minute left"),
    ],
)
def test_the_line_of_the_log(done, rate, text):
    assert progress("set", int(done), 170_498_071, rate) == text


def test_an_interrupted_download_goes_on_where_it_broke_off(server, tmp_path):
    server.broken = {"set.bin"}
    with pytest.raises(DataError, match=r"cut short\); 52,500 bytes are kept for the next try"):
        obtain("set", tmp_path, [remote(server)], download=True)
    assert server.begun_at == [0, 30_000, 45_000]
    server.broken, server.begun_at = set(), []
    obtain("set", tmp_path, [remote(server)], download=True)
    assert server.begun_at == [52_500]
    assert (tmp_path / "set.bin").read_bytes() == CONTENTS
    assert list((tmp_path / ".download").iterdir()) == []


def test_a_server_that_cannot_resume_sends_all_again(server, tmp_path):
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download" / "set.bin.part").write_bytes(CONTENTS[:999])
    server.ranges = False
    obtain("set", tmp_path, [remote(server)], download=True)
    assert (tmp_path / "set.bin").read_bytes() == CONTENTS


@pytest.mark.parametrize(("left", "attempts"), [(1000, 2), (60_000, 2), (70_000, 1)])
def test_what_another_version_left_does_no_lasting_harm(server, tmp_path, left, attempts):
    part = tmp_path / ".download" / "set.bin.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * left)
    for _ in range(attempts - 1):
        with pytest.raises(DataError, match="wrong checksum"):
            obtain("set", tmp_path, [remote(server)], download=True)
    obtain("set", tmp_path, [remote(server)], download=True)
    assert (tmp_path / "set.bin").read_bytes() == CONTENTS


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>\n<title>Log in</title>", b"\n<html><body>No"])
def test_a_web_page_in_place_of_the_file_is_named_as_such(server, tmp_path, page):
    file = remote(server)
    server.files["set.bin"] = page
    with pytest.raises(DataError, match="is a web page, not the file") as error:
        obtain("set", tmp_path, [file], download=True)
    told = sentence(error)
    assert f"put a copy from {server.url}set.bin (0.1 MB, MD5 {md5(CONTENTS)})" in told
    assert str(tmp_path / "set.bin") in told
    assert not list((tmp_path / ".download").iterdir())


def test_two_processes_download_it_once(server, tmp_path):
    server.rate = 100_000
    threads = [
        threading.Thread(target=obtain, args=("set", tmp_path, [remote(server)], True))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests == ["set.bin"]
    assert (tmp_path / "set.bin").read_bytes() == CONTENTS


def test_a_root_that_cannot_be_written_to_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"set: cannot write to .*file: ") as error:
        obtain("set", tmp_path / "file", [remote(server)], download=True)
    sentence(error)
