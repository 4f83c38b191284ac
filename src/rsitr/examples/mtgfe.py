"""MTGFE's pictures from the trained cells of an experiment: what words look at under each combination of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rsitr.examples.attention import read
from rsitr.examples.images import TestImages
from rsitr.figures import word_attention
from rsitr.records.cell import Spec
from rsitr.stages.model import load_all

SAMPLES = 2
"""How many images, each with its own picture: Figs. 6 and 7 have one each."""


def build(specs: Mapping[str, Spec], title: str, out: Path) -> list[Path]:
    """Write ``mtgfe-attention-{1,2}.png`` (Figs. 6, 7): test images of different classes with their first captions.

    ``specs`` are cells of one dataset and seed by the name of their line in a picture.
    """
    models = load_all(specs)
    label = next(iter(models))
    shown = TestImages(models[label].data, specs[label])
    written = []
    for number, place in enumerate(shown.different(SAMPLES), start=1):
        caption, image = shown.caption(place), shown.pixels(place)
        readings = [read(model, name, image, caption) for name, model in models.items()]
        heading = f"What words look at, {title}: {caption}"
        written.append(word_attention.draw(heading, readings, out / f"mtgfe-attention-{number}.png"))
    return written
