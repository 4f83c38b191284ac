"""Hashes of files and of values; facts of the machine name no host."""

from __future__ import annotations

import platform

import torch

from rsitr.records import provenance
from rsitr.records.provenance import sha256_file, sha256_json


def test_sha256_of_files_and_values(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "abc") == abc
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": "1"})


def test_machine_names_hardware_and_no_host():
    facts = provenance.machine("cpu")
    assert facts["device"] == "cpu"
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0.1
    assert platform.node() not in map(str, facts.values())


def test_the_threads_are_those_that_torch_uses():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert provenance.machine()["threads"] == threads
    finally:
        torch.set_num_threads(before)


def test_versions_and_memory():
    versions = provenance.library_versions()
    assert versions["python"] == platform.python_version()
    assert set(versions) == {"python", *provenance.LIBRARIES}
    assert 5 < provenance.peak_memory_mib() < 1_000_000
