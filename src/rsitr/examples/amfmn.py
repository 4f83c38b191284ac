"""AMFMN's pictures from the trained cells of an experiment: salient masks, ranked images, texts located in a scene."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from rsitr.captions.queries import QueryMode
from rsitr.datasets.splits import SplitData, caption_name
from rsitr.examples.panels import caption_of, different, encoded_test, first_caption, found_images, masked, pixels_of
from rsitr.figures import localisation, ranked, saliency
from rsitr.localisation.locate import locate
from rsitr.localisation.metrics import metrics
from rsitr.localisation.scene import Scene
from rsitr.methods.amfmn import AMFMN
from rsitr.records.cell import Spec
from rsitr.records.files import write_csv
from rsitr.stages.model import Trained, load_all

SAMPLES = 5
"""Images with a mask."""
QUERIES = 2
"""Images for each kind of query."""
SIDE, TILE = 4, 256
"""Of the scene: tiles along each side, and pixels of a tile."""
NAMES: dict[QueryMode, str] = {"keywords": "keywords", "sentence": "sentence", "joint": "sentence and keywords"}
"""Fig. 11's order."""


def build(specs: Mapping[str, Spec], title: str, out: Path) -> list[Path]:
    """Write ``amfmn-{saliency,retrieval,localisation}.png`` and ``amfmn-localisation.csv`` (Figs. 10, 11, 14).

    ``specs`` are the cells of one AMFMN on one dataset by the kind of their queries, ``sentence`` among them. The
    images are from the test split and of different classes, if there are classes.
    """
    models = load_all({mode: specs[mode] for mode in NAMES if mode in specs})
    model = models["sentence"]
    assert isinstance(model.method, AMFMN)
    masks = masked(model, model.method.saliency, SAMPLES)  # where MVSA looks
    shown = model.data.splits["test"]
    return [
        saliency.draw(f"Salient masks, {title}", masks, out / "amfmn-saliency.png"),
        draw_retrieval(models, shown, title, out / "amfmn-retrieval.png"),
        *draw_localisation(model, shown, title, out / "amfmn-localisation"),
    ]


def draw_retrieval(models: Mapping[QueryMode, Trained], shown: SplitData, title: str, path: Path) -> Path:
    """Fig. 11: the first images that queries of each kind find."""
    wanted = [shown.image_ids[place] for place in different(shown, QUERIES)]
    rankings = [
        ranking
        for mode, model in models.items()
        for ranking in found_images(NAMES[mode], model, encoded_test(model), wanted)
    ]
    return ranked.draw(f"Images found among {len(shown.paths)}, {title}", rankings, path)


def draw_localisation(model: Trained, shown: SplitData, title: str, stem: Path) -> list[Path]:
    """Fig. 14: captions of single tiles located in a scene of many, and the measures of SeLo for each."""
    tiles = different(shown, SIDE**2)
    tiles = (tiles * SIDE**2)[: SIDE**2]
    rows = [
        np.concatenate([pixels_of(shown, tile, TILE) for tile in tiles[i : i + SIDE]], 1)
        for i in range(0, SIDE**2, SIDE)
    ]
    chosen = [SIDE + 1, 2 * SIDE + 2, 0]
    queries = [caption_of(shown, tiles[number]) for number in chosen]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "scene.png"
        Image.fromarray(np.concatenate(rows)).save(file)
        with Scene(file) as scene:
            found = locate(scene, model.scorer(queries))
            thumbnail = scene.thumbnail(SIDE * TILE)
    panels, lines = [], []
    for number, (tile, query) in enumerate(zip(chosen, queries, strict=True)):
        heat = found.map(number)
        top, left = (TILE * steps for steps in divmod(tile, SIDE))
        region = [(left, top), (left + TILE, top), (left + TILE, top + TILE), (left, top + TILE)]
        measured = metrics(heat, [region])
        image = tiles[tile]
        numbers = (f"{value:.4f}" for value in measured)
        lines.append((caption_name(shown, first_caption(shown, image)), shown.classes[image], *numbers))
        label = f"{query} (Rmi {measured.rmi:.2f})"
        panels.append(localisation.Panel(label, thumbnail, (heat / 255).astype(np.float32), [region]))
    table, picture = stem.with_suffix(".csv"), stem.with_suffix(".png")
    write_csv(table, ("query", "class", *measured._fields), lines)
    return [localisation.draw(f"Captions located in a scene of tiles, {title}", panels, picture), table]
