"""Weights as files: the header, the hash, and that what failed leaves an empty file."""

from __future__ import annotations

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rsitr.records.provenance import sha256_file
from rsitr.records.weights import write_weights


def test_weights_say_what_they_are_of(tmp_path):
    path, weights = tmp_path / "a" / "model.safetensors", {"one": torch.arange(3.0), "two": torch.zeros(2, 2)}
    sha256 = write_weights(path, weights, "cell", "demo/scenes-a/vse/0")
    assert sha256 == sha256_file(path)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"cell": "demo/scenes-a/vse/0"}
    assert {name: value.tolist() for name, value in load_file(path).items()} == {
        **{"one": [0.0, 1.0, 2.0], "two": [[0.0, 0.0], [0.0, 0.0]]}
    }
    # Equal weights give equal bytes, in whatever order they come.
    assert write_weights(path, dict(reversed(weights.items())), "cell", "demo/scenes-a/vse/0") == sha256


def test_a_training_that_failed_leaves_no_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    assert write_weights(path, {}, "prior", "demo/all") == sha256_file(path)
    assert load_file(path) == {}
