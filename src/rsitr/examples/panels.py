"""What the papers' pictures show of a trained cell: its test images, what queries find, masks, the common space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rsitr.captions.queries import parts
from rsitr.captions.words import normal_form
from rsitr.datasets.images import load_rgb
from rsitr.datasets.pictures import read_picture
from rsitr.datasets.splits import SplitData
from rsitr.errors import QueryError, UnreadableImage
from rsitr.figures import embeddings, ranked, saliency
from rsitr.records.files import write_csv
from rsitr.retrieval.separation import Separation, separation
from rsitr.stages.encode import Encoded, encode, score_all
from rsitr.stages.model import Trained
from rsitr.stages.setup import image_inputs

FOUND = 5
"""How many of the images or captions that a query finds are shown."""


def picture(path: Path) -> np.ndarray:
    """A file as uint8 [H, W, 3]; raises ``QueryError`` unless it is an image."""
    try:
        return read_picture(path).rgb
    except UnreadableImage as error:
        raise QueryError(str(error)) from None


def different(split: SplitData, count: int) -> list[int]:
    """Places of images, the first of each class, spread over the classes; any images if there are too few classes."""
    first = {name: place for place, name in reversed(list(enumerate(split.classes)))}
    places = sorted(first.values()) if len(first) >= count else range(len(split.classes))
    steps = np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)
    return [places[step] for step in dict.fromkeys(steps.tolist())]


def pixels_of(split: SplitData, place: int, side: int = 0) -> np.ndarray:
    """An image as uint8 [H, W, 3], of ``side`` pixels if that is not 0."""
    image = load_rgb(split.paths[place])
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC) if side else image)


def first_caption(split: SplitData, place: int) -> int:
    """The place of the first caption of an image."""
    return int(np.flatnonzero(split.image_of == place)[0])


def caption_of(split: SplitData, place: int) -> str:
    """The first caption of an image."""
    return split.captions[first_caption(split, place)]


def encoded_test(model: Trained) -> Encoded:
    """The test split of a cell as its method encodes it."""
    split = model.data.splits["test"]
    inputs = image_inputs(model.method, split, model.data.splits, model.device)
    return encode(model.method, split, inputs, model.device)


def found_images(kind: str, model: Trained, encoded: Encoded, wanted: Sequence[str]) -> list[ranked.Images]:
    """What the first query of each wanted image finds; none for an image without a query.

    ``kind`` says what the queries are.
    """
    split, rankings = model.data.splits["test"], []
    said = [normal_form(text) for text in split.captions]
    for truth in (split.image_ids.index(image) for image in wanted if image in split.image_ids):
        query = first_caption(split, truth)
        text = encoded.texts[encoded.place[query]][None]
        scores = score_all(model.method, encoded.images, text, model.device)[:, 0]
        order = scores.argsort(descending=True, stable=True).tolist()
        same = {image for form, image in zip(said, split.image_of.tolist(), strict=True) if form == said[query]}
        hits = [ranked.Image(pixels_of(split, b), b == truth, split.classes[b], b in same) for b in order[:FOUND]]
        sentence, keywords = parts(split.captions[query])
        rankings.append(ranked.Images(kind, sentence, tuple(keywords), tuple(hits), 1 + order.index(truth)))
    return rankings


def found_captions(model: Trained, encoded: Encoded, wanted: Sequence[int]) -> list[ranked.Captions]:
    """What images, given by their places, find among the captions."""
    split, rankings = model.data.splits["test"], []
    said = [normal_form(text) for text in split.captions]
    for place in wanted:
        scores = score_all(model.method, encoded.images[place][None], encoded.texts, model.device)[0][encoded.place]
        best = scores.argsort(descending=True, stable=True)[:FOUND].tolist()
        own = {said[text] for text in np.flatnonzero(split.image_of == place)}
        hits = [ranked.Caption(split.captions[b], int(split.image_of[b]) == place, said[b] in own) for b in best]
        rankings.append(ranked.Captions(pixels_of(split, place), split.classes[place], tuple(hits)))
    return rankings


def masked(model: Trained, mask: Callable[[Tensor], Tensor], count: int) -> list[saliency.Sample]:
    """Images of different classes with what ``mask`` makes from their pixels: [B, h, w], from 0 to 1."""
    split, samples = model.data.splits["test"], []
    for place in different(split, count):
        image = pixels_of(split, place)
        with torch.inference_mode():
            found = mask(model.pixels(image[None]))[0].float().cpu().numpy()
        samples.append(saliency.Sample(image, found, split.classes[place]))
    return samples


def draw_embeddings(encoded: Mapping[str, Encoded], split: SplitData, title: str, stem: Path) -> list[Path]:
    """The common space of each method: every test image and its first caption."""
    first = [first_caption(split, place) for place in range(len(split.paths))]
    panels, lines = [], []
    for label, each in encoded.items():
        images, texts = each.images.numpy(), each.texts[each.place[first]].numpy()
        found = separation(images, texts, split.classes)
        panels.append(embeddings.Panel(label, images, texts, in_words(found)))
        silhouette = "" if found.silhouette is None else f"{found.silhouette:.4f}"
        lines.append((label, len(images), len({*split.classes} - {""}), silhouette, f"{found.gap:.4f}"))
    table = stem.with_suffix(".csv")
    write_csv(table, ("method", "images", "classes", "silhouette", "modality_gap"), lines)
    heading = f"Images and captions in one space (t-SNE), {title}"
    return [embeddings.draw(heading, panels, split.classes, stem.with_suffix(".png")), table]


def in_words(found: Separation) -> str:
    """A separation as the figure states it."""
    silhouette = "no classes" if found.silhouette is None else f"silhouette by class {found.silhouette:+.3f}"
    return f"{silhouette}, modality gap {found.gap:.3f}"
