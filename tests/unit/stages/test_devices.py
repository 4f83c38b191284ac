"""A process has a GPU of its own, by what the device is and not by its number."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from rsitr.stages import devices, setup


@pytest.fixture
def visible(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[int]]]:
    """``visible(*uuids)`` makes these the devices that the process sees; returns the numbers of those it then uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "_held", [])
    monkeypatch.setattr(devices.time, "sleep", lambda seconds: pytest.fail("it waits"))
    monkeypatch.delenv("RSITR_CELLS_PER_GPU", raising=False)

    def see(*uuids: str) -> list[int]:
        used: list[int] = []
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=uuids[index]))
        monkeypatch.setattr(torch.cuda, "set_device", used.append)
        return used

    yield see
    for lock in devices._held:
        lock.release()


def test_the_first_devices_of_two_jobs_are_two_devices(visible) -> None:
    """A scheduler numbers the devices of each job from 0."""
    for uuid in ("a", "b"):
        used = visible(uuid)
        assert devices.claim() == "cuda:0"
        assert used == [0]


def test_a_device_in_use_is_passed_over_whatever_its_number(visible) -> None:
    visible("a")
    assert devices.claim() == "cuda:0"
    used = visible("b", "a", "c")
    assert [devices.claim(), devices.claim()] == ["cuda:0", "cuda:2"]
    assert used == [0, 2]


def test_as_many_share_a_device_as_may_and_empty_ones_come_first(visible, monkeypatch) -> None:
    visible("a", "b")
    monkeypatch.setenv("RSITR_CELLS_PER_GPU", "2")
    assert [devices.claim() for _ in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


def test_who_waits_for_a_device_says_so_once(visible, monkeypatch, capsys) -> None:
    visible("a")
    devices.claim()
    [first], seconds = devices._held, []

    def sleep(duration: float) -> None:
        seconds.append(duration)
        if len(seconds) == 2:
            first.release()

    monkeypatch.setattr(devices.time, "sleep", sleep)
    assert devices.claim() == "cuda:0"
    assert seconds == [1, 1]
    assert capsys.readouterr().err == (
        "every GPU here (1) is in use by 1 of your processes: waiting for one to end. "
        "RSITR_CELLS_PER_GPU says how many may share one\n"
    )


def test_a_process_claims_its_device_so(visible, monkeypatch) -> None:
    visible("a")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_, **__: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    assert setup.prepare(SimpleNamespace(threads=torch.get_num_threads())) == "cuda:0"
    assert [lock.lock_file.rpartition("/")[2] for lock in devices._held] == ["a-0.lock"]
