"""Downloads against a local server that misbehaves in every way that has been seen in the wild."""

from __future__ import annotations

import errno
import hashlib
import io
import random
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from urllib3.util import retry

from rsitr.datasets import download, hub
from rsitr.datasets.base import Bundle, Source
from rsitr.datasets.fetch import fetch_any, fetch_bundle, fetch_file, resolve
from rsitr.errors import ChecksumMismatch, DiskFull, SourceUnavailable
from tests.helpers.examples import examples
from tests.helpers.http_server import Reply, Server, unused_address

Patch = pytest.MonkeyPatch
Waits = list[float]
Facts = dict[str, Any]

BODY = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
QUOTA_PAGE = b"<!DOCTYPE html><html><head><title>Google Drive &ndash; Quota exceeded</title></head></html>"


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch: Patch) -> list[float]:
    """The seconds slept between attempts, which take no time here."""
    monkeypatch.setenv("NO_PROXY", "*")
    slept: list[float] = []
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=slept.append, time=time.time))
    return slept


def source(*urls: str, file: str = "images.zip", **facts: Any) -> Source:
    return Source(file=file, urls=urls, **facts)


def bundle(*sources: Source, origin: Any = "official") -> Bundle:
    return Bundle(origin=origin, sources=sources, licence="CC BY 4.0", homepage="https://example.org")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def why(wanted: Source, into: Path, mirror: Path | None = None) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        fetch_file(wanted, into, mirror=mirror)
    return str(caught.value)


class TestDownload:
    @pytest.mark.parametrize("facts", [{}, {"bytes": len(BODY)}, {"sha256": SHA256}, {"sha256": SHA256.upper()}])
    def test_plain(self, server: Server, tmp_path: Path, facts: Facts) -> None:
        into = tmp_path / "raw" / "ucm"
        path = fetch_file(source(server.serve("/images.zip", BODY), **facts), into, mirror=None)
        assert path == into / "images.zip"
        assert path.read_bytes() == BODY
        assert files(into) == {"images.zip"}
        server.serve("/images.zip", b"")
        assert fetch_file(source(server.url + "/images.zip"), tmp_path, mirror=None).read_bytes() == b""

    def test_concurrent_calls_make_one_download(self, server: Server, tmp_path: Path) -> None:
        wanted = source(server.serve("/images.zip", BODY), sha256=SHA256)
        with ThreadPoolExecutor(4) as pool:
            paths = list(pool.map(lambda _: fetch_file(wanted, tmp_path, mirror=None), range(4)))
        assert paths == [tmp_path / "images.zip"] * 4
        assert len(server.requests) == 1

    def test_404_leads_to_the_next_address(self, server: Server, tmp_path: Path, waits: Waits) -> None:
        wanted = source(server.url + "/gone.zip", server.serve("/images.zip", BODY))
        assert fetch_file(wanted, tmp_path, mirror=None).read_bytes() == BODY
        assert [request.path for request in server.requests] == ["/gone.zip", "/images.zip"]
        assert waits == []

    def test_message_tells_what_and_where(self, server: Server, tmp_path: Path) -> None:
        denied = server.serve("/denied.zip", Reply(status=403))
        message = why(source(server.url + "/gone.zip", denied, bytes=17, sha256="ab" * 32), tmp_path)
        assert message.splitlines() == [
            f"  images.zip (bytes: 17, sha256: {'ab' * 32})",
            f"    {server.url}/gone.zip: HTTP 404 Not Found",
            f"    {denied}: HTTP 403 Forbidden",
            f"    Put a copy fetched by hand at {tmp_path}/images.zip, or set RSITR_MIRROR to the folder of a mirror.",
        ]

    def test_wrong_checksum_or_size(self, server: Server, tmp_path: Path) -> None:
        message = why(source(server.serve("/images.zip", BODY), sha256="ab" * 32), tmp_path)
        assert f"sha256 expected {'ab' * 32}, got {SHA256} (300000 bytes)" in message
        assert files(tmp_path) == set()
        assert len(server.requests) == 1
        message = why(source(server.url + "/images.zip", bytes=12), tmp_path)
        assert "expected 12 bytes, the server announces 300000" in message

    def test_a_body_without_end_is_left_when_it_is_too_long(self, server: Server, tmp_path: Path) -> None:
        message = why(source(server.serve("/images.zip", Reply(BODY, length=False)), bytes=1000), tmp_path)
        assert "expected 1000 bytes, the server sends more" in message

    def test_a_body_without_end_or_size_leaves_room(self, server: Server, tmp_path: Path, monkeypatch: Patch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, download.LEFT_FREE - 1))  # type: ignore[attr-defined]
        endless = server.serve("/images.zip", Reply(BODY, length=False))
        message = why(source(endless), tmp_path)
        assert f"no size is stated, and after 65,536 bytes the disk of {tmp_path} has less than" in message
        assert fetch_file(source(endless, bytes=len(BODY)), tmp_path, mirror=None).read_bytes() == BODY

    @pytest.mark.parametrize(
        "reply", [Reply(QUOTA_PAGE), Reply(b"<p>Sign in</p>", headers={"Content-Type": "text/html; charset=utf-8"})]
    )
    def test_page_instead_of_the_file(self, server: Server, tmp_path: Path, reply: Reply) -> None:
        message = why(source(server.serve("/images.zip", reply)), tmp_path)
        assert "an HTML page" in message
        assert ("titled 'Google Drive – Quota exceeded'" in message) == (reply.body == QUOTA_PAGE)
        assert files(tmp_path) == set()

    def test_progress_only_on_a_terminal(self, server: Server, tmp_path: Path, monkeypatch: Patch) -> None:
        shown = {}
        for terminal, wanted in [(True, True), (True, False), (False, True)]:
            screen = io.StringIO()
            console = Console(file=screen, force_terminal=terminal, width=120)
            monkeypatch.setattr(download, "Console", lambda stderr, console=console: console)
            images = bundle(source(server.serve("/images.zip", BODY)))
            fetch_bundle(images, tmp_path / f"{terminal}-{wanted}", mirror=None, progress=wanted)
            shown[terminal, wanted] = "images.zip" in screen.getvalue()
        assert shown == {(True, True): True, (True, False): False, (False, True): False}


class TestResume:
    def test_connection_cut_many_times(self, server: Server, tmp_path: Path, waits: Waits) -> None:
        cut = Reply(BODY * 2, headers={"ETag": '"v1"'}, cut=70_000)
        url = server.serve("/images.zip", *[cut] * 7, Reply(BODY * 2, headers={"ETag": '"v1"'}))
        assert fetch_file(source(url), tmp_path, mirror=None).read_bytes() == BODY * 2
        starts = [int((value or "bytes=0-").removeprefix("bytes=").removesuffix("-")) for value in server.ranges()]
        assert all(0 < later - earlier <= 70_000 for earlier, later in pairwise(starts))
        assert [request.headers.get("If-Range") for request in server.requests] == [None, *['"v1"'] * 7]
        assert {request.headers["Accept-Encoding"] for request in server.requests} == {"identity"}
        assert waits == []
        assert files(tmp_path) == {"images.zip"}

    def test_in_a_later_run(self, server: Server, tmp_path: Path) -> None:
        url = server.serve("/images.zip", Reply(BODY, cut=200_000), Reply(status=404))
        why(source(url), tmp_path)
        assert files(tmp_path) == {"images.zip.part", "images.zip.part.json"}
        kept = (tmp_path / "images.zip.part").stat().st_size
        server.serve("/images.zip", BODY)
        assert fetch_file(source(url), tmp_path, mirror=None).read_bytes() == BODY
        assert server.ranges()[-1] == f"bytes={kept}-"

    @settings(examples(15), derandomize=True)
    @given(cuts=st.lists(st.integers(-1, len(BODY) - 1), max_size=4), ranges=st.booleans())
    def test_any_cuts_give_the_same_bytes(self, cuts: list[int], ranges: bool) -> None:
        with closing(Server()) as server, TemporaryDirectory() as into:
            url = server.serve("/images.zip", *(Reply(BODY, cut=cut, ranges=ranges) for cut in cuts), Reply(BODY))
            assert fetch_file(source(url), Path(into), mirror=None).read_bytes() == BODY
            assert len(server.requests) <= len(cuts) + 1

    @pytest.mark.parametrize("fault", [{"ranges": False}, {"shift": 1}, {"status": 416}])
    def test_server_that_cannot_continue(self, server: Server, tmp_path: Path, fault: dict[str, Any]) -> None:
        url = server.serve("/images.zip", Reply(BODY, cut=200_000), Reply(BODY, **fault), Reply(BODY))
        assert fetch_file(source(url), tmp_path, mirror=None).read_bytes() == BODY
        assert server.ranges()[0] is None
        assert server.ranges()[1] is not None
        assert server.ranges()[2:] == ([] if fault == {"ranges": False} else [None])

    def test_never_glues_two_versions(self, server: Server, tmp_path: Path) -> None:
        begun = Reply(BODY, headers={"ETag": '"v1"'}, cut=200_000)
        url = server.serve("/images.zip", begun, Reply(BODY[::-1], headers={"ETag": '"v2"'}))
        assert fetch_file(source(url), tmp_path, mirror=None).read_bytes() == BODY[::-1]

    def test_never_glues_two_addresses(self, server: Server, tmp_path: Path) -> None:
        first = server.serve("/a.zip", Reply(BODY, cut=200_000), Reply(status=404))
        second = server.serve("/b.zip", BODY[::-1])
        assert fetch_file(source(first, second), tmp_path, mirror=None).read_bytes() == BODY[::-1]

    @pytest.mark.parametrize("note", ['{"url": "URL", "version": ""}', '{"url": "UR', None])
    def test_spoilt_leftover_costs_one_download(self, server: Server, tmp_path: Path, note: str | None) -> None:
        url = server.serve("/images.zip", BODY)
        (tmp_path / "images.zip.part").write_bytes(bytes(1000))
        if note is not None:
            (tmp_path / "images.zip.part.json").write_text(note.replace("URL", url))
        assert fetch_file(source(url, sha256=SHA256), tmp_path, mirror=None).read_bytes() == BODY
        assert server.ranges() == (["bytes=1000-", None] if note and note.endswith("}") else [None])


class TestRetry:
    @pytest.mark.parametrize(
        ("after", "wait"), [("7", [7]), ("3600", [60]), ("soon", []), (formatdate(0, usegmt=True), [])]
    )
    def test_fault_that_passes(self, server: Server, tmp_path: Path, waits: Waits, after: str, wait: Waits) -> None:
        busy = Reply(status=429, headers={"Retry-After": after})
        url = server.serve("/images.zip", busy, Reply(status=503), Reply(status=500), Reply(BODY))
        assert fetch_file(source(url), tmp_path, mirror=None).read_bytes() == BODY
        assert waits == [*wait, 2, 4]

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Reply(status=503), "HTTP 503 Service Unavailable (5 attempts)"),
            (Reply(cut=-1), "the connection was cut before an answer"),
            (Reply(BODY, cut=0), "the connection was cut after 0 bytes"),
            (Reply(BODY, cut=200_000, ranges=False), "the connection was cut after 1"),
        ],
    )
    def test_fault_that_stays(self, server: Server, tmp_path: Path, waits: Waits, reply: Reply, reason: str) -> None:
        assert reason in why(source(server.serve("/images.zip", reply)), tmp_path)
        assert len(server.requests) == 5
        assert waits == [2, 4, 8]


class TestNoNetwork:
    def test_is_decided_at_once_for_a_host(self, tmp_path: Path, waits: Waits, monkeypatch: Patch) -> None:
        host = unused_address()
        connections, connect = [], socket.socket.connect
        monkeypatch.setattr(socket.socket, "connect", lambda self, to: connections.append(to) or connect(self, to))
        start = time.perf_counter()
        message = why(source(f"http://{host}/a.zip", f"http://{host}/b.zip"), tmp_path)
        assert time.perf_counter() - start < 3
        assert message.count(f"no network, or no connection to {host}: [Errno {errno.ECONNREFUSED}]") == 2
        assert len(connections) == 1
        assert waits == []

    def test_unknown_name(self, tmp_path: Path, monkeypatch: Patch) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror(-2, "Name or service not known")))
        message = why(source("https://example.org/images.zip"), tmp_path)
        assert "no network, or no connection to example.org: [Errno -2] Name or service not known" in message


class TestAddresses:
    @pytest.mark.parametrize(
        ("name", "url", "path"),
        [
            ("RSITR_GDRIVE_ENDPOINT", "gdrive://1W-_Q", "/download?id=1W-_Q&export=download&confirm=t"),
        ],
    )
    def test_named(self, server: Server, tmp_path: Path, monkeypatch: Patch, name: str, url: str, path: str) -> None:
        monkeypatch.setenv(name, server.url + "/")
        server.serve(path, BODY)
        assert fetch_file(source(url, sha256=SHA256), tmp_path, mirror=None).read_bytes() == BODY

    def test_usual_servers(self, monkeypatch: Patch) -> None:
        monkeypatch.delenv("HF_ENDPOINT", raising=False)
        monkeypatch.delenv("RSITR_GDRIVE_ENDPOINT", raising=False)
        assert resolve("hf://owner/repo@v1.0/a.bin") == "hf://owner/repo@v1.0/a.bin"
        assert hub.endpoint() == "https://huggingface.co"
        assert resolve("gdrive://abc").startswith("https://drive.usercontent.google.com/download?id=abc&")

    @pytest.mark.parametrize("url", ["ftp://example.org/a", "hf://owner/repo/a.bin", "gdrive://a/b", "images.zip", ""])
    def test_resolve_refuses_other_forms(self, url: str) -> None:
        with pytest.raises(ValueError, match="gdrive://file-id"):
            resolve(url)


class TestMirror:
    @pytest.fixture
    def mirror(self, tmp_path: Path) -> Path:
        folder = tmp_path / "mirror"
        (folder / "ucm").mkdir(parents=True)
        (folder / "ucm" / "images.zip").write_bytes(BODY)
        return folder

    def test_copy(self, tmp_path: Path, mirror: Path) -> None:
        (mirror / "ucm" / "images.zip").chmod(0o444)
        path = fetch_file(source(mirror="ucm/images.zip", sha256=SHA256), tmp_path, mirror=mirror)
        assert path.read_bytes() == BODY
        assert path.stat().st_mode & 0o200

    def test_comes_before_a_download_unless_it_is_wrong(self, server: Server, tmp_path: Path, mirror: Path) -> None:
        wanted = source(server.serve("/images.zip", BODY), mirror="ucm/images.zip", sha256=SHA256)
        assert fetch_file(wanted, tmp_path / "a", mirror=mirror).read_bytes() == BODY
        assert server.requests == []
        (mirror / "ucm" / "images.zip").write_bytes(b"other")
        assert fetch_file(wanted, tmp_path / "b", mirror=mirror).read_bytes() == BODY

    def test_reasons(self, tmp_path: Path, mirror: Path) -> None:
        place = "$RSITR_MIRROR/ucm/other.zip: "
        wanted = source(mirror="ucm/other.zip")
        assert place + "RSITR_MIRROR is not set" in why(wanted, tmp_path)
        assert place + f"RSITR_MIRROR has no file {mirror}/ucm/other.zip" in why(wanted, tmp_path, mirror)
        wrong = source(mirror="ucm/images.zip", bytes=5)
        assert f"expected 5 bytes, got 300000 (sha256 {SHA256})" in why(wrong, tmp_path, mirror)


class TestInPlace:
    @pytest.mark.parametrize("facts", [{"sha256": SHA256}, {"bytes": len(BODY)}, {}])
    def test_right_file_is_accepted_without_a_request(self, server: Server, tmp_path: Path, facts: Facts) -> None:
        (tmp_path / "images.zip").write_bytes(BODY)
        wanted = source(server.serve("/images.zip", b"other"), **facts)
        assert fetch_file(wanted, tmp_path, mirror=None).read_bytes() == BODY
        assert server.requests == []

    @pytest.mark.parametrize(
        ("facts", "difference"),
        [
            ({"sha256": "ab" * 32}, f"sha256 expected {'ab' * 32}, got {SHA256} (300000 bytes)"),
            ({"bytes": 5, "optional": True}, f"expected 5 bytes, got 300000 (sha256 {SHA256})"),
        ],
    )
    def test_wrong_file_is_never_overwritten(self, tmp_path: Path, facts: Facts, difference: str) -> None:
        (tmp_path / "images.zip").write_bytes(BODY)
        message = f"{tmp_path}/images.zip is not the right file: {difference}. Delete it or replace it."
        with pytest.raises(ChecksumMismatch, match=re.escape(message)):
            fetch_bundle(bundle(source(**facts)), tmp_path, mirror=None)
        assert (tmp_path / "images.zip").read_bytes() == BODY


class TestBundles:
    def test_optional_files_may_miss(self, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        wanted = bundle(
            source(server.serve("/c", b"c"), file="c", optional=True),
            source(server.url + "/gone", file="b", optional=True),
            source(server.serve("/a", b"a"), file="a"),
        )
        assert fetch_bundle(wanted, tmp_path, mirror=None) == [tmp_path / "c", tmp_path / "a"]
        assert [request.path for request in server.requests] == ["/a", "/c", "/gone"]
        assert "HTTP 404 Not Found" in caplog.text

    def test_first_that_works(self, server: Server, tmp_path: Path) -> None:
        big = source(server.serve("/big", Reply(BODY, cut=200_000), Reply(status=404)), file="big")
        official = bundle(big, source(server.serve("/rest", b"rest"), file="rest"))
        other = bundle(source(server.serve("/a", b"a"), file="a"), origin="huggingface")
        assert fetch_any([official, other], tmp_path, mirror=None) == (other, [tmp_path / "a"])
        assert files(tmp_path) == {"a", "big.part", "big.part.json"}
        assert "/rest" not in {request.path for request in server.requests}

    def test_mirror_comes_first_when_there_is_one(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "copy").write_bytes(b"a")
        official = bundle(source(server.serve("/a", b"a"), file="a"))
        copy = bundle(source(file="b", mirror="copy"), origin="mirror")
        assert fetch_any([official, copy], tmp_path / "x", mirror=tmp_path)[0] == copy
        assert fetch_any([official, copy], tmp_path / "y", mirror=None)[0] == official

    def test_complete_one_in_place_wins_without_a_request(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "b").write_bytes(b"b")
        official = bundle(source(server.serve("/a", b"a"), file="a"))
        by_hand = bundle(source(file="b", bytes=1), origin="mirror")
        assert fetch_any([official, by_hand], tmp_path, mirror=None) == (by_hand, [tmp_path / "b"])
        assert server.requests == []

    def test_when_none_works_every_file_is_listed(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "had").write_bytes(b"1")
        (tmp_path / "wrong").write_bytes(b"1")
        first = bundle(source(server.url + "/a", file="a"), source(server.url + "/b", file="b"), source(file="had"))
        second = bundle(source(file="wrong", bytes=2), origin="huggingface")
        third = bundle(source(file="c", mirror="c"), origin="mirror")
        with pytest.raises(SourceUnavailable) as caught:
            fetch_any([first, second, third], tmp_path, mirror=None)
        where = "or set RSITR_MIRROR to the folder of a mirror."
        assert str(caught.value).splitlines() == [
            "the official files (https://example.org, licence CC BY 4.0) are unavailable:",
            "  a (bytes: unknown, sha256: unknown)",
            f"    {server.url}/a: HTTP 404 Not Found",
            f"    Put a copy fetched by hand at {tmp_path}/a, {where}",
            "  b (bytes: unknown, sha256: unknown)",
            f"    {server.url}/b: not tried, since another file of the same origin is missing",
            f"    Put a copy fetched by hand at {tmp_path}/b, {where}",
            f"{tmp_path}/wrong is not the right file: expected 2 bytes, got 1 "
            f"(sha256 {hashlib.sha256(b'1').hexdigest()}). Delete it or replace it.",
            "the mirror files (https://example.org, licence CC BY 4.0) are unavailable:",
            "  c (bytes: unknown, sha256: unknown)",
            "    $RSITR_MIRROR/c: RSITR_MIRROR is not set",
            f"    Put a copy fetched by hand at {tmp_path}/c, {where}",
        ]


class SmallDisk(io.BufferedRandom):
    """A file that has room for 150,000 bytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 150_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_full_disk_keeps_what_has_arrived(server: Server, tmp_path: Path, monkeypatch: Patch) -> None:
    wanted = source(server.serve("/images.zip", BODY), sha256=SHA256)
    usual = Path.open

    def open_(path: Path, mode: str = "r", **how: Any) -> Any:
        return SmallDisk(io.FileIO(path, "a+")) if mode == "a+b" else usual(path, mode, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        with pytest.raises(DiskFull, match=r"no room for .*/images\.zip: free some"):
            fetch_file(wanted, tmp_path, mirror=None)
    kept = (tmp_path / "images.zip.part").stat().st_size
    assert 0 < kept <= 150_000
    assert fetch_file(wanted, tmp_path, mirror=None).read_bytes() == BODY
    assert server.ranges() == [None, f"bytes={kept}-"]
