"""Members and samples of tars, next to webdataset's own reader, and wherever a tar may be cut."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_iterator

from rsitr.datasets.tars import BLOCK, Member, content, members, samples, split_name
from tests.helpers.examples import examples


def packed(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return buffer.getvalue()


FILES = (("a.jpg", b"x" * 700), ("a.txt", b"one"), ("b/c.d.jpg", b"yy"), ("b/c.txt", b""))


def test_members_are_the_files_with_their_places() -> None:
    file = io.BytesIO(packed(*FILES))
    found = list(members(file))
    assert [(member.name, content(file, member)) for member in found] == list(FILES)
    assert found[1] == Member("a.txt", 4 * BLOCK, 3)  # after a header, two blocks and a header
    with pytest.raises(tarfile.ReadError, match=r"it is cut off inside a\.txt"):
        content(io.BytesIO(file.getvalue()[: 4 * BLOCK + 2]), found[1])


WHOLE = packed(*FILES)
END = len(WHOLE.rstrip(b"\0")) // BLOCK * BLOCK + BLOCK
"""The blocks of zeros at the end begin here."""


@pytest.mark.parametrize("cut", range(0, END + BLOCK, 128))
def test_a_tar_cut_anywhere_is_named(cut: int) -> None:
    with pytest.raises(tarfile.ReadError, match="cut off"):
        list(members(io.BytesIO(WHOLE[:cut])))


def test_one_block_of_zeros_ends_a_tar_and_damage_does_not() -> None:
    assert len(list(members(io.BytesIO(WHOLE[: END + BLOCK])))) == len(FILES)
    broken = bytearray(WHOLE)
    broken[4 * BLOCK - 400] ^= 255  # in the second header, which tarfile takes for the end
    with pytest.raises(tarfile.ReadError, match="cut off or damaged after 1,536 bytes"):
        list(members(io.BytesIO(bytes(broken))))


@examples(200)
@given(st.text("ab./_", min_size=1, max_size=12))
def test_keys_are_those_of_webdataset(name: str) -> None:
    key, extension = base_plus_ext(name)
    assert split_name(name) == (key, (extension or "").lower())


NAMES = st.lists(st.from_regex(r"(d/)?[ab](\.[xJ])?\.(jpg|txt|json)|__m__|README", fullmatch=True), max_size=8)


@examples(60)
@given(NAMES)
def test_samples_are_those_of_webdataset(names: list[str]) -> None:
    whole = packed(*((name, str(place).encode()) for place, name in enumerate(names)))
    file = io.BytesIO(whole)
    found = [sample for sample in samples(file) if not isinstance(sample, Member)]
    parts = [{"__key__": s.key} | {kind: content(file, part) for kind, part in s.parts.items()} for s in found]
    stream = ({**member, "__url__": ""} for member in tar_file_iterator(io.BytesIO(whole)))
    if any(sample.repeated for sample in found):
        with pytest.raises(ValueError, match="duplicate file name"):
            list(group_by_keys(stream))
    else:
        assert parts == [{k: v for k, v in sample.items() if k != "__url__"} for sample in group_by_keys(stream)]
    alone = [sample.name for sample in samples(file) if isinstance(sample, Member)]
    assert alone == [name for name in names if name == "README"]
