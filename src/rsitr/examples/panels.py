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
from rsitr.datasets.splits import caption_name
from rsitr.datasets.table import read_table
from rsitr.errors import CorruptArchive, QueryError
from rsitr.figures import embeddings, ranked, saliency
from rsitr.records.cell import Spec
from rsitr.records.files import write_csv
from rsitr.retrieval.separation import Separation, separation
from rsitr.stages.encode import Encoded, encode, score_all
from rsitr.stages.model import Trained
from rsitr.stages.setup import CellData, image_inputs

FOUND = 5
"""How many of the images or captions that a query finds are shown."""


def picture(path: Path) -> np.ndarray:
    """A file as uint8 [H, W, 3]; raises ``QueryError`` unless it is an image."""
    try:
        return np.asarray(load_rgb(path))
    except CorruptArchive as error:
        raise QueryError(f"{path} cannot be read as an image: name a PNG, JPEG or TIFF") from error


class TestImages:
    """The test images of a cell, with their classes and captions."""

    __test__ = False  # pytest collects classes whose names start like this

    def __init__(self, data: CellData, spec: Spec):
        self.split = data.splits["test"]
        rows = read_table(spec.clean)[0].select(["image_id", "class_name"]).to_pylist()
        names = {row["image_id"]: row["class_name"] for row in rows}
        self.class_names = [names[image] for image in self.split.image_ids]

    def different(self, count: int) -> list[int]:
        """Places of images, the first of each class, spread over the classes; any images if there are too few
        classes."""
        first = {name: place for place, name in reversed(list(enumerate(self.class_names)))}
        places = sorted(first.values()) if len(first) >= count else range(len(self.class_names))
        steps = np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)
        return [places[step] for step in dict.fromkeys(steps.tolist())]

    def pixels(self, place: int, side: int = 0) -> np.ndarray:
        """Uint8 [H, W, 3], of ``side`` pixels if that is not 0."""
        image = load_rgb(self.split.paths[place])
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC) if side else image)

    def caption(self, place: int) -> str:
        """The first caption of an image."""
        return self.split.captions[self.first_caption(place)]

    def caption_name(self, place: int) -> str:
        """The name of the first caption of an image."""
        return caption_name(self.split, self.first_caption(place))

    def first_caption(self, place: int) -> int:
        """The place of the first caption of an image."""
        return int(np.flatnonzero(self.split.image_of == place)[0])


def encoded_test(model: Trained) -> Encoded:
    """The test split of a cell as its method encodes it."""
    split = model.data.splits["test"]
    inputs = image_inputs(model.method, split, model.data.splits, model.device)
    return encode(model.method, split, inputs, model.device)


def found_images(
    name: str, model: Trained, encoded: Encoded, wanted: Sequence[str], shown: TestImages
) -> list[ranked.Images]:
    """What the first query of each wanted image finds; none for an image without a query of this kind.

    ``name`` says what kind of query it is.
    """
    split = model.data.splits["test"]
    places = {image: place for place, image in enumerate(split.image_ids)}
    everywhere = {image: place for place, image in enumerate(shown.split.image_ids)}
    rankings = []
    for image in (image for image in wanted if image in places):
        query = int(np.flatnonzero(split.image_of == places[image])[0])
        text = encoded.texts[encoded.place[query]][None]
        scores = score_all(model.method, encoded.images, text, model.device)[:, 0]
        order = scores.argsort(descending=True, stable=True).tolist()
        texts = zip(map(normal_form, split.captions), split.image_of.tolist(), strict=True)
        wanted_text = normal_form(split.captions[query])
        same = {split.image_ids[place] for text, place in texts if text == wanted_text}
        hits = [
            ranked.Image(shown.pixels(everywhere[b]), b == image, shown.class_names[everywhere[b]], b in same)
            for b in (split.image_ids[place] for place in order[:FOUND])
        ]
        sentence, keywords = parts(split.captions[query])
        rank = 1 + order.index(places[image])
        rankings.append(ranked.Images(name, sentence, tuple(keywords), tuple(hits), rank))
    return rankings


def found_captions(model: Trained, encoded: Encoded, wanted: Sequence[int], shown: TestImages) -> list[ranked.Captions]:
    """What images, given by their places, find among the captions."""
    split, rankings = shown.split, []
    said = [normal_form(text) for text in split.captions]
    for place in wanted:
        scores = score_all(model.method, encoded.images[place][None], encoded.texts, model.device)[0][encoded.place]
        best = scores.argsort(descending=True, stable=True)[:FOUND].tolist()
        own = {said[text] for text in np.flatnonzero(split.image_of == place)}
        hits = [ranked.Caption(split.captions[b], int(split.image_of[b]) == place, said[b] in own) for b in best]
        rankings.append(ranked.Captions(shown.pixels(place), shown.class_names[place], tuple(hits)))
    return rankings


def masked(
    model: Trained, mask: Callable[[Tensor], Tensor], wanted: Sequence[int], shown: TestImages
) -> list[saliency.Sample]:
    """Images with what ``mask`` makes from their pixels: [B, h, w], from 0 to 1."""
    samples = []
    for place in wanted:
        pixels = shown.pixels(place)
        with torch.inference_mode():
            found = mask(model.pixels(pixels[None]))[0].float().cpu().numpy()
        samples.append(saliency.Sample(pixels, found, shown.class_names[place]))
    return samples


def draw_embeddings(encoded: Mapping[str, Encoded], shown: TestImages, title: str, stem: Path) -> list[Path]:
    """The common space of each method: every test image and its first caption."""
    first = [shown.first_caption(place) for place in range(len(shown.split.paths))]
    panels, lines = [], []
    for label, each in encoded.items():
        images, texts = each.images.numpy(), each.texts[each.place[first]].numpy()
        found = separation(images, texts, shown.class_names)
        panels.append(embeddings.Panel(label, images, texts, in_words(found)))
        silhouette = "" if found.silhouette is None else f"{found.silhouette:.4f}"
        classes = len({name for name in shown.class_names if name})
        lines.append((label, len(images), classes, silhouette, f"{found.gap:.4f}"))
    table = stem.with_suffix(".csv")
    write_csv(table, ("method", "images", "classes", "silhouette", "modality_gap"), lines)
    heading = f"Images and captions in one space (t-SNE), {title}"
    return [embeddings.draw(heading, panels, shown.class_names, stem.with_suffix(".png")), table]


def in_words(found: Separation) -> str:
    """A separation as the figure states it."""
    silhouette = "no classes" if found.silhouette is None else f"silhouette by class {found.silhouette:+.3f}"
    return f"{silhouette}, modality gap {found.gap:.3f}"
