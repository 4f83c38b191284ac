"""Checkpoints of the registry: what is known of each, and how a file gets here, from a hub of our own."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing

import open_clip
import pytest
import torch

from rsitr.datasets import registry as datasets
from rsitr.errors import ChecksumMismatch, ParamsError, UnsafeWeights, WeightsMismatch, WeightsUnavailable
from rsitr.nn import checkpoints as registry
from rsitr.nn.checkpoints import Checkpoint, checkpoints, fetch, find, require_architecture
from rsitr.nn.clip_models import build_clip
from tests.helpers.http_server import Hub, Reply, Server, unused_address

REVISION = "0123456789abcdef0123456789abcdef01234567"
ADDRESS = f"/owner/model/resolve/{REVISION}/ckpt/tiny.pt"


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[Server]:
    """A server in the layout of the hub, asked in its place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RSITR_MIRROR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with closing(Hub(REVISION)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture(scope="module")
def content(tiny_clip) -> bytes:
    """The file of a training run: tensors under ``module.``, and a learning rate of NumPy's."""
    import numpy as np

    torch.manual_seed(5)
    state = {f"module.{name}": value for name, value in open_clip.create_model(tiny_clip).state_dict().items()}
    file = io.BytesIO()
    torch.save({"epoch": 20, "state_dict": state, "optimizer": {"lr": np.float64(1e-9)}}, file)
    return file.getvalue()


def a_checkpoint(tiny_clip: str, content: bytes, **changes: object) -> Checkpoint:
    """A line of the registry for ``content``."""
    return Checkpoint(
        name="tiny-checkpoint",
        architecture=tiny_clip,
        tag="",
        source=f"hf://owner/model@{REVISION}/ckpt/tiny.pt",
        member="",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="",
        trained_on="",
        saw=(),
        note="",
    )._replace(**changes)


class TestRegistry:
    def test_every_line_is_whole(self) -> None:
        assert len(checkpoints()) == 14
        for name, checkpoint in checkpoints().items():
            assert checkpoint.name == name
            assert re.fullmatch(r"[a-z0-9-]+", name)
            assert checkpoint.architecture in open_clip.list_models()
            assert checkpoint.architecture.endswith("-quickgelu") == bool(
                open_clip.get_model_config(checkpoint.architecture).get("quick_gelu")
            )
            assert re.fullmatch(r"hf://[\w-]+/[\w.-]+@(\w{40}|main)/[\w./-]+|https://[\w./-]+\.zip", checkpoint.source)
            assert bool(checkpoint.member) == checkpoint.file.endswith(".zip")
            assert checkpoint.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", checkpoint.sha256)
            assert checkpoint.licence
            assert checkpoint.trained_on
            assert set(checkpoint.saw) <= set(datasets())
            # What is not known is said.
            assert checkpoint.sha256 or checkpoint.bytes or checkpoint.note

    def test_a_tag_is_one_of_open_clip_with_this_activation(self) -> None:
        tagged = [checkpoint for checkpoint in checkpoints().values() if checkpoint.tag]
        assert len(tagged) == 4
        for checkpoint in tagged:
            facts = open_clip.get_pretrained_cfg(checkpoint.architecture, checkpoint.tag)
            assert checkpoint.source.startswith(f"hf://{facts['hf_hub'].rstrip('/')}@")
            assert bool(facts.get("quick_gelu")) == checkpoint.architecture.endswith("-quickgelu")

    def test_what_remoteclip_has_seen(self) -> None:
        for size in ("rn50", "vit-b-32", "vit-l-14"):
            assert checkpoints()[f"remoteclip-{size}"].saw == ("rsicd", "rsitmd", "ucm")

    def test_skyclip_has_two_activations(self) -> None:
        assert not checkpoints()["skyclip-vit-b-32"].architecture.endswith("-quickgelu")
        assert checkpoints()["skyclip-vit-l-14"].architecture.endswith("-quickgelu")

    @pytest.mark.parametrize(
        ("model", "weights", "name"),
        [
            ("ViT-B-32", "remoteclip-vit-b-32", "remoteclip-vit-b-32"),
            ("ViT-B-32-quickgelu", "openai", "openai-vit-b-32"),
            ("ViT-B-32", "openai", None),  # open_clip's own tag of the other model
            ("ViT-B-32", "mirror://weights/RS5M_ViT-B-32.pt", "georsclip-vit-b-32"),
            ("ViT-B-32", "there/SkyCLIP_ViT_B32_top50pct/epoch_20.pt", "skyclip-vit-b-32"),
            ("ViT-B-32", "mine/epoch_20.pt", None),
            ("ViT-B-32", "mine/open_clip_model.safetensors", None),
        ],
    )
    def test_find(self, model: str, weights: str, name: str | None) -> None:
        found = find(model, weights)
        assert (found and found.name) == name

    def test_another_model_is_refused_by_name(self) -> None:
        remote = checkpoints()["remoteclip-vit-b-32"]
        require_architecture(remote, "ViT-B-32-quickgelu")
        with pytest.raises(ParamsError, match=r"need the model ViT-B-32-quickgelu, not ViT-L-14: set `model: ViT"):
            require_architecture(remote, "ViT-L-14")
        with pytest.raises(ParamsError, match=r"not ViT-B-32 \(the activation differs"):
            require_architecture(remote, "ViT-B-32")


class TestFetch:
    def test_from_the_hub_at_its_revision_and_then_from_the_folder(self, hub, tiny_clip, content, tmp_path) -> None:
        hub.serve(ADDRESS, content)
        checkpoint = a_checkpoint(tiny_clip, content)
        path = fetch(checkpoint, tmp_path / "weights")
        assert path == tmp_path / "weights" / "tiny.pt"
        assert path.read_bytes() == content
        assert fetch(checkpoint, tmp_path / "weights") == path
        assert hub.ranges() == [None]

    def test_the_mirror_is_asked_first(self, hub, tiny_clip, content, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("RSITR_MIRROR", str(tmp_path / "mirror"))
        (tmp_path / "mirror/weights").mkdir(parents=True)
        (tmp_path / "mirror/weights/tiny.pt").write_bytes(content)
        assert fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights").read_bytes() == content
        assert hub.requests == []

    def test_a_wrong_file_of_the_mirror_is_passed_over(self, hub, tiny_clip, content, tmp_path, monkeypatch) -> None:
        hub.serve(ADDRESS, content)
        monkeypatch.setenv("RSITR_MIRROR", str(tmp_path / "mirror"))
        (tmp_path / "mirror/weights").mkdir(parents=True)
        (tmp_path / "mirror/weights/tiny.pt").write_bytes(b"another")
        assert fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights").read_bytes() == content

    @pytest.mark.parametrize("right", [True, False])
    def test_the_cache_of_the_hub_counts_if_it_has_the_right_file(
        self, right, hub, tiny_clip, content, tmp_path
    ) -> None:
        hub.serve(ADDRESS, content)
        kept = tmp_path / "hub/models--owner--model/snapshots" / REVISION / "ckpt/tiny.pt"
        kept.parent.mkdir(parents=True)
        blob = tmp_path / "hub/models--owner--model/blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir()
        blob.write_bytes(content if right else b"another")
        kept.symlink_to(blob)
        assert fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights").read_bytes() == content
        assert hub.ranges() == ([] if right else [None])

    def test_wrong_checksum(self, hub, tiny_clip, content, tmp_path) -> None:
        hub.serve(ADDRESS, content[:-1] + b"?")
        with pytest.raises(WeightsUnavailable, match=f"sha256 expected {hashlib.sha256(content).hexdigest()}, got "):
            fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights")
        assert not (tmp_path / "weights/tiny.pt").exists()

    def test_wrong_file_in_place(self, hub, tiny_clip, content, tmp_path) -> None:
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights/tiny.pt").write_bytes(b"mine")
        with pytest.raises(ChecksumMismatch, match="is not the right file: sha256 expected"):
            fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights")
        assert (tmp_path / "weights/tiny.pt").read_bytes() == b"mine"

    def test_size_alone_is_checked_where_no_hash_is_known(self, hub, tiny_clip, content, tmp_path) -> None:
        hub.serve(ADDRESS, content[:-7])
        with pytest.raises(WeightsUnavailable, match=f"expected {len(content)} bytes, got {len(content) - 7} "):
            fetch(a_checkpoint(tiny_clip, content, sha256=None), tmp_path / "weights")

    def test_a_cut_connection_is_continued(self, hub, tiny_clip, content, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
        hub.serve(ADDRESS, Reply(content, cut=200_000), content)
        assert fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights").read_bytes() == content
        assert hub.ranges()[0] is None
        assert hub.ranges()[1] is not None

    def test_no_connection_says_where_to_put_a_copy(self, hub, tiny_clip, content, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"http://{unused_address()}")
        with pytest.raises(WeightsUnavailable, match="no connection to") as caught:
            fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights")
        assert f"Put a copy fetched by hand at {tmp_path / 'weights/tiny.pt'}" in str(caught.value)

    def test_nobody_asks_the_hub_offline(self, hub, tiny_clip, content, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsUnavailable, match=f"@{REVISION}/ckpt/tiny.pt: HF_HUB_OFFLINE is set"):
            fetch(a_checkpoint(tiny_clip, content), tmp_path / "weights")
        assert hub.requests == []

    def test_a_member_of_an_archive(self, hub, tiny_clip, content, tmp_path) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("run/epoch_20.pt", content)
        url = hub.serve("/ckpt/run.zip", packed.getvalue())
        checkpoint = a_checkpoint(tiny_clip, b"", source=url, member="run/epoch_20.pt", bytes=None, sha256=None)
        path = fetch(checkpoint, tmp_path / "weights")
        assert path == tmp_path / "weights/run/run/epoch_20.pt"
        assert path.read_bytes() == content
        assert fetch(checkpoint, tmp_path / "weights") == path
        with pytest.raises(ChecksumMismatch, match=r"has no other\.pt: it is not the archive of tiny-checkpoint"):
            fetch(checkpoint._replace(member="other.pt"), tmp_path / "weights")


class TestModel:
    """From the registry to a model."""

    @pytest.fixture
    def registered(self, monkeypatch, tiny_clip, content):
        """A registry of one."""
        checkpoint = a_checkpoint(tiny_clip, content)
        monkeypatch.setattr(registry, "checkpoints", lambda: {checkpoint.name: checkpoint})
        return checkpoint

    def test_it_is_built_with_the_weights(self, hub, registered, content) -> None:
        hub.serve(ADDRESS, content)
        built = build_clip(registered.architecture, registered.name)
        torch.manual_seed(5)
        expected = open_clip.create_model(registered.architecture).state_dict()
        assert built.left_out == []
        assert all(torch.equal(value, expected[name]) for name, value in built.model.state_dict().items())

    def test_the_wrong_model_is_refused_before_anything_is_fetched(self, hub, registered) -> None:
        with pytest.raises(ParamsError, match="tiny-checkpoint need the model tiny-clip, not tiny-64"):
            build_clip("tiny-64", registered.name)
        assert hub.requests == []


class _Code:
    """What a hostile pickle does when it is opened."""

    def __init__(self, mark: str):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


class TestFiles:
    """Only tensors are read."""

    def path(self, tmp_path, content: object, zipped: bool = True) -> str:
        torch.save(content, tmp_path / "file.pt", _use_new_zipfile_serialization=zipped)
        return str(tmp_path / "file.pt")

    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_in_a_pickle_is_refused_and_not_run(self, zipped, tiny_clip, tmp_path) -> None:
        mark = tmp_path / "mark"
        path = self.path(tmp_path, {"state_dict": {"weight": torch.ones(1), "code": _Code(str(mark))}}, zipped)
        with pytest.raises(UnsafeWeights, match=r"file.pt is not weights alone, .*posix\.mkdir"):
            build_clip(tiny_clip, path)
        assert not mark.exists()
        torch.load(path, weights_only=False)
        assert mark.exists()  # it would have run

    def test_cut_file(self, tiny_clip, content, tmp_path) -> None:
        (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
        with pytest.raises(WeightsMismatch, match=r"cut\.pt cannot be read as weights"):
            build_clip(tiny_clip, str(tmp_path / "cut.pt"))

    @pytest.mark.parametrize("content", [[torch.ones(2)], {}, {"epoch": 3}, {"state_dict": {"weight": 3}}])
    def test_no_tensors_by_name(self, content, tiny_clip, tmp_path) -> None:
        with pytest.raises(WeightsMismatch, match=r"file\.pt holds no tensors by name"):
            build_clip(tiny_clip, self.path(tmp_path, content))
