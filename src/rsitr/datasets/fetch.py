"""Obtaining the files of a dataset: in place, from the mirror, or by download.

A file under its own name is always complete (``rsitr.datasets.download``).
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from rsitr.datasets import hub
from rsitr.datasets.base import Bundle, Source
from rsitr.datasets.download import Part, Refused, Web, mismatch_of
from rsitr.errors import ChecksumMismatch, DiskFull, SourceUnavailable

_log = logging.getLogger(__name__)


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
    web = Web()
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
    return _obtain_all(Web(progress), bundle, into, mirror)


def fetch_file(source: Source, into: Path, *, mirror: Path | None) -> Path:
    """One file as ``into / source.file``, from the mirror if it is there, otherwise from the first address that works.

    Raises ``SourceUnavailable``, ``ChecksumMismatch`` (a wrong file is already in place) and ``DiskFull``.
    """
    return _obtain(Web(), source, into, mirror)


def resolve(url: str) -> str:
    """The http(s) address behind a URL of a ``Source``; that of a file of the Hugging Face hub stays as it is.

    RSITR_GDRIVE_ENDPOINT replaces the server of Google Drive. Raises ``ValueError`` for a URL of another form.
    """
    if re.match(r"https?://[^/]", url) or hub.URL.fullmatch(url):
        return url
    if match := re.fullmatch(r"gdrive://([\w-]+)", url):
        server = os.environ.get("RSITR_GDRIVE_ENDPOINT", "https://drive.usercontent.google.com").rstrip("/")
        # confirm=t skips the page that otherwise replaces a file too large for the virus scan.
        return f"{server}/download?id={match[1]}&export=download&confirm=t"
    raise ValueError(f"{url!r}: use https://..., hf://[datasets/]owner/repo@revision/path or gdrive://file-id")


def _obtain_all(web: Web, bundle: Bundle, into: Path, mirror: Path | None) -> list[Path]:
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


def _obtain(web: Web, source: Source, into: Path, mirror: Path | None) -> Path:
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
            part = Part(target, address)
            try:
                if address == _mirror_address(source):
                    _copy_from_mirror(source, mirror, part)
                elif hub.URL.fullmatch(address):
                    web.copy_from_hub(source, part)
                else:
                    web.download(source, part)
                part.finish()
                return target
            except Refused as refusal:
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


def _copy_from_mirror(source: Source, mirror: Path | None, part: Part) -> None:
    if mirror is None:
        raise Refused("RSITR_MIRROR is not set")
    original = mirror / str(source.mirror)
    if not original.is_file():
        raise Refused(f"RSITR_MIRROR has no file {original}")
    if difference := mismatch_of(source, original):
        raise Refused(f"{original}: {difference}")
    part.discard()
    shutil.copyfile(original, part.path)
