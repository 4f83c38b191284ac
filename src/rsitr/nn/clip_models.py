"""CLIP models of open_clip with the weights that belong to them, small ones to train from scratch, instructed ones."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import open_clip
from torch import Tensor, nn

from rsitr.errors import ParamsError
from rsitr.nn import checkpoints
from rsitr.nn.instructed_vit import InstructedViT
from rsitr.nn.locations import resolve
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.pretrained import note
from rsitr.nn.state import Unmatched, load_state
from rsitr.nn.weights import of_hub, require_hub
from rsitr.records.pretraining import Form, Instruction

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
"""Architectures in open_clip's form: minutes on one core instead of days on a GPU."""


class BuiltCLIP(NamedTuple):
    """A model and how it expects its inputs."""

    model: Any
    """``visual`` is its image tower, ``encode_text`` its text tower."""
    tokenizer: Any
    """Captions -> byte-pair indices [B, L], padded with 0."""
    pixels: PixelFormat
    left_out: list[str]
    """Which of the weights were not loaded, in words."""


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

    Raises ``ParamsError`` for an unknown model or one that does not match the weights; ``WeightsUnavailable``; and what
    reading a wrong or unsafe file raises.
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
    if name not in OWN and _is_tag(name, tag):
        model = _of_tag(name, tag)
    elif weights == "none":
        model = _without_weights(name)
    else:
        # The file first: a large model takes seconds to build.
        named = known if known is not None and known.name == weights else None
        path = checkpoints.fetch(named) if named else resolve(weights)
        model = _without_weights(name)
        left_out = load_state(model, path, unmatched)
        note("weights", named.source if named else weights, path)
    return BuiltCLIP(model, _tokenizer(name), _pixels(model), left_out)


def create_clip(
    name: str,
    weights: str = "none",
    instruction: Instruction | None = None,
    instruction_weights: str = "none",
    belief: Form = "paper",
    unmatched: Unmatched = "refuse",
) -> BuiltCLIP:
    """The model that ``build_clip`` makes; ``instruction`` turns its image tower into an ``InstructedViT``.

    A file's weights go into the whole model. A tag's go into the plain one, and ``instruction_weights``, as ``resolve``
    takes them, into the instruction encoder. Raises what ``build_clip`` raises, and
    ``ParamsError`` for a tower that cannot be instructed.
    """
    if instruction is None:
        return build_clip(name, weights, unmatched)
    of_file = weights != "none" and weights not in open_clip.list_pretrained_tags_by_model(name)
    built = build_clip(name, "none" if of_file else weights, unmatched)
    tower = InstructedViT(built.model.visual, instruction, belief)
    if instruction_weights != "none" and not of_file:
        # The attention pool of a scene classifier keeps learning; its last layer is not needed.
        path = resolve(instruction_weights)
        load_state(tower.instruction, path, ignore=("fc",))
        note("instruction_weights", instruction_weights, path)
    built.model.visual = tower
    if not of_file:
        return built
    path = resolve(weights)
    left_out = load_state(built.model, path, unmatched)
    note("weights", weights, path)
    return built._replace(left_out=left_out)


def _is_tag(name: str, weights: str) -> bool:
    """Whether open_clip fetches ``weights`` for a model; raises ``ParamsError`` if they are for the other activation.

    The tag states its own activation, since open_clip lists many under models of both.
    """
    other = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else f"{name}-quickgelu"
    listed = [model for model in (name, other) if weights in open_clip.list_pretrained_tags_by_model(model)]
    if [model for model in listed if _activation_fits(model, weights)] == [other]:
        owner = "OpenAI's weights" if weights == "openai" else f"the weights {weights}"
        raise ParamsError(
            f"{owner} need the model {other}, not {name} (the activation differs, which no tensor of the file shows): "
            f"set `model: {other}`"
        )
    return name in listed


def _activation_fits(model: str, tag: str) -> bool:
    """Whether a model has the activation that a tag's weights were trained with."""
    of_weights, of_model = open_clip.get_pretrained_cfg(model, tag), open_clip.get_model_config(model) or {}
    return bool(of_weights.get("quick_gelu")) == bool(of_model.get("quick_gelu"))


def _of_tag(name: str, tag: str) -> nn.Module:
    source = open_clip.get_pretrained_cfg(name, tag)
    owner, repository, *file = source["hf_hub"].rstrip("/").split("/")  # some tags name the file as well
    files = tuple(file) or HUB_FILES
    require_hub(f"{owner}/{repository}", files)
    model = open_clip.create_model(name, pretrained=tag)
    location, found = of_hub(f"{owner}/{repository}", files)
    note("weights", location, *found)
    return model


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
