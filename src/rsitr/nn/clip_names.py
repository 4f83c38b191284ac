"""The tensors of CLIP by the names of transformers and by those of OpenAI, which open_clip has kept.

The two have the same layers. transformers keeps queries, keys and values of an attention apart, and its projections are
linear layers, so that their matrices are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

MARK = "vision_model.embeddings.patch_embedding.weight"
"""A tensor of every CLIP of transformers with a transformer in its image tower."""
TOWERS = {"vision_model.": "visual.", "text_model.": ""}
SINGLE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "logit_scale": "logit_scale",
}
TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
PARTS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
JOINED = ("q_proj", "k_proj", "v_proj")
"""In the order in which OpenAI's layers have them."""


def as_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a CLIP of transformers by OpenAI's names; those of any other file as they are.

    A tensor without a counterpart keeps its name. Buffers with the numbers of positions are left out.
    """
    if MARK not in state:
        return dict(state)
    found = {}
    for name, value in state.items():
        if name.endswith("position_ids"):
            continue
        if name in TRANSPOSED:
            found[TRANSPOSED[name]] = value.T.contiguous()
        elif name in SINGLE:
            found[SINGLE[name]] = value
        elif parts := re.fullmatch(r"(vision_model\.|text_model\.)encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            tower, layer, part, kind = parts.groups()
            place = f"{TOWERS[tower]}transformer.resblocks.{layer}"
            if part in PARTS:
                found[f"{place}.{PARTS[part]}.{kind}"] = value
            elif part == f"self_attn.{JOINED[0]}":
                others = [state.get(name.replace(JOINED[0], other)) for other in JOINED]
                if all(other is not None for other in others):
                    found[f"{place}.attn.in_proj_{kind}"] = torch.cat([other for other in others if other is not None])
            elif part.removeprefix("self_attn.") not in JOINED:
                found[name] = value
        else:
            found[name] = value
    return found


def as_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a CLIP of OpenAI or open_clip by the names of transformers.

    Raises ``ValueError`` for a tensor that no CLIP of transformers has, such as that of a ResNet.
    """
    single = {theirs: ours for ours, theirs in SINGLE.items()}
    transposed = {theirs: ours for ours, theirs in TRANSPOSED.items()}
    parts_of = {theirs: ours for ours, theirs in PARTS.items()}
    found = {}
    for name, value in state.items():
        parts = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", name)
        if name in transposed:
            found[transposed[name]] = value.T.contiguous()
        elif name in single:
            found[single[name]] = value
        elif parts and parts[3] in parts_of:
            found[f"{_layer(parts)}.{parts_of[parts[3]]}.{parts[4]}"] = value
        elif parts and parts[3] == "attn.in_proj":
            for each, part in zip(JOINED, value.chunk(len(JOINED)), strict=True):
                found[f"{_layer(parts)}.self_attn.{each}.{parts[4]}"] = part.contiguous()
        elif name != "attn_mask":
            raise ValueError(f"no CLIP of transformers has a tensor {name}")
    return found


def _layer(parts: re.Match[str]) -> str:
    return f"{'vision_model' if parts[1] else 'text_model'}.encoder.layers.{parts[2]}"
