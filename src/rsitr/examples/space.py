"""The common space of images and texts as methods see it: the picture and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rsitr.examples.images import TestImages
from rsitr.figures import embeddings
from rsitr.records.files import write_csv
from rsitr.retrieval.separation import Separation, separation
from rsitr.stages.encode import Encoded

FIELDS = ("method", "images", "classes", "silhouette", "modality_gap")
"""Columns of the numbers."""


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
    write_csv(table, FIELDS, lines)
    heading = f"Images and captions in one space (t-SNE), {title}"
    return [embeddings.draw(heading, panels, shown.class_names, stem.with_suffix(".png")), table]


def in_words(found: Separation) -> str:
    """A separation as the figure states it."""
    silhouette = "no classes" if found.silhouette is None else f"silhouette by class {found.silhouette:+.3f}"
    return f"{silhouette}, modality gap {found.gap:.3f}"
