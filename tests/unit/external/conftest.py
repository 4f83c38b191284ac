"""The test split of the tiny project, and models of others that fit it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.external.held_out import HeldOut, of_dataset


@pytest.fixture
def test_set(project: Path) -> HeldOut:
    """Six images with two captions each, of which every second is shared."""
    return of_dataset("scenes-b")


@pytest.fixture(scope="session")
def clip_folder(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 8 dimensions as transformers saves it, with the words of the tiny project."""
    from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("transformers") / "Tiny CLIP"
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = sizes | {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "eos_token_id": tokenizer.sep_token_id}
    vision = sizes | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
