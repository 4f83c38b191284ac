"""CLIP as the benchmark uses it: the activation the weights were trained with, the protocols, any file of ours."""

from __future__ import annotations

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from rsitr.errors import ParamsError, WeightsMismatch
from rsitr.methods.clip import CLIP, CLIPConfig
from rsitr.nn.clip_models import OWN, build_clip


def save(model: torch.nn.Module, path) -> None:
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)


def parts(method: CLIP) -> dict[str, torch.Tensor]:
    """The tensors of a method under the names of open_clip."""
    return method.text.state_dict() | {f"visual.{k}": v for k, v in method.backbone.visual.state_dict().items()}


class TestActivation:
    """QuickGELU and GELU have no parameters: only the name of the model tells which one the weights mean."""

    def test_openai_weights_need_the_quick_one(self) -> None:
        with pytest.raises(ParamsError, match="need the model ViT-B-32-quickgelu, not ViT-B-32 "):
            CLIP(CLIPConfig(model="ViT-B-32", weights="openai"))

    def test_weights_that_need_the_plain_one(self) -> None:
        with pytest.raises(ParamsError, match="laion2b_s34b_b79k need the model ViT-B-32, not ViT-B-32-quickgelu"):
            build_clip("ViT-B-32-quickgelu", "laion2b_s34b_b79k")

    def test_weights_that_open_clip_lists_under_both(self) -> None:
        both = [open_clip.list_pretrained_tags_by_model(name) for name in ("ViT-B-32", "ViT-B-32-quickgelu")]
        assert all("laion400m_e32" in tags for tags in both)
        with pytest.raises(ParamsError, match="laion400m_e32 need the model ViT-B-32-quickgelu, not ViT-B-32 "):
            build_clip("ViT-B-32", "laion400m_e32")

    def test_registered_weights_name_their_model(self) -> None:
        with pytest.raises(ParamsError, match="remoteclip-vit-b-32 need the model ViT-B-32-quickgelu, not ViT-B-32 "):
            CLIP(CLIPConfig(model="ViT-B-32", weights="remoteclip-vit-b-32"))

    def test_a_file_is_known_by_its_name(self) -> None:
        with pytest.raises(ParamsError, match="remoteclip-rn50 need the model RN50-quickgelu, not RN50 "):
            CLIP(CLIPConfig(model="RN50", weights="somewhere/RemoteCLIP-RN50.pt"))

    def test_it_changes_what_the_same_weights_compute(self, tmp_path) -> None:
        torch.manual_seed(0)
        plain = open_clip.CLIP(**OWN["tiny-64"]).eval()
        quick = open_clip.CLIP(**OWN["tiny-64"], quick_gelu=True).eval()
        quick.load_state_dict(plain.state_dict())  # not a word of protest
        hidden = torch.linspace(-4, 4, 101)
        torch.testing.assert_close(quick.transformer.resblocks[0].mlp.gelu(hidden), hidden * (1.702 * hidden).sigmoid())
        assert (quick.transformer.resblocks[0].mlp.gelu(hidden) - F.gelu(hidden)).abs().max() > 0.02
        pixels = torch.rand(2, 3, 64, 64)
        with torch.inference_mode():
            one, other = plain.encode_image(pixels, normalize=True), quick.encode_image(pixels, normalize=True)
        assert (one - other).abs().max() > 1e-4


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


def test_it_computes_what_open_clip_does(tiny_clip, tmp_path):
    torch.manual_seed(3)
    source = open_clip.create_model(tiny_clip).eval()
    save(source, tmp_path / "own.safetensors")
    method = CLIP(CLIPConfig(model=tiny_clip, weights=str(tmp_path / "own.safetensors"))).eval()
    assert parts(method).keys() == source.state_dict().keys()
    pixels, tokens = torch.rand(2, 3, 32, 32), open_clip.get_tokenizer(tiny_clip)(["a pond", "two roads"])
    with torch.inference_mode():
        images, texts, _ = source(pixels, tokens)
        torch.testing.assert_close(method.encode_images(pixels), images)
        torch.testing.assert_close(method.encode_texts(method.tokenize(["a pond", "two roads"])), texts)


@pytest.mark.parametrize("name", OWN)
def test_small_models_of_our_own(name):
    method = CLIP(CLIPConfig(model=name, weights="none"))
    config = OWN[name]
    size, length = config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"]
    assert method.pixels.size == size
    assert method.pixels.mean == open_clip.OPENAI_DATASET_MEAN
    tokens = method.tokenize(["many trees " * 50])
    assert tokens.shape == (1, length)
    assert method.encode_texts(tokens).shape == (1, config["embed_dim"])
    assert method.encode_images(torch.rand(2, 3, size, size)).shape == (2, config["embed_dim"])


class TestCaptions:
    """What reaches the tokenizer."""

    def tokens(self, model: str, caption: str, **settings: str) -> torch.Tensor:
        return CLIP(CLIPConfig(model=model, weights="none", **settings)).tokenize([caption])

    def test_prompt_surrounds_each_caption_and_leaves_its_braces(self, tiny_clip) -> None:
        prompted = self.tokens(tiny_clip, "{0} trees", prompt="a satellite photo: {}")
        assert torch.equal(prompted, self.tokens(tiny_clip, "a satellite photo: {0} trees"))

    def test_skyscript_puts_its_prefix(self, tiny_clip) -> None:
        prefixed = self.tokens(tiny_clip, "a pond .", protocol="skyscript")
        assert torch.equal(prefixed, self.tokens(tiny_clip, "a satellite image. a pond ."))

    def test_capitals_do_not_reach_the_model(self, tiny_clip) -> None:
        """So that RemoteCLIP's protocol and GeoRSCLIP's give the same numbers with CLIP's own tokenizer."""
        capital = self.tokens(tiny_clip, "a pond near LAX", protocol="remoteclip")
        assert torch.equal(capital, self.tokens(tiny_clip, "a pond near LAX", protocol="georsclip"))


class TestFiles:
    """Weights that fit in part."""

    @pytest.fixture
    def path(self, tiny_clip, tmp_path):
        model = open_clip.create_model(tiny_clip)
        state = {name: torch.full_like(value, 0.5) for name, value in model.state_dict().items()}
        del state["ln_final.weight"]
        save_file(state | {"visual.head.weight": torch.ones(3)}, tmp_path / "partial.safetensors")
        return tmp_path / "partial.safetensors"

    def test_missing_and_extra_tensors_are_listed_and_refused(self, tiny_clip, path) -> None:
        with pytest.raises(WeightsMismatch) as caught:
            CLIP(CLIPConfig(model=tiny_clip, weights=str(path)))
        assert "belongs to another architecture" in str(caught.value)
        assert "1 missing: ln_final.weight; 1 unknown: visual.head.weight" in str(caught.value)
        assert "skip" not in str(caught.value)

    def test_they_are_left_out_when_asked_for_and_the_record_says_so(self, tiny_clip, path) -> None:
        method = CLIP(CLIPConfig(model=tiny_clip, weights=str(path), unmatched="skip"))
        loaded = parts(method)
        assert (loaded["positional_embedding"] == 0.5).all()
        assert (loaded["ln_final.weight"] == 1).all()  # its initial value
        assert method.departures == ["tensors 1 missing: ln_final.weight", "tensors 1 unknown: visual.head.weight"]

    def test_a_file_without_anything_that_fits_is_refused_even_then(self, tiny_clip, tmp_path) -> None:
        save_file({"visual.proj": torch.ones(1)}, tmp_path / "other.safetensors")
        with pytest.raises(WeightsMismatch, match=r"1 of another shape: visual\.proj"):
            CLIP(CLIPConfig(model=tiny_clip, weights=str(tmp_path / "other.safetensors"), unmatched="skip"))
