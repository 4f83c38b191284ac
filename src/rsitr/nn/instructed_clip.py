"""CLIP models of open_clip by name, two small ones of our own among them, as they are or with an instructed tower."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import open_clip

from rsitr.errors import ParamsError
from rsitr.nn.instructed_vit import Form, InstructedViT, Instruction
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.weights import load_weights, require_hub, resolve

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
OWN: dict[str, dict[str, Any]] = {
    "tiny-64": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 128, "layers": 3},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    },
    "tiny-112": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 112, "patch_size": 16, "width": 192, "layers": 4},
        "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 3},
    },
}
"""Architectures in the form of open_clip's: minutes of one core instead of days of a GPU."""


class Built(NamedTuple):
    """A model and how it wants its inputs."""

    model: Any
    """``visual`` is its image tower, ``encode_text`` its text tower."""
    tokenizer: Any
    """Captions -> byte-pair indices [B, L], padded with 0."""
    pixels: PixelFormat


def create_clip(
    name: str, weights: str = "none", instruction: Instruction | None = None, belief: Form = "paper"
) -> Built:
    """The model ``name`` of open_clip or of ``OWN``; ``instruction`` makes its image tower an ``InstructedViT``.

    ``weights`` is a pretrained tag of open_clip, ``none`` (drawn from torch's generator), or a file: path,
    mirror://path, package://name/path. A tag's weights go into the plain model, a file's into the whole one. Raises
    ``ParamsError`` for an unknown name or a tower that cannot be instructed, ``WeightsUnavailable`` and
    ``WeightsMismatch``.
    """
    if weights == "openai" and not name.endswith("-quickgelu"):
        raise ParamsError(f"OpenAI's weights need the model {name}-quickgelu, not {name}")
    tagged = weights in open_clip.list_pretrained_tags_by_model(name)
    model = _plain(name, weights if tagged else None)
    if instruction is not None:
        tower = InstructedViT(model.visual, instruction, belief)
        if instruction.weights != "none":
            # The attention pool of a scene classifier goes on learning; its last layer is of no use.
            load_weights(tower.instruction, resolve(instruction.weights), ignore=("fc",))
        model.visual = tower
    if not tagged and weights != "none":
        load_weights(model, resolve(weights))
    return Built(model, _tokenizer(name), _pixels(model.visual))


def _plain(name: str, tag: str | None) -> Any:
    if name in OWN:
        return open_clip.CLIP(**deepcopy(OWN[name]))
    if name not in open_clip.list_models():
        raise ParamsError(f"unknown CLIP model {name!r}: one of {', '.join(OWN)}, or of open_clip.list_models()")
    if tag is not None:
        owner, repository, *file = open_clip.get_pretrained_cfg(name, tag)["hf_hub"].rstrip("/").split("/")
        require_hub(f"{owner}/{repository}", tuple(file) or HUB_FILES)
    return open_clip.create_model(name, pretrained=tag)


def _tokenizer(name: str) -> Any:
    if name in OWN:
        return open_clip.SimpleTokenizer(context_length=OWN[name]["text_cfg"]["context_length"])
    return open_clip.get_tokenizer(name)


def _pixels(tower: Any) -> PixelFormat:
    size = tower.image_size[0] if isinstance(tower.image_size, tuple) else tower.image_size
    mean = getattr(tower, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
    std = getattr(tower, "image_std", None) or open_clip.OPENAI_DATASET_STD
    return PixelFormat(size, tuple(mean), tuple(std), "bicubic")
