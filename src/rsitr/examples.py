"""AMFMN's pictures from the trained cells of an experiment: salient masks, ranked images, texts located in a scene."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from rsitr.captions.queries import QueryMode, parts
from rsitr.cells import Spec
from rsitr.datasets.images import load_rgb
from rsitr.datasets.table import read_table
from rsitr.figures import localisation, ranked, saliency
from rsitr.localisation.locate import locate
from rsitr.localisation.metrics import Region, metrics
from rsitr.localisation.scene import Scene
from rsitr.methods.amfmn import AMFMN
from rsitr.runtime import image_inputs
from rsitr.scoring import encode, score_all
from rsitr.trained import Trained

SAMPLES = 5
"""Images with a mask."""
QUERIES = 2
"""Images that each kind of query is about."""
FOUND = 5
"""Images that are shown of what a query finds."""
SIDE, TILE = 4, 256
"""Of the scene: tiles along each side, and pixels of a tile."""
NAMES: dict[QueryMode, str] = {"keywords": "keywords", "sentence": "sentence", "joint": "sentence and keywords"}
"""Fig. 11's order."""


def build(specs: Mapping[str, Spec], title: str, out: Path) -> list[Path]:
    """Write ``amfmn-{saliency,retrieval,localisation}.png`` and ``amfmn-localisation.csv`` (Figs. 10, 11, 14).

    ``specs`` are the cells of one AMFMN on one dataset by the kind of their queries, ``sentence`` among them. The
    images are of the test split and of different classes, where there are classes.
    """
    models = {mode: Trained(specs[mode]) for mode in NAMES if mode in specs}
    shown = _Images(models["sentence"], specs["sentence"])
    return [
        draw_saliency(models["sentence"], shown, title, out / "amfmn-saliency.png"),
        draw_retrieval(models, shown, title, out / "amfmn-retrieval.png"),
        *draw_localisation(models["sentence"], shown, title, out / "amfmn-localisation"),
    ]


class _Images:
    """The test images of a cell."""

    def __init__(self, model: Trained, spec: Spec):
        self.split = model.data.splits["test"]
        rows = read_table(spec.clean)[0].select(["image_id", "class_name"]).to_pylist()
        names = {row["image_id"]: row["class_name"] for row in rows}
        self.class_names = [names[image] for image in self.split.image_ids]

    def different(self, count: int) -> list[int]:
        """Places of images, the first of each class, spread over the classes; any where there are too few classes."""
        first = {name: place for place, name in reversed(list(enumerate(self.class_names)))}
        places = sorted(first.values()) if len(first) >= count else range(len(self.class_names))
        steps = np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)
        return [places[step] for step in dict.fromkeys(steps.tolist())]

    def pixels(self, place: int, side: int = 0) -> np.ndarray:
        """Uint8 [H, W, 3], of ``side`` pixels where that is not 0."""
        image = load_rgb(self.split.paths[place])
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC) if side else image)

    def caption(self, place: int) -> str:
        """The first caption of an image."""
        return self.split.captions[int(np.flatnonzero(self.split.image_of == place)[0])]


def draw_saliency(model: Trained, shown: _Images, title: str, path: Path) -> Path:
    """Fig. 10: where MVSA looks."""
    assert isinstance(model.method, AMFMN)
    samples = []
    for place in shown.different(SAMPLES):
        pixels = shown.pixels(place)
        with torch.inference_mode():
            mask = model.method.saliency(model.pixels(pixels[None]))[0].float().cpu().numpy()
        samples.append(saliency.Sample(pixels, mask, shown.class_names[place]))
    return saliency.draw(f"Salient masks, {title}", samples, path)


def draw_retrieval(models: Mapping[QueryMode, Trained], shown: _Images, title: str, path: Path) -> Path:
    """Fig. 11: the first images that queries of each kind find."""
    wanted = [shown.split.image_ids[place] for place in shown.different(QUERIES)]
    rankings = [ranking for mode, model in models.items() for ranking in _rankings(NAMES[mode], model, wanted, shown)]
    return ranked.draw(f"Images found among {len(shown.split.paths)}, {title}", rankings, path)


def _rankings(name: str, model: Trained, wanted: list[str], shown: _Images) -> list[ranked.Ranking]:
    """What the first query of each wanted image finds; none for an image that has no query of this kind."""
    split = model.data.splits["test"]
    encoded = encode(
        model.method, split, image_inputs(model.method, split, model.data.splits, model.device), model.device
    )
    places = {image: place for place, image in enumerate(split.image_ids)}
    everywhere = {image: place for place, image in enumerate(shown.split.image_ids)}
    rankings = []
    for image in (image for image in wanted if image in places):
        query = int(np.flatnonzero(split.image_of == places[image])[0])
        text = encoded.texts[encoded.place[query]][None]
        scores = score_all(model.method, encoded.images, text, model.device)[:, 0]
        best = [split.image_ids[place] for place in scores.argsort(descending=True, stable=True)[:FOUND].tolist()]
        hits = [ranked.Hit(shown.pixels(everywhere[b]), b == image, shown.class_names[everywhere[b]]) for b in best]
        sentence, keywords = parts(split.captions[query])
        rankings.append(ranked.Ranking(name, sentence, tuple(keywords), tuple(hits)))
    return rankings


def draw_localisation(model: Trained, shown: _Images, title: str, stem: Path) -> list[Path]:
    """Fig. 14: captions of single tiles located in a scene of many, and the measures of SeLo for each."""
    tiles = shown.different(SIDE**2)
    tiles = (tiles * SIDE**2)[: SIDE**2]
    rows = [
        np.concatenate([shown.pixels(tile, TILE) for tile in tiles[i : i + SIDE]], 1) for i in range(0, SIDE**2, SIDE)
    ]
    chosen = [SIDE + 1, 2 * SIDE + 2, 0]
    queries = [shown.caption(tiles[number]) for number in chosen]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "scene.png"
        Image.fromarray(np.concatenate(rows)).save(file)
        with Scene(file) as scene:
            found = locate(scene, model.scorer(queries))
            thumbnail = scene.thumbnail(SIDE * TILE)
    panels, lines = [], []
    for number, (tile, query) in enumerate(zip(chosen, queries, strict=True)):
        heat, region = found.map(number), _square(*divmod(tile, SIDE))
        measured = metrics(heat, [region])
        values = {name: f"{value:.4f}" for name, value in measured._asdict().items()}
        lines.append({"query": query, "class": shown.class_names[tiles[tile]], **values})
        label = f"{query} (Rmi {measured.rmi:.2f})"
        panels.append(localisation.Panel(label, thumbnail, (heat / 255).astype(np.float32), [region]))
    table = stem.with_suffix(".csv")
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file_:
        writer = csv.DictWriter(file_, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return [
        localisation.draw(f"Captions located in a scene of tiles, {title}", panels, stem.with_suffix(".png")),
        table,
    ]


def _square(row: int, column: int) -> Region:
    top, left = row * TILE, column * TILE
    return [(left, top), (left + TILE, top), (left + TILE, top + TILE), (left, top + TILE)]
