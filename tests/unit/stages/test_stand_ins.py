"""Stand-ins for pretrained weights: the real loading code takes them, and finds a planted fault in them."""

from __future__ import annotations

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import nn

from rsitr.errors import ParamsError, WeightsMismatch, WeightsUnavailable
from rsitr.methods.lw_mcr_blocks import SqueezeNet
from rsitr.nn import checkpoints, clip_models
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.pretrained import noted
from rsitr.nn.text import TransformerEncoder
from rsitr.records.artefact import Pretrained
from rsitr.records.provenance import sha256_file
from rsitr.stages import stand_ins
from rsitr.stages.stand_ins import BERT, StandIns, made_up, shapes, standing_in, word_pieces

REPOSITORY = timm.get_pretrained_cfg("test_resnet").hf_hub_id


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Stand-ins in a cache of the hub of their own, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    found = StandIns(tmp_path, ["plane", "sea"])
    with standing_in(found):
        yield found


def snapshot(made: StandIns, repository: str):
    return made.hub_cache / f"models--{repository.replace('/', '--')}" / "snapshots" / stand_ins.REVISION


def test_numbers_are_made_for_shapes():
    like = shapes(lambda: nn.Sequential(nn.Linear(400, 300), nn.BatchNorm1d(300)))
    assert {tensor.device.type for tensor in like.values()} == {"meta"}
    found = made_up(like)
    assert {name: tensor.shape for name, tensor in found.items()} == {name: like[name].shape for name in like}
    assert found["0.weight"].std().item() == pytest.approx(1 / 20, rel=0.01)
    assert found["0.bias"].abs().max() == 0
    assert found["1.weight"].eq(1).all()
    assert found["1.running_var"].eq(1).all()
    assert found["1.running_mean"].eq(0).all()


def test_timm_loads_a_stand_in_with_the_classifier_that_its_file_has(made):
    backbone = ImageBackbone("test_resnet", "timm", 32)
    state = load_file(snapshot(made, REPOSITORY) / "model.safetensors")
    assert state["fc.weight"].shape[0] == 1000
    own = backbone.model.state_dict()
    assert set(state) - set(own) == {"fc.weight", "fc.bias"}
    torch.testing.assert_close(
        own["conv1.weight" if "conv1.weight" in own else next(iter(own))], state[next(iter(own))]
    )


def test_weights_of_the_hub_are_noted_with_their_revision(made):
    with noted() as found:
        ImageBackbone("test_resnet", "timm", 32)
    sha256 = sha256_file(snapshot(made, REPOSITORY) / "model.safetensors")
    location = f"hf://{REPOSITORY}@{stand_ins.REVISION}"
    assert found == {"image_weights": Pretrained(location=location, files={"model.safetensors": sha256})}


def test_a_name_that_does_not_fit_is_found(made):
    made.hub(REPOSITORY)
    path = snapshot(made, REPOSITORY) / "model.safetensors"
    state = load_file(path)
    first = next(name for name in state if name.endswith("weight"))
    state[f"other.{first}"] = state.pop(first)
    save_file(state, path)
    with pytest.raises(WeightsMismatch, match=rf"(?s){REPOSITORY} do not fit test_resnet.*Missing.*{first}"):
        ImageBackbone("test_resnet", "timm", 32)


def test_a_repository_that_nobody_knows_is_said(made):
    with pytest.raises(WeightsUnavailable, match=r"knows no names and shapes of nobody/nothing: it can make up what"):
        TransformerEncoder("nobody/nothing", 30)


def test_bert_comes_under_the_names_of_its_file(made, monkeypatch):
    from transformers import BertConfig

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    monkeypatch.setattr("transformers.BertConfig", lambda **given: BertConfig(**given, **small))
    encoder = TransformerEncoder(BERT, 30)
    state = load_file(snapshot(made, BERT) / "model.safetensors")
    assert "bert.embeddings.LayerNorm.gamma" in state
    assert "cls.seq_relationship.weight" in state
    assert torch.equal(encoder.model.embeddings.word_embeddings.weight, state["bert.embeddings.word_embeddings.weight"])
    (tokens,) = encoder.tokenize(["Plane sea xy"]).tolist()
    read = encoder.tokenizer.convert_ids_to_tokens(tokens)
    assert read == ["[CLS]", "plane", "sea", "x", "##y", "[SEP]"]
    assert (tokens[0], tokens[-1]) == (101, 102)


def test_a_vocabulary_is_laid_out_as_that_of_bert():
    found = word_pieces(["plane", "a"], 30522)
    assert len(found) == len(set(found)) == 30522
    assert [found[place] for place in (0, 100, 101, 102, 103)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert {"plane", "a", "##z"} < set(found)


def test_a_download_of_torchvision_is_made_up(made, tmp_path):
    net = SqueezeNet("squeezenet1_1", "torchvision", 64)
    (path,) = (tmp_path / "torch" / "checkpoints").iterdir()
    state = torch.load(path, weights_only=True)
    assert state["classifier.1.weight"].shape == (1000, 512, 1, 1)
    assert torch.equal(net.model.features[0].weight, state["features.0.weight"])
    with pytest.raises(WeightsUnavailable, match="no model of torchvision has it"):
        made.download("https://example.org/other.pth", str(tmp_path / "other"))


@pytest.fixture
def registry(tiny_clip, monkeypatch):
    """``registry(**changes)`` makes a checkpoint of a tiny CLIP the only one that there is."""

    def of(**changes):
        facts = {"tag": "", "source": f"hf://a/b@{'1' * 40}/tiny.pt", "member": "", "bytes": None, "sha256": "0" * 64}
        facts |= {"licence": "", "trained_on": "", "saw": (), "note": ""} | changes
        known = checkpoints.Checkpoint(name="tiny", architecture=tiny_clip, **facts)
        monkeypatch.setattr(checkpoints, "checkpoints", lambda: {"tiny": known})
        return tiny_clip

    return of


@pytest.mark.parametrize("of", [{}, {"source": "https://example.org/tiny.zip", "member": "tiny/epoch_20.pt"}])
def test_a_checkpoint_of_the_registry_goes_through_its_loading_code(made, registry, of):
    built = clip_models.build_clip(registry(**of), "tiny")
    assert built.left_out == []
    assert built.model.logit_scale.item() == pytest.approx(stand_ins.TEMPERATURE)


def test_a_row_of_another_size_is_refused(made, registry):
    size = sum(tensor.nbytes for tensor in shapes(lambda: stand_ins.clip_of(registry())).values())
    clip_models.build_clip(registry(bytes=size + size // 1000), "tiny")
    checkpoints.CACHE.joinpath("tiny.pt").unlink()
    with pytest.raises(
        WeightsMismatch, match=f"has {size} bytes of weights, the file of tiny {2 * size}: the registry"
    ):
        clip_models.build_clip(registry(bytes=2 * size), "tiny")


@pytest.mark.parametrize("name", [name for name, known in checkpoints.checkpoints().items() if known.bytes])
def test_the_published_size_of_every_checkpoint_is_that_of_its_architecture(name):
    known = checkpoints.checkpoints()[name]
    size = sum(tensor.nbytes for tensor in shapes(lambda: stand_ins.clip_of(known.architecture)).values())
    assert size == pytest.approx(known.bytes, rel=stand_ins.TOLERANCE)


def test_nothing_gets_into_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/home/user/.cache/huggingface/hub")
    with pytest.raises(ParamsError, match=r"stand-ins must not get into /home/user/.cache/huggingface/hub: set HF_HUB"):
        StandIns(tmp_path, [])
