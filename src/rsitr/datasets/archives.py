"""Extracting zip, tar and rar archives of unknown origin.

Every format is read as a list of members with the same few facts; what is allowed is decided from that list before any
byte is written. Only then are the members written to a staging folder next to the target, and moved over.
"""

from __future__ import annotations

import errno
import hashlib
import io
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NoReturn, cast

import rarfile

from rsitr.datasets.names import is_absolute, with_slashes
from rsitr.datasets.tars import require_end
from rsitr.errors import CorruptArchive, DiskFull, MissingTool, UnsafeArchive


class _Broken(Exception):
    """The archive contradicts itself."""


_UNREADABLE = (
    _Broken,
    EOFError,
    NotImplementedError,  # zipfile: a compression method it does not know
    lzma.LZMAError,
    rarfile.Error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)

_RAR_TOOLS = (
    ("unrar", "p", "-inul", "-p-", "--"),
    ("unar", "-q", "-o", "-"),
    ("7z", "e", "-so"),
    ("7zz", "e", "-so"),
    ("bsdtar", "-x", "--to-stdout", "-f"),
)
"""Commands that print the files of the rar whose name is appended to them."""


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, whatever the format."""

    name: str
    """As the archive spells it."""
    kind: Literal["file", "folder", "symlink", "hardlink", "device"]
    size: int = 0
    """Of the content of a file, in bytes."""
    open: Callable[[], Any] | None = None
    """Opens the content of a file for binary reading."""
    target: str = ""
    """Of a link, as the archive spells it."""

    @cached_property
    def path(self) -> PurePosixPath:
        """Path relative to the extracted folder."""
        return PurePosixPath(with_slashes(self.name))


def extract(archive: Path, into: Path) -> int:
    """Extract ``archive`` into the folder ``into``, over what is there, and return the number of its files.

    The format follows the name: .zip, .rar, and anything else is opened as a tar, compressed or not. An extraction that
    is killed leaves no truncated file under ``into``; running it again gives the same result. Owners, permissions and
    times are not kept.

    Raises ``UnsafeArchive`` for a member that would land outside ``into`` (nothing is written then),
    ``CorruptArchive`` for an archive that cannot be read, ``DiskFull`` when the content exceeds the free space and
    ``MissingTool`` when a compressed rar needs a program that is not installed.
    """
    into = into.resolve()
    staging = into.with_name(f".{into.name}.{archive.name}.extracting")
    try:
        with _failures_named(archive), _members_of(archive) as members:
            _require_safe(archive, members)
            into.mkdir(parents=True, exist_ok=True)
            _require_room(archive, members, into)
            shutil.rmtree(staging, ignore_errors=True)  # of an extraction that was killed
            staging.mkdir()
            _write(members, staging)
            _merge(staging, into)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len({member.path for member in members if member.kind != "folder"})


@contextmanager
def _members_of(archive: Path) -> Iterator[list[_Member]]:
    """The members of ``archive``; they can be opened, each once and in this order, while the context lasts."""
    suffix = archive.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(archive) as zip_file:
            yield [_zip_member(zip_file, info) for info in zip_file.infolist()]
    elif suffix == ".rar":
        # By default rarfile takes a broken header as the end of the archive.
        with rarfile.RarFile(archive, errors="strict") as rar_file, _rar_opener(archive, rar_file) as opener:
            yield [_rar_member(rar_file, info, opener) for info in rar_file.infolist()]
    else:
        with tarfile.open(archive) as tar_file:
            found = tar_file.getmembers()
            require_end(tar_file)
            yield [_tar_member(tar_file, info) for info in found]


def _zip_member(pack: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    if info.flag_bits & 1:
        raise _Broken(f"{info.filename!r} is encrypted")
    if stat.S_ISLNK(info.external_attr >> 16):
        return _Member(info.filename, "symlink", target=pack.read(info).decode(errors="surrogateescape"))
    if with_slashes(info.filename).endswith("/"):
        return _Member(info.filename, "folder")
    return _Member(info.filename, "file", info.file_size, partial(pack.open, info))


def _tar_member(pack: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    if info.isfile():
        return _Member(info.name, "file", info.size, partial(pack.extractfile, info))
    if info.issym() or info.islnk():
        return _Member(info.name, "symlink" if info.issym() else "hardlink", target=info.linkname)
    return _Member(info.name, "folder" if info.isdir() else "device")


def _rar_member(pack: rarfile.RarFile, info: rarfile.RarInfo, opener: Callable[[rarfile.RarInfo], Any]) -> _Member:
    if info.is_symlink():
        # RAR 5 keeps the target in the header, RAR 3 in the content.
        target = info.file_redir[2] if info.file_redir else pack.read(info).decode(errors="surrogateescape")
        return _Member(info.filename, "symlink", target=target)
    if info.is_dir():
        return _Member(info.filename, "folder")
    if info.file_redir:
        return _Member(info.filename, "hardlink", target=info.file_redir[2])
    return _Member(info.filename, "file", info.file_size, partial(opener, info))


@contextmanager
def _rar_opener(archive: Path, pack: rarfile.RarFile) -> Iterator[Callable[[rarfile.RarInfo], Any]]:
    """The function that opens a file of a rar.

    Stored files are read by rarfile. Compressed ones need a program, which rarfile would restart for each file and
    which, in a solid archive, would decompress everything before it: here one process prints all files in a row.
    """
    if pack.needs_password():
        raise _Broken("it is encrypted")
    files = [info for info in pack.infolist() if info.is_file() and not info.file_redir]
    if all(info.compress_type == rarfile.RAR_M0 for info in files):
        yield pack.open
        return
    with _output(_able_tool(archive, files)) as output:
        yield partial(_PrintedFile, output)


def _able_tool(archive: Path, files: Sequence[rarfile.RarInfo]) -> list[str]:
    """The first command that prints the right bytes of ``files``.

    Being installed is not enough: 7-Zip comes without the rar decoder in some distributions, bsdtar cannot read solid
    archives, and both, like unar, fail on some variants of the format.
    """
    commands = [[*tool, str(archive.absolute())] for tool in _RAR_TOOLS if shutil.which(tool[0])]
    failures = []
    for command in commands:
        try:
            with _output(command) as output:
                for info in files:
                    with _PrintedFile(output, info) as content:
                        while content.read(1 << 16):
                            pass
            return command
        except _Broken as error:
            failures.append(f"{command[0]}: {error}")
    if not commands:
        raise MissingTool(
            f"{archive} is a compressed rar, and no program that reads it is installed. Install unrar, unar, 7z (with "
            "its rar decoder) or bsdtar (package libarchive-tools), or unpack it by hand and pack it as a zip."
        )
    raise _Broken(f"{'; '.join(failures)}; if the checksum is right, install another program, such as unrar or unar")


@contextmanager
def _output(command: Sequence[str]) -> Iterator[IO[bytes]]:
    """What ``command`` prints; raises ``_Broken`` if it fails."""
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=pipe, stderr=null) as process:
        try:
            yield cast(IO[bytes], process.stdout)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise _Broken(f"{command[0]} ended with status {process.returncode}")


class _PrintedFile(io.RawIOBase):
    """The next ``info.file_size`` bytes of a tool's output, whose CRC is checked at their end."""

    def __init__(self, output: IO[bytes], info: rarfile.RarInfo) -> None:
        self._output = output
        self._info = info
        self._left: int = info.file_size
        self._crc = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with the next bytes."""
        chunk = self._output.read(min(len(buffer), self._left))
        buffer[: len(chunk)] = chunk
        self._left -= len(chunk)
        self._crc = zlib.crc32(chunk, self._crc)
        # RAR 5 may state a BLAKE2 digest instead of a CRC; then the size and the status of the tool must suffice.
        if not chunk and (self._left or self._info.CRC not in (None, self._crc)):
            raise _Broken(f"{self._info.filename!r} has other bytes than the archive declares")
        return len(chunk)


def _require_safe(archive: Path, members: Sequence[_Member]) -> None:
    """Raise ``UnsafeArchive`` if a member would land, or lead, outside the target folder."""
    refuse = partial(_refuse, archive)
    files = {member.path for member in members if member.kind == "file"}
    links = {member.path for member in members if member.kind in ("symlink", "hardlink")}
    for member in members:
        if is_absolute(member.name) or ".." in member.path.parts:
            refuse(member, "would land outside the folder it is extracted into")
        if member.kind == "device":
            refuse(member, "is a device and no file")
        if member.kind == "symlink" and not _stays_inside(member):
            refuse(member, f"is a link to {member.target!r}, which may lead outside the folder it is extracted into")
        if member.kind == "hardlink" and PurePosixPath(with_slashes(member.target)) not in files:
            refuse(member, f"is a link to {member.target!r}, which is no file of the archive")
        for folder in _folders([member]) & links:
            refuse(member, f"would be written through the link {str(folder)!r}")
    folders = _folders(members) | {PurePosixPath()}
    if conflict := folders & (files | links) | files & links:
        raise _Broken(f"{str(min(conflict))!r} appears as more than one of file, folder and link")


def _refuse(archive: Path, member: _Member, why: str) -> NoReturn:
    raise UnsafeArchive(
        f"{archive}: the member {member.name!r} {why}. Nothing was extracted. Delete the archive and fetch it again; "
        "if it is the same again, do not trust its origin."
    )


def _stays_inside(link: _Member) -> bool:
    """Whether a symbolic link certainly leads to a place inside the extracted folder.

    Its text is enough if it climbs only through the folders that hold the link itself, which are not links. After any
    other name, which may be a link in this archive or a later one, ``..`` is the parent of wherever that leads.
    """
    if not link.target or is_absolute(link.target):
        return False
    here = link.path.parent
    for part in PurePosixPath(with_slashes(link.target)).parts:
        if part != "..":
            here /= part
        elif here == PurePosixPath() or not link.path.is_relative_to(here):
            return False
        else:
            here = here.parent
    return True


def _folders(members: Sequence[_Member]) -> set[PurePosixPath]:
    """Every folder that ``members`` name or imply, without the root."""
    folders = {PurePosixPath()}
    for member in members:
        folder = member.path if member.kind == "folder" else member.path.parent
        while folder not in folders:
            folders.add(folder)
            folder = folder.parent
    return folders - {PurePosixPath()}


def _require_room(archive: Path, members: Sequence[_Member], into: Path) -> None:
    disk = os.statvfs(into)
    block = disk.f_frsize or 1
    needed, free = sum(-(-member.size // block) * block for member in members), disk.f_bavail * block
    # Some file systems make inodes as they need them, and say that there are none.
    if needed > free or (disk.f_files and len(members) > disk.f_favail):
        raise DiskFull(
            f"{archive} holds {len(members):,} files of {needed:,} bytes and the disk of {into} has room for "
            f"{disk.f_favail:,} files of {free:,} bytes: free some space and run again. If that is far more than the "
            "dataset should have, the archive is a zip bomb: delete it."
        )


def _write(members: Sequence[_Member], staging: Path) -> None:
    """Write checked members under an empty folder; links last, so that nothing is written through one."""
    for member in members:
        place = staging / member.path
        if member.kind == "folder":
            place.mkdir(parents=True, exist_ok=True)
        elif member.open is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as content, place.open("wb") as file:
                shutil.copyfileobj(content, file)
                if file.tell() != member.size:
                    raise _Broken(f"{member.name!r} has {file.tell()} bytes instead of {member.size}")
    for link in members:
        place = staging / link.path
        if link.kind in ("symlink", "hardlink"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            if link.kind == "symlink":
                place.symlink_to(with_slashes(link.target))
            else:
                place.hardlink_to(staging / with_slashes(link.target))


def _merge(source: Path, target: Path) -> None:
    """Move a tree over another one on the same disk, file by file where both have the folder."""
    if target.is_symlink():  # of an earlier archive: what was checked to stay inside may not do so through it
        target.unlink()
    is_folder = source.is_dir() and not source.is_symlink()
    if target.exists() and is_folder != target.is_dir():
        raise _Broken(f"{target} is there already, as a {'file' if is_folder else 'folder'}")
    if is_folder and target.exists():
        for child in list(source.iterdir()):
            _merge(child, target / child.name)
    else:
        source.replace(target)


@contextmanager
def _failures_named(archive: Path) -> Iterator[None]:
    """Turn the many errors of the readers into ours."""
    try:
        yield
    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DiskFull(f"no room left to extract {archive}: free some space and run again") from error
        # gzip and bz2 raise it bare for broken data, and zipfile seeks to places that there are not.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        with archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        raise CorruptArchive(
            f"{archive} (sha256 {sha256}) cannot be extracted: {error}. Delete it and fetch it again."
        ) from error
