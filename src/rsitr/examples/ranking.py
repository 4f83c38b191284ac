"""What queries find, and where the belief or the attention of a method is: panels of the papers' pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rsitr.captions.queries import parts
from rsitr.captions.words import normal_form
from rsitr.examples.images import TestImages
from rsitr.figures import ranked, ranked_captions, saliency
from rsitr.stages.encode import Encoded, encode, score_all
from rsitr.stages.model import Trained
from rsitr.stages.setup import image_inputs

FOUND = 5
"""How many of the images or captions that a query finds are shown."""


def encoded_test(model: Trained) -> Encoded:
    """The test split of a cell as its method encodes it."""
    split = model.data.splits["test"]
    inputs = image_inputs(model.method, split, model.data.splits, model.device)
    return encode(model.method, split, inputs, model.device)


def found_images(
    name: str, model: Trained, encoded: Encoded, wanted: Sequence[str], shown: TestImages
) -> list[ranked.Ranking]:
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
            ranked.Hit(shown.pixels(everywhere[b]), b == image, shown.class_names[everywhere[b]], b in same)
            for b in (split.image_ids[place] for place in order[:FOUND])
        ]
        sentence, keywords = parts(split.captions[query])
        rank = 1 + order.index(places[image])
        rankings.append(ranked.Ranking(name, sentence, tuple(keywords), tuple(hits), rank))
    return rankings


def found_captions(
    model: Trained, encoded: Encoded, wanted: Sequence[int], shown: TestImages
) -> list[ranked_captions.Ranking]:
    """What images, given by their places, find among the captions."""
    split, rankings = shown.split, []
    said = [normal_form(text) for text in split.captions]
    for place in wanted:
        scores = score_all(model.method, encoded.images[place][None], encoded.texts, model.device)[0][encoded.place]
        best = scores.argsort(descending=True, stable=True)[:FOUND].tolist()
        own = {said[text] for text in np.flatnonzero(split.image_of == place)}
        hits = [ranked_captions.Hit(split.captions[b], int(split.image_of[b]) == place, said[b] in own) for b in best]
        rankings.append(ranked_captions.Ranking(shown.pixels(place), shown.class_names[place], tuple(hits)))
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
