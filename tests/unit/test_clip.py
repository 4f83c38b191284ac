"""CLIP as the benchmark uses it: the right activation for OpenAI's weights, and any file of ours in its place."""

from __future__ import annotations

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from rsitr.errors import ParamsError, WeightsMismatch
from rsitr.methods.clip import CLIP, CLIPConfig


def test_openai_weights_need_the_quick_activation():
    with pytest.raises(ParamsError, match="need the model ViT-B-32-quickgelu, not ViT-B-32"):
        CLIP(CLIPConfig(model="ViT-B-32", weights="openai"))


def test_unknown_model():
    with pytest.raises(ParamsError, match="unknown CLIP model 'ViT-Z'"):
        CLIP(CLIPConfig(model="ViT-Z"))


def test_the_default_is_a_pair_that_open_clip_knows():
    config = CLIPConfig()
    assert config.weights in open_clip.list_pretrained_tags_by_model(config.model)
    assert open_clip.get_model_config(config.model)["quick_gelu"]


def test_random_weights_need_nothing_from_outside(tiny_clip):
    method = CLIP(CLIPConfig(model=tiny_clip, weights="none"))
    assert method.pixels.size == 32
    assert method.pixels.interpolation == "bicubic"
    tokens = method.tokenize(["a red dot", "two red dots"])
    assert tokens.shape == (2, 77)
    assert method.encode_texts(tokens).shape == (2, 16)


def test_prompt_surrounds_each_caption_and_leaves_its_braces(tiny_clip):
    plain = CLIP(CLIPConfig(model=tiny_clip, weights="none"))
    prompted = CLIP(CLIPConfig(model=tiny_clip, weights="none", prompt="a satellite photo: {}"))
    assert torch.equal(prompted.tokenize(["{0} trees"]), plain.tokenize(["a satellite photo: {0} trees"]))


def test_weights_from_a_file(tiny_clip, tmp_path):
    torch.manual_seed(3)
    source = open_clip.create_model(tiny_clip)
    save_file({name: value.contiguous() for name, value in source.state_dict().items()}, tmp_path / "own.safetensors")
    loaded = CLIP(CLIPConfig(model=tiny_clip, weights=str(tmp_path / "own.safetensors"))).model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in source.state_dict().items())


def test_weights_of_another_architecture(tiny_clip, tmp_path):
    save_file({"visual.proj": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsMismatch, match="belongs to another architecture"):
        CLIP(CLIPConfig(model=tiny_clip, weights=str(tmp_path / "other.safetensors")))
