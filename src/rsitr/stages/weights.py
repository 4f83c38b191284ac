"""``python -m rsitr.stages.weights``: have the libraries that load pretrained weights put them into their caches.

Reads a list of [kind, location, model] (``rsitr.pipeline.weights.Need``) as JSON, and prints a line of JSON for each:
the need, whether it was fetched just now, its files, and what is wrong, or nothing. Each model is built as cells build
it, so that its weights arrive with their configuration and tokenizer, and are known to fit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import open_clip
import timm
import torch
from torchvision.models import SqueezeNet1_1_Weights

from rsitr.errors import RsitrError
from rsitr.methods.lw_mcr_blocks import SqueezeNet
from rsitr.nn import backbones, checkpoints, clip_models, text
from rsitr.nn.locations import resolve
from rsitr.nn.weights import of_hub

SIZE = 224
"""Of an image, in pixels; weights have none."""
TEXT_FILES = (text.HUB_FILES, ("config.json",), text.TOKENIZER_FILES)


def find(kind: str, location: str, model: str) -> list[Path]:
    """The files of some weights, without fetching any; empty unless all of them are here."""
    if kind == "image" and location == "torchvision":
        path = Path(torch.hub.get_dir(), "checkpoints", SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rpartition("/")[2])
        return [path] if path.is_file() else []
    if kind == "image" and location == "timm":
        config = timm.get_pretrained_cfg(model)
        return _cached(config.hf_hub_id, backbones.HUB_FILES) if config and config.hf_hub_id else []
    if kind == "clip":
        if location in open_clip.list_pretrained_tags_by_model(model):
            owner, name, *file = open_clip.get_pretrained_cfg(model, location)["hf_hub"].rstrip("/").split("/")
            return _cached(f"{owner}/{name}", tuple(file) or clip_models.HUB_FILES)
        if known := checkpoints.checkpoints().get(location):
            path = checkpoints.CACHE / (Path(known.file).stem if known.member else "") / (known.member or known.file)
            return [path] if path.is_file() else []
    if kind == "text" and "://" not in location and not Path(location).expanduser().exists():
        return _cached(location, *TEXT_FILES)
    try:
        return [resolve(location)]
    except RsitrError:
        return []


def _cached(repository: str, *choices: tuple[str, ...]) -> list[Path]:
    _, found = of_hub(repository, *choices)
    return found if len(found) == len(choices) else []


def fetch(kind: str, location: str, model: str) -> None:
    """Build what the weights are of; raises what building it raises."""
    match kind, location:
        case "image", "torchvision":
            SqueezeNet(model, location, SIZE)
        case "image", "timm":
            backbones.ImageBackbone(model, location, SIZE)
        case "clip", _:
            clip_models.build_clip(model, location)
        case "text", _:
            text.TransformerEncoder(location, SIZE)
        case _:
            resolve(location)


def obtain(kind: str, location: str, model: str) -> tuple[bool, list[str], str]:
    """Whether some weights were fetched just now, their files, and what is wrong, or nothing."""
    problem, fetched = "", False
    if not (files := find(kind, location, model)):
        try:
            fetch(kind, location, model)
            files, fetched = find(kind, location, model), True
        except (RsitrError, OSError, RuntimeError, ValueError) as error:
            problem = " ".join(str(error).split()) or type(error).__name__
    return fetched, [str(path.absolute()) for path in files], problem


def main(needs: Sequence[Sequence[str]]) -> None:
    """Obtain each and print what became of it."""
    for need in needs:
        print(json.dumps([need, *obtain(*need)]), flush=True)


if __name__ == "__main__":
    main(json.load(sys.stdin))
