"""Fetching pretrained weights into the caches that cells read, by real processes, from a hub of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from rsitr.cli import place
from rsitr.pipeline.weights import Need, Obtained, Receipt, obtain
from tests.helpers.commands import run
from tests.helpers.http_server import Hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "owner/tiny"
pytestmark = pytest.mark.slow


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server in the layout of the hub, and an empty cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with closing(Hub(COMMIT)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.serve("/", b"the hub")
        yield server


def serve(hub: Hub, folder: Path) -> None:
    for path in folder.iterdir():
        hub.serve(f"/{REPOSITORY}/resolve/main/{path.name}", path.read_bytes())


def choose(repository: str, missing: str = "fail") -> None:
    """Let the experiment read captions by a repository of the hub."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    tiny = params["experiments"]["tiny"] | {"missing_weights": missing}
    tiny["settings"]["methods"] = {"vse": {"text_encoder": "transformer", "text_weights": repository}}
    params["experiments"]["tiny"] = tiny
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def test_what_is_fetched_is_here_without_a_network(hub: Hub, project: Path, tiny_bert: Path, monkeypatch) -> None:
    serve(hub, tiny_bert)
    choose(REPOSITORY)
    first = run("weights")
    assert first.exit_code == 0, first.output
    assert first.stdout == "owner/tiny: fetched\npretrained weights of tiny: 0 here, 1 fetched, 0 missing\n"
    files = Receipt.read("tiny").files[REPOSITORY]
    assert [Path(file).name for file in files] == ["model.safetensors", "config.json", "tokenizer.json"]
    assert Path(files[0]).read_bytes() == (tiny_bert / "model.safetensors").read_bytes()
    written = Receipt.path("tiny").stat().st_mtime_ns
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(hub.requests)
    second = run("weights", "tiny", "--needed")
    assert second.stdout == "owner/tiny: here\npretrained weights of tiny: 1 here, 0 fetched, 0 missing\n"
    assert (len(hub.requests), Receipt.path("tiny").stat().st_mtime_ns) == (asked, written)


def test_what_is_missing_is_an_error_unless_it_may_be(project: Path, monkeypatch) -> None:
    lost = Obtained(Need("text", "owner/other", ""), False, [], "no network")
    monkeypatch.setattr(place, "obtain", lambda needs: [lost])
    choose("owner/other")
    failed = run("weights")
    assert failed.exit_code == 1
    told, end, advice = failed.stdout.splitlines()
    assert told == "owner/other: missing: no network"
    assert end == "pretrained weights of tiny: 0 here, 0 fetched, 1 missing"
    assert "experiments.tiny.missing_weights to skip" in advice
    choose("owner/other", "skip")
    skipped = run("weights")
    assert skipped.exit_code == 0
    assert "will be skipped, as missing_weights in params.yaml says" in skipped.stdout


def test_each_kind_is_found_or_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(project / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(project / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("RSITR_MIRROR", raising=False)
    Path("glove.txt").touch()
    needs = {
        Need("image", "timm", "resnet18"): "timm/resnet18.a1_in1k is not in the Hugging Face cache",
        Need("image", "torchvision", "squeezenet1_1"): "squeezenet1_1-b8a52dc0.pth: the server cannot be reached",
        Need("clip", "openai", "RN50-quickgelu"): "timm/resnet50_clip.openai is not in the Hugging Face cache",
        Need("clip", "remoteclip-rn50", "RN50-quickgelu"): "RemoteCLIP-RN50.pt: HF_HUB_OFFLINE is set",
        Need("image", "package://no_such/weights.pt", "resnet18"): "the package no_such is not installed",
        Need("vectors", "glove.txt", ""): "",
    }
    for each in obtain(needs):
        assert needs[each.need] in each.problem
        assert bool(each.problem) == bool(needs[each.need]), each
        assert each.files == ([os.path.abspath("glove.txt")] if each.need.kind == "vectors" else [])  # noqa: PTH100
