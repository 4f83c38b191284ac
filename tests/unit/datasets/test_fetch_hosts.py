"""Downloads from servers laid out like Google Drive, Hugging Face, GitHub with Git LFS and a plain one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rsitr.datasets import download
from rsitr.datasets.base import Source
from rsitr.datasets.fetch import fetch_file
from rsitr.datasets.stand_ins import stand_in
from rsitr.errors import ChecksumMismatch, SourceUnavailable
from tests.helpers.http_server import Hub, Reply, Server, unused_address

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
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def source(*urls: str, sha256: str | None = SHA256) -> Source:
    return Source(file="images.zip", urls=urls, sha256=sha256)


def why(wanted: Source, into: Path) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        fetch_file(wanted, into, mirror=None)
    assert not (into / "images.zip").exists()
    return str(caught.value)


class TestHuggingFace:
    """A server that answers as the hub does, and what `hf_hub_download` makes of it."""

    PATH = f"/datasets/owner/repo/resolve/{REVISION}/data/images.zip"
    URL = f"hf://datasets/owner/repo@{REVISION}/data/images.zip"

    @pytest.fixture
    def server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
        with closing(Hub(REVISION)) as server:
            yield server

    @pytest.fixture
    def into(self, tmp_path: Path) -> Path:
        return tmp_path / "raw"

    def test_large_file_lies_on_another_host(self, server: Server, cdn: Server, into: Path) -> None:
        """The first host redirects; a connection that is cut continues at the byte where it stopped."""
        there = cdn.serve("/lfs/9f/86?signature=1", Reply(BODY, cut=90_000), Reply(BODY))
        linked = {"X-Linked-Etag": f'"{SHA256}"', "X-Linked-Size": str(len(BODY)), "Location": there}
        server.serve(self.PATH, Reply(status=302, headers=linked))
        assert fetch_file(source(self.URL), into, mirror=None).read_bytes() == BODY
        first, second = cdn.ranges()
        assert first is None
        assert second is not None
        assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 90_000

    def test_what_the_cache_has_is_not_asked_for_again(self, server: Server, into: Path, tmp_path: Path) -> None:
        server.serve(self.PATH, BODY)
        kept = fetch_file(source(self.URL), into, mirror=None)
        asked = len(server.requests)
        again = fetch_file(source(self.URL), tmp_path / "other", mirror=None)
        assert again.read_bytes() == BODY
        assert len(server.requests) == asked
        # No second copy on one disk.
        assert again.stat().st_ino == kept.stat().st_ino

    def test_damage_in_the_cache_is_mended(self, server: Server, into: Path, tmp_path: Path) -> None:
        server.serve(self.PATH, BODY)
        fetch_file(source(self.URL), into, mirror=None).unlink()
        (blob,) = (path for path in (tmp_path / "hub").rglob("blobs/*") if path.is_file())
        blob.write_bytes(b"damaged")
        assert fetch_file(source(self.URL), into, mirror=None).read_bytes() == BODY

    @pytest.mark.parametrize(("status", "code"), [(401, "RepoNotFound"), (403, "GatedRepo"), (401, "GatedRepo")])
    def test_repository_behind_a_login(self, status: int, code: str, server: Server, into: Path) -> None:
        server.serve(self.PATH, Reply(status=status, headers={"X-Error-Code": code}))
        message = why(source(self.URL), into)
        assert f"{self.URL}: HTTP {status}: there is no such repository, or it is private or gated" in message
        assert "set HF_TOKEN or run `hf auth login`" in message

    def test_token_of_the_user_is_sent_to_the_hub_alone(
        self, server: Server, cdn: Server, into: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        there = cdn.serve("/signed", BODY)
        server.serve(self.PATH, Reply(status=302, headers={"Location": there.replace("127.0.0.1", "localhost")}))
        fetch_file(source(self.URL), into, mirror=None)
        asked = [request for request in server.requests if request.path == self.PATH]
        assert {request.headers.get("authorization") for request in asked} == {"Bearer hf_secret"}
        assert {request.headers.get("authorization") for request in cdn.requests} == {None}

    def test_signed_address_that_ran_out(self, server: Server, cdn: Server, into: Path) -> None:
        there = cdn.serve("/lfs?expired", Reply(status=403))
        server.serve(self.PATH, Reply(status=302, headers={"Location": there}))
        assert f"{self.URL}: HTTP 403 Forbidden" in why(source(self.URL), into)

    def test_file_that_is_not_there(self, server: Server, into: Path) -> None:
        server.serve(self.PATH, Reply(status=404, headers={"X-Error-Code": "EntryNotFound"}))
        assert f"{self.URL}: HTTP 404 Not Found" in why(source(self.URL), into)

    def test_server_that_is_not_the_hub(self, into: Path, monkeypatch: pytest.MonkeyPatch, cdn: Server) -> None:
        monkeypatch.setenv("HF_ENDPOINT", cdn.url)
        cdn.serve(self.PATH, BODY)
        assert "does not seem to be served by a Hugging Face Hub endpoint" in why(source(self.URL), into)

    def test_no_network_is_found_out_once(self, into: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
        host = unused_address()
        monkeypatch.setenv("HF_ENDPOINT", f"http://{host}/")
        message = why(source(self.URL, self.URL.replace("images", "others")), into)
        assert message.count(f"no network, or no connection to {host}") == 2

    def test_nobody_asks_offline(self, server: Server, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert f"{self.URL}: HF_HUB_OFFLINE is set, and the file is not in the cache" in why(source(self.URL), into)
        assert server.requests == []

    def test_file_of_another_revision(self, server: Server, into: Path) -> None:
        server.serve(self.PATH, BODY[::-1])
        assert f"sha256 expected {SHA256}, got {hashlib.sha256(BODY[::-1]).hexdigest()}" in why(source(self.URL), into)


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


def test_a_public_host_cannot_send_on_to_a_private_one(
    server: Server, cdn: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_is_private", lambda url: url.startswith(cdn.url))
    sent = server.serve("/images.zip", Reply(status=302, headers={"Location": cdn.serve("/secret", BODY)}))
    assert f"sends on to {cdn.url}/secret, an address of a private network" in why(source(sent), tmp_path)
    assert cdn.requests == []
    assert fetch_file(source(cdn.url + "/secret"), tmp_path, mirror=None).read_bytes() == BODY


@pytest.mark.parametrize(
    ("host", "private"),
    [
        *((host, True) for host in ("127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.1:80", "169.254.169.254", "0.0.0.0")),
        *((host, False) for host in ("8.8.8.8", "[2001:4860:4860::8888]")),
    ],
)
def test_private_addresses(host: str, private: bool) -> None:
    assert download._is_private(f"http://{host}/a") == private
