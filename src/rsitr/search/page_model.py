"""Make and measure the text tower that runs in a page (``rsitr.search.tower``).

    python -m rsitr.search.page_model

It needs RSICD here (``rsitr data build rsicd``, ``rsitr data clean rsicd``) and takes half an hour on one core. The
tower learns to give the embeddings that the shipped model gives: of the distinct training captions, of pieces of them,
since people type few words, of every word, and of pieces in which one word is another. The words are those of the
training captions and those of the shipped model's own tokenizer. No caption of val or test takes part. What is written
is then measured on the test set, next to the shipped model's own tower.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsitr.captions.words import Vocabulary, words
from rsitr.datasets.splits import SplitData, load_splits
from rsitr.external.encodings import encoded, ranked
from rsitr.external.models import OwnModel
from rsitr.nn.seeds import seeded
from rsitr.params.ids import CleanId
from rsitr.progress import Progress
from rsitr.records.bundle import CARD
from rsitr.records.files import replacing, write_text
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_json
from rsitr.retrieval.recall import recall
from rsitr.search.shipped import MODEL
from rsitr.search.tower import FOLDER, PageTower, load_tower, write_tower
from rsitr.stages.encode import Encoded

DATASET = "rsicd"
KEPT = Path("cache/page-model")
PLAIN = re.compile(r"[a-z]{2,}")
SPANS = 30_000
LONGEST = 6
"""Words of a piece of a caption, at most."""
SWAPS = 2
"""Pieces in which a word of the tokenizer stands for one of the caption, for each such word."""
CAPTIONS = 3
"""How often an epoch has each whole caption; everything else it has once."""
EPOCHS, BATCH, RATE = 20, 1024, 4e-3
CARD_TEXT = """\
# The text tower of the page

The text tower that `rsitr search --site` and `rsitr site --search` put into a page. It gives embeddings in the space of
the [model next to it](../README.md), which it has learned from that model's own text tower. `tower.safetensors` has its
word vectors in eight bits and its other numbers in half precision. `words.txt` has its {words:,} words: those of the
training captions of `{dataset}`, and the plain words of MiniLM's tokenizer (Apache-2.0).
`python -m rsitr.search.page_model` makes, measures and describes it.

| | |
|:--|:--|
| Form | mean of word vectors of {size}, a hidden layer of {hidden} (ReLU), {width} dimensions of unit length |
| Learned from | the embeddings of {captions:,} distinct training captions, of pieces of them, and of single words |
| Cosine with the shipped tower | {cosine:.3f}, mean over the test captions |

## What it retrieves

On the {images:,} test images of `{dataset}`, in percent, duplicates not counted (and counted); ties count against it.
The embeddings of the images are the same in both columns.

| recall | this tower | the shipped tower |
|:--|--:|--:|
{rows}

## Limits

- A word that is not in `words.txt` is passed over, and the page says so. The order of words does not matter.
- Captions in a page were encoded by the shipped tower when it was made: i2t of a page is the right column.
"""


def lessons(captions: Collection[str], others: Sequence[str], seed: int = 0) -> list[str]:
    """Texts to learn from, distinct and in order: captions, pieces of them, words, and pieces with one of ``others``.

    ``captions`` are words that a space separates.
    """
    drawn = random.Random(seed)
    kept = [caption.split() for caption in sorted(captions)]

    def piece() -> list[str]:
        of = drawn.choice(kept)
        length = drawn.randint(1, min(LONGEST, len(of)))
        start = drawn.randint(0, len(of) - length)
        return of[start : start + length]

    texts = {" ".join(each) for each in kept} | {word for each in kept for word in each} | {*others}
    texts |= {" ".join(piece()) for _ in range(SPANS)}
    for other in sorted(others) * SWAPS:
        swapped = piece()
        swapped[drawn.randrange(len(swapped))] = other
        texts.add(" ".join(swapped))
    return sorted(texts, key=lambda text: (len(text), text))


def taught(texts: Sequence[str], model: OwnModel) -> Tensor:
    """Embeddings [N, D] that the shipped model gives; kept on the disk, since they take minutes."""
    path = KEPT / f"{sha256_json([model.facts.weights.model_dump(), [*texts]])[:16]}.pt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = []
        with Progress("texts", len(texts)) as progress:
            for start in range(0, len(texts), BATCH):
                found.append(model.encode_texts(texts[start : start + BATCH]))
                progress.advance(steps=len(found[-1]))
        with replacing(path) as partial:
            torch.save(torch.cat(found).half(), partial)
    return torch.load(path, weights_only=True).float()


def learn(tower: PageTower, texts: Sequence[str], targets: Tensor, times: Tensor) -> None:
    """Raise the cosine with ``targets`` [N, D]; an epoch has each text as often as ``times`` int64 [N] says."""
    tokens, epoch = tower.tokenize(texts), torch.arange(len(texts)).repeat_interleave(times)
    steps = EPOCHS * -(-len(epoch) // BATCH)
    optimizer = torch.optim.Adam(tower.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    with Progress("epochs", EPOCHS) as progress:
        for _ in range(EPOCHS):
            for batch in epoch[torch.randperm(len(epoch))].split(BATCH):
                loss = 1 - (tower(tokens[batch]) * targets[batch]).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            progress.advance()


def encodings(tower: PageTower, split: SplitData, images: Tensor) -> Encoded:
    """Embeddings of images [I, D], and those that a tower gives to the captions."""
    distinct, place = np.unique(split.captions, return_inverse=True)
    return Encoded(images, tower.encode_texts(distinct.tolist()), torch.from_numpy(place))


def recalls(found: Encoded, split: SplitData) -> list[dict[str, float]]:
    """Plain, and with duplicates counted."""
    ranking = ranked(found, split)
    return [asdict(recall(ranks)) for ranks in (ranking.plain, ranking.duplicate_aware)]


def made(model: OwnModel, split: SplitData) -> PageTower:
    """The tower that has learned from the captions of the training split and from words of the tokenizer."""
    captions = plain_captions(split)
    known = {word for caption in captions for word in caption.split()}
    text: Any = model.model.method.text
    others = sorted({word for word in text.encoder.tokenizer.get_vocab() if PLAIN.fullmatch(word)} - known)
    texts = lessons(captions, others)
    targets = taught(texts, model)
    with seeded(0):
        tower = PageTower(Vocabulary([*sorted(known), *others]), targets.shape[1])
        learn(tower, texts, targets, torch.tensor([CAPTIONS if text in captions else 1 for text in texts]))
    return tower


def plain_captions(split: SplitData) -> set[str]:
    """The words of each distinct caption."""
    return {" ".join(found) for caption in split.captions if (found := words(caption))}


def described(tower: PageTower, model: OwnModel, test: SplitData, learned_from: int) -> str:
    """The card, with what a tower retrieves next to that of the shipped model."""
    theirs = encoded(model, test, KEPT / "test")
    ours = encodings(tower, test, theirs.images)
    cosine = (ours.texts[ours.place] * theirs.texts[theirs.place]).sum(1).mean().item()
    columns = [recalls(found, test) for found in (ours, theirs)]
    cells = {
        metric: " | ".join(f"{plain[metric]:.2f} ({counted[metric]:.2f})" for plain, counted in columns)
        for metric in columns[0][0]
    }
    return CARD_TEXT.format(
        dataset=DATASET,
        words=len(tower.vocabulary.index),
        size=tower.words.embedding_dim,
        hidden=tower.hidden.out_features,
        width=tower.out.out_features,
        captions=learned_from,
        images=len(test.image_ids),
        cosine=cosine,
        rows="\n".join(f"| {metric} | {line} |" for metric, line in cells.items()),
    )


def main() -> None:
    """Make, measure and describe the tower."""
    model, splits = OwnModel(MODEL, "cpu"), load_splits(Paths.clean(CleanId(DATASET)))[0]
    write_tower(made(model, splits["train"]))
    card = described(load_tower(), model, splits["test"], len(plain_captions(splits["train"])))
    write_text(FOLDER / CARD, card)
    print(FOLDER / CARD)


if __name__ == "__main__":
    main()
