"""Downloads from servers laid out like Google Drive, Hugging Face, GitHub with Git LFS and a plain one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rsitr.datasets import fetch
from rsitr.datasets.base import Source
from rsitr.datasets.fetch import fetch_file
from rsitr.datasets.stand_ins import stand_in
from rsitr.errors import ChecksumMismatch, SourceUnavailable
from tests.helpers.http_server import Reply, Server

BODY = random.Random(1).randbytes(200_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
REVISION = "6a070b005250984202b81f2838496951a0532326"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize {len(BODY)}\n".encode()
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


@pytest.fixture
def cdn() -> Iterator[Server]:
    """The storage that a server redirects to."""
    with closing(Server()) as server:
        yield server


@pytest.fixture(autouse=True)
def waits(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds slept between attempts, which take no time here."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("RSITR_GDRIVE_ENDPOINT", server.url)
    slept: list[float] = []
    monkeypatch.setattr(fetch, "sleep", slept.append)
    return slept


def source(*urls: str, sha256: str | None = SHA256) -> Source:
    return Source(file="images.zip", urls=urls, sha256=sha256)


def why(wanted: Source, into: Path) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        fetch_file(wanted, into, mirror=None)
    assert not (into / "images.zip").exists()
    return str(caught.value)


class TestHuggingFace:
    PATH = f"/datasets/owner/repo/resolve/{REVISION}/data/images.zip"
    URL = f"hf://datasets/owner/repo@{REVISION}/data/images.zip"

    def test_large_file_lies_on_another_host(self, server: Server, cdn: Server, tmp_path: Path) -> None:
        """The first host redirects; a connection that is cut continues at the byte where it stopped."""
        reply = Reply(BODY, headers={"ETag": '"lfs"'}, cut=90_000)
        there = cdn.serve("/lfs/9f/86?signature=1", reply, Reply(BODY, headers={"ETag": '"lfs"'}))
        server.serve(self.PATH, Reply(status=302, headers={"Location": there}))
        assert fetch_file(source(self.URL), tmp_path, mirror=None).read_bytes() == BODY
        assert [request.path for request in server.requests] == [self.PATH] * 2
        first, second = cdn.ranges()
        assert first is None
        assert second is not None
        assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 90_000

    def test_signed_address_that_ran_out(self, server: Server, cdn: Server, tmp_path: Path) -> None:
        there = cdn.serve("/lfs?expired", Reply(status=403))
        server.serve(self.PATH, Reply(status=302, headers={"Location": there}))
        assert f"{server.url}{self.PATH}: HTTP 403 Forbidden" in why(source(self.URL), tmp_path)

    def test_repository_behind_a_login(self, server: Server, tmp_path: Path) -> None:
        server.serve(self.PATH, Reply(b"Access to dataset owner/repo is restricted.", status=401))
        assert "HTTP 401 Unauthorized" in why(source(self.URL), tmp_path)

    def test_rate_limit(self, server: Server, tmp_path: Path, waits: list[float]) -> None:
        server.serve(self.PATH, Reply(status=429, headers={"Retry-After": "5"}), Reply(BODY))
        assert fetch_file(source(self.URL), tmp_path, mirror=None).read_bytes() == BODY
        assert waits == [5.0]

    def test_file_of_another_revision(self, server: Server, tmp_path: Path) -> None:
        server.serve(self.PATH, BODY[::-1])
        assert f"sha256 expected {SHA256}, got {hashlib.sha256(BODY[::-1]).hexdigest()}" in why(
            source(self.URL), tmp_path
        )


class TestGoogleDrive:
    PATH = "/download?id=1W-_Q&export=download&confirm=t"

    @pytest.mark.parametrize(
        ("page", "title"),
        [
            (b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>", "Virus scan warning"),
            (b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>", "Quota exceeded"),
            (b"<html><head><title>Sign in - Google Accounts</title>", "Sign in - Google Accounts"),
        ],
        ids=["confirmation", "quota", "login"],
    )
    def test_page_is_named_and_the_next_address_tried(
        self, page: bytes, title: str, server: Server, tmp_path: Path
    ) -> None:
        server.serve(self.PATH, Reply(page, headers=HTML))
        message = why(source("gdrive://1W-_Q", sha256=None), tmp_path)
        assert "an HTML page titled '" in message
        assert f"{title}' instead of the file; open the address in a browser to see why" in message
        other = server.serve("/copy.zip", BODY)
        assert fetch_file(source("gdrive://1W-_Q", other), tmp_path, mirror=None).read_bytes() == BODY

    def test_download_that_is_cut_continues(self, server: Server, tmp_path: Path) -> None:
        server.serve(self.PATH, Reply(BODY, cut=150_000), Reply(BODY))
        assert fetch_file(source("gdrive://1W-_Q"), tmp_path, mirror=None).read_bytes() == BODY
        assert len(server.requests) == 2
        assert server.ranges()[1] is not None

    def test_unknown_id(self, server: Server, tmp_path: Path) -> None:
        assert "HTTP 404 Not Found" in why(source("gdrive://gone"), tmp_path)


class TestGitLFS:
    POINTED = f"a Git LFS pointer instead of the file (which has {len(BODY)} bytes, sha256 {SHA256})"

    @pytest.mark.parametrize("sha256", [SHA256, None], ids=["known", "not published"])
    def test_pointer_is_not_taken_for_the_file(self, sha256: str | None, server: Server, tmp_path: Path) -> None:
        raw = server.serve("/owner/repo/main/images.zip", Reply(POINTER, headers={"Content-Type": "text/plain"}))
        assert f"{raw}: {self.POINTED}; run `git lfs pull`" in why(source(raw, sha256=sha256), tmp_path)
        media = server.serve("/media/owner/repo/main/images.zip", BODY)
        assert fetch_file(source(raw, media, sha256=sha256), tmp_path, mirror=None).read_bytes() == BODY

    def test_pointer_in_a_mirror_that_is_a_clone(self, tmp_path: Path) -> None:
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / "images.zip").write_bytes(POINTER)
        wanted = Source(file="images.zip", mirror="images.zip")
        with pytest.raises(SourceUnavailable) as caught:
            fetch_file(wanted, tmp_path / "raw", mirror=tmp_path / "mirror")
        assert self.POINTED in str(caught.value)

    def test_pointer_put_there_by_hand(self, tmp_path: Path) -> None:
        (tmp_path / "images.zip").write_bytes(POINTER)
        with pytest.raises(ChecksumMismatch) as caught:
            fetch_file(source("gdrive://1W-_Q", sha256=None), tmp_path, mirror=None)
        assert self.POINTED in str(caught.value)

    def test_server_over_its_quota(self, server: Server, tmp_path: Path) -> None:
        media = server.serve("/media/owner/repo/main/images.zip", Reply(b"over its data quota", status=403))
        assert f"{media}: HTTP 403 Forbidden" in why(source(media), tmp_path)


@pytest.mark.parametrize(
    "first",
    [
        b"PK\x03\x04",
        b'{"images": "<html>"}',
        b"version https://git-lfs.github.com/spec/v1\n",  # the beginning alone is not a pointer
        b"about version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        b"",
    ],
)
def test_what_is_no_stand_in(first: bytes) -> None:
    assert stand_in(first, "file.json") is None


def test_page_that_was_asked_for() -> None:
    assert stand_in(b"<html>", "index.html", "text/html") is None
    assert stand_in(b"anything", "file.zip", "Text/HTML") == (
        "an HTML page instead of the file; open the address in a browser to see why"
    )
