"""CLIP of transformers and CLIP of open_clip are one model by other names."""

from __future__ import annotations

import open_clip
import pytest
import torch

from rsitr.nn.clip_names import as_open_clip, as_transformers


@pytest.fixture
def both(tiny_clip: str):
    """A CLIP of transformers, and one of open_clip of the same size."""
    from transformers import CLIPConfig, CLIPModel

    shared = {"num_hidden_layers": 1, "hidden_act": "gelu"}
    text = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 128, "vocab_size": 49408}
    text |= {"max_position_embeddings": 77, "eos_token_id": 49407}
    vision = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256, "image_size": 32, "patch_size": 16}
    theirs = CLIPModel(CLIPConfig(text_config=shared | text, vision_config=shared | vision, projection_dim=16))
    for parameter in theirs.parameters():  # biases begin at 0 and norms at 1
        torch.nn.init.normal_(parameter, std=0.2)
    return theirs.eval(), open_clip.create_model(tiny_clip).eval()


@torch.inference_mode()
def test_the_same_tensors_encode_alike(both):
    theirs, ours = both
    ours.load_state_dict(as_open_clip(theirs.state_dict()))
    pixels, tokens = torch.rand(2, 3, 32, 32), open_clip.tokenize(["a port", "many trees on a hill"])
    images = theirs.visual_projection(theirs.vision_model(pixels).pooler_output)
    texts = theirs.text_projection(theirs.text_model(tokens).pooler_output)
    torch.testing.assert_close(ours.encode_image(pixels), images, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.encode_text(tokens), texts, rtol=1e-4, atol=1e-4)


def test_there_and_back_is_the_same(both):
    theirs, ours = both
    assert as_transformers(as_open_clip(theirs.state_dict())).keys() == theirs.state_dict().keys()
    again = as_open_clip(as_transformers(ours.state_dict()))
    assert again.keys() == ours.state_dict().keys()
    assert all(torch.equal(again[name], value) for name, value in ours.state_dict().items())


def test_what_has_no_counterpart_keeps_its_name_or_is_told(both):
    theirs, _ = both
    positions = {"text_model.embeddings.position_ids": torch.arange(77)}
    found = as_open_clip(theirs.state_dict() | positions | {"text_model.head.weight": torch.ones(1)})
    assert "text_model.head.weight" in found
    assert not [name for name in found if name.endswith("position_ids")]
    assert as_open_clip({"a": torch.ones(1)}) == {"a": torch.ones(1)}
    with pytest.raises(ValueError, match=r"no CLIP of transformers has a tensor visual\.layer1"):
        as_transformers({"visual.layer1.0.conv1.weight": torch.ones(1)})
