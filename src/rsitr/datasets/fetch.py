"""Obtaining the files of a dataset: in place, from the mirror, or over HTTP with resume, retries and checksums.

What arrives is written to ``<file>.part`` and renamed once it is complete and correct, so a file under its own name is
always complete. Next to it ``<file>.part.json`` records the address and version of the part, so that two addresses, or
two versions of one, are never joined.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from time import sleep, time
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.exceptions import ProtocolError

from rsitr.datasets.base import Bundle, Source
from rsitr.datasets.stand_ins import LONGEST, stand_in
from rsitr.errors import ChecksumMismatch, DiskFull, SourceUnavailable

CONNECT_TIMEOUT = 5.0
"""Seconds. Short, because a machine without a network should find out at once."""
READ_TIMEOUT = 60.0
ATTEMPTS = 5
"""For one address, in a row without getting further in the file."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts, whatever the server requests."""
CHUNK = 1 << 16

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """One address did not deliver, and asking again would not help."""


class _Interrupted(Exception):
    """One address may still deliver: ``wait`` is how many seconds the server asked for, if it did."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch_any(bundles: Sequence[Bundle], into: Path, *, mirror: Path | None) -> tuple[Bundle, list[Path]]:
    """The first of ``bundles`` whose files are all available, and the paths of these files under ``into``.

    A bundle that is already complete in ``into`` wins without any request. Otherwise the bundles are tried in order,
    those of the mirror first if ``mirror`` (the folder that RSITR_MIRROR names) is given, since whoever sets it wants
    it used.

    Raises ``SourceUnavailable`` with the reason for every file of every bundle, and ``DiskFull``.
    """
    if mirror is not None:
        bundles = sorted(bundles, key=lambda bundle: bundle.origin != "mirror")
    for bundle in bundles:
        if bundle.sources and all(_is_in_place(source, into) for source in bundle.sources):
            return bundle, [into / source.file for source in bundle.sources]
    web = _Web()
    failures = []
    for bundle in bundles:
        try:
            return bundle, _obtain_all(web, bundle, into, mirror)
        except (SourceUnavailable, ChecksumMismatch) as error:
            failures.append(str(error))
    raise SourceUnavailable("\n".join(failures)) from None


def fetch_bundle(bundle: Bundle, into: Path, *, mirror: Path | None, progress: bool = True) -> list[Path]:
    """All files of ``bundle`` under ``into``, in the bundle's order, without optional ones that are unavailable.

    Raises ``SourceUnavailable``, ``ChecksumMismatch`` (a wrong file is already in place) and ``DiskFull``.
    """
    return _obtain_all(_Web(progress), bundle, into, mirror)


def fetch_file(source: Source, into: Path, *, mirror: Path | None) -> Path:
    """One file as ``into / source.file``, from the mirror if it is there, otherwise from the first address that works.

    Raises ``SourceUnavailable``, ``ChecksumMismatch`` (a wrong file is already in place) and ``DiskFull``.
    """
    return _obtain(_Web(), source, into, mirror)


def resolve(url: str) -> str:
    """The http(s) address behind a URL of a ``Source``.

    HF_ENDPOINT replaces the Hugging Face server, RSITR_GDRIVE_ENDPOINT the one of Google Drive.
    Raises ``ValueError`` for a URL of another form.
    """
    if re.match(r"https?://[^/]", url):
        return url
    if match := re.fullmatch(r"gdrive://([\w-]+)", url):
        server = os.environ.get("RSITR_GDRIVE_ENDPOINT", "https://drive.usercontent.google.com").rstrip("/")
        # confirm=t skips the page that otherwise replaces a file too large for the virus scan.
        return f"{server}/download?id={match[1]}&export=download&confirm=t"
    if match := re.fullmatch(r"hf://(datasets/)?([^/@]+/[^/@]+)@([^/]+)/(.+)", url):
        from huggingface_hub import hf_hub_url  # half a second of imports, which no other source needs

        kind, repository, revision, path = match.groups()
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        return hf_hub_url(repository, path, repo_type=kind and "dataset", revision=revision, endpoint=endpoint)
    raise ValueError(f"{url!r}: use https://..., hf://[datasets/]owner/repo@revision/path or gdrive://file-id")


def _obtain_all(web: _Web, bundle: Bundle, into: Path, mirror: Path | None) -> list[Path]:
    """``fetch_bundle`` with connections and known dead hosts shared between bundles."""
    had: set[str] = set()
    required_first = sorted(bundle.sources, key=lambda source: source.optional)
    for number, source in enumerate(required_first):
        try:
            _obtain(web, source, into, mirror)
        except SourceUnavailable as error:
            if not source.optional:
                head = f"the {bundle.origin} files ({bundle.homepage}, licence {bundle.licence}) are unavailable:"
                # The rest of an incomplete bundle may be gigabytes: list it, so that it can be fetched by hand.
                rest = [other for other in required_first[number + 1 :] if not other.optional]
                untried = [_describe(other, into, {}) for other in rest if not _is_in_place(other, into)]
                raise SourceUnavailable("\n".join([head, str(error), *untried])) from None
            _log.warning("continuing without an optional file:\n%s", error)
        else:
            had.add(source.file)
    return [into / source.file for source in bundle.sources if source.file in had]


def _obtain(web: _Web, source: Source, into: Path, mirror: Path | None) -> Path:
    """``fetch_file`` with a given connection."""
    target = into / source.file
    if _accept_in_place(source, target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):  # two processes must not append to one part
        if _accept_in_place(source, target):
            return target
        reasons: dict[str, str] = {}
        for address in _addresses(source):
            part = _Part(target, address)
            try:
                if address == _mirror_address(source):
                    _copy_from_mirror(source, mirror, part)
                else:
                    web.download(source, part)
                part.finish()
                return target
            except _Refused as refusal:
                reasons[address] = str(refusal)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise DiskFull(f"no room for {target}: free some space and run again; the part is kept") from error
    raise SourceUnavailable(_describe(source, into, reasons))


def _mirror_address(source: Source) -> str:
    return f"$RSITR_MIRROR/{source.mirror}"


def _addresses(source: Source) -> list[str]:
    """Where ``source`` may be available: a local copy before any download."""
    return [_mirror_address(source)] * (source.mirror is not None) + [resolve(url) for url in source.urls]


def _describe(source: Source, into: Path, reasons: Mapping[str, str]) -> str:
    """What is known about a missing file, for a user who will fetch it by hand."""
    untried = "not tried, since another file of the same origin is missing"
    lines = [
        f"  {source.file} (bytes: {source.bytes or 'unknown'}, sha256: {source.sha256 or 'unknown'})",
        *(f"{address}: {reasons.get(address, untried)}" for address in _addresses(source)),
        f"Put a copy fetched by hand at {into / source.file}, or set RSITR_MIRROR to the folder of a mirror.",
    ]
    return "\n    ".join(lines)


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


def _is_in_place(source: Source, into: Path) -> bool:
    path = into / source.file
    return path.is_file() and mismatch_of(source, path) is None


def _accept_in_place(source: Source, target: Path) -> bool:
    """Whether the right file is there; raises ``ChecksumMismatch`` rather than overwrite a different file."""
    if not target.is_file():
        return False
    if difference := mismatch_of(source, target):
        raise ChecksumMismatch(f"{target} is not the right file: {difference}. Delete it or replace it.")
    return True


def _copy_from_mirror(source: Source, mirror: Path | None, part: _Part) -> None:
    if mirror is None:
        raise _Refused("RSITR_MIRROR is not set")
    original = mirror / str(source.mirror)
    if not original.is_file():
        raise _Refused(f"RSITR_MIRROR has no file {original}")
    if difference := mismatch_of(source, original):
        raise _Refused(f"{original}: {difference}")
    part.begin(version="")
    shutil.copyfile(original, part.path)


class _Part:
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
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)


class _Web:
    """Downloads over HTTP; remembers which hosts cannot be reached, so that each costs its timeout once."""

    def __init__(self, progress: bool = True) -> None:
        self._http = requests.Session()
        self._unreachable: dict[str, str] = {}
        self._console = Console(stderr=True)
        self._progress = progress and self._console.is_terminal

    def download(self, source: Source, part: _Part) -> None:
        """Complete ``part`` with the content of ``source`` and check it; raises ``_Refused``."""
        leftover = part.version() is not None
        furthest, failures = part.size() if leftover else 0, 0
        while True:
            try:
                difference = self._attempt(source, part)
            except _Interrupted as interruption:
                failures = 1 if part.size() > furthest else failures + 1
                furthest = max(furthest, part.size())
                if failures == ATTEMPTS:
                    raise _Refused(f"{interruption} ({ATTEMPTS} attempts)") from None
                wait = 2.0 ** (failures - 1) if interruption.wait is None else interruption.wait
                sleep(min(wait, LONGEST_WAIT))
                continue
            if difference is None:
                return
            part.discard()
            if not leftover:
                raise _Refused(difference)
            leftover = False  # the fault may be in what an earlier run left: start over once

    def _attempt(self, source: Source, part: _Part) -> str | None:
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
                raise _Interrupted(f"the server does not continue at byte {offset}", wait=0.0)
            _require_success(response)
            if response.status_code == 200:  # the server ignores ranges, or now has another version
                offset = 0
            return _mismatch(source, *self._receive(response, offset, source, part))

    def _receive(self, response: requests.Response, offset: int, source: Source, part: _Part) -> tuple[int, str]:
        """Append the body, which starts at byte ``offset`` of the file; returns size and SHA-256 of the whole."""
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length else None
        try:
            chunks = response.iter_content(CHUNK)
            first = next(chunks, b"")
            if not offset:
                _require_the_file(response, first, source)
            if None not in (source.bytes, total) and source.bytes != total:
                raise _Refused(f"expected {source.bytes} bytes, the server announces {total}")
            if not offset:
                part.begin(response.headers.get("ETag") or response.headers.get("Last-Modified", ""))
            with self._bar(source.file, offset, total) as advance, part.path.open("a+b") as file:
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256")
                for chunk in chain([first], chunks):
                    file.write(chunk)
                    digest.update(chunk)
                    advance(len(chunk))
        except requests.RequestException as error:
            raise _Interrupted(f"the connection was cut after {part.size()} bytes: {_cause(error)}") from error
        return part.size(), digest.hexdigest()

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """The open response to one request; raises ``_Refused`` at once for a host that could not be reached before."""
        host = urlsplit(url).netloc
        if host in self._unreachable:
            raise _Refused(self._unreachable[host])
        try:
            return self._http.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
        except requests.ReadTimeout as error:
            raise _Interrupted(f"no answer within {READ_TIMEOUT:.0f} s") from error
        except requests.ConnectionError as error:
            if error.args and isinstance(error.args[0], ProtocolError):  # connected, then cut
                raise _Interrupted(f"the connection was cut before an answer: {_cause(error)}") from error
            # A redirect may have led elsewhere: blame the last host asked.
            host = urlsplit(str(error.request.url)).netloc if error.request else host
            self._unreachable[host] = f"no network, or no connection to {host}: {_cause(error)}"
            raise _Refused(self._unreachable[host]) from error
        except requests.RequestException as error:
            raise _Refused(str(error)) from error

    @contextmanager
    def _bar(self, name: str, offset: int, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar on a terminal; yields the function that advances it by a number of bytes."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=self._console, disable=not self._progress) as bars:
            task = bars.add_task(name, total=total, completed=offset)
            yield lambda count: bars.advance(task, count)


def _require_success(response: requests.Response) -> None:
    """Raise ``_Interrupted`` for failures that may be temporary (429, 5xx) and ``_Refused`` for any other."""
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code == 429 or response.status_code >= 500:
        raise _Interrupted(status, _retry_after(response))
    if response.status_code not in (200, 206):
        raise _Refused(status)


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait according to the header Retry-After, a number or a date; None without a readable one."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return None


def _require_the_file(response: requests.Response, first: bytes, source: Source) -> None:
    """Refuse what some servers send with status 200 instead of a file."""
    if found := stand_in(first, source.file, response.headers.get("Content-Type", "")):
        raise _Refused(found)


def _cause(error: BaseException) -> str:
    """The innermost error, as the outer ones only repeat it with the names of Python objects."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
