"""Downloading a file over HTTP or from the Hugging Face hub, with resume, retries and checksums.

What arrives is written to ``<file>.part``, which gets its name once it is complete and correct. Next to it
``<file>.part.json`` records the address and version of the part, so that two addresses, or two versions of one, are
never joined.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.exceptions import InvalidHeader, MaxRetryError, ProtocolError
from urllib3.util import Retry

from rsitr.datasets import hub
from rsitr.datasets.base import Source
from rsitr.datasets.hub import CONNECT_TIMEOUT
from rsitr.datasets.stand_ins import LONGEST, stand_in
from rsitr.errors import SourceUnavailable

READ_TIMEOUT = 60.0
"""Seconds."""
ATTEMPTS = 5
"""For one address, in a row without getting further in the file."""
LONGEST_WAIT = 60
"""Seconds between two attempts, whatever the server requests."""
RETRY = Retry(ATTEMPTS - 1, backoff_factor=1, backoff_max=LONGEST_WAIT, retry_after_max=LONGEST_WAIT)
CHUNK = 1 << 16
LEFT_FREE = 1 << 30
"""Bytes of the disk that a file without a stated size may not take."""


class Refused(Exception):
    """One address did not deliver, and asking again would not help."""


class Interrupted(Exception):
    """One address may still deliver; ``response`` may say when."""

    def __init__(self, reason: str, response: requests.Response | None = None) -> None:
        super().__init__(reason)
        self.response = response


def _mismatch(source: Source, size: int, sha256: str) -> str | None:
    """How a file of ``size`` bytes differs from what ``source`` promises; None when it does not."""
    if source.sha256 is not None:
        expected = source.sha256.lower()
        return None if sha256 == expected else f"sha256 expected {expected}, got {sha256} ({size} bytes)"
    if source.bytes not in (None, size):
        return f"expected {source.bytes} bytes, got {size} (sha256 {sha256})"
    return None


def mismatch_of(source: Source, path: Path) -> str | None:
    """How the file at ``path`` differs from what ``source`` promises; None when it does not."""
    with path.open("rb") as file:
        if found := stand_in(file.read(LONGEST), source.file):
            return found
        file.seek(0)
        return _mismatch(source, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


class Part:
    """The unfinished copy of a file from one address, and the note of where its bytes come from."""

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.url = url
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        """Bytes that have arrived, from any address."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self) -> str | None:
        """What the server called the version that has started to arrive, maybe ""; None with nothing to continue."""
        try:
            note = json.loads(self._note.read_text())
        except (FileNotFoundError, ValueError):  # nothing started, or the process was killed while writing the note
            return None
        return note["version"] if note["url"] == self.url else None

    def begin(self, version: str) -> None:
        """Empty the part and note where the next bytes come from."""
        self.discard()
        self._note.write_text(json.dumps({"url": self.url, "version": version}))

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give it the name of the file."""
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)


class Web:
    """Downloads over HTTP; remembers which hosts cannot be reached, so that each costs its timeout once."""

    def __init__(self, progress: bool = True) -> None:
        self._http = requests.Session()
        self._unreachable: dict[str, str] = {}
        self._console = Console(stderr=True)
        self._progress = progress and self._console.is_terminal

    def download(self, source: Source, part: Part) -> None:
        """Complete ``part`` with the content of ``source`` and check it; raises ``Refused``."""
        leftover = part.version() is not None
        furthest, retry = part.size() if leftover else 0, RETRY
        while True:
            try:
                difference = self._attempt(source, part)
            except Interrupted as interruption:
                retry = RETRY if part.size() > furthest else retry
                furthest = max(furthest, part.size())
                retry = _waited(retry, interruption)
                continue
            if difference is None:
                return
            part.discard()
            if not leftover:
                raise Refused(difference)
            leftover = False  # the fault may be in what an earlier run left: start over once

    def _attempt(self, source: Source, part: Part) -> str | None:
        """Ask for what ``part`` lacks and append it; returns how the whole then differs from ``source``."""
        version = part.version()
        offset = 0 if version is None else part.size()
        headers = {"Accept-Encoding": "identity"}  # sizes and ranges refer to the file, not to a compressed form
        if offset:
            headers["Range"] = f"bytes={offset}-"
            headers |= {"If-Range": version} if version else {}
        with self._get(part.url, headers) as response:
            continues = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            if response.status_code == 416 or (response.status_code == 206 and not continues):
                part.discard()
                raise Interrupted(f"the server does not continue at byte {offset}")
            _require_success(response)
            if response.status_code == 200:  # the server ignores ranges, or now has another version
                offset = 0
            return _mismatch(source, *self._receive(response, offset, source, part))

    def _receive(self, response: requests.Response, offset: int, source: Source, part: Part) -> tuple[int, str]:
        """Append the body, which starts at byte ``offset`` of the file; returns size and SHA-256 of the whole."""
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length else None
        try:
            chunks = response.iter_content(CHUNK)
            first = next(chunks, b"")
            if not offset:
                _require_the_file(response, first, source)
            if None not in (source.bytes, total) and source.bytes != total:
                raise Refused(f"expected {source.bytes} bytes, the server announces {total}")
            if not offset:
                part.begin(response.headers.get("ETag") or response.headers.get("Last-Modified", ""))
            with self._bar(source.file, offset, total) as advance, part.path.open("a+b") as file:
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256")
                for chunk in chain([first], chunks):
                    file.write(chunk)
                    if source.bytes is not None and file.tell() > source.bytes:
                        raise Refused(f"expected {source.bytes} bytes, the server sends more")
                    if source.bytes is None and shutil.disk_usage(part.path.parent).free < LEFT_FREE:
                        raise Refused(
                            f"no size is stated, and after {file.tell():,} bytes the disk of {part.path.parent} has "
                            f"less than {LEFT_FREE:,} bytes left: free some space, or place the file by hand"
                        )
                    digest.update(chunk)
                    advance(len(chunk))
        except requests.RequestException as error:
            raise Interrupted(f"the connection was cut after {part.size()} bytes: {_cause(error)}") from error
        return part.size(), digest.hexdigest()

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """The open response to one request; raises ``Refused`` at once for a host that could not be reached before."""
        host = urlsplit(url).netloc
        if host in self._unreachable:
            raise Refused(self._unreachable[host])
        hooks = {} if _is_private(url) else {"response": _refuse_private}
        timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
        try:
            return self._http.get(url, headers=headers, stream=True, timeout=timeout, hooks=hooks)
        except requests.ReadTimeout as error:
            raise Interrupted(f"no answer within {READ_TIMEOUT:.0f} s") from error
        except requests.ConnectionError as error:
            if error.args and isinstance(error.args[0], ProtocolError):  # connected, then cut
                raise Interrupted(f"the connection was cut before an answer: {_cause(error)}") from error
            # A redirect may have led elsewhere: blame the last host asked.
            host = urlsplit(str(error.request.url)).netloc if error.request else host
            self._unreachable[host] = f"no network, or no connection to {host}: {_cause(error)}"
            raise Refused(self._unreachable[host]) from error
        except requests.RequestException as error:
            raise Refused(str(error)) from error

    def copy_from_hub(self, source: Source, part: Part) -> None:
        """Complete ``part`` with a file of the Hugging Face hub; raises ``Refused``."""
        host = hub.endpoint()
        if host in self._unreachable:
            raise Refused(self._unreachable[host])
        try:
            found = hub.download(part.url)
            if mismatch_of(source, found):  # the cache may be damaged
                found = hub.download(part.url, again=True)
        except SourceUnavailable as error:
            if isinstance(error, hub.HubUnreachable):
                self._unreachable[host] = str(error)
            raise Refused(str(error)) from None
        if difference := mismatch_of(source, found):
            raise Refused(difference)
        part.discard()
        try:
            os.link(found.resolve(), part.path)
        except OSError:  # the cache is on another file system
            shutil.copyfile(found, part.path)

    @contextmanager
    def _bar(self, name: str, offset: int, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar on a terminal; yields the function that advances it by a number of bytes."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=self._console, disable=not self._progress) as bars:
            task = bars.add_task(name, total=total, completed=offset)
            yield lambda count: bars.advance(task, count)


def _refuse_private(response: requests.Response, **_: object) -> None:
    """Refuse to be sent on from a public host to one that only this network reaches."""
    if response.is_redirect and _is_private(target := urljoin(response.url, response.headers["Location"])):
        raise Refused(f"{urlsplit(response.url).netloc} sends on to {target}, an address of a private network")


def _is_private(url: str) -> bool:
    """Whether any address of the host is of a private network or of this machine."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:  # a proxy may know it, which is on the other side
        return False
    return any(not ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)


def _require_success(response: requests.Response) -> None:
    """Raise ``Interrupted`` for failures that may be temporary (429, 5xx) and ``Refused`` for any other."""
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code == 429 or response.status_code >= 500:
        raise Interrupted(status, response)
    if response.status_code not in (200, 206):
        raise Refused(status)


def _waited(retry: Retry, interruption: Interrupted) -> Retry:
    """What is left of the attempts, after the wait before the next one; raises ``Refused`` after the last."""
    try:
        retry = retry.increment(error=ProtocolError(str(interruption)), method="GET")
    except MaxRetryError:
        raise Refused(f"{interruption} ({ATTEMPTS} attempts)") from None
    try:
        retry.sleep(None if interruption.response is None else interruption.response.raw)
    except InvalidHeader:
        retry.sleep()
    return retry


def _require_the_file(response: requests.Response, first: bytes, source: Source) -> None:
    """Refuse what some servers send with status 200 instead of a file."""
    if found := stand_in(first, source.file, response.headers.get("Content-Type", "")):
        raise Refused(found)


def _cause(error: BaseException) -> str:
    """The innermost error, as the outer ones only repeat it with the names of Python objects."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
