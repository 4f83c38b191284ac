"""CLIP models whose image tower is instructed by a scene classifier."""

from __future__ import annotations

import open_clip

from rsitr.nn.clip_models import BuiltCLIP, build_clip
from rsitr.nn.instructed_vit import Form, InstructedViT, Instruction
from rsitr.nn.state import Unmatched, load_state
from rsitr.nn.weights import load_weights, resolve


def create_clip(
    name: str,
    weights: str = "none",
    instruction: Instruction | None = None,
    belief: Form = "paper",
    unmatched: Unmatched = "refuse",
) -> BuiltCLIP:
    """The model that ``build_clip`` makes; ``instruction`` turns its image tower into an ``InstructedViT``.

    A tag's weights go into the plain model, a file's into the whole one. Raises what ``build_clip`` raises, and
    ``ParamsError`` for a tower that cannot be instructed.
    """
    if instruction is None:
        return build_clip(name, weights, unmatched)
    of_file = weights != "none" and weights not in open_clip.list_pretrained_tags_by_model(name)
    built = build_clip(name, "none" if of_file else weights, unmatched)
    tower = InstructedViT(built.model.visual, instruction, belief)
    if instruction.weights != "none":
        # The attention pool of a scene classifier keeps learning; its last layer is not needed.
        load_weights(tower.instruction, resolve(instruction.weights), ignore=("fc",))
    built.model.visual = tower
    return built._replace(left_out=load_state(built.model, resolve(weights), unmatched)) if of_file else built
