"""What the words of a caption look at in an image, for any method with ``word_attention``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rsitr.errors import QueryError
from rsitr.figures.word_attention import Reading
from rsitr.stages.model import Trained

PIECE = "##"
"""How a word piece that continues a word starts."""


@torch.inference_mode()
def read(model: Trained, label: str, image: np.ndarray, caption: str) -> Reading:
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
    return Reading(label, image, tuple(word for word, _ in words), np.stack(merged))


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
