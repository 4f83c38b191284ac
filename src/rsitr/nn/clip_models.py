"""CLIP models of open_clip with the weights that belong to them, and small ones to train from nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import open_clip
from torch import Tensor, nn

from rsitr.errors import ParamsError
from rsitr.nn import checkpoints
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.state import Unmatched, load_state
from rsitr.nn.weights import require_hub, resolve

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
VOCABULARY = 49408
OWN: dict[str, dict[str, Any]] = {
    "tiny-64": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 128, "layers": 3},
        "text_cfg": {"context_length": 32, "vocab_size": VOCABULARY, "width": 64, "heads": 2, "layers": 2},
    },
    "tiny-112": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 112, "patch_size": 16, "width": 192, "layers": 4},
        "text_cfg": {"context_length": 40, "vocab_size": VOCABULARY, "width": 128, "heads": 4, "layers": 3},
    },
}
"""Architectures in the form of open_clip's: minutes of one core instead of days of a GPU."""


class BuiltCLIP(NamedTuple):
    """A model and how it wants its inputs."""

    model: nn.Module
    """``visual`` is its image tower, ``encode_text`` its text tower."""
    tokenizer: Any
    """Captions -> byte-pair indices [B, L], padded with 0."""
    pixels: PixelFormat
    left_out: list[str]
    """What of the weights was not loaded, in words."""


class ImageTower(nn.Module):
    """The image tower as a backbone: one token, the embedding."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] -> tokens [B, 1, D]."""
        return self.visual(pixels)[:, None]


def build_clip(name: str, weights: str, unmatched: Unmatched = "refuse") -> BuiltCLIP:
    """The model ``name`` with ``weights``: a checkpoint of the registry, a tag of open_clip, a file, or ``none``.

    Raises ``ParamsError`` for an unknown model, or one that the weights were not trained as; ``WeightsUnavailable``;
    and what reading a wrong or unsafe file raises.
    """
    if name not in OWN and name not in open_clip.list_models():
        raise ParamsError(
            f"unknown CLIP model {name!r}: one of {', '.join(OWN)}, or of those that open_clip.list_models() gives"
        )
    known = checkpoints.find(name, weights)
    if known is not None:
        checkpoints.require_architecture(known, name)
    tag = known.tag if known is not None and known.tag else weights
    left_out: list[str] = []
    if name not in OWN and tag in open_clip.list_pretrained_tags_by_model(name):
        model = _of_tag(name, tag)
    else:
        model = _without_weights(name)
        if weights != "none":
            registered = known is not None and known.name == weights
            path = checkpoints.fetch(known) if registered and known else resolve(weights)
            left_out = load_state(model, path, unmatched)
    return BuiltCLIP(model, _tokenizer(name), _pixels(model), left_out)


def _of_tag(name: str, tag: str) -> nn.Module:
    source = open_clip.get_pretrained_cfg(name, tag)
    quick = bool((open_clip.get_model_config(name) or {}).get("quick_gelu"))
    if bool(source.get("quick_gelu")) != quick:
        right = name.removesuffix("-quickgelu") if quick else f"{name}-quickgelu"
        owner = "OpenAI's weights" if tag == "openai" else f"the weights {tag}"
        raise ParamsError(
            f"{owner} need the model {right}, not {name} (the activation differs, which no tensor of the file shows): "
            f"set `model: {right}`"
        )
    owner, repository, *file = source["hf_hub"].rstrip("/").split("/")  # some tags name the file as well
    require_hub(f"{owner}/{repository}", tuple(file) or HUB_FILES)
    return open_clip.create_model(name, pretrained=tag)


def _without_weights(name: str) -> nn.Module:
    return open_clip.CLIP(**deepcopy(OWN[name])) if name in OWN else open_clip.create_model(name, pretrained=None)


def _tokenizer(name: str) -> Any:
    if name in OWN:
        return open_clip.SimpleTokenizer(context_length=OWN[name]["text_cfg"]["context_length"])
    return open_clip.get_tokenizer(name)


def _pixels(model: Any) -> PixelFormat:
    visual = model.visual
    size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    mean = getattr(visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
    std = getattr(visual, "image_std", None) or open_clip.OPENAI_DATASET_STD
    return PixelFormat(size, tuple(mean), tuple(std), "bicubic")
