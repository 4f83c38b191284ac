"""CLIP models of open_clip by name, two small ones of our own among them, as they are or with an instructed tower."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsitr.errors import ParamsError
from rsitr.nn.instructed_vit import InstructedViT, Instruction
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.weights import load_weights, require_hub, resolve

if TYPE_CHECKING:
    from open_clip import CLIP

CONFIGS = Path(__file__).with_name("clip_configs")
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@cache
def register_models() -> None:
    """Make ``rsitr-clip-laptop`` and ``rsitr-clip-demo`` known to open_clip."""
    import open_clip

    open_clip.add_model_config(CONFIGS)


def create_clip(name: str, weights: str = "none", instruction: Instruction | None = None) -> CLIP:
    """The model ``name`` of open_clip; with ``instruction`` its image tower is instructed (``InstructedViT``).

    ``weights`` is a pretrained tag of open_clip, ``none`` (drawn from torch's generator), or a file: path,
    mirror://path, package://name/path. A tag's weights go into the plain model, a file's into the whole one. Raises
    ``ParamsError`` for a name that open_clip does not know, ``WeightsUnavailable`` or ``WeightsMismatch``.
    """
    import open_clip

    register_models()
    if name not in open_clip.list_models():
        raise ParamsError(f"unknown CLIP model {name!r}: see open_clip.list_models()")
    if weights == "openai" and not name.endswith("-quickgelu"):
        raise ParamsError(f"OpenAI's weights need the model {name}-quickgelu, not {name}")
    tagged = weights in open_clip.list_pretrained_tags_by_model(name)
    if tagged:
        owner, repository, *file = open_clip.get_pretrained_cfg(name, weights)["hf_hub"].rstrip("/").split("/")
        require_hub(f"{owner}/{repository}", tuple(file) or HUB_FILES)
    model = open_clip.create_model(name, pretrained=weights if tagged else None)
    if instruction is not None:
        instruct(model, instruction)
    if not tagged and weights != "none":
        load_weights(model, resolve(weights))
    return model


def instruct(model: CLIP, instruction: Instruction) -> None:
    """Put an instruction encoder beside the image tower of ``model``; raises ``ParamsError`` where that is no ViT."""
    tower = InstructedViT(model.visual, instruction)
    if instruction.weights != "none":
        # A scene classifier's file: its attention pool goes on learning, its last layer is not ours.
        load_weights(tower.instruction, resolve(instruction.weights), ignore=("fc",))
    model.visual = tower


def pixel_format(tower: Any) -> PixelFormat:
    """What pixels the image tower of a CLIP model wants; raises ``ParamsError`` unless they are a square."""
    size = tower.image_size if isinstance(tower.image_size, tuple) else (tower.image_size, tower.image_size)
    if size[0] != size[1]:
        raise ParamsError(f"the model reads images of {size[0]} x {size[1]} pixels: choose one that reads squares")
    return PixelFormat(int(size[0]), tuple(tower.image_mean), tuple(tower.image_std), "bicubic")
