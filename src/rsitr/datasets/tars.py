"""Members of tar files and samples of webdataset shards, read so that a tar that was cut off never counts as whole."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from rsitr.errors import CorruptArchive

BLOCK = tarfile.BLOCKSIZE
PACKED = re.compile(r"(.+\.tar)@(\d+)\+(\d+)")
"""How a table names an image that stays in its shard: the shard, where its bytes begin, and how many they are."""
SHOWN = 5
"""Shards that a message names."""


class Member(NamedTuple):
    """One file of a tar."""

    name: str
    offset: int
    """Of its content, in bytes."""
    size: int


class Sample(NamedTuple):
    """Consecutive members of one key. webdataset's rule: the key ends at the first dot of a file's name."""

    key: str
    """With the folder."""
    parts: dict[str, Member]
    """By extension in lower case, which is all after the first dot; of two with the same one, the first."""
    repeated: list[Member]
    """The others."""


def require_end(tar: tarfile.TarFile) -> None:
    """Raise ``tarfile.ReadError`` unless a tar whose members were all read ends as the format requires.

    ``tarfile`` takes a file that was cut between two members, or in a header, as complete. All that such a tar lacks
    are the blocks of zeros at its end.
    """
    file: IO[bytes] = tar.fileobj  # type: ignore[assignment]
    file.seek(tar.offset)
    if file.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError(f"it is cut off or damaged after {tar.offset:,} bytes, without the end of a tar")


def members(file: IO[bytes]) -> Iterator[Member]:
    """The files of an uncompressed tar in order, without their content; nothing is kept in memory.

    Raises ``tarfile.ReadError`` for a tar that is cut off, wherever, or damaged.
    """
    file.seek(0)
    with _named():
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
    while (info := _next(tar)) is not None:
        tar.members = []  # type: ignore[attr-defined]  # it would grow with every member
        if info.isfile():
            yield Member(info.name, info.offset_data, info.size)
    require_end(tar)


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    with _named():
        return tar.next()


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except tarfile.ReadError as error:
        raise tarfile.ReadError(f"it is cut off or damaged ({error})") from None


def samples(file: IO[bytes]) -> Iterator[Sample | Member]:
    """The samples of a shard in order, and members without an extension, which belong to none.

    As in webdataset, members whose names begin with ``__`` and end in ``__`` are about the shard and are left out.
    """
    sample = Sample("", {}, [])
    for member in members(file):
        key, extension = split_name(member.name)
        if re.match(r"__[^/]*__($|/)", member.name):
            continue
        if key is None:
            yield member
            continue
        if key != sample.key:
            if sample.parts:
                yield sample
            sample = Sample(key, {}, [])
        if extension in sample.parts:
            sample.repeated.append(member)
        else:
            sample.parts[extension] = member
    if sample.parts:
        yield sample


def split_name(name: str) -> tuple[str | None, str]:
    """Key and extension of a member's name; the key is None where it has no extension."""
    match = re.fullmatch(r"((?:.*/)?[^.]+)\.([^/]*)", name)
    return (match[1], match[2].lower()) if match else (None, "")


def unusable(problems: Sequence[str], of: int, otherwise: str) -> CorruptArchive:
    """The error for shards that cannot be used, each with its reason, among so many; ``otherwise`` is a last resort."""
    more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return CorruptArchive(
        f"{len(problems)} of {of} shards cannot be used: {'; '.join(problems[:SHOWN])}{more}: fetch them again, or "
        f"{otherwise}"
    )


def content(file: IO[bytes], member: Member) -> bytes:
    """The bytes of a member; raises ``tarfile.ReadError`` where they are cut short."""
    file.seek(member.offset)
    found = file.read(member.size)
    if len(found) != member.size:
        raise tarfile.ReadError(f"it is cut off inside {member.name}")
    return found


def packed(shard: str, member: Member) -> str:
    """The path in a table of an image that stays in its shard."""
    return f"{shard}@{member.offset}+{member.size}"


def file_of(path: Path) -> Path:
    """The file that holds an image with this path in a table: the image's own, or its shard."""
    match = PACKED.fullmatch(path.name)
    return path.with_name(match[1]) if match else path


def stored(path: Path) -> bytes:
    """The bytes of an image with this path in a table; raises ``OSError`` where they are not there."""
    match = PACKED.fullmatch(path.name)
    if not match:
        return path.read_bytes()
    with file_of(path).open("rb") as file:
        file.seek(int(match[2]))
        found = file.read(int(match[3]))
    if len(found) != int(match[3]):
        raise OSError(f"{file_of(path)} is shorter than when its table was built")
    return found
