"""What SWAN is built from: scene-aware fusion of scales, granularity enhancement, pretrained word vectors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.captions.words import PAD, Vocabulary
from rsitr.errors import WeightsMismatch
from rsitr.nn.locations import resolve
from rsitr.nn.pretrained import note
from rsitr.nn.pyramid import Form, Shape


def load_word_vectors(embed: nn.Embedding, vocabulary: Vocabulary, location: str) -> None:
    """Put the vectors of a file into the rows of ``embed``; words that the file lacks keep what they have.

    A line is a word and as many numbers as a row has, separated by spaces; ``location`` as in
    ``rsitr.nn.locations.resolve``. Raises ``WeightsUnavailable`` without the file, ``WeightsMismatch`` if it cannot be
    read or holds no word of the vocabulary.
    """
    path = resolve(location)
    vectors = _read(path, vocabulary, embed.embedding_dim)
    note("word_vectors", location, path)
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


SIDE = 16
"""To which every filtered map is pooled."""
HEADS = 8
DROPOUT = 0.1


class SFGS(nn.Module):
    """SWAN's SFGS (J. Pan et al., ICMR 2023), as in its authors' code.

    The map is filtered to ``channels`` and read in windows of 1, 3 and 5 that do not overlap (batch norm, ReLU, pooled
    to 16 x 16), with ``channels``, as many and twice as many channels. Each of these 4 ``channels`` maps is a token:
    linear with ReLU, self-attention and feed-forward with a norm after each, and a sum with learned weights.

    The authors' code multiplies the tokens by a learned matrix and takes the mean over all its columns. That is a sum
    with one weight per token, the mean of its row, so here only those means are initialised and learned.
    """

    def __init__(self, in_channels: int, channels: int, width: int):
        super().__init__()
        self.filter = _convolution(in_channels, channels, 1)
        self.windows = nn.ModuleList(
            _convolution(channels, wide, side) for side, wide in ((1, channels), (3, channels), (5, 2 * channels))
        )
        self.embed = nn.Sequential(nn.Linear(SIDE**2, width), nn.ReLU(), nn.Dropout(DROPOUT))
        self.attend = nn.TransformerEncoderLayer(
            width, HEADS, dim_feedforward=2 * width, dropout=DROPOUT, activation="gelu", batch_first=True
        )
        # The authors' feed-forward has dropout after it and none inside.
        self.attend.dropout.p = 0.0
        self.weights = nn.Parameter(torch.randn(4 * channels) / width**0.5)

    def forward(self, level: Tensor) -> Tensor:
        """Features [B, width] of a map [B, C, s, s], s = 5 or more."""
        filtered = self.filter(level)
        maps = torch.cat([_pool(window(filtered)) for window in self.windows], 1)
        return self.weights @ self.attend(self.embed(maps.flatten(2)))


def _pool(maps: Tensor) -> Tensor:
    """Adaptive mean pooling of maps [B, C, s, s] to 16 x 16, as products, whose gradient is deterministic on GPUs."""
    parts = F.adaptive_avg_pool1d(torch.eye(maps.shape[2], device=maps.device, dtype=maps.dtype), SIDE)
    return parts.t() @ maps @ parts


def _convolution(before: int, after: int, side: int) -> nn.Sequential:
    """Of windows that do not overlap, with batch norm and ReLU."""
    return nn.Sequential(nn.Conv2d(before, after, side, side, bias=False), nn.BatchNorm2d(after), nn.ReLU())


VMSF_DROPOUT = 0.2


class VMSF(nn.Module):
    """SWAN's VMSF (J. Pan et al., ICMR 2023), as in its authors' code.

    A 1 x 1 convolution of each level, all at the size of the middle one (nearest neighbour), concatenated by channel, a
    1 x 1 convolution with batch norm and ReLU, the mean over places, an MLP. The last level has twice the channels of
    the others.

    There is nothing between the two convolutions, so they are multiplied with each other before they meet the maps, and
    a level is enlarged after them or shrunk before; that gives the same for much less work. A bias before a batch norm
    changes nothing and is left out.
    """

    def __init__(self, shapes: list[Shape], width: int):
        super().__init__()
        self.widths = [width, width, 2 * width]
        self.levels = nn.ModuleList(
            nn.Linear(channels, wide, bias=False) for (channels, _, _), wide in zip(shapes, self.widths, strict=True)
        )
        self.merge = nn.Linear(sum(self.widths), width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(VMSF_DROPOUT), nn.Linear(2 * width, width)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Features [B, width] of three maps [B, C, h, w], each half as high and wide as the one before."""
        large, middle, small = maps
        large, middle, small = (
            self._convolve(level, number) for number, level in enumerate([large[..., ::2, ::2], middle, small])
        )
        merged = large + middle + F.interpolate(small, size=middle.shape[2:])
        return self.mlp(F.relu(self.norm(merged)).mean((2, 3)))

    def _convolve(self, level: Tensor, number: int) -> Tensor:
        """What a level contributes to the merged map, [B, width, h, w]."""
        merge = self.merge.weight.split(self.widths, 1)[number]
        weight = merge @ self.levels[number].weight
        return F.conv2d(level, weight[:, :, None, None])


TCGE_HEADS = 2
GROUPS = (2, 3)
"""How many words a group has."""
TCGE_DROPOUT, MLP_DROPOUT = 0.2, 0.1


class GatedAttention(nn.Module):
    """Self-attention whose queries and keys pass a gate made from both, the same for all heads.

    ``released``: the authors' code rounds the scores down, so that no gradient reaches queries, keys and gate.
    """

    def __init__(self, width: int, form: Form):
        super().__init__()
        self.form = form
        self.split = nn.Linear(width, 3 * width)
        head = width // TCGE_HEADS
        self.query, self.key = nn.Linear(head, head), nn.Linear(head, head)
        self.gate = nn.Linear(head, 2 * head)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """[B, L, width] of states [B, L, width]; ``real`` [B, L] tells words from padding."""
        query, key, value = self.split(states).unflatten(2, (3, TCGE_HEADS, -1)).permute(2, 0, 3, 1, 4)
        query_gate, key_gate = self.gate(self.query(query) * self.key(key)).sigmoid().chunk(2, 3)
        scores = (query * query_gate) @ (key * key_gate).transpose(2, 3) / query.shape[3] ** 0.5
        scores = scores.floor() if self.form == "released" else scores
        weights = scores.masked_fill(~real[:, None, None], -torch.inf).softmax(3)
        return (weights @ value).transpose(1, 2).flatten(2)


class TCGE(nn.Module):
    """SWAN's TCGE (J. Pan et al., ICMR 2023).

    Words are enhanced by gated attention (batch norm, dropout, residual). Convolutions over two and over three words
    that do not overlap (batch norm, ReLU) make groups. An MLP with a residual follows each word and group. The caption
    is their mean; the authors' code (``released``) takes the last word, which no group reaches, so it needs none.

    Padding counts in neither norm nor attention, unlike in the authors' code; a group that is partly padding counts.
    """

    def __init__(self, width: int, form: Form):
        super().__init__()
        self.form = form
        self.attend = GatedAttention(width, form)
        self.norm, self.dropout = nn.BatchNorm1d(width), nn.Dropout(TCGE_DROPOUT)
        self.groups = nn.ModuleList(
            nn.Sequential(nn.Linear(size * width, width), nn.BatchNorm1d(width), nn.ReLU())
            for size in (GROUPS if form == "paper" else ())
        )
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(MLP_DROPOUT))
        self.out = nn.Linear(2 * width, width)

    def forward(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Features [B, width] of the states [B, L, width] of tokens [B, L]; states of padding are zero."""
        real = tokens != PAD
        words = states[real] + self.dropout(self.norm(self.attend(states, real)[real]))
        if self.form == "released":
            last = words[real.sum(1).cumsum(0) - 1]
            return last + self.out(self.hidden(last))
        parts = [(words, real)]
        for size, group in zip(GROUPS, self.groups, strict=True):
            windows, some = _windows(states, size), _windows(real[..., None], size).any(2)
            parts.append((group(windows[some]), some))
        rows = torch.cat([part for part, _ in parts])
        # The mean commutes with the last layer, and before it costs less.
        return _mean(rows, parts) + self.out(_mean(self.hidden(rows), parts))


def _windows(sequence: Tensor, size: int) -> Tensor:
    """Windows [B, ceil(L / size), size D] of a sequence [B, L, D], padded with zeros."""
    filled = F.pad(sequence, (0, 0, 0, -sequence.shape[1] % size))
    return filled.unflatten(1, (-1, size)).flatten(2)


def _mean(rows: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean of the rows of each caption; ``parts`` says where in which caption the rows were."""
    owners = torch.cat([where.nonzero()[:, 0] for _, where in parts])
    count = torch.stack([where.sum(1) for _, where in parts]).sum(0)
    total = rows.new_zeros(len(parts[0][1]), rows.shape[1]).index_add(0, owners, rows)
    return total / count[:, None]
