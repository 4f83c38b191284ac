"""The state of a killed training: what was written is what is read, with no second copy of it in memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rsitr.stages.resume import read_state, write_state

RUN = {"code": "1" * 64, "arithmetic": "float32 on cpu"}
SIZE = 2**22
"""Numbers of a state: 16 MiB."""


def peak_of(call: Callable[[], Any]) -> int:
    """Bytes of Python objects that are made at most; tensors do not count."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    state = {"identity": RUN, "model": {"weight": torch.rand(3, 5)}, "step": 7, "best": {}}
    write_state(path, state)
    found = read_state(path, RUN)
    assert found is not None
    assert torch.equal(found["model"].pop("weight"), state["model"].pop("weight"))  # type: ignore[attr-defined]
    assert found == state
    content = path.read_bytes()
    assert content[:32] == hashlib.sha256(content[32:]).digest()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"arithmetic": "bfloat16 on cuda"}, "arithmetic"),
        ({"code": "2" * 64, "arithmetic": "float32 on cuda"}, "code, arithmetic"),
        ({"teacher": "3" * 64}, "teacher"),
    ],
)
def test_a_state_of_another_run_is_not_continued(
    change: dict[str, str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "resume.pt"
    write_state(path, {"identity": RUN})
    assert read_state(path, RUN) == {"identity": RUN}
    assert capsys.readouterr().err == ""
    assert read_state(path, RUN | change) is None
    assert capsys.readouterr().err == f"{path} is of other {named}: training begins again\n"
    assert path.is_file()


def test_no_state_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none.pt", RUN) is None


def test_memory_does_not_grow_with_the_state(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    state = {"identity": RUN, "model": torch.zeros(SIZE)}
    write_state(path, {"identity": {}})  # what is imported on first use does not count
    read_state(path, {})
    assert peak_of(lambda: write_state(path, state)) < 2**20
    assert peak_of(lambda: read_state(path, RUN)) < 2**20
    assert path.stat().st_size > 4 * SIZE


@pytest.mark.parametrize("place", [0, 31, 32, 100, -1])
def test_one_changed_byte_is_found(place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "resume.pt"
    write_state(path, {"identity": RUN, "model": torch.rand(100)})
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert read_state(path, RUN) is None
    assert "resume.pt.damaged is damaged: training begins again" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["resume.pt.damaged"]


def test_a_write_that_fails_leaves_the_earlier_state(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    write_state(path, {"identity": RUN, "step": 1})
    with pytest.raises(AttributeError, match="pickle"):
        write_state(path, {"identity": RUN, "step": lambda: None})
    assert [file.name for file in tmp_path.iterdir()] == ["resume.pt"]
    found = read_state(path, RUN)
    assert found is not None
    assert found["step"] == 1
