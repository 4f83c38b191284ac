"""What the search page finds: embeddings in half precision, captions, and the tiles of a scene.

The embeddings of pictures are those of ``rsitr search``, from its index; the text tower is ``rsitr.search.tower``.
"""

from __future__ import annotations

import base64
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from rsitr.datasets.images import load_rgb
from rsitr.datasets.splits import SplitData, caption_name
from rsitr.external.encodings import directions
from rsitr.external.models import Encoder, ModelFacts
from rsitr.records.bundle import read_bundle
from rsitr.records.provenance import sha256_json
from rsitr.search.index import Index
from rsitr.search.pictures import Windows, box
from rsitr.search.shipped import MODEL
from rsitr.search.tower import load_tower
from rsitr.search_page.tiles import write_tiles
from rsitr.site.models import Searched
from rsitr.site.scripts import Folder

CACHE = Path("cache/search")
CAPTIONS = 256
"""Encoded at a time."""


class TestImages:
    """The test images of a dataset, as ``rsitr search`` sees pictures."""

    __test__ = False

    def __init__(self, dataset: Path, split: SplitData):
        self.place, self.seen, self.split = dataset, len(split.paths), split
        self._paths = dict(zip(split.image_ids, split.paths, strict=True))

    def stamps(self) -> dict[str, str]:
        """Image id -> hash of the file."""
        return dict(zip(self.split.image_ids, self.split.hashes, strict=True))

    def picture(self, name: str) -> Image.Image:
        """An image as RGB."""
        return load_rgb(self._paths[name])

    def opened(self) -> AbstractContextManager[object]:
        """Nothing to open."""
        return nullcontext()


def key(facts: ModelFacts) -> str:
    """What tells a model from any other, wherever its files are."""
    return sha256_json([facts.kind, facts.weights.files])[:16]


def half(values: npt.NDArray[Any]) -> str:
    """Numbers in half precision, as a page reads them."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f2").tobytes()).decode()


def write_tower(folder: Folder) -> str:
    """Write the text tower of the page; returns its file."""
    tower = load_tower()
    arrays = {name: half(values.numpy()) for name, values in tower.state_dict().items()}
    return folder.write("search/tower", {"words": [*tower.vocabulary.index], "arrays": arrays})


def of_index(folder: Folder, name: str, index: Index) -> Searched:
    """Write the pictures of an index, but for their thumbnails, or a scene with its tiles."""
    facts, pictures = index.model.facts, index.pictures
    value: dict[str, Any] = {"names": index.names, "embeddings": half(index.embeddings)}
    scene = isinstance(pictures, Windows)
    if scene:
        value["boxes"] = [box(each) for each in index.names]
    return Searched(
        name=name,
        count=len(index.names),
        model=key(facts),
        made_by=facts.kind,
        tower=[*facts.weights.files.values()] == [read_bundle(MODEL).weights_sha],
        file=folder.write(f"search/{name}/pictures", value),
        tiles=write_tiles(pictures.place, folder.out / "tiles" / name) if scene else None,
    )


def index_of(clean: Path, split: SplitData, model: Encoder) -> Index:
    """The test images of a clean table, those that are new encoded."""
    return Index(
        CACHE / sha256_json([str(clean.resolve()), key(model.facts)])[:16], TestImages(clean, split), model
    ).update()


def of_dataset(folder: Folder, name: str, split: SplitData, index: Index) -> Searched:
    """Write the test images of a dataset and their captions."""
    found = of_index(folder, name, index)
    first = {caption: place for place, caption in reversed([*enumerate(split.captions)])}
    texts = sorted(first, key=first.__getitem__)
    embeddings = encoded(index.model, texts)
    value = {
        "texts": texts,
        "names": [caption_name(split, first[text]) for text in texts],
        "embeddings": half(embeddings.numpy()),
    }
    found.captions_file = folder.write(f"search/{name}/captions", value)
    return found


def encoded(model: Encoder, texts: list[str]) -> torch.Tensor:
    """Embeddings [N, D] of unit length."""
    parts = [model.encode_texts(texts[start : start + CAPTIONS]) for start in range(0, len(texts), CAPTIONS)]
    return directions(torch.cat(parts), "caption", texts.__getitem__)
