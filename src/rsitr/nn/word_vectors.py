"""Pretrained vectors of single words from a text file, such as those of GloVe."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from rsitr.captions.words import Vocabulary
from rsitr.errors import WeightsMismatch
from rsitr.nn.weights import resolve


def load_word_vectors(embed: nn.Embedding, vocabulary: Vocabulary, location: str) -> None:
    """Put the vectors of a file into the rows of ``embed``; words that the file lacks keep what they have.

    A line is a word and as many numbers as a row has, separated by spaces; ``location`` as in
    ``rsitr.nn.weights.resolve``. Raises ``WeightsUnavailable`` without the file, ``WeightsMismatch`` if it cannot be
    read or holds no word of the vocabulary.
    """
    vectors = _read(resolve(location), vocabulary, embed.embedding_dim)
    with torch.no_grad():
        for index, vector in vectors.items():
            embed.weight[index] = torch.tensor(vector)


def _read(path: Path, vocabulary: Vocabulary, size: int) -> dict[int, list[float]]:
    """Index -> vector of the known words of a file."""
    found: dict[int, list[float]] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                if line.partition(" ")[0] not in vocabulary.index:
                    continue
                # Some entries of GloVe are several words: "at name@domain.com".
                word, *numbers = line.rstrip().rsplit(" ", size)
                if len(numbers) < size:
                    raise ValueError(f"line {number} has fewer than {size} numbers")
                if word in vocabulary.index:
                    found[vocabulary.index[word]] = [float(value) for value in numbers]
    except (OSError, ValueError) as error:
        raise WeightsMismatch(
            f"{path.name} cannot be read as word vectors ({error}): every line has to be a word and {size} numbers "
            "with spaces between; fetch the file again, or set word_size to its numbers"
        ) from None
    if not found:
        raise WeightsMismatch(
            f"{path.name} has no word of the training captions with {size} numbers: "
            "give a text file with a word and its vector on each line, or set word_size to its numbers"
        )
    return found
