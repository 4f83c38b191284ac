"""What the words of a caption look at in an image, and MTGFE's pictures of it under each combination of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsitr.errors import QueryError
from rsitr.examples.panels import caption_of, different, pixels_of
from rsitr.figures import word_attention
from rsitr.records.cell import Spec
from rsitr.stages.model import Trained, load_all

PIECE = "##"
"""How a word piece that continues a word starts."""
SAMPLES = 2
"""How many images, each with its own picture: Figs. 6 and 7 have one each."""


def build(specs: Mapping[str, Spec], title: str, out: Path) -> list[Path]:
    """Write ``mtgfe-attention-{1,2}.png`` (Figs. 6, 7): test images of different classes with their first captions.

    ``specs`` are cells of one dataset and seed by the name of their line in a picture.
    """
    models = load_all(specs)
    shown = next(iter(models.values())).data.splits["test"]
    written = []
    for number, place in enumerate(different(shown, SAMPLES), start=1):
        caption, image = caption_of(shown, place), pixels_of(shown, place)
        readings = [read(model, name, image, caption) for name, model in models.items()]
        heading = f"What words look at, {title}: {caption}"
        written.append(word_attention.draw(heading, readings, out / f"mtgfe-attention-{number}.png"))
    return written


@torch.inference_mode()
def read(model: Trained, label: str, image: np.ndarray, caption: str) -> word_attention.Reading:
    """What the words of a caption look at in an image, uint8 [H, W, 3].

    The pieces of a word are merged by the mean of their maps; punctuation is left out. Raises ``QueryError`` for a
    method without cross-attention, and for a caption that is blank or too long.
    """
    if not hasattr(model.method, "word_attention"):
        raise QueryError(f"{model.method.name} has no word attention: choose mtgfe or envlf")
    model.encode_queries([caption])  # raises what is wrong with a caption
    method: Any = model.method
    tokens = method.tokenize([caption]).to(model.device)
    maps = method.word_attention(model.pixels(image[None]), tokens)[0].float().cpu().numpy()
    words = [word for word in whole_words(method.pieces(tokens)[0]) if any(map(str.isalnum, word[0]))]
    merged = [maps[places].mean(0) for _, places in words]
    return word_attention.Reading(label, image, tuple(word for word, _ in words), np.stack(merged))


def whole_words(pieces: list[str]) -> list[tuple[str, list[int]]]:
    """Words with the places of their pieces; an empty piece is not part of the caption."""
    words: list[tuple[str, list[int]]] = []
    for place, piece in enumerate(pieces):
        if piece.startswith(PIECE) and words:
            word, places = words[-1]
            words[-1] = (word + piece.removeprefix(PIECE), [*places, place])
        elif piece:
            words.append((piece, [place]))
    return words
