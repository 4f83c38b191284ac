"""Image backbones: every family gives tokens [B, N, C], and a weights file fits or is refused whole."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch
from safetensors.torch import save_file

from rsitr.errors import ParamsError, WeightsMismatch, WeightsUnavailable
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.state import load_state
from rsitr.nn.weights import hub_reachable
from tests.helpers.http_server import Server

SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("test_resnet", {}, (4, 96)),  # 64 px at stride 32: 2 x 2 places
        ("modified_resnet", {"layers": (1, 1, 1, 1), "width": 2, "output_dim": 8}, (4, 64)),
        ("mobilenetv2_100", {"pad_type": "same"}, (4, 1280)),
        ("vit_tiny_patch16_224", {"depth": 1}, (17, 192)),  # 4 x 4 patches and the class token
        ("swin_tiny_patch4_window7_224", SWIN, (4, 64)),  # stride 32; the width doubles three times
    ],
)
def test_tokens_of_every_family(name, options, shape):
    backbone = ImageBackbone(name, "none", 64, options=options).eval()
    with torch.inference_mode():
        tokens = backbone(torch.zeros(2, 3, 64, 64))
    assert tokens.shape == (2, *shape)
    assert backbone.width == shape[1]
    assert backbone.pixels.size == 64
    assert len(backbone.pixels.mean) == len(backbone.pixels.std) == 3


def test_tokens_run_along_the_rows_of_the_image():
    backbone = ImageBackbone("test_resnet", "none", 64).eval()
    pixels = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        tokens, maps = backbone(pixels), backbone.model.forward_features(pixels)
    assert maps.shape[2:] == (2, 3)
    torch.testing.assert_close(tokens[0, 1], maps[0, :, 0, 1])
    torch.testing.assert_close(tokens[0, 3], maps[0, :, 1, 0])


def test_pixel_statistics_may_be_given():
    backbone = ImageBackbone("test_resnet", "none", 32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert backbone.pixels[:3] == (32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_unknown_backbone():
    with pytest.raises(
        ParamsError, match=r"unknown image backbone 'resnet17': modified_resnet, or see timm.list_models\(\)"
    ):
        ImageBackbone("resnet17", "none", 32)


def test_local_file_with_a_classifier(tmp_path):
    import timm

    torch.manual_seed(1)
    trained = timm.create_model("test_resnet", num_classes=10)
    save_file(trained.state_dict(), tmp_path / "own.safetensors")
    torch.save(trained.state_dict(), tmp_path / "own.pt")
    state = {f"module.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "training.pt")
    for file in ("own.safetensors", "own.pt", "training.pt"):
        loaded = ImageBackbone("test_resnet", str(tmp_path / file), 32).model.state_dict()
        assert not [name for name in loaded if name.startswith("fc.")]
        assert all(torch.equal(value, trained.state_dict()[name]) for name, value in loaded.items())


def test_options_cannot_load_what_the_weights_do_not_name(tmp_path):
    with pytest.raises(ParamsError, match=r"cannot have checkpoint_path: name weights with image_weights"):
        ImageBackbone("test_resnet", "none", 32, options={"checkpoint_path": str(tmp_path / "a.pth")})


def test_file_of_another_architecture_is_refused_whole(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    other = {"0.weight": torch.ones(3, 2), "0.bias": torch.ones(5), "1.weight": torch.ones(4, 3), "head": torch.ones(1)}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(WeightsMismatch) as caught:
        load_state(module, tmp_path / "other.safetensors")
    message = str(caught.value)
    assert "other.safetensors belongs to another architecture" in message
    assert "1 missing: 1.bias; 1 unknown: head; 1 of another shape: 0.bias" in message
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_backbone_with_the_file_of_another_one(tmp_path):
    import timm

    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), tmp_path / "resnet.safetensors")
    with pytest.raises(WeightsMismatch, match=r"resnet.safetensors belongs to another architecture"):
        ImageBackbone("test_efficientnet", str(tmp_path / "resnet.safetensors"), 32)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_file_that_is_no_weights_file(suffix, tmp_path):
    path = tmp_path / f"page.{suffix}"
    path.write_text("<!DOCTYPE html><html>404</html>", encoding="utf-8")
    with pytest.raises(WeightsMismatch, match="cannot be read as weights"):
        ImageBackbone("test_resnet", str(path), 32)


def test_truncated_weights_file(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file({"weight": torch.ones(100, 100)}, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsMismatch, match="cannot be read as weights"):
        load_state(torch.nn.Linear(100, 100, bias=False), path)


def test_missing_file():
    with pytest.raises(WeightsUnavailable, match="put the file there"):
        ImageBackbone("test_resnet", "no/such/file.safetensors", 32)


def test_a_server_that_refuses_everything_is_no_hub():
    """As behind a company's gateway, which answers in the hub's place."""
    with closing(Server()) as server:
        assert not hub_reachable(server.url)


def test_nobody_asks_the_hub_offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("requests.head", lambda *a, **k: pytest.fail("asked"))
    assert not hub_reachable("https://hub.example")


@pytest.mark.mirror
def test_weights_of_the_mirror_see_texture(mirror):
    name = "mirror://weights/mobilenetv2_100.imagenet.safetensors"
    trained = ImageBackbone("mobilenetv2_100", name, 224, (0.5,) * 3, (0.5,) * 3, {"pad_type": "same"}).eval()
    assert (trained.pixels.mean, trained.width) == ((0.5,) * 3, 1280)
    state = trained.model.state_dict()
    assert all(torch.isfinite(value).all() for value in state.values())
    assert all((value > 0).all() for key, value in state.items() if key.endswith("running_var"))


def test_the_resnet_of_clip_is_pooled_by_attention_and_sees_the_statistics_of_clip():
    options = {"layers": (1, 1, 1, 1), "width": 2, "output_dim": 8}
    backbone = ImageBackbone("modified_resnet", "none", 64, options=options)
    assert backbone.model(torch.zeros(2, 3, 64, 64)).shape == (2, 8)
    assert backbone.pixels.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert backbone.pixels.interpolation == "bicubic"
    with pytest.raises(ParamsError, match="timm names no pretrained weights for modified_resnet: give a file"):
        ImageBackbone("modified_resnet", "timm", 64)
