"""Archives of every format, sound, broken and hostile."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsitr.datasets import archives
from rsitr.datasets.archives import extract
from rsitr.errors import CorruptArchive, DiskFull, MissingTool, UnsafeArchive
from tests.helpers.examples import examples

Content = dict[str, bytes]
"""Bytes by member name; a name that ends in a slash is a folder, and ``name -> target`` a symbolic link."""

TREE: Content = {"images/": b"", "images/1.jpg": b"\xff\xd8" * 5000, "images/deep/2.jpg": b"", "dataset.json": b"{}"}
STORED, COMPRESSED = 0x30, 0x33


def write_zip(path: Path, content: Content, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as pack:
        for name, data in content.items():
            name, _, target = name.partition(" -> ")
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = (stat.S_IFLNK | 0o777) << 16 if target else 0
            pack.writestr(info, target or data)


def write_deflated_zip(path: Path, content: Content) -> None:
    write_zip(path, content, zipfile.ZIP_DEFLATED)


def write_tar(path: Path, content: Content) -> None:
    with tarfile.open(path, {".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")) as pack:
        for name, data in content.items():
            name, _, target = name.partition(" -> ")
            info = tarfile.TarInfo(name)
            info.size, info.linkname = 0 if target else len(data), target
            if target or name.endswith("/"):
                info.type = tarfile.SYMTYPE if target else tarfile.DIRTYPE
            pack.addfile(info, io.BytesIO(data))


def write_rar(path: Path, content: Content, method: int = STORED) -> None:
    """A RAR 3 archive, whose layout is a marker and then blocks: CRC-16, type, flags, header size, fields, data."""

    def block(kind: int, flags: int, fields: bytes, data: bytes = b"") -> bytes:
        header = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
        return struct.pack("<H", zlib.crc32(header) & 0xFFFF) + header + data

    blocks = [b"Rar!\x1a\x07\x00", block(0x73, 0, bytes(6))]
    for name, data in content.items():
        name, _, target = name.partition(" -> ")
        data, folder = target.encode() or data, name.endswith("/")
        mode = stat.S_IFLNK if target else stat.S_IFDIR if folder else stat.S_IFREG
        encoded, size, unix, version = name.rstrip("/").encode(), len(data), 3, 29
        kind = STORED if target or folder else method
        facts = (size, size, unix, zlib.crc32(data), 0, version, kind, len(encoded), mode)
        blocks.append(block(0x74, 0x80E0 if folder else 0x8000, struct.pack("<LLBLLBBHL", *facts) + encoded, data))
    path.write_bytes(b"".join([*blocks, block(0x7B, 0x4000, b"")]))


FORMATS: dict[str, Callable[[Path, Content], None]] = {
    "a.zip": write_zip,
    "deflated.ZIP": write_deflated_zip,
    "a.tar": write_tar,
    "a.tar.gz": write_tar,
    "a.tgz": write_tar,
    "a.tar.bz2": write_tar,
    "a.tar.xz": write_tar,
    "a.rar": write_rar,
}


def make(folder: Path, name: str, content: Content) -> Path:
    FORMATS[name](folder / name, content)
    return folder / name


def tree(folder: Path) -> Content:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files(content: Content) -> Content:
    return {name: data for name, data in content.items() if not name.endswith("/")}


class TestSound:
    @pytest.mark.parametrize("name", FORMATS)
    def test_once_and_again(self, tmp_path: Path, name: str) -> None:
        archive = make(tmp_path, name, TREE)
        for _ in range(2):
            assert extract(archive, tmp_path / "out") == 3
            assert tree(tmp_path / "out") == files(TREE)
            assert {path.name for path in tmp_path.iterdir()} == {name, "out"}

    def test_several_archives_share_a_folder_and_the_later_one_wins(self, tmp_path: Path) -> None:
        extract(make(tmp_path, "a.zip", {"images/1.jpg": b"1", "images/2.jpg": b"2"}), tmp_path / "out")
        extract(make(tmp_path, "a.tar", {"images/2.jpg": b"two", "images/sub/3.jpg": b"3"}), tmp_path / "out")
        assert tree(tmp_path / "out") == {"images/1.jpg": b"1", "images/2.jpg": b"two", "images/sub/3.jpg": b"3"}

    def test_backslashes_of_windows_tools(self, tmp_path: Path) -> None:
        assert extract(make(tmp_path, "a.zip", {"images\\": b"", "images\\sub\\1.jpg": b"1"}), tmp_path / "out") == 1
        assert tree(tmp_path / "out") == {"images/sub/1.jpg": b"1"}

    def test_links_that_stay_inside(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as pack:
            file = tarfile.TarInfo("images/1.jpg")
            file.size = 1
            pack.addfile(file, io.BytesIO(b"1"))
            for name, kind, target in [
                ("train/up.jpg", tarfile.SYMTYPE, "../images/1.jpg"),
                ("all", tarfile.SYMTYPE, "train"),
                ("all", tarfile.SYMTYPE, "images"),  # appended later, so it counts
                ("same.jpg", tarfile.LNKTYPE, "./images/1.jpg"),
            ]:
                link = tarfile.TarInfo(name)
                link.type, link.linkname = kind, target
                pack.addfile(link)
        assert extract(tmp_path / "a.tar", tmp_path / "out") == 4
        for name in ["train/up.jpg", "all/1.jpg", "same.jpg"]:
            assert (tmp_path / "out" / name).read_bytes() == b"1"
        extract(tmp_path / "a.tar", tmp_path / "out")
        assert (tmp_path / "out" / "all").is_symlink()

    def test_archives_that_disagree_about_a_folder(self, tmp_path: Path) -> None:
        extract(make(tmp_path, "a.zip", {"images/1.jpg": b"1"}), tmp_path / "out")
        with pytest.raises(CorruptArchive, match="out/images is there already, as a folder"):
            extract(make(tmp_path, "a.tar", {"images": b"2"}), tmp_path / "out")

    def test_what_a_killed_extraction_left_is_swept_away(self, tmp_path: Path) -> None:
        left = tmp_path / ".out.a.zip.extracting"
        left.mkdir()
        (left / "half.jpg").write_bytes(b"ha")
        extract(make(tmp_path, "a.zip", TREE), tmp_path / "out")
        assert tree(tmp_path / "out") == files(TREE)
        assert not left.exists()

    @pytest.mark.parametrize("cut", [1024, 1500, 2048])
    @pytest.mark.parametrize("packed", [False, True])
    def test_a_tar_that_is_cut_off_between_members(self, tmp_path: Path, cut: int, packed: bool) -> None:
        """Two members of two blocks each; compressed again, the cut leaves no trace in the compression."""
        whole = make(tmp_path, "a.tar", {"a": b"1", "b": b"2"}).read_bytes()
        path = tmp_path / ("b.tar.gz" if packed else "b.tar")
        path.write_bytes(gzip.compress(whole[:cut]) if packed else whole[:cut])
        with pytest.raises(CorruptArchive, match=r"cannot be extracted: (it is cut off|unexpected end)"):
            extract(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        extract(make(tmp_path, "a.zip", {"a": b"old"}), tmp_path / "out")
        broken = make(tmp_path, "a.tar", {"a": b"new", "b": bytes(9999)})
        broken.write_bytes(broken.read_bytes()[:5000])
        with pytest.raises(CorruptArchive):
            extract(broken, tmp_path / "out")
        assert tree(tmp_path / "out") == {"a": b"old"}


class TestUnsafe:
    @pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.rar"])
    @pytest.mark.parametrize(
        "member",
        ["../evil", "/evil", "a/../../evil", "..\\evil", "\\evil", "C:\\evil", "c:evil", "a -> ../x", "a -> /x"],
    )
    def test_nothing_lands_or_leads_outside(self, tmp_path: Path, name: str, member: str) -> None:
        (tmp_path / "in").mkdir()
        archive = make(tmp_path, name, {"fine": b"1", member: b"2"})
        with pytest.raises(UnsafeArchive) as caught:
            extract(archive, tmp_path / "in" / "out")
        assert str(archive) in str(caught.value)
        assert repr(member.partition(" -> ")[0].replace("\\", "/")) in str(caught.value).replace("\\\\", "/")
        assert list((tmp_path / "in").iterdir()) == []

    @pytest.mark.parametrize(
        ("members", "why"),
        [
            ([("up", tarfile.SYMTYPE, "a/../.."), ("a/", tarfile.DIRTYPE, "")], "may lead outside"),
            ([("here", tarfile.SYMTYPE, "."), ("up", tarfile.SYMTYPE, "here/here/../..")], "may lead outside"),
            ([("here", tarfile.SYMTYPE, "."), ("here/x", tarfile.REGTYPE, "")], "written through the link 'here'"),
            ([("a", tarfile.LNKTYPE, "../a")], "no file of the archive"),
            ([("a", tarfile.LNKTYPE, "/etc/passwd")], "no file of the archive"),
            ([("s", tarfile.SYMTYPE, "."), ("a", tarfile.LNKTYPE, "s")], "no file of the archive"),
            ([("pipe", tarfile.FIFOTYPE, "")], "is a device"),
            ([("disk", tarfile.BLKTYPE, "")], "is a device"),
        ],
    )
    def test_tar_tricks(self, tmp_path: Path, members: list[tuple[str, bytes, str]], why: str) -> None:
        write_tar_members(tmp_path / "a.tar", members)
        with pytest.raises(UnsafeArchive, match=why):
            extract(tmp_path / "a.tar", tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]

    PATH = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=4).map("/".join)
    KIND = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])

    @settings(examples(200), derandomize=True)
    @given(packs=st.lists(st.lists(st.tuples(PATH, KIND, PATH), max_size=4), min_size=1, max_size=2))
    def test_whatever_is_accepted_stays_inside(self, packs: list[list[tuple[str, bytes, str]]]) -> None:
        with TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            inside = root / "in"
            for number, members in enumerate(packs):
                write_tar_members(root / f"{number}.tar", members)
                try:
                    extract(root / f"{number}.tar", inside)
                except (UnsafeArchive, CorruptArchive):
                    continue
            assert {path.name for path in root.iterdir()} <= {"0.tar", "1.tar", "in"}
            for path in inside.rglob("*"):
                assert leads_nowhere(path) or Path(os.path.realpath(path)).is_relative_to(inside)


def write_tar_members(path: Path, members: list[tuple[str, bytes, str]]) -> None:
    with tarfile.open(path, "w") as pack:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            pack.addfile(info)


def leads_nowhere(path: Path) -> bool:
    """Whether ``path`` is a link that leads round in a circle."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def flip(path: Path, at: int, bits: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)


class TestCorrupt:
    @pytest.mark.parametrize("name", FORMATS)
    @pytest.mark.parametrize("fault", ["page", "empty", "truncated"])
    def test_not_the_archive_it_was(self, tmp_path: Path, name: str, fault: str) -> None:
        archive = make(tmp_path, name, {"a": bytes(range(256)) * 40, "b": b"2"})
        whole = archive.read_bytes()
        faulty = {"page": b"<html>quota exceeded</html>", "empty": b"", "truncated": whole[: len(whole) // 2]}
        archive.write_bytes(faulty[fault])
        with pytest.raises(CorruptArchive) as caught:
            extract(archive, tmp_path / "out")
        assert f"{archive} (sha256 {hashlib.sha256(faulty[fault]).hexdigest()})" in str(caught.value)
        assert str(caught.value).endswith("Delete it and fetch it again.")
        assert tree(tmp_path / "out") == {}

    @pytest.mark.parametrize(("name", "why"), [("a.zip", "Bad CRC-32"), ("a.rar", "CRC")])
    def test_bad_checksum_of_a_member(self, tmp_path: Path, name: str, why: str) -> None:
        archive = make(tmp_path, name, {"a": b"needle" * 9})
        flip(archive, archive.read_bytes().index(b"needle"), 0xFF)
        with pytest.raises(CorruptArchive, match=why):
            extract(archive, tmp_path / "out")

    def test_other_size_than_declared(self, tmp_path: Path) -> None:
        archive = make(tmp_path, "deflated.ZIP", {"a": b"needle" * 9})
        flip(archive, archive.read_bytes().index(b"PK\x01\x02") + 24, 64)  # size in the central directory: 54 + 64
        with pytest.raises(CorruptArchive, match="'a' has 54 bytes instead of 118"):
            extract(archive, tmp_path / "out")

    @pytest.mark.parametrize(
        "content", [{"a": b"1", "a/b": b"2"}, {"a": b"1", "a/": b""}, {"a": b"1", "a -> b": b""}, {".": b"1"}]
    )
    def test_contradiction(self, tmp_path: Path, content: Content) -> None:
        with pytest.raises(CorruptArchive, match="appears as more than one of file, folder and link"):
            extract(make(tmp_path, "a.tar", content), tmp_path / "out")

    def test_encrypted(self, tmp_path: Path) -> None:
        archive = make(tmp_path, "a.zip", {"secret": b"1"})
        flip(archive, archive.read_bytes().index(b"PK\x01\x02") + 8, 1)  # bit 0 of the flags in the central directory
        with pytest.raises(CorruptArchive, match="'secret' is encrypted"):
            extract(archive, tmp_path / "out")


class TestDisk:
    @staticmethod
    def disk(monkeypatch: pytest.MonkeyPatch, blocks: int, files: int, inodes: int = 100) -> None:
        """A disk with so many free blocks of 4,096 bytes, on which so many files have room."""
        usage = namedtuple("usage", "f_frsize f_bavail f_files f_favail")
        monkeypatch.setattr(os, "statvfs", lambda _: usage(4096, blocks, inodes, files))

    def test_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = make(tmp_path, "deflated.ZIP", {"a": bytes(10_000)})
        self.disk(monkeypatch, 2, 9)
        with pytest.raises(DiskFull, match=r"deflated.ZIP holds 1 files of 12,288 bytes and .* 9 files of 8,192 bytes"):
            extract(archive, tmp_path / "out")
        self.disk(monkeypatch, 3, 9)
        assert extract(archive, tmp_path / "out") == 1

    def test_more_files_than_the_disk_has_room_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = make(tmp_path, "a.zip", dict.fromkeys("abc", b"1"))
        self.disk(monkeypatch, 9, 2)
        with pytest.raises(DiskFull, match=r"holds 3 files of 12,288 bytes and .* has room for 2 files"):
            extract(archive, tmp_path / "out")
        self.disk(monkeypatch, 9, 0, inodes=0)  # it makes them as it needs them
        assert extract(archive, tmp_path / "out") == 3

    def test_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(DiskFull, match="no room left to extract"):
            extract(make(tmp_path, "a.zip", TREE), tmp_path / "out")
        assert tree(tmp_path / "out") == {}
        assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}


class TestCompressedRar:
    """What decompresses is a program of the system; stand-ins print what such a program would."""

    @pytest.fixture
    def install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        programs = tmp_path / "bin"
        programs.mkdir()
        monkeypatch.setenv("PATH", str(programs))

        def install(name: str, output: bytes, status: int = 0) -> None:
            (programs / f"{name}.out").write_bytes(output)
            (programs / name).write_text(f"#!/bin/sh\n/bin/cat '{programs}/{name}.out'\nexit {status}\n")
            (programs / name).chmod(0o755)

        return install

    @pytest.fixture
    def rar(self, tmp_path: Path) -> Path:
        write_rar(tmp_path / "a.rar", TREE, COMPRESSED)
        return tmp_path / "a.rar"

    PRINTED = b"".join(files(TREE).values())

    @pytest.mark.parametrize("tool", [command[0] for command in archives._RAR_TOOLS])
    def test_any_tool(self, rar: Path, install: Any, tool: str) -> None:
        install(tool, self.PRINTED)
        assert extract(rar, rar.parent / "out") == 3
        assert tree(rar.parent / "out") == files(TREE)

    def test_tool_that_does_not_know_the_variant_gives_way(self, rar: Path, install: Any) -> None:
        install("unrar", self.PRINTED, status=2)
        install("unar", self.PRINTED[:-1])
        install("7z", self.PRINTED[::-1])
        install("bsdtar", self.PRINTED)
        assert extract(rar, rar.parent / "out") == 3
        assert tree(rar.parent / "out") == files(TREE)

    def test_no_tool_that_can(self, rar: Path, install: Any) -> None:
        install("unrar", self.PRINTED, status=2)
        install("7z", b"")
        with pytest.raises(CorruptArchive, match=r"unrar ended with status 2; 7z: 'images/1\.jpg' has other"):
            extract(rar, rar.parent / "out")

    def test_no_tool(self, rar: Path, install: Any) -> None:
        with pytest.raises(MissingTool, match=r"a\.rar is a compressed rar.* Install unrar, unar, 7z .* or bsdtar"):
            extract(rar, rar.parent / "out")
